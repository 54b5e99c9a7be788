"""What a ledger does when people ask: each command's effects and its `command.done` come in one write."""

from __future__ import annotations

from typing import Any

import pytest

from hpo.ledger import Ledger
from hpo.orders import Ending
from hpo.protocols import Start
from hpo.replay import Replay
from hpo.steering import Command, Verb
from hpo.trial import Action, Event, FailureCause, Params, Row, TrialState
from tests.hpo.ledger_book import Book, Listed, Scripted, StopsAbove


class Adopting(Listed):
    """Remembers what it was told to adopt."""

    def __init__(self, size: int = 100) -> None:
        super().__init__(size)
        self.adopted: list[tuple[int, Params]] = []

    def adopt(self, number: int, params: Params) -> None:
        self.adopted.append((number, params))


def obey(book: Book, verb: Verb, **data: Any) -> list[Row]:
    """What the command wrote, which must be one write."""
    writes: list[list[Row]] = []
    former = book.ledger.write

    def write(rows: Any) -> None:
        writes.append(list(rows))
        former(rows)

    book.ledger.write = write
    book.ledger.orders.obey(Command(study="s", verb=verb, data=data, who="ann", requested_at=0.0, id=7))
    book.ledger.write = former
    assert len(writes) <= 1
    return writes[0] if writes else []


def enqueue(book: Book, *params: Params, retry_of: list[int | None] | None = None) -> list[Row]:
    return obey(book, Verb.ENQUEUE, params=list(params), **({"retry_of": retry_of} if retry_of else {}))


def kinds(rows: list[Row]) -> list[str]:
    return [row.kind if isinstance(row, Event) else type(row).__name__ for row in rows]


def outcome(rows: list[Row]) -> str:
    [done] = [row for row in rows if isinstance(row, Event) and row.kind == "command.done"]
    assert (done.data["command"], done.data["who"]) == (7, "ann")
    return str(done.data["outcome"])


# -- enqueue ----------------------------------------------------------------------------------------------
def test_what_is_enqueued_comes_before_all_that_is_proposed_and_is_told_to_the_searcher() -> None:
    book = Book(searcher=Adopting())
    book.ledger.next()
    rows = enqueue(book, {"x": 0.7}, {"x": 0.9}, retry_of=[None, 0])
    assert kinds(rows) == ["trial.enqueued", "trial.enqueued", "command.done"]
    assert outcome(rows) == "2 configurations wait for workers"
    legs = [book.ledger.next() for _ in range(3)]
    assert [(leg.trial, leg.params) for leg in legs if leg] == [(1, {"x": 0.7}), (2, {"x": 0.9}), (3, {"x": 0.3})]
    assert isinstance(book.searcher, Adopting)
    assert book.searcher.adopted == [(1, {"x": 0.7}), (2, {"x": 0.9})]
    created = [event.data for event in book.events("trial.created")]
    assert created[1:3] == [
        {"params": {"x": 0.7}, "enqueued": True, "retry_of": None},
        {"params": {"x": 0.9}, "enqueued": True, "retry_of": 0},
    ]
    assert "enqueued" not in created[3]


def test_what_lost_its_workers_goes_on_before_what_is_enqueued() -> None:
    book = Book()
    book.ledger.next()
    book.ledger.preempt(0)
    enqueue(book, {"x": 0.7})
    legs = [book.ledger.next() for _ in range(2)]
    assert [leg.trial for leg in legs if leg] == [0, 1]


def test_what_is_enqueued_counts_against_the_budget_and_waits_until_it_is_raised() -> None:
    book = Book(trials=2)
    enqueue(book, {"x": 0.7}, {"x": 0.8}, {"x": 0.9})
    assert [leg.params["x"] for leg in (book.ledger.next(), book.ledger.next()) if leg] == [0.7, 0.8]
    assert book.ledger.next() is None
    obey(book, Verb.CHANGE, changes={"budget.trials": 3})
    leg = book.ledger.next()
    assert leg is not None
    assert (leg.trial, leg.params) == (2, {"x": 0.9})


