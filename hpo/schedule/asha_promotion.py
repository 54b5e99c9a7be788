"""ASHA in its promotion variant: every trial waits at its rung, and the best of a rung go on."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field

from hpo.protocols import Choice, Drop, Resume, Start
from hpo.schedule.asha import rungs
from hpo.schedule.decision import answer, at_last_step
from hpo.spec import AshaSchedule, StudySpec
from hpo.trial import Action, Decision, Measurement, Trial

Key = tuple[float, int]
"""(cost, trial): rising from the best; the cost is lower where a trial is better, and ties go to the older trial."""


@dataclass(slots=True)
class Rung:
    """All that ever came to one rung.

    `records` is sorted, so the k-th best costs one look, and a new one a binary search and a shift of memory. `waiting`
    is a heap. Whether the best of those that wait is among the best k of all is then one comparison with the k-th.
    """

    step: int
    records: list[Key] = field(default_factory=list)
    waiting: list[Key] = field(default_factory=list)
    """Those not promoted yet; may still hold trials that have ended."""

    def num_promotable(self, reduction_factor: int) -> int:
        """floor(n / eta) of the n trials that came here."""
        return len(self.records) // reduction_factor


class AshaPromotionScheduler:
    """Lets the best floor(n / reduction_factor) of the n trials at a rung go on to the next one.

    Li et al. 2020, "A system for massively parallel hyperparameter tuning" (arXiv:1810.05934), Algorithm 2, with
    s = 0. Every trial pauses at each rung. A free group takes, from the top rung down, the best trial that is among
    the best of its rung and wasn't promoted yet; where there is none, it starts a new trial. A trial that skips steps
    is recorded, at its next report, at the highest rung that it has passed.

    The paper's search never ends. Here, when no trial can start, none is being trained and none can be promoted, those
    that still wait are dropped. A small study may so end without a trial that had all of its steps: fewer than
    reduction_factor trials at a rung promote none. A trial that fails while it waits keeps its place in its rung.

    O(log n) and a shift of n pointers a report, O(number of rungs) a choice.
    """

    def __init__(self, spec: StudySpec, options: AshaSchedule) -> None:
        self._factor = options.reduction_factor
        self._steps_per_trial = spec.budget.steps_per_trial
        self._steps = rungs(options.grace_steps, self._factor, self._steps_per_trial)
        self._rungs = [Rung(step) for step in self._steps]
        self._sign = 1.0 if spec.objective.direction == "minimize" else -1.0
        self._metric = spec.objective.metric
        self._passed: dict[int, int] = {}  # live trial -> how many rungs lie behind it
        self._paused: dict[int, Rung] = {}  # paused trial -> where it waits

    def created(self, trial: Trial) -> None:
        self._passed[trial.number] = 0

    def decide(self, measurement: Measurement) -> Decision:
        number = measurement.trial
        self._paused.pop(number, None)
        last = at_last_step(measurement, self._steps_per_trial)
        passed = bisect_right(self._steps, measurement.step)
        if passed <= self._passed.get(number, 0):
            return last or answer(measurement)
        self._passed[number] = passed
        rung = self._rungs[passed - 1]
        value = measurement.metrics[self._metric]
        key = self._sign * value, number
        insort(rung.records, key)
        if last is not None:  # it skipped the rung: its value counts there, but it doesn't wait
            return last
        heapq.heappush(rung.waiting, key)
        self._paused[number] = rung
        place, count = bisect_left(rung.records, key) + 1, rung.num_promotable(self._factor)
        return answer(
            measurement,
            Action.PAUSE,
            f"rung {rung.step}: {value:.6g} is number {place} of {len(rung.records)}; the best {count} go on",
            rung=rung.step,
            cutoff=self._sign * rung.records[count - 1][0] if count else None,
        )

    def choose(self, *, can_start: bool) -> Choice | None:
        for rung in reversed(self._rungs):
            count = rung.num_promotable(self._factor)
            best = self._best_waiting(rung)
            if best is not None and count and best <= rung.records[count - 1]:
                heapq.heappop(rung.waiting)
                cost, number = best
                del self._paused[number]
                value = self._sign * cost
                return Resume(number, f"rung {rung.step}: {value:.6g} is among the best {count} of {len(rung.records)}")
        if can_start:
            return Start()
        if len(self._paused) < len(self._passed):
            return None
        return self._drop()

    def complete(self, trial: Trial) -> None:
        self._passed.pop(trial.number, None)
        self._paused.pop(trial.number, None)

    def _best_waiting(self, rung: Rung) -> Key | None:
        while rung.waiting and self._paused.get(rung.waiting[0][1]) is not rung:
            heapq.heappop(rung.waiting)  # it has ended
        return rung.waiting[0] if rung.waiting else None

    def _drop(self) -> Drop | None:
        for rung in reversed(self._rungs):
            best = self._best_waiting(rung)
            if best is not None:
                heapq.heappop(rung.waiting)
                cost, number = best
                del self._paused[number], self._passed[number]
                count = rung.num_promotable(self._factor)
                return Drop(
                    number,
                    f"rung {rung.step}: {self._sign * cost:.6g} is not among the best {count} of "
                    f"{len(rung.records)}, and no more will come",
                )
        return None
