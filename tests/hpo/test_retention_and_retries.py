"""Trials that fail go on as the specification says, and checkpoints keep to the disk's budget."""

from __future__ import annotations

from typing import Any

import pytest

from hpo import registry
from hpo.ledger import Ledger
from hpo.replay import Replay
from hpo.specfile import parse
from hpo.trial import Event, FailureCause, Row, TrialState

MEGABYTE = 1_000_000


class Book:
    """A ledger that writes into a list, and what it has dropped."""

    def __init__(self, **changes: Any) -> None:
        data = {
            "name": "s",
            "trainable": "a.b:c",
            "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": 5, "steps_per_trial": 2},
            **changes,
        }
        self.spec = parse(data)
        self.rows: list[Row] = []
        self.dropped: list[str] = []
        self.ledger = self.new()

    def new(self) -> Ledger:
        searcher, scheduler = registry.pair(self.spec)
        return Ledger(
            self.spec, searcher, scheduler, write=self.rows.extend, clock=lambda: 1.0,
            drop_checkpoint=lambda checkpoint: self.dropped.append(checkpoint.path),
        )  # fmt: skip

    def train(self, losses: list[float], size: int = MEGABYTE) -> int:
        leg = self.ledger.next()
        assert leg is not None
        for step, loss in enumerate(losses, 1):
            self.ledger.report(leg.trial, step, {"loss": loss}, checkpoint=(f"{leg.trial}/{step}", size))
        return leg.trial

    def kinds(self, kind: str) -> list[Event]:
        return [row for row in self.rows if isinstance(row, Event) and row.kind == kind]


def test_a_trial_that_raised_goes_on_from_its_checkpoint_as_often_as_it_may() -> None:
    book = Book(retry={"errors": 2})
    trial = book.train([1.0])
    for count in (1, 2):
        book.ledger.failed(trial, FailureCause.ERROR, "ValueError: no")
        assert [event.data["count"] for event in book.kinds("trial.retried")][-1] == count
        leg = book.ledger.next()
        assert leg is not None
        assert (leg.trial, leg.resume) == (trial, "0/1")
    book.ledger.failed(trial, FailureCause.ERROR, "ValueError: no")
    assert trial not in book.ledger.trials
    assert book.kinds("trial.failed")[0].data["cause"] == "error"


@pytest.mark.parametrize("cause", [FailureCause.NON_FINITE, FailureCause.INFEASIBLE, FailureCause.PREEMPTED])
def test_what_would_fail_again_is_not_tried_again(cause: FailureCause) -> None:
    book = Book(retry={"errors": 2})
    trial = book.train([1.0])
    book.ledger.failed(trial, cause, "no")
    assert trial not in book.ledger.trials


def test_a_replay_knows_how_often_a_trial_was_tried() -> None:
    book = Book(retry={"errors": 1})
    trial = book.train([1.0])
    book.ledger.failed(trial, FailureCause.ERROR, "no")
    history = list(book.rows)
    book.ledger = book.new()
    replay = Replay(book.ledger)
    replay.run(history)
    assert replay.num_differences == 0
    assert book.ledger.requeue() == [trial]
    leg = book.ledger.next()
    assert leg is not None
    assert leg.trial == trial
    book.ledger.failed(trial, FailureCause.ERROR, "no")
    assert book.ledger.trials.get(trial) is None


def test_the_worst_trials_checkpoints_go_first_and_the_best_ones_stay() -> None:
    """Room for three checkpoints of a megabyte: of five trials with one each, the two worst lose theirs."""
    book = Book(budget={"trials": 5, "steps_per_trial": 1, "disk_gigabytes": 0.003})
    for loss in (0.5, 0.1, 0.9, 0.7, 0.3):
        book.train([loss])
    assert book.dropped == ["2/1", "3/1"]
    assert [(event.trial, event.data["bytes"]) for event in book.kinds("checkpoint.evicted")] == [
        (2, MEGABYTE), (3, MEGABYTE)
    ]  # fmt: skip


def test_the_incumbents_checkpoint_stays_whatever_its_size() -> None:
    book = Book(budget={"trials": 5, "steps_per_trial": 1, "disk_gigabytes": 0.0005})
    for loss in (0.5, 0.1, 0.9):
        book.train([loss])
    assert set(book.dropped) == {"0/1", "2/1"}


def test_what_a_trial_at_work_needs_is_not_dropped() -> None:
    book = Book(budget={"trials": 5, "steps_per_trial": 2, "disk_gigabytes": 0.0005})
    book.train([0.9])
    book.train([0.1, 0.2])
    assert "0/1" not in book.dropped
    assert book.ledger.trials[0].trial.state is TrialState.RUNNING


def test_without_a_budget_nothing_goes_but_what_has_a_successor() -> None:
    book = Book()
    for _ in range(5):
        book.train([0.5, 0.4])
    assert book.dropped == [f"{trial}/1" for trial in range(5)]
    assert not book.kinds("checkpoint.evicted")
