"""Our genetic search: children of the best, screened by a model of all that was seen."""

from __future__ import annotations

from hpo.evolution import Evolution
from hpo.protocols import Searcher
from hpo.trial import FailureCause, Measurement, Params, Trial, TrialState

BLAMELESS = frozenset({FailureCause.PREEMPTED, FailureCause.NO_METRIC})
"""Causes of failure that say nothing about the configuration."""
OTHERS = -(2**40)
"""From here downwards are the numbers of configurations that trials had on their way."""


class GeneticSearcher(Searcher):
    """Proposes what the evolution breeds, and tells it what came out.

    A report counts at the rung that its step belongs to, whatever scheduler there is. A trial that returned before its
    last step counts at the top with its last report; one that failed as the worst. What a trial reports after it
    went on from other weights is not learnt from, but its best value is, with the configuration that gave it.
    """

    def __init__(self, evolution: Evolution) -> None:
        self._evolution = evolution
        self._last: dict[int, list[float]] = {}

    def suggest(self, number: int) -> Params | None:
        return self._evolution.propose(number)

    def adopt(self, number: int, params: Params) -> None:
        self._evolution.add(number, params)

    def observe(self, measurement: Measurement) -> None:
        costs = self._evolution.costs_of(measurement.metrics)
        if costs is None or measurement.generation:
            return
        self._last[measurement.trial] = costs
        rung = self._evolution.rung_of(measurement.step)
        if rung is not None:
            self._evolution.record(measurement.trial, rung, costs)

    def complete(self, trial: Trial) -> None:
        costs = self._last.pop(trial.number, None)
        if trial.generation:
            self._learn_changed(trial)
            return
        if trial.state is TrialState.FAILED:
            if trial.cause not in BLAMELESS:
                self._evolution.fail(trial.number)
            return
        if costs is None and trial.number < 0 and trial.value is not None:
            costs = self._evolution.cost_of(trial.value)  # of a past study
        rung = self._evolution.top if trial.state is TrialState.COMPLETED else self._evolution.rung_of(trial.step)
        if costs is not None:
            self._evolution.record(trial.number, rung or 0, costs)

    def _learn_changed(self, trial: Trial) -> None:
        """The value that other parameters gave on the way, as of a configuration of its own."""
        costs = self._evolution.cost_of(trial.value) if trial.value is not None else None
        other = OTHERS - trial.number
        if costs is not None and trial.value_step is not None and self._evolution.add(other, trial.best_params):
            self._evolution.record(other, self._evolution.rung_of(trial.value_step) or 0, costs)
