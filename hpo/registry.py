"""From a specification to its searcher and its scheduler. Loads only what the specification names."""

from __future__ import annotations

from hpo.errors import InvalidSpecError, Problem
from hpo.protocols import Scheduler, Searcher
from hpo.spec import BoolParameter, CategoricalParameter, FloatParameter, StudySpec


def check(spec: StudySpec) -> None:
    """Raise InvalidSpecError for what the chosen searcher can't honour; for use when a study is submitted.

    Light: loads neither Optuna nor numpy. A grid smaller than budget.trials is fine: the study ends with the grid.
    """
    problems = [*_grid_problems(spec), *_optuna_problems(spec)]
    if problems:
        raise InvalidSpecError(problems)


def searcher(spec: StudySpec) -> Searcher:
    """A new searcher of the specification. Raises InvalidSpecError as `check` does."""
    check(spec)
    match spec.search.algorithm:
        case "random":
            from hpo.search.random import RandomSearcher

            return RandomSearcher(spec)
        case "grid":
            from hpo.search.grid import GridSearcher

            return GridSearcher(spec)
        case "optuna":
            from hpo.search.optuna import OptunaSearcher

            return OptunaSearcher(spec)


def scheduler(spec: StudySpec) -> Scheduler:
    """A new scheduler of the specification."""
    match spec.scheduler.algorithm:
        case "fifo":
            from hpo.schedule.fifo import FifoScheduler

            return FifoScheduler(spec)
        case "asha":
            from hpo.schedule.asha import AshaScheduler

            return AshaScheduler(spec)


def _grid_problems(spec: StudySpec) -> list[Problem]:
    if spec.search.algorithm != "grid":
        return []
    return [
        Problem(
            f"/parameters/{_escaped(name)}/step",
            f"{name} is a float without a step, but search.algorithm is 'grid', which needs finitely many values",
            "give it a step (and no log), list its values as categorical choices, or choose another algorithm",
        )
        for name, parameter in spec.parameters.items()
        if isinstance(parameter, FloatParameter) and parameter.step is None
    ]


def _optuna_problems(spec: StudySpec) -> list[Problem]:
    problems = []
    sampler = spec.search.sampler
    numeric = sum(
        not isinstance(parameter, CategoricalParameter | BoolParameter) for parameter in spec.parameters.values()
    )
    # CMA-ES needs two dimensions, Sobol' points one; Optuna would quietly draw at random instead.
    needed = {"cmaes": 2, "qmc": 1}.get(sampler or "", 0)
    if numeric < needed:
        problems.append(
            Problem(
                "/search/sampler",
                f"search.sampler is {sampler!r}, which needs at least {needed} float or int "
                f"parameter{'s' if needed > 1 else ''}, but there {'is' if numeric == 1 else 'are'} {numeric}",
                "choose tpe, gp or random",
            )
        )
    if spec.search.startup_trials is not None and sampler in ("random", "qmc", "nsgaii"):
        problems.append(
            Problem(
                "/search/startup_trials",
                f"search.startup_trials is {spec.search.startup_trials}, but sampler {sampler!r} has no start-up",
                "drop startup_trials, or choose tpe, cmaes or gp",
            )
        )
    return problems


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
