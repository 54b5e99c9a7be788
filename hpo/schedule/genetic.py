"""Our genetic scheduler: trials pause at rungs, and the most promising go on."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.evolution import MIN_AT_RUNG, Evolution
from hpo.protocols import Choice, Drop, Resume, Start
from hpo.schedule.decision import answer, at_last_step
from hpo.spec import GeneticSchedule, StudySpec
from hpo.trial import Action, Decision, Measurement, Trial


@dataclass(slots=True)
class _Live:
    """A trial that has not ended."""

    passed: int = 0
    """How many rungs lie behind it."""
    waits_at: int | None = None
    """The rung at which it is paused."""


class GeneticScheduler:
    """As ASHA's promotion (Li et al. 2020, arXiv:1810.05934, Algorithm 2), but by promise.

    At a rung trials are ordered by the place of what was seen and that of what the model predicts for the last step
    (`Evolution.promotion_order`); the best floor(n / f) of n go on, top rung first, with f = 1 + (reduction_factor - 1)
    a, where a, in [.25, .95], is how far the rung has foretold the next so far (`Evolution.agreement`): a rung that
    misleads lets more through. Where none can go on, a new trial starts at the lowest rung. A trial that would go on
    at once doesn't pause. The order changes with what is learnt, and who has gone on doesn't come back, so in the end
    more than 1/f of a rung have gone on.

    Where trials can't resume, none pauses: each is trained to its end, and what it shows on its way is learnt from.

    When no trial can start any more, the best ceil(n / reduction_factor) go on, so that even a few trials bring one to
    the last step; then those that still wait are dropped. O(n log n) in the trials at a rung after a report there.
    """

    def __init__(self, spec: StudySpec, options: GeneticSchedule, evolution: Evolution) -> None:
        self._evolution = evolution
        self._factor, self._resumable = options.reduction_factor, options.resumable
        self._last_step = spec.budget.steps_per_trial
        self._metric = spec.objective.metric
        self._live: dict[int, _Live] = {}
        self._number_of: dict[int, int] = {}  # row -> number, of those that wait
        self._promoted: list[set[int]] = [set() for _ in evolution.rungs]  # rows that have left a rung upwards
        self._num_waiting = 0

    def created(self, trial: Trial) -> None:
        self._live[trial.number] = _Live()
        self._evolution.add(trial.number, trial.params)

    def decide(self, measurement: Measurement) -> Decision:
        number = measurement.trial
        last = at_last_step(measurement, self._last_step)
        live = self._live.get(number)
        if live is None:
            return last or answer(measurement)
        self._unpause(number, live)
        rung, costs = self._evolution.rung_of(measurement.step), self._evolution.costs_of(measurement.metrics)
        if rung is None or costs is None or rung < live.passed:
            return last or answer(measurement)
        live.passed = rung + 1
        if number in self._evolution.archive:
            self._evolution.record(number, rung, costs)
        if last is not None or not self._resumable or number not in self._evolution.archive:
            return last or answer(measurement)
        return self._at_rung(measurement, live, rung)

    def choose(self, *, can_start: bool) -> Choice | None:
        found = self._promotable(draining=False)
        if found is None and can_start:
            return Start()
        if found is None:
            found = self._promotable(draining=True)
        if found is not None:
            number, rung, place, count = found
            self._promote(number, rung)
            return Resume(
                number,
                f"rung {self._evolution.rungs[rung]}: number {place} of {count} by what was seen and is expected",
            )
        if self._num_waiting < len(self._live):
            return None
        return self._drop()

    def complete(self, trial: Trial) -> None:
        live = self._live.pop(trial.number, None)
        if live is not None:
            self._unpause(trial.number, live)

    # -- inside -------------------------------------------------------------------------------------------
    def _at_rung(self, measurement: Measurement, live: _Live, rung: int) -> Decision:
        number, step = measurement.trial, self._evolution.rungs[rung]
        row = self._evolution.archive.row(number)
        live.waits_at = rung
        self._number_of[row] = number
        self._num_waiting += 1
        found = self._promotable(draining=False)
        order = self._evolution.promotion_order(rung)
        place = int((order == row).argmax()) + 1
        reason = f"rung {step}: {measurement.metrics[self._metric]:.6g}, number {place} of {len(order)}"
        if found is not None and found[0] == number:
            self._promote(number, rung)
            return answer(measurement, reason=f"{reason}; goes on", rung=step)
        among = max(1, self._num_of_the_best(rung))
        return answer(measurement, Action.PAUSE, f"{reason}; waits to be among the best {among}", rung=step)

    def _promotable(self, *, draining: bool) -> tuple[int, int, int, int] | None:
        """The best trial that waits and may go on, from the top rung down: (number, rung, its place, of how many)."""
        if not self._num_waiting:
            return None
        for rung in range(len(self._promoted) - 1, -1, -1):
            total = self._evolution.archive.num_at(rung)
            count = -(-total // self._factor) if draining else self._num_of_the_best(rung)
            if draining and len(self._promoted[rung]) >= count:
                continue
            if not count:
                continue
            order = self._evolution.promotion_order(rung)
            for place, row in enumerate(order if draining else order[:count]):
                number = self._number_of.get(int(row))
                if number is not None and self._live[number].waits_at == rung:
                    return number, rung, place + 1, total
        return None

    def _num_of_the_best(self, rung: int) -> int:
        """How many at a rung are good enough to go on."""
        total = self._evolution.archive.num_at(rung)
        if total < MIN_AT_RUNG:
            return total // self._factor
        return int(total / (1 + (self._factor - 1) * self._evolution.agreement(rung)))

    def _promote(self, number: int, rung: int) -> None:
        self._promoted[rung].add(self._evolution.archive.row(number))
        self._unpause(number, self._live[number])

    def _unpause(self, number: int, live: _Live) -> None:
        if live.waits_at is not None:
            del self._number_of[self._evolution.archive.row(number)]
            live.waits_at = None
            self._num_waiting -= 1

    def _drop(self) -> Drop | None:
        """The worst of the lowest rung first."""
        waiting = [(live.waits_at, number) for number, live in self._live.items() if live.waits_at is not None]
        if not waiting:
            return None
        rung, number = min(waiting)
        self._unpause(number, self._live[number])
        del self._live[number]
        step = self._evolution.rungs[rung]
        return Drop(number, f"rung {step}: others are more promising, and no more trials will come")
