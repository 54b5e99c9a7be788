from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpo.ledger import Ledger
from hpo.protocols import Choice, Drop, Resume, Scheduler, Start
from hpo.specfile import parse
from hpo.trial import (
    Action,
    Checkpoint,
    Decision,
    Event,
    FailureCause,
    Inheritance,
    Measurement,
    Params,
    Row,
    Trial,
    TrialState,
)


class Listed:
    """A searcher that proposes 0.0, 0.1, … and remembers what it was told."""

    def __init__(self, size: int = 100) -> None:
        self.size = size
        self.completed: list[Trial] = []

    def suggest(self, number: int) -> Params | None:
        return {"x": number / 10} if number < self.size else None

    def adopt(self, number: int, params: Params) -> None: ...

    def observe(self, measurement: Measurement) -> None: ...

    def complete(self, trial: Trial) -> None:
        self.completed.append(trial)


class StopsAbove:
    """A scheduler that stops what is above a bound, and completes at the last step."""

    def __init__(self, bound: float, last: int) -> None:
        self.bound, self.last = bound, last

    def created(self, trial: Trial) -> None: ...

    def choose(self, *, can_start: bool) -> Choice | None:
        return Start() if can_start else None

    def decide(self, measurement: Measurement) -> Decision:
        action = Action.COMPLETE if measurement.step >= self.last else Action.CONTINUE
        if measurement.metrics["loss"] > self.bound:
            action = Action.STOP
        return Decision(
            study=measurement.study,
            trial=measurement.trial,
            step=measurement.step,
            action=action,
            reason="above the bound",
            rung=measurement.step,
            cutoff=self.bound,
            recorded_at=measurement.recorded_at,
        )

    def complete(self, trial: Trial) -> None: ...


class Scripted(StopsAbove):
    """Pauses each trial at step 1; then chooses as the script says, until it is used up."""

    def __init__(self, *script: Choice | None) -> None:
        super().__init__(100.0, 9)
        self.script = list(script)

    def decide(self, measurement: Measurement) -> Decision:
        decision = super().decide(measurement)
        paused = measurement.step == 1 and measurement.generation == 0
        return (
            replace(decision, action=Action.PAUSE) if paused else replace(decision, generation=measurement.generation)
        )

    def choose(self, *, can_start: bool) -> Choice | None:
        return self.script.pop(0) if self.script else None


class Book:
    """A ledger and what it wrote."""

    def __init__(self, scheduler: Scheduler | None = None, searcher: Listed | None = None, **budget: Any) -> None:
        spec = {
            "name": "s",
            "trainable": "m:f",
            "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
            "objective": {"metric": "loss", "direction": "minimize", "goal": budget.pop("goal", None)},
            "budget": {"trials": 5, "steps_per_trial": 3, **budget},
        }
        self.rows: list[Row] = []
        self.dropped: list[str] = []
        self.now = 0.0
        self.searcher = searcher or Listed()
        self.ledger = Ledger(
            parse(spec),
            self.searcher,
            scheduler or StopsAbove(10.0, 3),
            write=self.rows.extend,
            drop_checkpoint=lambda checkpoint: self.dropped.append(checkpoint.path),
            clock=lambda: self.now,
        )

    def of(self, kind: type) -> list[Any]:
        return [row for row in self.rows if isinstance(row, kind)]

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.of(Event) if event.kind == kind]

    def trial(self, number: int) -> Trial:
        return next(trial for trial in reversed(self.of(Trial)) if trial.number == number)


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


