"""The median stopping rule: the conformance suite, a trace worked by hand, the definition read literally, and Ray."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from typing import Any, ClassVar

import pytest
from conformance.scheduler import SchedulerConformance, study
from conformance.scheduler_play import ended, report

from hpo import registry
from hpo.protocols import Scheduler
from hpo.trial import Action

STOP, CONTINUE, COMPLETE = Action.STOP, Action.CONTINUE, Action.COMPLETE


class TestMedianScheduler(SchedulerConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "median"}
    bytes_per_ended_trial = 8 * (9 + 1)  # a mean a step, and its last one

    def test_stops_some(self) -> None:
        assert STOP in {decision.action for decision in self.play().decisions}


def median_rule(*, grace: int = 1, min_trials: int = 2, steps: int = 100, direction: str = "minimize") -> Scheduler:
    options = {"algorithm": "median", "grace_steps": grace, "min_trials": min_trials}
    return registry.scheduler(study(options, steps=steps, direction=direction))


def run(scheduler: Scheduler, trace: list[tuple[int, int, float, Action, float | None]]) -> None:
    for number, step, score, action, limit in trace:
        decision = scheduler.decide(report(number, step, score))
        assert (decision.action, decision.cutoff) == (action, limit), (number, step)


def test_a_trace_worked_by_hand() -> None:
    """Minimise; at least two others."""
    run(
        median_rule(steps=4),
        [
            # trial, step, score -> action, the median of the others' means
            (0, 1, 4.0, CONTINUE, None),
            (0, 2, 2.0, CONTINUE, None),  # trial 0 has the means 4, 3, 2
            (0, 3, 0.0, CONTINUE, None),
            (1, 1, 6.0, CONTINUE, None),  # one other only
            (1, 2, 4.0, CONTINUE, None),  # trial 1 has the means 6, 5
            (2, 1, 5.5, STOP, 5.0),  # median of 4, 6
            (3, 1, 5.5, CONTINUE, 5.5),  # median of 4, 5.5, 6: equal is not worse
            (3, 2, 3.5, CONTINUE, 4.0),  # median of 3, 5; trial 3 has the means 5.5, 4.5
            (4, 1, 1.0, CONTINUE, 5.5),
            (4, 2, 99.0, CONTINUE, 4.5),  # median of 3, 4.5, 5; its best is still 1
            (4, 3, 99.0, CONTINUE, None),  # trial 0 only has got as far
            (4, 4, 99.0, COMPLETE, None),
        ],
    )


def test_nothing_before_grace_steps_counts_in_a_mean_but_it_does_as_a_best_value() -> None:
    scheduler = median_rule(grace=3, min_trials=1)
    run(
        scheduler,
        [
            (0, 1, 99.0, CONTINUE, None),
            (0, 3, 5.0, CONTINUE, None),
            (1, 1, 1.0, CONTINUE, None),
            (1, 2, 99.0, CONTINUE, None),  # no trial is stopped so early
            (1, 3, 9.0, CONTINUE, 5.0),
            (2, 3, 8.0, STOP, 7.0),
        ],
    )


def test_trials_that_report_other_steps_count_with_what_they_had_by_then() -> None:
    scheduler = median_rule(min_trials=1)
    run(
        scheduler,
        [
            (0, 2, 4.0, CONTINUE, None),
            (0, 6, 0.0, CONTINUE, None),  # the means 4 from step 2, and 2 from step 6
            (1, 1, 5.0, CONTINUE, None),  # trial 0 has no mean by step 1
            (1, 4, 5.0, STOP, 4.0),
            (2, 6, 3.0, STOP, 2.0),
        ],
    )


def test_a_step_that_comes_up_late_forgets_those_that_ended_before_it() -> None:
    scheduler = median_rule(min_trials=1)
    run(scheduler, [(0, 2, 1.0, CONTINUE, None), (1, 2, 0.5, CONTINUE, 1.0), (1, 9, 0.5, CONTINUE, None)])
    scheduler.complete(ended(0, 2))
    run(scheduler, [(2, 5, 0.75, STOP, 0.5)])  # trial 1 only; with trial 0 the median were 0.75


def test_the_reason_is_for_people() -> None:
    scheduler = median_rule()
    for number, score in enumerate([1.0, 2.0]):
        decision = scheduler.decide(report(number, 1, score))
    assert decision.reason == "step 1: 1 of 2 others got as far"
    assert scheduler.decide(report(2, 1, 3.0)).reason == (
        "step 1: the best value 3 is worse than 1.5, the median of the means of 2 others"
    )


@pytest.mark.parametrize("grace", [1, 4])
@pytest.mark.parametrize("seed", range(5))
def test_decides_as_the_definition_read_literally(seed: int, grace: int) -> None:
    """Trials that skip steps and end at any time, against all means computed anew at each report."""
    rng = random.Random(seed)
    scheduler = median_rule(grace=grace, min_trials=3)
    reports: dict[int, list[tuple[int, float]]] = defaultdict(list)
    live = dict.fromkeys(range(8), 0)
    num_trials, num_judged = 8, 0
    while live:
        number = rng.choice(sorted(live))
        step = live[number] = live[number] + rng.choice((1, 1, 2, 3, 7))
        score = rng.gauss(number / 10, 1.0)
        means = []
        for other, history in reports.items():
            upto = [value for at, value in history if grace <= at <= step]
            if other != number and history[-1][0] >= step and upto:
                means.append(statistics.fmean(upto))
        reports[number].append((step, score))
        decision = scheduler.decide(report(number, step, score))
        if step >= grace and step < 100 and len(means) >= 3:
            num_judged += 1
            median = statistics.median(means)
            assert decision.cutoff == pytest.approx(median, rel=1e-12)
            assert (decision.action is STOP) == (min(value for _, value in reports[number]) > median)
        else:
            assert decision.cutoff is None
            assert decision.action is (COMPLETE if step >= 100 else CONTINUE)
        if decision.action is not CONTINUE or rng.random() < 0.02:
            scheduler.complete(ended(number, step))
            del live[number]
            if num_trials < 60:
                live[num_trials] = 0
                num_trials += 1
    assert num_judged > 50


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("grace", [1, 3])
@pytest.mark.parametrize("jumps", [(1,), (1, 1, 2, 5)])
def test_decides_as_rays_median_stopping_rule(direction: str, grace: int, jumps: tuple[int, ...]) -> None:
    """Random traces through Ray's own class, which needs no cluster; its trials and its controller are fakes.

    Left out are these of Ray 2.60:
    - on_trial_complete records a trial's last report a second time, so that it counts twice in its mean: not called;
    - where samples are too few a trial pauses if others wait: the fake controller has no trial that waits;
    - it has no last step: there is none within the trace.
    """
    ray_median = pytest.importorskip("ray.tune.schedulers.median_stopping_rule")

    class FakeTrial:
        def __init__(self, number: int) -> None:
            self.trial_id = str(number)

    class FakeController:
        def get_live_trials(self) -> list[FakeTrial]:
            return []

    theirs = ray_median.MedianStoppingRule(
        time_attr="step", metric="score", mode=direction[:3], grace_period=grace, min_samples_required=3
    )
    ours = median_rule(grace=grace, min_trials=3, steps=1_000, direction=direction)
    rng = random.Random(grace)
    trials = [FakeTrial(number) for number in range(40)]
    for trial in trials:
        theirs.on_trial_add(FakeController(), trial)
    live = dict.fromkeys(range(40), 0)
    num_stopped = num_continued = 0
    for _ in range(800):
        number = rng.choice(sorted(live))
        step = live[number] = live[number] + rng.choice(jumps)
        score = rng.gauss(number / 20, 0.5)
        decision = ours.decide(report(number, step, score))
        verdict = theirs.on_trial_result(FakeController(), trials[number], {"step": step, "score": score})
        assert (verdict == "STOP") == (decision.action is STOP)
        num_stopped += decision.action is STOP
        num_continued += decision.action is CONTINUE and decision.cutoff is not None
        if decision.action is STOP:
            ours.complete(ended(number, step))
            del live[number]
    assert num_stopped >= 5
    assert num_continued > 50
