"""What the chosen searcher, scheduler or engine can't honour. Loads neither of them, nor numpy."""

from __future__ import annotations

from collections.abc import Iterator

from hpo.ask_rules import ask_problems
from hpo.errors import InvalidSpecError, Problem
from hpo.ray_names import ray_problems
from hpo.space import Space
from hpo.spec import (
    FloatParameter,
    GeneticSchedule,
    GridSearch,
    HyperoptSearch,
    IntParameter,
    OptunaSearch,
    PbtSchedule,
    StudySpec,
)

SEVERAL_OBJECTIVES = "genetic, random, grid, sobol, or optuna with the sampler tpe, gp, nsgaii, qmc or random"
"""What takes more than one objective."""
HYPEROPT_ANCESTORS = 60
"""HyperOpt goes through a space by recursion: with more, Python's stack might end."""


def check(spec: StudySpec) -> None:
    """Raise InvalidSpecError with all that the searcher, the scheduler or the engine can't honour; for submissions.

    A grid smaller than budget.trials is fine: the study ends with the grid. So are more startup_trials than
    budget.trials, and parameters that are mutable under a scheduler that changes nothing.
    """
    if found := problems(spec):
        raise InvalidSpecError(found)


def problems(spec: StudySpec) -> list[Problem]:
    """All that the searcher, the scheduler or the engine can't honour."""
    return [*_search_problems(spec), *_scheduler_problems(spec), *ask_problems(spec)]


def inherits(spec: StudySpec) -> bool:
    """Whether the genetic scheduler lets trials go on from the weights of others; False with another scheduler."""
    options = spec.scheduler
    if not isinstance(options, GeneticSchedule):
        return False
    if options.inherit is not None:
        return options.inherit
    return options.resumable and len(spec.objectives) == 1 and _has_mutable(spec)


def _search_problems(spec: StudySpec) -> Iterator[Problem]:
    match spec.search:
        case GridSearch():
            yield from _grid_problems(spec)
        case OptunaSearch() as search:
            yield from _optuna_problems(spec, search)
        case HyperoptSearch() as search:
            yield from _hyperopt_problems(spec, search)


def _grid_problems(spec: StudySpec) -> Iterator[Problem]:
    for name, parameter in spec.parameters.items():
        if isinstance(parameter, FloatParameter) and parameter.step is None:
            yield Problem(
                f"/parameters/{_escaped(name)}/step",
                f"{name} is a float without a step, but search.algorithm is 'grid', which needs finitely many values",
                "give it a step (and no log), list its values as categorical choices, or choose another algorithm",
            )


def _optuna_problems(spec: StudySpec, search: OptunaSearch) -> Iterator[Problem]:
    sampler = search.sampler
    numeric = sum(isinstance(parameter, FloatParameter | IntParameter) for parameter in spec.parameters.values())
    # CMA-ES needs two dimensions, Sobol' points one; Optuna would quietly draw at random instead.
    needed = {"cmaes": 2, "qmc": 1}.get(sampler, 0)
    if numeric < needed:
        yield Problem(
            "/search/sampler",
            f"search.sampler is {sampler!r}, which needs at least {needed} float or int "
            f"parameter{'s' if needed > 1 else ''}, but there {'is' if numeric == 1 else 'are'} {numeric}",
            "choose tpe, gp or random",
        )
    if search.startup_trials is not None and sampler in ("random", "qmc", "nsgaii"):
        yield Problem(
            "/search/startup_trials",
            f"search.startup_trials is {search.startup_trials}, but sampler {sampler!r} has no start-up",
            "drop startup_trials, or choose tpe, cmaes or gp",
        )
    if sampler == "cmaes" and len(spec.objectives) > 1:
        yield _several(spec, "/search/sampler", "search.sampler is 'cmaes'")


def _hyperopt_problems(spec: StudySpec, search: HyperoptSearch) -> Iterator[Problem]:
    if search.startup_trials is not None and search.sampler == "anneal":
        yield Problem(
            "/search/startup_trials",
            f"search.startup_trials is {search.startup_trials}, but sampler 'anneal' has no start-up",
            "drop startup_trials, or choose tpe",
        )
    if len(spec.objectives) > 1:
        yield _several(spec, "/search/algorithm", "search.algorithm is 'hyperopt'")
    for name, needs in Space.of(spec).needs.items():
        if len(needs) > HYPEROPT_ANCESTORS:
            yield Problem(
                f"/parameters/{_escaped(name)}/when",
                f"{name} depends on {len(needs)} others, but with HyperOpt at most on {HYPEROPT_ANCESTORS}",
                "shorten the chain of conditions, or choose optuna",
            )


