"""What a ledger decides and records of reports and ends."""

from __future__ import annotations

import pytest

from hpo.trial import (
    Action,
    Checkpoint,
    Decision,
    FailureCause,
    Measurement,
    Row,
    TrialState,
)
from tests.hpo.ledger_book import Book, Listed, StopsAbove


def test_a_trial_completes_at_its_last_step_and_every_report_is_a_row_with_its_decision():
    book = Book()
    leg = book.ledger.next()
    assert leg is not None
    assert (leg.trial, leg.params, leg.generation, leg.resume, leg.inherit) == (0, {"x": 0.0}, 0, None, None)
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0)):
        action = book.ledger.report(0, step, {"loss": loss})
    assert action is Action.COMPLETE
    assert [m.step for m in book.of(Measurement)] == [d.step for d in book.of(Decision)] == [1, 2, 3]
    trial = book.trial(0)
    assert (trial.state, trial.value, trial.value_step, trial.step) == (TrialState.COMPLETED, 1.0, 2, 3)
    assert book.searcher.completed == [trial]
    assert book.ledger.trials == {}


def test_a_step_that_comes_again_gets_the_same_decision_and_counts_once():
    book = Book()
    book.ledger.next()
    assert book.ledger.report(0, 1, {"loss": 1.0}) is Action.CONTINUE
    assert book.ledger.report(0, 1, {"loss": 99.0}) is Action.CONTINUE
    assert len(book.of(Measurement)) == len(book.of(Decision)) == 1


def test_a_stopped_trial_says_at_which_rung_and_a_late_report_of_it_changes_nothing():
    book = Book()
    book.ledger.next()
    assert book.ledger.report(0, 1, {"loss": 11.0}) is Action.STOP
    assert book.ledger.report(0, 2, {"loss": 1.0}) is Action.STOP
    (event,) = book.events("trial.stopped")
    assert (event.data["rung"], event.data["cutoff"], event.data["message"]) == (1, 10.0, "above the bound")
    assert book.trial(0).state is TrialState.STOPPED
    assert len(book.of(Measurement)) == 1


def test_the_incumbent_changes_only_for_a_strictly_better_value():
    book = Book()
    book.ledger.next()
    book.ledger.next()
    for number, loss in ((0, 2.0), (1, 2.0), (1, 3.0), (0, 1.0)):
        book.ledger.report(number, book.ledger.trials[number].trial.step + 1, {"loss": loss})
    assert [(e.trial, e.data["value"]) for e in book.events("incumbent.changed")] == [(0, 2.0), (0, 1.0)]


def test_a_non_finite_objective_fails_the_trial_with_its_cause_and_keeps_the_measurement():
    book = Book()
    book.ledger.next()
    assert book.ledger.report(0, 1, {"loss": float("nan")}) is Action.STOP
    trial = book.trial(0)
    assert (trial.state, trial.cause) == (TrialState.FAILED, FailureCause.NON_FINITE)
    assert "step 1: loss is nan" in (trial.message or "")
    assert len(book.of(Measurement)) == 1
    assert book.ledger.progress.error is None


def test_a_report_without_the_objective_fails_the_study_and_names_what_was_reported():
    book = Book()
    book.ledger.next()
    assert book.ledger.report(0, 1, {"accuracy": 1.0}) is Action.STOP
    assert book.trial(0).cause is FailureCause.NO_METRIC
    assert book.ledger.progress.error is not None
    assert "objective.metric is 'loss', but it reported accuracy" in book.ledger.progress.error
    assert book.ledger.next() is None


def test_a_trainable_that_returns_without_a_report_fails_for_want_of_the_metric():
    book = Book()
    book.ledger.next()
    book.ledger.returned(0)
    assert book.trial(0).cause is FailureCause.NO_METRIC


def test_a_trainable_that_returns_early_has_completed():
    book = Book()
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 1.0})
    book.ledger.returned(0)
    assert book.trial(0).state is TrialState.COMPLETED


def test_a_study_whose_first_three_trials_fail_is_failed_and_one_that_had_an_answer_is_not():
    book = Book()
    for number in range(3):
        book.ledger.next()
        book.ledger.failed(number, FailureCause.ERROR, "ValueError: no")
    assert book.ledger.progress.error == "the first 3 trials have all failed; the last one: ValueError: no"

    book = Book()
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 1.0})
    book.ledger.returned(0)
    for number in range(1, 4):
        book.ledger.next()
        book.ledger.failed(number, FailureCause.ERROR, "ValueError: no")
    assert book.ledger.progress.error is None


def test_no_more_trials_start_than_the_budget_or_the_space_has():
    book = Book()
    assert [leg.trial for leg in iter(book.ledger.next, None)] == [0, 1, 2, 3, 4]
    book = Book(searcher=Listed(size=2))
    assert [leg.trial for leg in iter(book.ledger.next, None)] == [0, 1]


@pytest.mark.parametrize(
    ("budget", "reason"),
    [({"goal": 1.5}, "reached the goal: 1.5"), ({"total_steps": 1}, "1 steps are spent")],
)
def test_a_goal_or_a_spent_budget_ends_the_study(budget, reason):
    book = Book(**budget)
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 1.5})
    assert book.ledger.progress.finish_reason is not None
    assert reason in book.ledger.progress.finish_reason
    assert book.ledger.next() is None
    book.ledger.stop(0)
    assert book.trial(0).state is TrialState.STOPPED


def test_the_wall_clock_budget_ends_the_study():
    book = Book(wall_seconds=60)
    book.now = 59.9
    book.ledger.progress.check_clock(book.now)
    assert not book.ledger.progress.is_over
    book.now = 60.0
    book.ledger.progress.check_clock(book.now)
    assert book.ledger.progress.finish_reason == "the budget's 60 seconds are spent"


def test_a_trial_keeps_its_best_and_its_last_checkpoint_and_drops_the_others():
    book = Book(steps_per_trial=9, scheduler=None)
    book.ledger.scheduler = StopsAbove(100.0, 9)
    book.ledger.next()
    for step, loss in ((1, 5.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 1.0)):
        book.ledger.report(0, step, {"loss": loss}, checkpoint=(f"/{step}", 10))
    assert book.dropped == ["/1", "/3", "/4", "/2"]
    assert [checkpoint.step for checkpoint in book.of(Checkpoint)] == [1, 2, 3, 4, 5]


def test_everything_that_one_call_changes_is_written_at_once():
    book = Book()
    writes: list[list[Row]] = []
    book.ledger.write = lambda rows: writes.append(list(rows))
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 11.0}, checkpoint=("/1", 10))
    assert len(writes) == 2
    kinds = [type(row).__name__ for row in writes[1]]
    assert kinds == ["Measurement", "Checkpoint", "Event", "Event", "Event", "Decision", "Trial", "Event"]