def test_what_is_beyond_the_budget_is_said_when_it_is_enqueued() -> None:
    book = Book(trials=4)
    book.ledger.next()
    assert enqueue(book, {"x": 0.7}, {"x": 0.8})[-1].data["outcome"] == "2 configurations wait for workers"
    said = enqueue(book, {"x": 0.9}, {"x": 1.0}, {"x": 0.1})[-1].data["outcome"]
    assert said == (
        "3 configurations wait for workers; 2 of them are beyond budget.trials, which is 4: raise it before the study "
        "ends, or they are dropped"
    )


def test_a_study_ends_with_its_budget_whatever_waits() -> None:
    book = Book(StopsAbove(10.0, 1), trials=1)
    enqueue(book, {"x": 0.7}, {"x": 0.8})
    book.ledger.next()
    assert not book.ledger.is_done
    book.ledger.report(0, 1, {"loss": 1.0})
    assert book.ledger.is_done


def test_a_configuration_is_tried_also_when_the_space_has_no_more() -> None:
    """A failed point of a grid is retried when all points have been tried."""
    book = Book(StopsAbove(10.0, 1), Adopting(size=1))
    book.ledger.next()
    assert book.ledger.next() is None
    assert book.ledger.is_exhausted
    enqueue(book, {"x": 0.0}, retry_of=[0])
    book.ledger.failed(0, FailureCause.ERROR, "bad luck")
    assert not book.ledger.is_done
    leg = book.ledger.next()
    assert leg is not None
    assert (leg.trial, leg.params) == (1, {"x": 0.0})
    book.ledger.report(1, 1, {"loss": 1.0})
    assert book.ledger.is_done


# -- a trial is stopped -----------------------------------------------------------------------------------
@pytest.mark.parametrize("is_paused", [False, True])
def test_a_live_trial_is_stopped_where_it_is_and_its_workers_are_told(is_paused: bool) -> None:
    book = Book(Scripted(Start(), Start(), Start()))
    left: list[int] = []
    book.ledger.orders.on_stop = left.append
    book.ledger.next()
    if is_paused:
        assert book.ledger.report(0, 1, {"loss": 1.0}) is Action.PAUSE
    rows = obey(book, Verb.STOP_TRIAL, trial=0)
    assert kinds(rows) == ["command.done", "Trial", "trial.stopped"]
    assert outcome(rows) == "the trial is stopped"
    assert (book.trial(0).state, book.trial(0).message) == (TrialState.STOPPED, "stopped by ann")
    assert (left, book.ledger.at_work, [trial.number for trial in book.searcher.completed]) == ([0], frozenset(), [0])
    assert book.ledger.report(0, 2, {"loss": 1.0}) is Action.STOP, "a late report counts no more"
    leg = book.ledger.next()
    assert leg is not None
    assert leg.trial == 1


def test_a_trial_that_waits_for_new_workers_is_stopped_and_never_handed_out() -> None:
    book = Book()
    book.ledger.next()
    book.ledger.preempt(0)
    obey(book, Verb.STOP_TRIAL, trial=0)
    leg = book.ledger.next()
    assert leg is not None
    assert leg.trial == 1


def test_to_stop_a_trial_that_has_ended_meanwhile_is_done_without_an_effect() -> None:
    book = Book(StopsAbove(10.0, 1))
    book.ledger.orders.on_stop = lambda number: pytest.fail("nobody is at it")
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 1.0})
    rows = obey(book, Verb.STOP_TRIAL, trial=0)
    assert (kinds(rows), outcome(rows)) == (["command.done"], "the trial had ended before")
    assert book.trial(0).state is TrialState.COMPLETED


# -- changes ----------------------------------------------------------------------------------------------
def test_a_larger_budget_lets_more_trials_start_and_the_engine_hears_of_it() -> None:
    book = Book(trials=1)
    changed: list[int] = []
    book.ledger.orders.on_change = lambda: changed.append(book.ledger.spec.budget.trials)
    book.ledger.next()
    assert book.ledger.next() is None
    rows = obey(book, Verb.CHANGE, changes={"budget.trials": 2})
    assert (kinds(rows), outcome(rows)) == (["study.changed", "command.done"], "the study runs by it")
    assert book.events("study.changed")[0].data == {"changes": {"budget.trials": 2}, "who": "ann"}
    assert changed == [2]
    assert book.ledger.next() is not None


