"""A report as a file, in a real browser: it draws all of its charts, asks nobody, and says nothing on the console."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import browser
import pytest

from hpo import specfile
from hpo.protocols import Store
from hpo.report.page import page
from hpo.report.reading import read
from hpo.store.memory import MemoryStore
from hpo.trial import FailureCause, Trial, TrialState
from tests.hpo.report.reported import SPEC, recorded

needs_browser = pytest.mark.skipif(browser.binary() is None, reason=browser.MISSING)

MUTABLE = {
    "lr": {**SPEC["parameters"]["lr"], "mutable": True},
    "dropout": {**SPEC["parameters"]["dropout"], "mutable": True},
}
TWO = [SPEC["objective"], {"metric": "size", "direction": "minimize"}]
STUDIES: dict[str, dict[str, Any]] = {
    "asha": {},
    "population": {
        "parameters": {**SPEC["parameters"], **MUTABLE},
        "scheduler": {"algorithm": "pbt", "interval_steps": 3, "population": 8},
        "budget": {"trials": 24, "steps_per_trial": 27},
    },
    "two objectives": {"objective": TWO, "scheduler": {"algorithm": "fifo"}},
    "conditions": {
        "parameters": {**SPEC["parameters"], "depth": {"type": "int", "low": 1, "high": 4, "when": {"cell": ["lstm"]}}},
    },
    "one trial": {"budget": {"trials": 1, "steps_per_trial": 3}},
}  # fmt: skip

DRAWN = "[...document.querySelectorAll('.chart')].map(each => [each.id, each.querySelectorAll('.main-svg').length > 0])"
SECTIONS = "[...document.querySelectorAll('h2')].map(each => each.textContent)"
INK = "getComputedStyle(document.querySelector('#history .xtitle')).fill"


def written(store: Store, folder: Path) -> tuple[Path, str]:
    text = "".join(page(read(store, "headlines")))
    path = folder / "report.html"
    path.write_text(text, "utf-8")
    return path, text


@needs_browser
@pytest.mark.parametrize("study", STUDIES)
def test_a_browser_draws_every_chart_without_a_word_and_asks_nobody(study: str, tmp_path: Path) -> None:
    store, _ = recorded(**STUDIES[study])
    path, _ = written(store, tmp_path)
    seen = browser.visit(path.as_uri(), DRAWN, SECTIONS, profile=tmp_path / "profile")
    assert seen.complaints == []
    assert seen.requests == [path.as_uri()]
    assert len(seen.answers[DRAWN]) >= 3
    assert [name for name, drawn in seen.answers[DRAWN] if not drawn] == []
    expected = {
        "asha": {"Rungs", "Learning curves", "What matters", "Effort"},
        "population": {"Family tree"},
        "two objectives": {"Pareto front"},
    }
    assert expected.get(study, set()) <= set(seen.answers[SECTIONS])


@needs_browser
def test_the_charts_take_the_colours_of_a_dark_page(tmp_path: Path) -> None:
    path, _ = written(recorded()[0], tmp_path)
    light = browser.visit(path.as_uri(), INK, profile=tmp_path / "light")
    dark = browser.visit(path.as_uri(), INK, profile=tmp_path / "dark", dark=True)
    assert light.answers[INK] == "rgb(29, 33, 38)"
    assert dark.answers[INK] == "rgb(230, 233, 237)"


@needs_browser
def test_a_study_that_has_nothing_yet_or_only_failures_is_a_page_too(tmp_path: Path) -> None:
    store = MemoryStore()
    spec = specfile.parse(SPEC)
    store.create_study(spec)
    path, _ = written(store, tmp_path)
    seen = browser.visit(path.as_uri(), SECTIONS, profile=tmp_path / "empty")
    assert (seen.complaints, seen.answers[SECTIONS]) == ([], ["Specification"])

    params = {"lr": 0.01, "hidden": 32, "dropout": 0.1, "cell": "gru", "tied": False}
    failed = {"state": TrialState.FAILED, "cause": FailureCause.ERROR, "message": "no </script> here"}
    lease = store.claim("headlines", holder="test", lease_seconds=60)
    store.write(lease, [Trial(study="headlines", number=0, params=params, created_at=0.0, **failed)])  # type: ignore[arg-type]
    path, _ = written(store, tmp_path)
    seen = browser.visit(path.as_uri(), SECTIONS, profile=tmp_path / "failed")
    assert (seen.complaints, seen.answers[SECTIONS]) == ([], ["Failures", "Effort", "Specification"])


@needs_browser
def test_a_script_that_gets_into_the_page_neither_runs_nor_asks_anybody(tmp_path: Path) -> None:
    path, text = written(recorded(budget={"trials": 1, "steps_per_trial": 3})[0], tmp_path)
    evil = '<script>window.ran = 1</script><img src="http://127.0.0.1:1/x" onerror="window.ran = 2">'
    path.write_text(text.replace("<main>", f"<main>{evil}"), "utf-8")
    seen = browser.visit(path.as_uri(), "window.ran === undefined", DRAWN, profile=tmp_path / "profile")
    assert seen.answers["window.ran === undefined"] is True
    assert all(drawn for _, drawn in seen.answers[DRAWN])
    assert sum("Content Security Policy" in each for each in seen.complaints) >= 2


@needs_browser
def test_what_is_no_word_to_us_is_no_tag_to_plotly(tmp_path: Path) -> None:
    """Names are drawn as they are written, and a parameter is drawn in parallel also where it isn't always active."""
    name = "<b>bold</b> & <a href='http://x'>y</a>"
    cell = {"type": "categorical", "choices": ["<i>gru</i>", "lstm"]}
    depth = {"type": "int", "low": 1, "high": 4, "when": {"cell": ["lstm"]}}
    parameters = {**SPEC["parameters"], "cell": cell, name: {"type": "float", "low": 0, "high": 1}, "depth": depth}
    path, _ = written(recorded(parameters=parameters)[0], tmp_path)
    drawn = "[...document.querySelectorAll('#parallel .xtick text')].map(each => each.textContent)"
    tags = "document.querySelectorAll('.main-svg a, .main-svg [style*=italic], .main-svg [style*=bold]').length"
    cells = "[...document.querySelectorAll('.slices .xtick text')].map(each => each.textContent).includes('<i>gru</i>')"
    idle = "document.querySelector('#parallel .ytick text').textContent"
    seen = browser.visit(path.as_uri(), drawn, tags, cells, idle, profile=tmp_path / "profile")
    assert seen.complaints == []
    assert seen.answers[tags] == 0
    assert {"<b>bold</b> & <a …", "depth", "lr"} <= set(seen.answers[drawn])
    assert seen.answers[cells] is True
    assert seen.answers[idle] == "inactive"


def test_nothing_that_a_user_wrote_becomes_a_part_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    parameters = {**SPEC["parameters"], "cell": {"type": "categorical", "choices": [evil, "lstm"]}}
    store, _ = recorded(parameters=parameters, labels={"who": "<b>me</b>"}, budget={"trials": 30, "steps_per_trial": 3})
    _, text = written(store, tmp_path)
    assert evil not in text
    assert "<b>me</b>" not in text
    assert text.count("</script>") == 3
    figures = json.loads(re.search(r"<script type=\"application/json\" id=figures>(.*?)</script>", text)[1])  # type: ignore[index]
    assert "history" in figures


def test_ten_thousand_trials_make_no_larger_a_page(tmp_path: Path) -> None:
    store, _ = recorded(scheduler={"algorithm": "fifo"}, budget={"trials": 10_000, "steps_per_trial": 1})
    _, text = written(store, tmp_path)
    assert len(text.encode()) < 6_000_000
