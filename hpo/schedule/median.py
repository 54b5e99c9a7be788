"""The median stopping rule: a trial ends where its best is worse than what the others have on average."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpo.schedule.decision import NeverPauses, answer, at_last_step
from hpo.spec import MedianSchedule, StudySpec
from hpo.trial import Action, Decision, Measurement, Trial


def median(values: Sequence[float]) -> float:
    """Of rising values, at least one; halfway between the middle two of an even number."""
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


@dataclass(slots=True)
class _Course:
    """A live trial so far. Values are rewards: higher is better."""

    best: float = float("-inf")
    total: float = 0.0
    count: int = 0
    """Reports from grace_steps on: the mean is over these."""
    step: int = 0

    @property
    def mean(self) -> float:
        return self.total / self.count


class Means:
    """At each step that anybody reported, the running means up to it of all trials that got as far, rising.

    The mean of a trial up to a step is over its reports up to there. A report of a new step takes over the means of the
    step before, without those trials that got no further: as nobody reported between the two, the rest are unchanged.
    So no history of the trials is needed.

    Memory: 8 bytes for each trial and step, and 8 for each trial that has ended. Time: a binary search and a shift of
    8n bytes a report for n trials; where trials report different steps, that once for each known step in between; and
    O(n) once a new step.
    """

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._means: dict[int, array[float]] = {}
        self._ended: dict[int, array[float]] = {}  # step -> the means of the ended trials that got no further

    def at(self, step: int, live: Iterable[_Course]) -> array[float]:
        """The means up to `step`; `live` is asked for who got no further than the step before, if it is a new one."""
        known = self._means.get(step)
        if known is not None:
            return known
        index = bisect_left(self._steps, step)
        before = self._steps[index - 1] if index else None
        means: array[float] = array("d")
        if before is not None:
            left = sorted([*self._ended.get(before, ()), *(c.mean for c in live if c.count and c.step == before)])
            means = _without(self._means[before], left)
        self._steps.insert(index, step)
        self._means[step] = means
        return means

    def passed(self, course: _Course, step: int) -> None:
        """A trial went from course.step to `step` without a report in between."""
        if not course.count:
            return
        for index in range(bisect_left(self._steps, course.step + 1), bisect_left(self._steps, step)):
            insort(self._means[self._steps[index]], course.mean)

    def reached(self, course: _Course) -> None:
        """A trial has reported course.step."""
        insort(self._means[course.step], course.mean)

    def ended(self, course: _Course) -> None:
        if course.count:
            self._ended.setdefault(course.step, array("d")).append(course.mean)


class MedianScheduler(NeverPauses):
    """Stops a trial whose best value is worse than the median of the other trials' running means up to the same step.

    Golovin et al. 2017, "Google Vizier: a service for black-box optimization", section 3.2.2, as in Ray Tune's
    MedianStoppingRule: the others are all trials that got at least as far, ended or not (the paper takes completed
    ones only), and means are over the reports from grace_steps on. No trial is stopped before grace_steps, nor where
    fewer than min_trials others have a mean.

    Deviations from Ray: the last report of a trial counts once in its mean, not twice; no trial ever waits for others.
    """

    def __init__(self, spec: StudySpec, options: MedianSchedule) -> None:
        self._grace_steps = options.grace_steps
        self._min_trials = options.min_trials
        self._steps_per_trial = spec.budget.steps_per_trial
        self._sign = 1.0 if spec.objective.direction == "maximize" else -1.0
        self._metric = spec.objective.metric
        self._live: dict[int, _Course] = {}
        self._means = Means()

    def decide(self, measurement: Measurement) -> Decision:
        step = measurement.step
        course = self._live.setdefault(measurement.trial, _Course())
        reward = self._sign * measurement.metrics[self._metric]
        course.best = max(course.best, reward)
        last = at_last_step(measurement, self._steps_per_trial)
        if step < self._grace_steps:
            course.step = step
            return last or answer(measurement)
        others = self._means.at(step, self._live.values())
        self._means.passed(course, step)
        decision = last or self._judge(measurement, course.best, others)
        course.total += reward
        course.count += 1
        course.step = step
        self._means.reached(course)
        return decision

    def complete(self, trial: Trial) -> None:
        course = self._live.pop(trial.number, None)
        if course is not None:
            self._means.ended(course)

    def _judge(self, measurement: Measurement, best: float, others: Sequence[float]) -> Decision:
        where = f"step {measurement.step}"
        if len(others) < self._min_trials:
            return answer(measurement, reason=f"{where}: {len(others)} of {self._min_trials} others got as far")
        needed = median(others)
        is_worse = best < needed
        limit = self._sign * needed
        verdict = "worse than" if is_worse else "no worse than"
        return answer(
            measurement,
            Action.STOP if is_worse else Action.CONTINUE,
            f"{where}: the best value {self._sign * best:.6g} is {verdict} {limit:.6g}, the median of the means of "
            f"{len(others)} others",
            cutoff=limit,
        )


def _without(values: array[float], left: Sequence[float]) -> array[float]:
    """Rising values without those of `left`, which are among them, each as often as it stands there; a new array."""
    if len(left) == len(values):
        return array("d")
    rest: array[float] = array("d")
    start = 0
    for value in left:
        index = bisect_left(values, value, start)
        rest.extend(values[start:index])
        start = index + 1
    rest.extend(values[start:])
    return rest
