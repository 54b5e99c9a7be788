"""The genetic scheduler: the conformance suite, and traces worked by hand."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import pytest
from conformance.scheduler import SchedulerConformance, study
from conformance.scheduler_play import begun, report

from hpo import registry
from hpo.protocols import Drop, Resume, Scheduler, Start
from hpo.trial import Action

LEARNT = 4500
"""Bytes a trial: a point, its costs, and a row of the process's matrix, until that has its full 400 rows."""


class TestGeneticScheduler(SchedulerConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "genetic"}
    bytes_per_ended_trial = LEARNT

    @pytest.mark.parametrize("groups", [1, 3, 10])
    def test_whoever_goes_on_is_among_the_best_at_that_moment(self, groups: int) -> None:
        """Of the best third, or of the best 1/1.5 where a rung doesn't foretell the next at all: a is .25 or more."""
        play = self.play(groups=groups, num_trials=300, faults=False)
        places = [
            (int(found["place"]), int(found["count"]))
            for each in play.decisions
            if (found := re.search(r"number (?P<place>\d+) of (?P<count>\d+); goes on", each.reason or ""))
        ]
        assert len(places) > 10
        assert all(place <= count / 1.5 for place, count in places)
        completed = sum(d.action is Action.COMPLETE for d in play.decisions)
        assert 300 // 9 <= completed <= 250


class TestGeneticSchedulerWithoutResuming(SchedulerConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "genetic", "resumable": False}
    bytes_per_ended_trial = LEARNT

    def test_nothing_pauses(self) -> None:
        assert {d.action for d in self.play().decisions} == {Action.CONTINUE, Action.COMPLETE}


def test_a_rung_that_foretells_the_next_lets_fewer_through() -> None:
    """Rungs 1, 2, 4 of 8 with the factor 2: of 24 trials, the next rung says the same, or the opposite."""

    def gone_on(sign: float) -> int:
        scheduler = genetic()
        for number in range(24):
            train(scheduler, number, 1, float(number))
        step = dict.fromkeys(range(24), 1)
        while isinstance(choice := scheduler.choose(can_start=True), Resume):
            step[choice.trial] *= 2
            train(scheduler, choice.trial, step[choice.trial], sign * choice.trial)
        return sum(reached > 1 for reached in step.values())

    assert gone_on(1.0) < gone_on(-1.0)


def genetic(*, factor: int = 2, steps: int = 8, **more: Any) -> Scheduler:
    return registry.scheduler(study({"algorithm": "genetic", "reduction_factor": factor, **more}, steps=steps))


def train(scheduler: Scheduler, number: int, step: int, score: float) -> Action:
    if step == 1:
        scheduler.created(begun(number))
    return scheduler.decide(report(number, step, score)).action


def chosen(scheduler: Scheduler, *, can_start: bool = True) -> Any:
    choice = scheduler.choose(can_start=can_start)
    return (type(choice), choice.trial) if isinstance(choice, Resume | Drop) else choice


def test_among_few_the_best_half_goes_on_by_what_was_seen() -> None:
    """Minimise, rungs 1, 2, 4; fewer than six at a rung are ranked without the model."""
    scheduler = genetic()
    assert train(scheduler, 0, 1, 5.0) is Action.PAUSE  # floor(1/2) = 0
    assert chosen(scheduler) == Start()
    assert train(scheduler, 1, 1, 6.0) is Action.PAUSE  # [5] 6: trial 0 may go on, not this one
    assert chosen(scheduler) == (Resume, 0)
    assert chosen(scheduler) == Start()
    assert train(scheduler, 2, 1, 7.0) is Action.PAUSE  # [5] 6 7
    assert chosen(scheduler) == Start()
    assert train(scheduler, 3, 1, 6.5) is Action.PAUSE  # [5 6] 6.5 7
    assert chosen(scheduler) == (Resume, 1)


def test_one_that_would_go_on_at_once_does_not_pause() -> None:
    scheduler = genetic()
    train(scheduler, 0, 1, 5.0)
    assert train(scheduler, 1, 1, 3.0) is Action.CONTINUE
    assert chosen(scheduler) == Start()


def test_when_no_trial_can_start_the_best_is_brought_to_its_last_step() -> None:
    """Three trials, reduction factor 4: none is among the best quarter, but one is finished all the same."""
    scheduler = genetic(factor=4, steps=16)
    for number, score in enumerate((5.0, 3.0, 4.0)):
        assert train(scheduler, number, 1, score) is Action.PAUSE
    assert chosen(scheduler, can_start=False) == (Resume, 1)
    assert chosen(scheduler, can_start=False) is None  # trial 1 is being trained
    assert train(scheduler, 1, 4, 3.0) is Action.PAUSE
    assert chosen(scheduler, can_start=False) == (Resume, 1)
    assert train(scheduler, 1, 16, 2.0) is Action.COMPLETE


def test_where_trials_cannot_resume_each_is_trained_to_its_end() -> None:
    scheduler = genetic(resumable=False)
    scheduler.created(begun(0))
    assert [scheduler.decide(report(0, step, 9.0)).action for step in (1, 2, 4)] == [Action.CONTINUE] * 3
    assert scheduler.decide(report(0, 8, 9.0)).action is Action.COMPLETE
