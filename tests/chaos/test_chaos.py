"""A short selection of the kill matrix; `make chaos` runs all of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chaos.matrix import Case, run
from chaos.scene import Scene

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


@pytest.mark.parametrize(
    ("victim", "moment"),
    [
        ("node", "checkpoint"),
        ("postgres", "report"),
        pytest.param("api", "exploit", marks=pytest.mark.long),
        pytest.param("trial actor", "finish", marks=pytest.mark.long),
        pytest.param("cluster", "report", marks=pytest.mark.long),
    ],
)
def test_whoever_is_killed_the_study_ends_with_nothing_lost_or_twice(scene: Scene, victim: str, moment: str) -> None:
    faults = run(scene, Case(victim, moment, 0)).faults
    # How long it took is for the table: here it would be the machine's business.
    assert [fault for fault in faults if not fault.startswith("no step was recorded for")] == []


@pytest.mark.long
def test_a_database_that_is_away_for_a_minute_costs_nothing(scene: Scene) -> None:
    """Longer than a driver's lease: what is trained meanwhile waits in the driver, and counts."""
    outcome = run(scene, Case("postgres", "report", 1), away_seconds=60.0)
    assert [fault for fault in outcome.faults if not fault.startswith("no step was recorded for")] == []
    assert outcome.drivers == 1, "the driver that was at it goes on"
