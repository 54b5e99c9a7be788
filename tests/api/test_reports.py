"""What a study comes to: by REST, in the client and on the command line."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import Result

from api.client import Client
from hpo.errors import ServiceError

Fill = Callable[..., None]
Run = Callable[..., Result]


def test_the_report_is_one_page(http: httpx.Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    answer = http.get("/v1/studies/mine/report")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"] == 'inline; filename="mine.html"'
    assert answer.text.startswith("<!doctype html>")
    assert "The best loss is 7: trial 3 at step 1" in answer.text
    assert answer.text.rstrip().endswith("</html>")


def test_the_command_writes_the_page(run: Run, fill: Fill, spec: dict[str, Any], tmp_path: Path) -> None:
    fill(spec)
    path = tmp_path / "out.html"
    done = json.loads(run("report", "mine", "-o", path, "--json").output)
    assert done == {"study": "mine", "file": str(path), "bytes": path.stat().st_size}
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert "the report of study mine" in run("report", "mine", "-o", path).output


def test_a_study_that_is_not_there_leaves_no_file(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no study is named 'other'"):
        client.write_report("other", tmp_path / "out.html")
    with pytest.raises(ServiceError, match=r"can't be written \(No such file or directory\); give another file"):
        client.write_report("other", tmp_path / "no" / "out.html")
    assert list(tmp_path.iterdir()) == []


def test_the_parts_of_a_report_are_data_too(client: Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    importance = client.importance("mine")
    assert (importance.metric, importance.items) == ("loss", [])
    assert importance.note == "4 trials have a value; importance needs 20"
    front = client.pareto("mine")
    assert front.metrics == ["loss"]
    assert [(each.trial, each.values) for each in front.items] == [(3, [7.0])]
    levels = client.rungs("mine")
    assert levels.metric == "loss"
    assert [(each.step, each.trials, each.went_on, each.best) for each in levels.items] == [(1, 4, 3, 7.0)]


def test_a_rungs_trials_come_in_pages_with_what_the_page_draws(
    client: Client, http: httpx.Client, fill: Fill, spec: dict[str, Any]
) -> None:
    fill(spec, num_trials=12)
    [level] = client.rungs("mine").items
    found, token = [], None
    while True:
        page = client.rung("mine", level.step, page_size=5, page_token=token)
        found += page.items
        token = page.next_page_token
        if token is None:
            break
    assert [each.trial for each in found] == list(range(12))
    assert sum(each.went_on for each in found) == level.went_on
    values = sorted(each.value for each in found)
    assert (min(values), statistics.median(values)) == (level.best, level.median)
    deciles = [values[0], *statistics.quantiles(values, n=10, method="inclusive"), values[-1]]
    assert level.quantiles == pytest.approx(deciles)
    assert client.rung("mine", 77).items == []
    other = client.rung("mine", level.step, page_size=5).next_page_token
    assert http.get("/v1/studies/mine/rungs/77", params={"page_token": other}).status_code == 400


def test_what_is_not_there_is_404(http: httpx.Client) -> None:
    for part in ("report", "importance", "pareto", "rungs", "rungs/1"):
        assert http.get(f"/v1/studies/other/{part}").status_code == 404
