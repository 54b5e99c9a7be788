"""Curves: by REST, by the client and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import Result

from api.cli.series import sparkline
from api.client import Client
from hpo.errors import ServiceError

Fill = Callable[..., None]
Run = Callable[..., Result]


def test_the_best_trials_come_unless_others_are_named(client: Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    best = client.series("mine", best=2)
    assert best.metric == "loss"
    assert [(each.trial, each.reports, each.points) for each in best.items] == [(3, 1, [(1, 7.0)]), (2, 1, [(1, 8.0)])]
    named = client.series("mine", trials=[0, 2, 0])
    assert [each.trial for each in named.items] == [0, 2]
    assert [each.points for each in client.series("mine", metric="far").items] == [[], [], [], []]


@pytest.mark.parametrize(
    ("query", "status"),
    [({"trial": "99"}, 404), ({"points": "7"}, 422), ({"best": "101"}, 422), ({"trial": ["0"] * 101}, 422)],
)
def test_what_can_not_be_given_is_refused(
    http: httpx.Client, fill: Fill, spec: dict[str, Any], query: dict[str, Any], status: int
) -> None:
    fill(spec)
    assert http.get("/v1/studies/mine/series", params=query).status_code == status


def test_the_best_value_over_time_ends_with_the_best(client: Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    found = client.incumbents("mine")
    assert [(each.trial, each.value) for each in found] == [(0, 10.0), (1, 9.0), (2, 8.0), (3, 7.0)]
    assert found[-1].params == {"lr": 0.01}
    with pytest.raises(ServiceError, match="no study is named"):
        client.incumbents("other")


def test_the_commands_show_curves(run: Run, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    shown = json.loads(run("series", "mine", "--trial", 1, "--json").output)
    assert shown == {"metric": "loss", "items": [{"trial": 1, "reports": 1, "points": [[1, 9.0]]}]}
    assert "▁" in run("series", "mine", "--best", 1).output
    assert [each["value"] for each in json.loads(run("incumbents", "mine", "--json").output)] == [10.0, 9.0, 8.0, 7.0]
    assert "lr=0.01" in run("incumbents", "mine").output


def test_a_sparkline_goes_from_the_lowest_to_the_highest() -> None:
    assert sparkline([0.0, 7.0, 3.5, 0.0]) == "▁█▅▁"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([]) == ""