def test_a_paused_trial_gives_its_place_away_and_goes_on_from_its_checkpoint():
    book = Book(Scripted(Start(), Start(), None, Resume(0, "its turn")))
    book.ledger.next()
    assert book.ledger.report(0, 1, {"loss": 1.0}, checkpoint=("/0", 1)) is Action.PAUSE
    assert book.trial(0).state is TrialState.PAUSED
    second = book.ledger.next()
    assert second is not None
    assert second.trial == 1
    assert book.ledger.next() is None, "the scheduler waits"
    assert book.ledger.progress.error is None
    leg = book.ledger.next()
    assert leg is not None
    assert (leg.trial, leg.resume, leg.inherit) == (0, "/0", None)
    assert book.trial(0).state is TrialState.RUNNING
    assert book.ledger.report(0, 1, {"loss": 99.0}) is Action.CONTINUE, "the step that it repeats counts once"
    assert book.ledger.report(0, 2, {"loss": 0.5}) is Action.CONTINUE


def test_an_inheritance_is_an_edge_of_the_family_tree_and_the_donors_checkpoint_stays_until_it_is_not_needed():
    book = Book(Scripted(Start(), Start(), Resume(0, "worse", donor=1, params={"x": 0.9}), Resume(1)))
    book.ledger.next()
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 5.0}, checkpoint=("/0-1", 1))
    book.ledger.report(1, 1, {"loss": 1.0}, checkpoint=("/1-1", 1))
    leg = book.ledger.next()
    assert leg is not None
    assert (leg.trial, leg.generation, leg.params, leg.resume, leg.inherit) == (0, 1, {"x": 0.9}, None, "/1-1")
    (edge,) = book.of(Inheritance)
    assert (edge.trial, edge.generation, edge.donor, edge.donor_generation, edge.step) == (0, 1, 1, 0, 1)
    trial = book.trial(0)
    assert (trial.parent, trial.generation, trial.step, trial.params) == (1, 1, 1, {"x": 0.9})
    assert (trial.value, trial.best_params) == (5.0, {"x": 0.0}), "its best value is of its old configuration"
    book.ledger.next()
    book.ledger.report(1, 2, {"loss": 0.9}, checkpoint=("/1-2", 1))
    assert "/1-1" not in book.dropped, "trial 0 has nothing else to start from"
    assert book.ledger.report(0, 1, {"loss": 3.0}, generation=0) is Action.STOP, "a report of its former life"
    book.ledger.report(0, 2, {"loss": 0.8}, generation=1, checkpoint=("/0-2", 1))
    assert "/1-1" in book.dropped
    trial = book.trial(0)
    assert (trial.value, trial.value_generation, trial.best_params) == (0.8, 1, {"x": 0.9})


def test_without_a_checkpoint_of_the_donors_a_trial_goes_on_with_its_own_weights_and_says_why():
    book = Book(Scripted(Start(), Start(), Resume(0, "worse", donor=1, params={"x": 0.9})))
    book.ledger.next()
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 5.0})
    leg = book.ledger.next()
    assert leg is not None
    assert (leg.trial, leg.generation, leg.params) == (0, 0, {"x": 0.0})
    (event,) = book.events("trial.resumed")
    assert event.data["message"] == "trial 1 has no checkpoint to inherit"


def test_a_dropped_trial_is_stopped_with_the_schedulers_reason():
    book = Book(Scripted(Start(), Drop(0, "not among the best"), Start()))
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 1.0})
    leg = book.ledger.next()
    assert leg is not None
    assert leg.trial == 1
    assert (book.trial(0).state, book.trial(0).message) == (TrialState.STOPPED, "not among the best")


def test_a_scheduler_that_waits_for_nothing_fails_the_study_instead_of_hanging():
    book = Book(Scripted(Start()))
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 1.0})
    assert book.ledger.next() is None
    assert "waits for ever" in (book.ledger.progress.error or "")


def test_what_a_dead_driver_was_training_comes_first_and_from_its_last_checkpoint():
    book = Book()
    book.ledger.next()
    book.ledger.next()
    book.ledger.report(1, 1, {"loss": 1.0}, checkpoint=("/1", 1))
    assert book.ledger.requeue() == [0, 1]
    legs = [book.ledger.next() for _ in range(3)]
    assert [(leg.trial, leg.resume) for leg in legs if leg] == [(0, None), (1, "/1"), (2, None)]