def test_a_smaller_budget_lets_no_more_start_than_have_begun() -> None:
    book = Book(trials=5)
    book.ledger.next()
    book.ledger.next()
    obey(book, Verb.CHANGE, changes={"budget.trials": 1})
    assert (book.ledger.next(), book.ledger.is_done) == (None, False)
    assert sorted(book.ledger.trials) == [0, 1], "what has begun goes on"


def test_a_budget_of_steps_that_is_lowered_to_what_is_spent_ends_the_study() -> None:
    book = Book(total_steps=100)
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 1.0})
    book.ledger.report(0, 2, {"loss": 1.0})
    obey(book, Verb.CHANGE, changes={"budget.total_steps": 3})
    assert not book.ledger.is_done
    obey(book, Verb.CHANGE, changes={"budget.total_steps": 2})
    assert book.ledger.progress.finish_reason == "the budget's 2 steps are spent"
    raised = Book(total_steps=2)
    raised.ledger.next()
    obey(raised, Verb.CHANGE, changes={"budget.total_steps": None})
    for step in (1, 2):
        raised.ledger.report(0, step, {"loss": 1.0})
    assert raised.ledger.progress.finish_reason is None


# -- pause, stop, cancel ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("verb", "past"), [(Verb.PAUSE, "paused"), (Verb.STOP, "stopped"), (Verb.CANCEL, "cancelled")])
def test_nothing_more_is_handed_out_and_the_command_is_done_only_with_the_study(verb: Verb, past: str) -> None:
    book = Book()
    book.ledger.next()
    before = len(book.rows)
    assert obey(book, verb) == []
    assert (book.ledger.next(), book.ledger.is_done) == (None, True)
    assert book.ledger.progress.finish_reason == f"{past} by ann"
    ending = book.ledger.orders.ending
    assert ending is not None
    assert (ending.verb, ending.command and ending.command.id) == (verb, 7)
    assert book.ledger.orders.is_pausing == (verb is Verb.PAUSE)
    assert (len(book.rows), list(book.ledger.trials)) == (before, [0]), "trials stay as they are"


def test_the_first_reason_to_end_counts() -> None:
    book = Book(StopsAbove(10.0, 3), goal=1.0)
    book.ledger.next()
    book.ledger.orders.end(Ending(Verb.PAUSE, "the disk is full"))
    obey(book, Verb.CANCEL)
    assert book.ledger.orders.is_pausing
    assert book.ledger.progress.finish_reason == "the disk is full"
    reached = Book(StopsAbove(10.0, 3), goal=1.0)
    reached.ledger.next()
    reached.ledger.report(0, 1, {"loss": 0.5})
    obey(reached, Verb.PAUSE)
    assert (reached.ledger.orders.ending, reached.ledger.orders.is_pausing) == (None, False)


# -- a pause takes no time --------------------------------------------------------------------------------
def moment(kind: str, at: float) -> Event:
    return Event(study="s", kind=kind, recorded_at=at)


@pytest.mark.parametrize(("history", "started_at", "ends_at"), [
    ([("running", 100.0)], 100.0, 200.0),
    ([("running", 100.0), ("paused", 150.0), ("queued", 900.0), ("running", 1000.0)], 100.0, 1050.0),
    ([("running", 100.0), ("paused", 150.0), ("running", 250.0), ("paused", 260.0), ("running", 270.0)], 100.0, 310.0),
    ([("paused", 10.0), ("queued", 900.0), ("running", 1000.0)], 1000.0, 1100.0),
], ids=["never", "once", "twice", "before it began"])  # fmt: skip
def test_a_study_has_its_seconds_whatever_it_was_paused(
    history: list[tuple[str, float]], started_at: float, ends_at: float
) -> None:
    spec = Book(wall_seconds=100).ledger.spec
    ledger = Ledger(spec, Listed(), StopsAbove(10.0, 3), write=lambda rows: None, started_at=started_at)
    Replay(ledger).run([moment(f"study.{state}", at) for state, at in history])
    ledger.progress.check_clock(ends_at - 0.001)
    assert not ledger.progress.is_over
    ledger.progress.check_clock(ends_at)
    assert ledger.progress.finish_reason == "the budget's 100 seconds are spent"
