"""Calls take turns and share a write; what can't be stored is nobody's success, and a defect ends the study."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from hpo.asking import keeper
from hpo.asking.assignments import KEPT, Assignments
from hpo.asking.turns import Turns
from hpo.errors import HpoError, StoreError, StudyBusyError, TrialLeaseError
from hpo.search.random import RandomSearcher
from hpo.store.memory import MemoryStore
from hpo.trial import Action, Event, Lease, Row, StudyState
from tests.hpo.asking.bench import Bench


class Counted:
    """A `finish` that waits for leave, and counts."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Semaphore(0), threading.Semaphore(0)
        self.num_writes = 0
        self.error: Exception | None = None

    def __call__(self, defect: BaseException | None) -> None:
        self.num_writes += 1
        self.entered.release()
        assert self.leave.acquire(timeout=10)
        if (error := defect or self.error) is not None:
            raise error


def started(turns: Turns, call: Any, found: list[Any]) -> threading.Thread:
    def run() -> None:
        try:
            found.append(turns.take(call))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_for(turns: Turns, count: int) -> None:
    """Until so many calls wait for their turn."""
    pause = threading.Event()
    for _ in range(1000):
        if len(turns._waiting) == count:
            return
        pause.wait(0.01)
    raise AssertionError(f"{len(turns._waiting)} wait")


def test_calls_that_wait_share_one_write_and_one_refusal_is_one_callers() -> None:
    finish = Counted()
    turns = Turns(finish, patience_seconds=10)
    found: list[Any] = []

    def refuse() -> None:
        raise HpoError("no")

    threads = [started(turns, lambda: "first", found)]
    assert finish.entered.acquire(timeout=10)
    threads += [started(turns, lambda: "later", found) for _ in range(7)] + [started(turns, refuse, found)]
    wait_for(turns, 8)
    for _ in range(2):
        finish.leave.release()
    for thread in threads:
        thread.join(10)
    assert finish.num_writes == 2
    assert sorted(str(each) for each in found) == ["first", *["later"] * 7, "no"]


def test_whoever_waits_too_long_is_told_to_come_again() -> None:
    finish = Counted()
    turns = Turns(finish, patience_seconds=0.01)
    found: list[Any] = []
    first = started(turns, lambda: "first", found)
    assert finish.entered.acquire(timeout=10)
    with pytest.raises(StudyBusyError):
        turns.take(lambda: "never")
    finish.leave.release()
    first.join(10)
    assert (found, turns._waiting) == (["first"], [])


class Flaky(MemoryStore):
    """A store whose next write fails, before or after it was stored."""

    fails: str | None = None

    def write(self, lease: Lease, rows: Sequence[Row]) -> None:
        fails, self.fails = self.fails, None
        if fails == "before":
            raise StoreError("the database is away")
        super().write(lease, rows)
        if fails == "after":
            raise StoreError("the connection broke before the answer")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_write_that_fails_is_nobodys_success_and_is_safe_to_repeat(when: str) -> None:
    store = Flaky()
    play = Bench(store)
    store.fails = when
    with pytest.raises(StoreError):
        play.one("ann")
    trial = play.one("ann")
    assert trial.trial == 0
    store.fails = when
    with pytest.raises(StoreError):
        play.report(trial, 1)
    assert play.report(trial, 1).action is Action.CONTINUE
    assert (play.steps(), len(play.trials())) == ([(0, 1)], 1)


def test_a_defect_of_a_searcher_fails_the_study_and_stores_nothing_by_half(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Bench(MemoryStore())
    trial = play.one("ann")

    def broken(self: RandomSearcher, *_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(RandomSearcher, "observe", broken)
    with pytest.raises(ZeroDivisionError):
        play.report(trial, 1)
    assert (play.study.state, play.study.message) == (StudyState.FAILED, "ZeroDivisionError: a defect")
    assert play.steps() == []
    assert play.report(trial, 1).action is Action.STOP


def test_a_history_that_cannot_be_read_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Bench(MemoryStore())
    trial = play.one("ann")
    play.report(trial, 1)
    play.kill()
    with monkeypatch.context() as patch:

        def broken(*_: object) -> Any:
            yield from play.rows()[:3]
            raise StoreError("the database is away")

        patch.setattr(keeper, "history", broken)
        with pytest.raises(StoreError):
            play.report(trial, 2)
    assert play.report(trial, 2).action is Action.CONTINUE
    assert play.steps() == [(0, 1), (0, 2)]


def test_of_the_assignments_that_are_over_only_the_newest_are_remembered() -> None:
    known = Assignments()

    def line(kind: str, number: int, **data: object) -> Event:
        return Event(study="s", kind=kind, trial=number, data=data, recorded_at=0.0)

    for number in range(3 * KEPT):
        data = {"client_id": "ann", "lease": f"t{number}", "lease_seconds": 1.0, "generation": 0}
        known.note(line("trial.assigned", number, **data))
        if number:
            known.note(line("trial.completed", number))
    assert known.held(0, "t0").is_open
    assert known.find(3 * KEPT - 1, f"t{3 * KEPT - 1}").action is Action.COMPLETE
    with pytest.raises(TrialLeaseError):
        known.find(1, "t1")
    assert len(known._known) <= 2 * KEPT + 2
