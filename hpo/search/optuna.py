"""Optuna's samplers, through its own ask and tell."""

from __future__ import annotations

import hashlib
import math
import warnings
from typing import TYPE_CHECKING, Any

from hpo import space
from hpo.spec import (
    BoolParameter,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    ParamValue,
    StudySpec,
)
from hpo.trial import Measurement, Params, Trial, TrialState

if TYPE_CHECKING:
    import optuna

_LEARNS_FROM_PRUNED = frozenset({"tpe", "cmaes"})


class OptunaSearcher:
    """An Optuna study in memory; what it knows is what it was told here.

    Akiba et al. 2019 (arXiv:1907.10902). tpe is the multivariate one with the constant liar, which keeps
    parallel workers apart; cmaes, gp, nsgaii and qmc (scrambled Sobol') are Optuna's with its defaults.

    Deviations: a discrete parameter is handed over as the index of its value (float steps don't drift, and True
    stays apart from 1). Trials that the scheduler stopped are told as pruned, and TPE and CMA-ES learn from their
    last value; gp and nsgaii ignore pruned trials and would go on proposing what was stopped, so to them such a
    trial is complete with its best value.
    """

    def __init__(self, spec: StudySpec) -> None:
        import optuna  # here: it takes most of a second, and the API's process needs none of it

        self._parameters = {name: spec.parameters[name] for name in space.names(spec.parameters)}
        self._metric = spec.objective.metric
        self._sampler = spec.search.sampler or "tpe"
        self._distributions = {name: _distribution(parameter) for name, parameter in self._parameters.items()}
        self._pending: dict[int, optuna.Trial] = {}
        # Optuna logs every study that it creates to stderr; the study's history is the store's events.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(sampler=_sampler(spec), direction=spec.objective.direction)

    def suggest(self, number: int) -> Params | None:
        with warnings.catch_warnings():
            # Optuna 4 calls some of the samplers above experimental; a user can do nothing about it. gp's fit
            # also warns of numerical trouble that it recovers from.
            warnings.simplefilter("ignore")
            trial = self._study.ask(self._distributions)
        self._pending[number] = trial
        return {name: _value(parameter, trial.params[name]) for name, parameter in self._parameters.items()}

    def observe(self, measurement: Measurement) -> None:
        value = measurement.metrics.get(self._metric)
        trial = self._pending.get(measurement.trial)
        if trial is not None and value is not None and math.isfinite(value):
            trial.report(float(value), measurement.step)

    def complete(self, trial: Trial) -> None:
        from optuna.trial import TrialState as OptunaState

        pending = self._pending.pop(trial.number, None)
        if pending is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in suggest: nsgaii and cmaes work after a trial, too
            if trial.state is TrialState.STOPPED and (self._sampler in _LEARNS_FROM_PRUNED or trial.value is None):
                self._study.tell(pending, state=OptunaState.PRUNED)
            elif trial.state is TrialState.FAILED or trial.value is None or not math.isfinite(trial.value):
                self._study.tell(pending, state=OptunaState.FAIL)
            else:
                self._study.tell(pending, trial.value)


def _sampler(spec: StudySpec) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    # Optuna takes seeds of 32 bits, a specification those of 63.
    seed = int.from_bytes(hashlib.sha256(str(spec.seed).encode()).digest()[:4], "big")
    options: dict[str, Any] = {"seed": seed}
    if spec.search.startup_trials is not None:
        options["n_startup_trials"] = spec.search.startup_trials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ExperimentalWarning: see suggest
        match spec.search.sampler or "tpe":
            case "tpe":
                return samplers.TPESampler(multivariate=True, constant_liar=True, **options)
            case "random":
                return samplers.RandomSampler(**options)
            case "cmaes":
                # Under a scheduler that stops most trials, the finished ones alone would never fill a generation.
                pruned = spec.scheduler.algorithm != "fifo"
                return samplers.CmaEsSampler(consider_pruned_trials=pruned, warn_independent_sampling=False, **options)
            case "gp":
                return samplers.GPSampler(**options)
            case "nsgaii":
                return samplers.NSGAIISampler(**options)
            case "qmc":
                return samplers.QMCSampler(scramble=True, warn_independent_sampling=False, **options)


def _distribution(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, IntParameter) and parameter.log:
        return IntDistribution(parameter.low, parameter.high, log=True)
    count = space.num_values(parameter)
    assert count is not None  # only a float without a step has none
    if isinstance(parameter, CategoricalParameter | BoolParameter):
        return CategoricalDistribution(range(count))
    return IntDistribution(0, count - 1)


def _value(parameter: Parameter, proposed: Any) -> ParamValue:
    """Back from what `_distribution` made of the parameter, as a plain Python value within its bounds."""
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return min(max(float(proposed), parameter.low), parameter.high)
    if isinstance(parameter, IntParameter) and parameter.log:
        return int(proposed)
    return space.nth_value(parameter, int(proposed))
