"""Ray Tune's own schedulers that a study can name as `ray:NAME`, and their options. Loads nothing of Ray.

A contract test holds the table against the Ray that is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hpo.errors import Problem
from hpo.parameters import FloatParameter, IntParameter, contains_value, described
from hpo.spec import Parameter, RaySchedule, StudySpec, suggest

PREFIX = "ray:"
EVERY_TRIAL = 1000
"""More trials than this never wait at once, however many the budget has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayScheduler:
    """One of Ray Tune's schedulers."""

    module: str = "ray.tune.schedulers"
    options: Mapping[str, object] = field(default_factory=dict)
    """Its constructor's arguments and Ray's defaults; without those that the specification says elsewhere."""
    mutations: str | None = None
    """The option that says which parameters it changes while their trials train, and over what values."""
    bounds: bool = False
    """Whether `mutations` takes a [low, high] for each numeric parameter, and nothing else."""
    num_ahead: int = 0
    """How many trials wait for a worker group at least, while the budget has them: what it decides depends on those
    that wait."""


_POPULATION: Mapping[str, object] = {
    "perturbation_interval": 60.0,
    "quantile_fraction": 0.25,
    "synch": False,
}
_ASHA = RayScheduler(
    options={"max_t": 100, "grace_period": 1, "reduction_factor": 4, "brackets": 1, "stop_last_trials": True}
)
KNOWN: Mapping[str, RayScheduler] = {
    "FIFOScheduler": RayScheduler(),
    "AsyncHyperBandScheduler": _ASHA,
    "ASHAScheduler": _ASHA,
    "HyperBandScheduler": RayScheduler(
        options={"max_t": 81, "reduction_factor": 3, "stop_last_trials": True}, num_ahead=EVERY_TRIAL
    ),
    "MedianStoppingRule": RayScheduler(
        options={"grace_period": 60.0, "min_samples_required": 3, "min_time_slice": 0, "hard_stop": True}, num_ahead=1
    ),
    "PopulationBasedTraining": RayScheduler(
        options={
            **_POPULATION,
            "burn_in_period": 0.0,
            "hyperparam_mutations": None,
            "resample_probability": 0.25,
            "perturbation_factors": (1.2, 0.8),
        },
        mutations="hyperparam_mutations",
        num_ahead=EVERY_TRIAL,
    ),
    "PB2": RayScheduler(
        module="ray.tune.schedulers.pb2",
        options={**_POPULATION, "hyperparam_bounds": None},
        mutations="hyperparam_bounds",
        bounds=True,
        num_ahead=EVERY_TRIAL,
    ),
}
UNFIT: Mapping[str, str] = {
    "HyperBandForBOHB": "needs Ray Tune's own BOHB searcher",
    "PopulationBasedTrainingReplay": "repeats one trial from a log file of Ray Tune",
    "ResourceChangingScheduler": "changes what a trial runs on, but here all trials share the same worker groups",
    "TrialScheduler": "is the base class of the others",
}
"""Those of Ray Tune that can't run here, and why."""
SAID_ELSEWHERE: Mapping[str, str] = {
    "metric": "[objective] says it",
    "mode": "[objective] says it",
    "time_attr": "its time is the trial's step",
    "custom_explore_fn": "a function can't be written in a specification",
    "log_config": "the study records each change itself",
    "require_attrs": "a report without the objective ends its trial before",
}
"""Arguments of their constructors that are no options, and why."""


def ray_problems(spec: StudySpec) -> Iterator[Problem]:
    """What is wrong with a study's `ray:…` scheduler, as far as can be told without Ray; nothing for another one.

    Values that its constructor refuses are found when the study starts.
    """
    if not isinstance(spec.scheduler, RaySchedule):
        return
    name = spec.scheduler.algorithm.removeprefix(PREFIX)
    known = KNOWN.get(name)
    if known is None:
        why = UNFIT.get(name)
        yield Problem(
            "/scheduler/algorithm",
            f"Ray Tune's {name} {why}" if why else f"Ray Tune has no scheduler {name!r}",
            f"{suggest(name, KNOWN)} " * (not why and bool(suggest(name, KNOWN))) + f"choose one of {', '.join(KNOWN)}",
        )
        return
    for option, value in spec.scheduler.options.items():
        yield from _option_problems(name, known, option, value)
    yield from _time_problems(spec, known, spec.scheduler.options)
    if spec.retry.errors:
        yield Problem(
            "/retry/errors",
            f"retry.errors is {spec.retry.errors}, but {spec.scheduler.algorithm} takes no trial back that has failed",
            "leave it out, or choose a scheduler of ours",
        )
    if known.mutations is not None:
        yield from _population_problems(spec, name, known, spec.scheduler.options.get(known.mutations))


