"""The reference says something of everything, and of nothing that isn't there."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.generator.reference import commands, errors, events, rest, settings, specification
from hpo.events import KINDS
from hpo.store.memory import MemoryStore
from hpo.trial import Event, StudyState, TrialState
from tests.hpo.steered_play import Play
from tests.hpo.test_replay import SCHEDULERS, SEARCHERS, study

ROOT = Path(__file__).resolve().parents[2]
PARTS = (specification, rest, commands, settings, errors, events)
KIND = re.compile(r"(study|trial|job|incumbent|command|checkpoint)\.[a-z_]+")


@pytest.mark.parametrize("part", PARTS, ids=[part.__name__.rpartition(".")[2] for part in PARTS])
def test_everything_has_a_description(part: Any):
    assert list(part.gaps()) == []


def test_every_route_has_its_place():
    page = rest.page()
    assert [path for method, path, _ in rest.routes() if f"### {method} {path}\n" not in page] == []


def test_every_kind_of_event_that_the_code_writes_is_listed_and_no_other():
    said = set(_words(ROOT / "hpo")) | {f"study.{state}" for state in StudyState}
    said |= {f"trial.{state}" for state in TrialState if state.is_final}
    assert said == set(KINDS)


def test_what_the_code_reads_is_a_kind_of_event():
    assert set(_words(ROOT / "api")) <= set(KINDS)


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "pbt", "median"])
def test_events_carry_the_data_that_are_listed(scheduler: str):
    play = Play(study(SCHEDULERS[scheduler], SEARCHERS["random"], trials=30), random.Random(scheduler))
    for turn in range(400):
        play.turn(commands=turn < 300)
    written = [row for row in play.rows if isinstance(row, Event)]

    assert len({event.kind for event in written}) >= 8
    assert [event for event in written if _misses(event) or _adds(event)] == []


def test_a_studys_own_events_carry_the_data_that_are_listed():
    store = MemoryStore()
    spec = study(SCHEDULERS["asha"], SEARCHERS["random"], trials=30)
    store.create_study(spec)
    store.new_attempt(spec.name, job_prefix="job")
    for state in (StudyState.RUNNING, StudyState.PAUSED, StudyState.QUEUED, StudyState.FAILED):
        store.set_study_state(spec.name, state, message="so it is")
    written = store.events(spec.name)

    assert [event.kind for event in written] == [
        "study.created", "job.submitted", "study.running", "study.paused", "study.queued", "study.failed",
    ]  # fmt: skip
    assert [event for event in written if _misses(event) or _adds(event)] == []


def _words(folder: Path) -> Iterator[str]:
    """What looks like a kind of event among the constants of the code."""
    for path in folder.rglob("*.py"):
        if path != ROOT / "hpo" / "events.py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and KIND.fullmatch(node.value):
                    yield node.value


def _misses(event: Event) -> set[str]:
    """Keys that must be there."""
    return {key for key in KINDS[event.kind].data if not key.endswith("?")} - event.data.keys()


def _adds(event: Event) -> set[str]:
    """Keys that nobody speaks of."""
    return event.data.keys() - {key.rstrip("?") for key in KINDS[event.kind].data}
