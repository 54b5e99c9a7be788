"""ASHA, promotion: the conformance suite, and traces worked by hand."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from conformance.scheduler import SchedulerConformance, study
from conformance.scheduler_play import begun, ended, report

from hpo import registry
from hpo.protocols import Drop, Resume, Scheduler, Start
from hpo.trial import Action


class TestAshaPromotionScheduler(SchedulerConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "asha", "variant": "promotion"}
    bytes_per_ended_trial = 3 * 20  # a pair in each of the rungs 1 and 3, and a little

    @pytest.mark.parametrize("groups", [1, 3, 10])
    def test_about_a_third_of_each_rung_goes_on(self, groups: int) -> None:
        play = self.play(groups=groups, num_trials=300, faults=False)
        came = {rung: sum(d.rung == rung for d in play.decisions) for rung in (1, 3)}
        completed = sum(d.action is Action.COMPLETE for d in play.decisions)
        # Trials that were promoted early, among few, come on top of the third.
        assert came[1] == 300
        assert 100 <= came[3] <= 130
        assert came[3] // 3 <= completed <= came[3] // 2


def promotion(*, factor: int = 2, steps: int = 8) -> Scheduler:
    options = {"algorithm": "asha", "variant": "promotion", "reduction_factor": factor}
    return registry.scheduler(study(options, steps=steps))


def train(scheduler: Scheduler, number: int, step: int, score: float) -> None:
    if step == 1:
        scheduler.created(begun(number))
    assert scheduler.decide(report(number, step, score)).action is Action.PAUSE


def chosen(scheduler: Scheduler, *, can_start: bool = True) -> Any:
    choice = scheduler.choose(can_start=can_start)
    return (type(choice), choice.trial) if isinstance(choice, Resume | Drop) else choice


def test_a_trace_worked_by_hand() -> None:
    """Minimise, rungs 1, 2, 4, the best floor(n/2) go on."""
    scheduler = promotion()
    train(scheduler, 0, 1, 5.0)
    assert chosen(scheduler) == Start()  # floor(1/2) = 0
    train(scheduler, 1, 1, 3.0)
    assert chosen(scheduler) == (Resume, 1)  # 3 [5]
    assert chosen(scheduler) == Start()
    train(scheduler, 2, 1, 4.0)
    assert chosen(scheduler) == Start()  # 3 [4 5]: the best one was promoted already
    train(scheduler, 3, 1, 6.0)
    assert chosen(scheduler) == (Resume, 2)  # 3 4 [5 6]
    train(scheduler, 1, 2, 9.0)
    assert chosen(scheduler) == Start()  # the first at rung 2
    train(scheduler, 2, 2, 8.0)
    assert chosen(scheduler) == (Resume, 2)  # 8 [9]
    assert chosen(scheduler, can_start=False) is None  # trial 2 may change something yet
    train(scheduler, 2, 4, 7.0)
    rest = [chosen(scheduler, can_start=False) for _ in range(5)]
    assert rest == [(Drop, 2), (Drop, 1), (Drop, 0), (Drop, 3), None]


def test_the_top_rung_is_served_first_and_its_best_trial_first() -> None:
    scheduler = promotion(factor=3, steps=27)
    for number, score in enumerate([9.0, 1.0, 2.0, 3.0, 4.0, 5.0]):
        train(scheduler, number, 1, score)
    assert [chosen(scheduler) for _ in range(3)] == [(Resume, 1), (Resume, 2), Start()]
    for number, score in enumerate([6.0, 7.0, 8.0], start=6):
        train(scheduler, number, 1, score)
    # Nine trials: a third place at rung 1, for trial 3. Meanwhile trials 1, 2 come to rung 3, and a third one.
    train(scheduler, 1, 3, 0.5)
    train(scheduler, 2, 3, 0.4)
    assert chosen(scheduler) == (Resume, 3)
    train(scheduler, 3, 3, 0.6)
    for number in (9, 10, 11):
        train(scheduler, number, 1, 10.0)
    assert chosen(scheduler) == (Resume, 2)  # rung 3, although trial 4 could go on from rung 1
    assert chosen(scheduler) == (Resume, 4)


def test_a_trial_that_ended_while_it_waited_is_not_promoted_and_keeps_its_place() -> None:
    scheduler = promotion()
    for number, score in enumerate([1.0, 2.0, 3.0]):
        train(scheduler, number, 1, score)
    scheduler.complete(ended(0, 1))
    assert chosen(scheduler) == Start()  # [1] 2 3: the one place is that of the trial that ended
    train(scheduler, 3, 1, 4.0)
    assert chosen(scheduler) == (Resume, 1)


def test_a_better_latecomer_takes_the_place_of_one_that_was_not_promoted_yet() -> None:
    scheduler = promotion()
    for number, score in enumerate([2.0, 3.0, 1.0]):
        train(scheduler, number, 1, score)
    assert chosen(scheduler) == (Resume, 2)  # one place of three: not trial 0, the best of the first two
    assert chosen(scheduler) == Start()


def test_equal_trials_go_on_by_age() -> None:
    scheduler = promotion()
    for number in (0, 1, 2, 3):
        train(scheduler, number, 1, 1.0)
    assert [chosen(scheduler) for _ in range(3)] == [(Resume, 0), (Resume, 1), Start()]


def test_a_trial_that_skips_a_rung_waits_at_the_highest_that_it_passed() -> None:
    scheduler = promotion()
    scheduler.created(begun(0))
    decision = scheduler.decide(report(0, 5, 1.0))
    assert (decision.action, decision.rung) == (Action.PAUSE, 4)
    train(scheduler, 1, 1, 2.0)
    assert chosen(scheduler) == Start()


def test_reasons_are_for_people() -> None:
    scheduler = promotion()
    train(scheduler, 0, 1, 0.5)
    scheduler.created(begun(1))
    decision = scheduler.decide(report(1, 1, 0.25))
    assert decision.reason == "rung 1: 0.25 is number 1 of 2; the best 1 go on"
    assert (decision.rung, decision.cutoff) == (1, 0.25)
    assert scheduler.choose(can_start=True) == Resume(1, "rung 1: 0.25 is among the best 1 of 2")
    scheduler.complete(ended(1, 1))
    assert scheduler.choose(can_start=False) == Drop(
        0, "rung 1: 0.5 is not among the best 1 of 2, and no more will come"
    )