def _option_problems(name: str, known: RayScheduler, option: str, value: object) -> Iterator[Problem]:
    pointer = f"/scheduler/options/{_escaped(option)}"
    if option in SAID_ELSEWHERE:
        yield Problem(pointer, f"{option} is no option of ray:{name} here: {SAID_ELSEWHERE[option]}", "drop it")
    elif option not in known.options:
        yield Problem(
            pointer,
            f"ray:{name} has no option {option!r}",
            suggest(option, known.options) or f"it has {', '.join(known.options) or 'none'}",
        )
    else:
        default = known.options[option]
        kind, fits = "true or false", isinstance(value, bool)
        if isinstance(default, tuple):
            kind, fits = "a list of numbers", isinstance(value, list | tuple) and all(map(_is_number, value))
        elif default is None:
            kind, fits = "a table with an entry for each parameter", isinstance(value, Mapping) and bool(value)
        elif not isinstance(default, bool):
            kind, fits = "a number", _is_number(value)
        if not fits:
            yield Problem(pointer, f"{option} is {value!r}, but takes {kind}", f"Ray's default is {default!r}")


def _time_problems(spec: StudySpec, known: RayScheduler, options: Mapping[str, object]) -> Iterator[Problem]:
    """Options that are a number of steps, and too large for the trials of this study."""
    steps = spec.budget.steps_per_trial
    for option, last in (("perturbation_interval", steps - 1), ("grace_period", steps)):
        value = options.get(option, known.options.get(option))
        if _is_number(value) and value > last:  # type: ignore[operator]
            default = "" if option in options else " (Ray's default)"
            yield Problem(
                f"/scheduler/options/{option}",
                f"{option} is {value:g}{default}, in steps, but a trial takes at most {steps} steps "
                "(budget.steps_per_trial), so that none would ever be judged in time",
                f"set it to at most {last}" if last else "raise steps_per_trial",
            )


def _population_problems(spec: StudySpec, name: str, known: RayScheduler, given: object) -> Iterator[Problem]:
    if spec.budget.trials < 2:
        yield Problem(
            "/budget/trials",
            f"budget.trials is {spec.budget.trials}, but ray:{name} compares at least 2 trials",
            "raise budget.trials, or choose another scheduler",
        )
    mutable = {key: each for key, each in spec.parameters.items() if each.mutable and is_fit(known, each)}
    what = "float or int parameter" if known.bounds else "parameter"
    if not mutable:
        yield Problem(
            "/parameters",
            f"no {what} is mutable, but ray:{name} changes parameters while their trials train",
            "add mutable = true to those that may change, such as a learning rate",
        )
        return
    if not isinstance(given, Mapping):
        return
    for key, values in given.items():
        pointer = f"/scheduler/options/{known.mutations}/{_escaped(str(key))}"
        if key not in mutable:
            why = f"is no {what} of the study" if key not in spec.parameters else f"is no {what} that is mutable"
            yield Problem(pointer, f"{key} {why}", suggest(str(key), mutable) or f"it may name {', '.join(mutable)}")
        elif not _are_values(mutable[key], values, bounds=known.bounds):
            takes = "[low, high] of it" if known.bounds else "a list of its values"
            yield Problem(
                pointer,
                f"{key} has {values!r} here, but takes {takes}, and is {described(mutable[key])}",
                "correct it, or drop it: then the parameter's own range counts",
            )


def _are_values(parameter: Parameter, values: object, *, bounds: bool) -> bool:
    if not isinstance(values, list | tuple) or not values:
        return False
    if isinstance(parameter, FloatParameter | IntParameter) and not all(map(_is_number, values)):
        return False
    if bounds:
        return len(values) == 2 and parameter.low <= values[0] < values[1] <= parameter.high  # type: ignore[union-attr]
    wanted = [float(value) for value in values] if isinstance(parameter, FloatParameter) else values
    return all(contains_value(parameter, value) for value in wanted)


def is_fit(known: RayScheduler, parameter: Parameter) -> bool:
    """Whether the scheduler can change such a parameter."""
    return isinstance(parameter, FloatParameter | IntParameter) or not known.bounds


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
