"""ASHA, stopping: the conformance suite, rungs and a trace worked by hand, parity with Ray."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import pytest
from conformance.scheduler import SchedulerConformance, study
from conformance.scheduler_play import ended, report

from hpo import registry
from hpo.protocols import Scheduler
from hpo.schedule.asha import cutoff, rungs
from hpo.trial import Action

STOP, CONTINUE, COMPLETE = Action.STOP, Action.CONTINUE, Action.COMPLETE


class TestAshaScheduler(SchedulerConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "asha"}
    bytes_per_ended_trial = 3 * 10  # a number in each of the rungs 1 and 3, and a little

    def test_stops_some(self) -> None:
        assert STOP in {decision.action for decision in self.play().decisions}


def asha(*, grace: int = 1, factor: int = 2, steps: int = 8, direction: str = "minimize") -> Scheduler:
    options = {"algorithm": "asha", "grace_steps": grace, "reduction_factor": factor}
    return registry.scheduler(study(options, steps=steps, direction=direction))


@pytest.mark.parametrize(
    ("grace", "factor", "max_steps", "expected"),
    [
        (1, 2, 1, []),
        (1, 3, 1, []),
        (1, 2, 2, [1]),
        (1, 2, 8, [1, 2, 4]),
        (1, 2, 9, [1, 2, 4, 8]),
        (1, 3, 8, [1, 3]),
        (1, 3, 9, [1, 3]),
        (1, 3, 10, [1, 3, 9]),
        (1, 3, 27, [1, 3, 9]),
        (1, 3, 81, [1, 3, 9, 27]),
        (1, 3, 243, [1, 3, 9, 27, 81]),
        (1, 3, 244, [1, 3, 9, 27, 81, 243]),
        (1, 4, 8, [1, 4]),
        (1, 4, 64, [1, 4, 16]),
        (1, 4, 65, [1, 4, 16, 64]),
        (2, 2, 8, [2, 4]),
        (2, 2, 9, [2, 4, 8]),
        (2, 3, 81, [2, 6, 18, 54]),
        (2, 4, 27, [2, 8]),
        (5, 3, 100, [5, 15, 45]),
        (8, 2, 8, []),
        (7, 2, 8, [7]),
    ],
)
def test_rungs_worked_by_hand(grace: int, factor: int, max_steps: int, expected: list[int]) -> None:
    assert rungs(grace, factor, max_steps) == expected


@pytest.mark.parametrize(
    ("rewards", "factor", "expected"),
    [
        ([5.0], 2, 5.0),
        ([1.0, 2.0], 2, 1.5),
        ([1.0, 2.0, 4.0], 2, 2.0),
        ([1.0, 2.0, 4.0, 8.0], 3, 4.0),  # position 3 * 2/3 = 2, exactly
        ([1.0, 2.0, 4.0, 8.0, 16.0], 4, 8.0),  # position 4 * 3/4 = 3
        ([1.0, 2.0, 4.0], 4, 3.0),  # position 2 * 3/4 = 1.5
    ],
)
def test_cutoffs_worked_by_hand(rewards: list[float], factor: int, expected: float) -> None:
    assert cutoff(rewards, factor) == expected


def test_a_trace_worked_by_hand() -> None:
    """Minimise, rungs 1, 2, 4. The cutoff is the median of what was there before."""
    scheduler = asha()
    trace = [
        # trial, step, score -> action, cutoff
        (0, 1, 5.0, CONTINUE, None),  # the first at the rung
        (1, 1, 6.0, STOP, 5.0),  # median of 5
        (2, 1, 5.0, CONTINUE, 5.5),  # median of 5, 6
        (3, 1, 5.0, CONTINUE, 5.0),  # median of 5, 5, 6: equal is not worse
        (0, 2, 4.0, CONTINUE, None),
        (2, 2, 4.5, STOP, 4.0),
        (3, 2, 3.0, CONTINUE, 4.25),
        (0, 3, 99.0, CONTINUE, None),  # no rung, however bad
        (0, 4, 9.0, CONTINUE, None),
        (3, 4, 9.5, STOP, 9.0),
        (0, 7, 1e9, CONTINUE, None),
        (0, 8, 1e9, COMPLETE, None),
    ]
    for number, step, score, action, limit in trace:
        decision = scheduler.decide(report(number, step, score))
        assert (decision.action, decision.cutoff) == (action, limit), (number, step)


def test_the_reason_is_for_people() -> None:
    scheduler = asha()
    for number, score in enumerate([58.0, 58.4, 60.0]):
        scheduler.decide(report(number, 2, score))
    assert scheduler.decide(report(3, 2, 61.2)).reason == (
        "rung 2: 61.2 is worse than the cutoff 58.4 (best 1/2 of 3 trials)"
    )


def test_a_trial_that_skips_steps_is_recorded_at_the_highest_rung_only() -> None:
    scheduler = asha()
    assert scheduler.decide(report(0, 5, 1.0)).rung == 4
    assert scheduler.decide(report(0, 6, 1.0)).rung is None
    assert scheduler.decide(report(1, 1, 9.0)).cutoff is None  # nobody is at rung 1 yet
    assert scheduler.decide(report(1, 2, 9.0)).cutoff is None
    assert scheduler.decide(report(1, 4, 9.0)).action is STOP


def test_the_last_step_counts_at_a_rung_that_was_skipped() -> None:
    scheduler = asha()
    assert scheduler.decide(report(0, 8, 1.0)).action is COMPLETE
    decision = scheduler.decide(report(1, 4, 2.0))
    assert (decision.action, decision.cutoff) == (STOP, 1.0)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    ("grace", "factor", "steps"), [(1, 2, 9), (1, 2, 16), (1, 3, 30), (1, 3, 81), (1, 3, 243), (2, 4, 40), (5, 3, 50)]
)
def test_decides_as_rays_asynchronous_hyperband(direction: str, grace: int, factor: int, steps: int) -> None:
    """Random traces of 60 trials through Ray's own class, which needs no cluster; its trials are fakes.

    Left out are these defects of Ray 2.60:
    - rungs by int(log/log), so that max_t has a rung or not by rounding: here that changes no decision, as Ray, too,
      ends a trial at max_t whatever its value;
    - brackets drawn from numpy's global generator: one bracket has nothing to draw;
    - a rung that a trial skipped is filled by a later report, of a higher step: all steps are reported;
    - a quantile that rounds past the value it falls on: no two scores are equal.
    """
    ray_asha = pytest.importorskip("ray.tune.schedulers.async_hyperband")

    class Fake:
        def __init__(self, number: int) -> None:
            self.trial_id = str(number)

    theirs = ray_asha.AsyncHyperBandScheduler(
        metric="score", mode=direction[:3], max_t=steps, grace_period=grace, reduction_factor=factor, brackets=1
    )
    ours = asha(grace=grace, factor=factor, steps=steps, direction=direction)
    rng = random.Random(factor)
    live = {number: (Fake(number), 0) for number in range(60)}
    for trial, _ in live.values():
        theirs.on_trial_add(None, trial)
    num_stopped = 0
    while live:
        number = rng.choice(sorted(live))
        trial, step = live[number]
        score = rng.gauss(number / 20, 1.0)
        live[number] = (trial, step + 1)
        result = {"training_iteration": step + 1, "score": score}
        action = ours.decide(report(number, step + 1, score)).action
        assert (theirs.on_trial_result(None, trial, result) == "STOP") == (action is not CONTINUE)
        if action is not CONTINUE:
            num_stopped += action is STOP
            theirs.on_trial_complete(None, trial, result)
            ours.complete(ended(number, step + 1))
            del live[number]
    assert num_stopped > 10
