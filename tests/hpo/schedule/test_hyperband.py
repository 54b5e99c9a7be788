"""HyperBand: the conformance suite, brackets and a trace worked by hand."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from conformance.scheduler import SchedulerConformance, study
from conformance.scheduler_play import begun, ended, report

from hpo import registry
from hpo.protocols import Drop, Resume, Scheduler, Start
from hpo.schedule.hyperband import Plan, plans
from hpo.trial import Action

CONTINUE, PAUSE, COMPLETE = Action.CONTINUE, Action.PAUSE, Action.COMPLETE


class TestHyperbandScheduler(SchedulerConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "hyperband"}

    @pytest.mark.parametrize("groups", [1, 3, 10])
    def test_two_whole_rounds_halve_as_planned(self, groups: int) -> None:
        """Of 9 steps: 9, 5 and 3 trials; 9 -> 3 -> 1, 5 -> 1, and 3 that run through."""
        play = self.play(groups=groups, num_trials=2 * (9 + 5 + 3), faults=False)
        assert sum(d.rung == 1 for d in play.decisions) == 2 * 9
        assert sum(d.rung == 3 for d in play.decisions) == 2 * (3 + 5)
        assert sum(d.action is COMPLETE for d in play.decisions) == 2 * (1 + 1 + 3)
        assert sum(isinstance(choice, Drop) for choice in play.choices) == 2 * (6 + 2 + 4)


class TestHyperbandSchedulerWithALongLastLeg(SchedulerConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "hyperband", "grace_steps": 2, "reduction_factor": 2}
    steps_per_trial = 13


@pytest.mark.parametrize(
    ("grace", "factor", "steps", "expected"),
    [
        (1, 3, 1, [(0, 1, ())]),
        (1, 3, 2, [(0, 1, ())]),
        (1, 3, 3, [(1, 3, (1,)), (0, 2, ())]),
        (1, 3, 9, [(2, 9, (1, 3)), (1, 5, (3,)), (0, 3, ())]),
        # Li et al. 2018, section 3.1: R = 81, eta = 3; n by the formula of Algorithm 1.
        (1, 3, 81, [(4, 81, (1, 3, 9, 27)), (3, 34, (3, 9, 27)), (2, 15, (9, 27)), (1, 8, (27,)), (0, 5, ())]),
        (1, 3, 100, [(4, 81, (1, 3, 9, 27)), (3, 34, (3, 9, 27)), (2, 15, (9, 27)), (1, 8, (27,)), (0, 5, ())]),
        (2, 4, 40, [(2, 16, (2, 8)), (1, 6, (8,)), (0, 3, ())]),
        (5, 2, 9, [(0, 1, ())]),
        (5, 2, 10, [(1, 2, (5,)), (0, 2, ())]),
    ],
)
def test_brackets_worked_by_hand(grace: int, factor: int, steps: int, expected: list[tuple[Any, ...]]) -> None:
    assert plans(grace, factor, steps) == [Plan(*plan) for plan in expected]


def test_no_bracket_is_lost_to_a_rounded_logarithm() -> None:
    assert [plan.s for plan in plans(1, 3, 243)] == [5, 4, 3, 2, 1, 0]  # log(243)/log(3) is 4.999...


def hyperband(*, steps: int = 4) -> Scheduler:
    """Of 4 steps: brackets of 4 trials with rungs 1 and 2, of 3 with rung 2, of 3 without a rung."""
    return registry.scheduler(study({"algorithm": "hyperband", "reduction_factor": 2}, steps=steps))


def start(scheduler: Scheduler, *numbers: int) -> None:
    for number in numbers:
        assert scheduler.choose(can_start=True) == Start()
        scheduler.created(begun(number))


def decide(scheduler: Scheduler, number: int, step: int, score: float) -> Action:
    return scheduler.decide(report(number, step, score)).action


def chosen(scheduler: Scheduler, *, can_start: bool = True) -> Any:
    choice = scheduler.choose(can_start=can_start)
    return (type(choice), choice.trial) if isinstance(choice, Resume | Drop) else choice


def test_a_bracket_worked_by_hand() -> None:
    scheduler = hyperband()
    start(scheduler, 0, 1, 2)
    assert [decide(scheduler, number, 1, score) for number, score in ((0, 5.0), (1, 3.0), (2, 4.0))] == [PAUSE] * 3
    start(scheduler, 3)  # the bracket wants a fourth
    start(scheduler, 4)  # the next bracket
    assert decide(scheduler, 4, 1, 1.0) is CONTINUE  # its first rung is 2
    assert decide(scheduler, 3, 1, 6.0) is PAUSE
    # 3 4 | 5 6: the worst are dropped first, then the best go on.
    assert [chosen(scheduler) for _ in range(4)] == [(Drop, 3), (Drop, 0), (Resume, 1), (Resume, 2)]
    assert decide(scheduler, 1, 2, 8.0) is PAUSE
    assert decide(scheduler, 4, 2, 0.1) is PAUSE
    start(scheduler, 5)  # neither rung is full
    assert decide(scheduler, 2, 2, 7.0) is PAUSE
    assert [chosen(scheduler) for _ in range(2)] == [(Drop, 1), (Resume, 2)]
    assert decide(scheduler, 2, 3, 7.0) is CONTINUE
    assert decide(scheduler, 2, 4, 7.0) is COMPLETE


def test_a_bracket_that_is_not_filled_waits_while_trials_can_start() -> None:
    scheduler = hyperband()
    start(scheduler, 0, 1, 2)
    for number in (0, 1):
        decide(scheduler, number, 1, number)
    assert scheduler.choose(can_start=False) is None  # trial 2 is to come
    decide(scheduler, 2, 1, 2.0)
    assert scheduler.choose(can_start=True) == Start()
    # None can start: three are halved to one, floor(3/2).
    assert [chosen(scheduler, can_start=False) for _ in range(4)] == [(Drop, 2), (Drop, 1), (Resume, 0), None]
    decide(scheduler, 0, 2, 0.0)
    assert chosen(scheduler, can_start=False) == (Resume, 0)  # at least one: floor(3/4) is none


def test_trials_that_ended_are_among_the_worst_of_their_bracket() -> None:
    scheduler = hyperband()
    start(scheduler, 0, 1, 2, 3)
    scheduler.complete(ended(0))
    decide(scheduler, 1, 1, 1.0)
    decide(scheduler, 2, 1, 2.0)
    scheduler.complete(ended(1, 1))  # while it waits
    assert scheduler.choose(can_start=False) is None
    decide(scheduler, 3, 1, 3.0)
    assert [chosen(scheduler, can_start=False) for _ in range(3)] == [(Resume, 2), (Resume, 3), None]


def test_the_last_of_a_rung_may_also_end() -> None:
    scheduler = hyperband()
    start(scheduler, 0, 1, 2, 3)
    for number in (0, 1, 2):
        decide(scheduler, number, 1, number)
    scheduler.complete(ended(3))
    assert [chosen(scheduler) for _ in range(3)] == [(Drop, 2), (Resume, 0), (Resume, 1)]


def test_a_trial_that_ends_before_its_turn_leaves_the_next_rung_to_the_others() -> None:
    scheduler = hyperband()
    start(scheduler, 0, 1, 2, 3)
    for number in (0, 1, 2, 3):
        decide(scheduler, number, 1, number)
    scheduler.complete(ended(3, 1))  # it was to be dropped
    scheduler.complete(ended(0, 1))  # it was to be resumed
    assert [chosen(scheduler) for _ in range(2)] == [(Drop, 2), (Resume, 1)]
    decide(scheduler, 1, 2, 1.0)
    assert chosen(scheduler) == (Resume, 1)


def test_a_trial_that_skips_rungs_comes_to_them_one_by_one() -> None:
    scheduler = hyperband(steps=8)  # bracket 3: 8 trials, rungs 1, 2, 4
    start(scheduler, *range(8))
    assert scheduler.decide(report(0, 3, 0.0)).rung == 1
    for number in range(1, 8):
        decide(scheduler, number, 1, number)
    assert [chosen(scheduler) for _ in range(5)][-1] == (Resume, 0)
    assert scheduler.decide(report(0, 5, 0.0)).rung == 2


def test_reasons_are_for_people() -> None:
    scheduler = hyperband()
    start(scheduler, 0, 1)
    decision = scheduler.decide(report(0, 1, 0.5))
    assert decision.reason == "bracket 2, rung 1: 0.5; 1 are here, 3 to come"
    decide(scheduler, 1, 1, 0.25)
    assert scheduler.choose(can_start=False) == Drop(0, "bracket 2, rung 1: 0.5 is not among the best 1 of 2")
    assert scheduler.choose(can_start=False) == Resume(1, "bracket 2, rung 1: 0.25 is among the best 1 of 2")
