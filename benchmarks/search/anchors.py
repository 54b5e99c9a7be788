"""What ours is compared with, as its own authors publish it: asked and told, in the task's own space."""

from __future__ import annotations

import logging
import tempfile
import warnings
from typing import Any

import numpy as np

from benchmarks.search.cluster import HORIZON, Job
from benchmarks.search.tasks.protocol import Task, space_of
from hpo.parameters import BoolParameter, CategoricalParameter, IntParameter, Parameter

STARTUP = 10


class Optuna:
    """Samplers of Optuna, at full fidelity: tpe (multivariate, grouped, constant liar), nsga2 (population 20), cma.

    cma leaves categories to its independent sampler, as Optuna does.
    """

    def __init__(self, task: Task, seed: int, workers: int, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module="optuna")
        make = {
            "tpe": lambda: optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP
            ),
            "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=20),
            "cma": lambda: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
        }
        self._task, self._space = task, space_of(task)
        self._study = optuna.create_study(sampler=make[sampler](), direction="minimize")

    def ask(self, now: float) -> Job | None:
        trial = self._study.ask()
        params: dict[str, Any] = {}
        for name in self._space.names:
            if self._space.is_active(name, params):
                params[name] = _suggested(trial, name, self._space.parameters[name])
        return Job(params, self._task.num_rungs - 1, trial)

    def tell(self, job: Job, loss: float, now: float) -> None:
        self._study.tell(job.token, loss)


def _suggested(trial: Any, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, CategoricalParameter):
        return trial.suggest_categorical(name, parameter.choices)
    if isinstance(parameter, BoolParameter):
        return trial.suggest_categorical(name, (False, True))
    suggest = trial.suggest_int if isinstance(parameter, IntParameter) else trial.suggest_float
    return suggest(name, parameter.low, parameter.high, log=parameter.log)


class Dehb:
    """DEHB (Awad et al. 2021), its own package: asynchronous, over the same rungs, on the unit cube of the space."""

    def __init__(self, task: Task, seed: int, workers: int) -> None:
        from dehb import DEHB

        logging.getLogger("dehb").setLevel(logging.ERROR)
        self._task, self._space = task, space_of(task)
        self._folder = tempfile.TemporaryDirectory(prefix="hpo-dehb-")
        # One rung: DEHB wants two fidelities, and every one of them is the full one then.
        top = 3 ** (task.num_rungs - 1) if task.num_rungs > 1 else 3
        self._dehb = DEHB(
            f=lambda *given, **more: None, dimensions=len(self._space.names), min_fidelity=1, max_fidelity=top, eta=3,
            seed=seed, configspace=False, n_workers=1, save_freq="end", output_path=self._folder.name,
            log_level="ERROR",
        )  # fmt: skip
        self._dehb.n_workers = workers  # by its constructor it would start a Dask cluster

    def ask(self, now: float) -> Job | None:
        asked = self._dehb.ask()
        params = self._space.decode(np.clip(np.asarray(asked["config"], dtype=float), 0, 1).tolist())
        rung = round(np.log(asked["fidelity"]) / np.log(3)) if self._task.num_rungs > 1 else 0
        return Job(params, rung, asked)

    def tell(self, job: Job, loss: float, now: float) -> None:
        self._dehb.tell(job.token, {"fitness": loss, "cost": 1.0})


class Smac:
    """SMAC3's hyperparameter-optimisation facade (Lindauer et al. 2022): random forest, log EI, local search.

    At full fidelity, with the facade's defaults: it retrains after 8 proposals, and its Sobol' points are at most a
    quarter of n_trials, which is horizon x workers. Configurations that run are not known to its model.
    """

    def __init__(self, task: Task, seed: int, workers: int) -> None:
        import ConfigSpace
        from smac import HyperparameterOptimizationFacade as Facade
        from smac import Scenario

        logging.disable(logging.WARNING)
        warnings.filterwarnings("ignore", module="smac")
        self._task, self._space = task, space_of(task)
        self._folder = tempfile.TemporaryDirectory(prefix="hpo-smac-")
        space = ConfigSpace.ConfigurationSpace(seed=seed)
        made: dict[str, Any] = {}
        for name in self._space.names:
            made[name] = _hyperparameter(ConfigSpace, name, self._space.parameters[name])
            space.add(made[name])
        for name in self._space.names:
            when = self._space.parameters[name].when
            conditions = [ConfigSpace.InCondition(made[name], made[parent], list(values))
                          for parent, values in when.items()]  # fmt: skip
            if conditions:
                space.add(conditions[0] if len(conditions) == 1 else ConfigSpace.AndConjunction(*conditions))
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=round(HORIZON[workers]) * workers,
            seed=seed,
            output_directory=self._folder.name,
            n_workers=1,
        )
        self._smac = Facade(
            scenario, lambda config, seed=0: 0.0, overwrite=True, logging_level=False,
        )  # fmt: skip

    def ask(self, now: float) -> Job | None:
        info = self._smac.ask()
        chosen = dict(info.config)
        params = {name: _typed(self._space.parameters[name], value) for name, value in chosen.items()}
        return Job(self._space.canonical(params), self._task.num_rungs - 1, info)

    def tell(self, job: Job, loss: float, now: float) -> None:
        from smac.runhistory.dataclasses import TrialValue

        self._smac.tell(job.token, TrialValue(cost=loss))


def _hyperparameter(module: Any, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, CategoricalParameter):
        return module.CategoricalHyperparameter(name, list(parameter.choices))
    if isinstance(parameter, BoolParameter):
        return module.CategoricalHyperparameter(name, [False, True])
    kind = "UniformIntegerHyperparameter" if isinstance(parameter, IntParameter) else "UniformFloatHyperparameter"
    return getattr(module, kind)(name, parameter.low, parameter.high, log=parameter.log)


def _typed(parameter: Parameter, value: Any) -> Any:
    """ConfigSpace gives numpy's types back."""
    if isinstance(parameter, CategoricalParameter):
        return next(choice for choice in parameter.choices if choice == value)
    if isinstance(parameter, BoolParameter):
        return bool(value)
    number = int(value) if isinstance(parameter, IntParameter) else float(value)
    return min(max(parameter.low, number), parameter.high)