def _several(spec: StudySpec, pointer: str, chosen: str) -> Problem:
    metrics = ", ".join(objective.metric for objective in spec.objectives)
    return Problem(
        pointer,
        f"{chosen}, which takes one objective, but there are {len(spec.objectives)} ({metrics})",
        f"choose {SEVERAL_OBJECTIVES}; or keep one objective",
    )


def _scheduler_problems(spec: StudySpec) -> Iterator[Problem]:
    grace, steps = getattr(spec.scheduler, "grace_steps", 1), spec.budget.steps_per_trial
    if grace > steps and not inherits(spec):
        yield Problem(
            "/scheduler/grace_steps",
            f"scheduler.grace_steps is {grace}, but a trial takes at most {steps} steps (budget.steps_per_trial)",
            "lower grace_steps, or raise steps_per_trial",
        )
    match spec.scheduler:
        case PbtSchedule() as pbt:
            yield from _population_problems(spec, pbt, "choose another scheduler")
            yield from _pbt_problems(spec)
        case GeneticSchedule() as genetic if inherits(spec):
            yield from _population_problems(spec, genetic, "set inherit = false")
            yield from _inheritance_problems(spec, genetic)
        case GeneticSchedule() as genetic:
            yield from _rung_problems(genetic)
    yield from ray_problems(spec)


def _population_problems(spec: StudySpec, options: PbtSchedule | GeneticSchedule, otherwise: str) -> Iterator[Problem]:
    trials, steps, name = spec.budget.trials, spec.budget.steps_per_trial, options.algorithm
    if trials < 2:
        yield Problem(
            "/budget/trials",
            f"budget.trials is {trials}, but scheduler {name!r} compares at least 2 trials",
            f"raise budget.trials, or {otherwise}",
        )
    elif options.population is not None and options.population > trials:
        yield Problem(
            "/scheduler/population",
            f"scheduler.population is {options.population}: a population larger than the budget of {trials} trials",
            "lower population, raise budget.trials, or drop population to have all trials in it",
        )
    if options.interval_steps >= steps:
        yield Problem(
            "/scheduler/interval_steps",
            f"scheduler.interval_steps is {options.interval_steps}, but a trial takes at most {steps} steps "
            "(budget.steps_per_trial), so that none would ever be compared in time",
            "lower interval_steps, or raise steps_per_trial",
        )


def _pbt_problems(spec: StudySpec) -> Iterator[Problem]:
    if not _has_mutable(spec):
        yield Problem(
            "/parameters",
            "no parameter is mutable, but scheduler 'pbt' changes parameters while their trials train",
            "add mutable = true to those that may change, such as a learning rate",
        )


def _inheritance_problems(spec: StudySpec, genetic: GeneticSchedule) -> Iterator[Problem]:
    if not _has_mutable(spec):
        yield Problem(
            "/scheduler/inherit",
            "scheduler.inherit is true, but no parameter is mutable: nothing may change when weights are inherited",
            "add mutable = true to parameters that may change, such as a learning rate; or drop inherit",
        )
    if len(spec.objectives) > 1:
        metrics = ", ".join(objective.metric for objective in spec.objectives)
        yield Problem(
            "/scheduler/inherit",
            f"scheduler.inherit is true, which takes one objective, but there are {len(spec.objectives)} ({metrics})",
            "keep one objective; or drop inherit: trials at rungs are ranked by all of them",
        )
    if not genetic.resumable:
        yield Problem(
            "/scheduler/resumable",
            "scheduler.resumable is false, but scheduler.inherit is true: a trial that can't go on from its own "
            "checkpoint can't go on from another's",
            "drop resumable = false, or inherit = true",
        )
    why = "scheduler.inherit is true" if genetic.inherit else "a parameter is mutable, so weights are inherited"
    for option in ("grace_steps", "reduction_factor"):
        if _differs(genetic, option):
            yield Problem(
                f"/scheduler/{option}",
                f"scheduler.{option} is {getattr(genetic, option)}, but {why}, and then there are no rungs",
                f"drop {option} (interval_steps says when members are compared), or set inherit = false",
            )


def _rung_problems(genetic: GeneticSchedule) -> Iterator[Problem]:
    for option in ("population", "interval_steps"):
        if _differs(genetic, option):
            yield Problem(
                f"/scheduler/{option}",
                f"scheduler.{option} is {getattr(genetic, option)}, but no weights are inherited, and then there is no "
                "population",
                f"drop {option} (grace_steps and reduction_factor set the rungs), or set inherit = true and "
                "mutable = true for parameters that may change",
            )


def _differs(genetic: GeneticSchedule, option: str) -> bool:
    """From its default: a specification that was stored names all options."""
    return bool(getattr(genetic, option) != type(genetic).model_fields[option].default)


def _has_mutable(spec: StudySpec) -> bool:
    return any(parameter.mutable for parameter in spec.parameters.values())


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
