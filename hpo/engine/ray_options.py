"""From a specification to one of Ray Tune's schedulers, and from its configurations to ours and back."""

from __future__ import annotations

import importlib
import inspect
import math
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy
from ray import tune
from ray.tune.schedulers import TrialScheduler

from hpo.errors import InvalidSpecError, Problem
from hpo.parameters import (
    BoolParameter,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    nth_value,
    num_values,
)
from hpo.ray_names import KNOWN, PREFIX, RayScheduler, is_fit, ray_problems
from hpo.space import Space
from hpo.spec import RaySchedule, StudySpec
from hpo.table import ParamValue, typed
from hpo.trial import Params

TIME = "training_iteration"
"""What Ray's schedulers take for the time of a result: the trial's step."""


def build(spec: StudySpec) -> TrialScheduler:
    """A new scheduler of Ray Tune's, as `spec.scheduler` names it. Raises InvalidSpecError.

    What isn't given is Ray's default, except: max_t is budget.steps_per_trial, and a scheduler that changes parameters
    changes those that are mutable, over their ranges. The global random states that Ray's schedulers draw from are
    seeded with the study's seed; what they draw depends on the order of the reports all the same.
    """
    assert isinstance(spec.scheduler, RaySchedule)
    if problems := list(ray_problems(spec)):
        raise InvalidSpecError(problems)
    name, options = spec.scheduler.algorithm, dict(spec.scheduler.options)
    known = KNOWN[name.removeprefix(PREFIX)]
    cls = getattr(importlib.import_module(known.module), name.removeprefix(PREFIX))
    random.seed(spec.seed)
    numpy.random.seed(spec.seed % 2**32)
    try:
        return _make(cls, spec, known, options)
    except Exception as error:  # their constructors assert, too
        culprit = next((option for option in options if _fails(cls, spec, known, {option: options[option]})), None)
        pointer = "/scheduler/algorithm" if culprit is None else f"/scheduler/options/{culprit}"
        value = "" if culprit is None else f" for {culprit} = {options[culprit]!r}"
        detail = f"{name} can't be made{value}: {str(error) or type(error).__name__}"
        raise InvalidSpecError([Problem(pointer, detail, "correct scheduler.options")]) from error


def _make(cls: Any, spec: StudySpec, known: RayScheduler, options: Mapping[str, Any]) -> TrialScheduler:
    given = {
        "metric": spec.objective.metric,
        "mode": "min" if spec.objective.direction == "minimize" else "max",
        "time_attr": TIME,
        "log_config": False,
        "max_t": spec.budget.steps_per_trial,
        **options,
    }
    if known.mutations is not None:
        chosen = options.get(known.mutations) or {
            name: _bounds(each) if known.bounds else _distribution(each)
            for name, each in spec.parameters.items()
            if each.mutable and is_fit(known, each)
        }
        given[known.mutations] = {key(name): values for name, values in chosen.items()}
    takes = inspect.signature(cls).parameters
    return cls(**{name: value for name, value in given.items() if name in takes or name in options})


def _fails(cls: Any, spec: StudySpec, known: RayScheduler, options: Mapping[str, Any]) -> bool:
    try:
        _make(cls, spec, known, options)
    except Exception:
        return True
    return False


def _bounds(parameter: Parameter) -> list[float]:
    assert isinstance(parameter, FloatParameter | IntParameter)
    return [parameter.low, parameter.high]


def _distribution(parameter: Parameter) -> Any:
    """What Ray's population-based training draws from, and perturbs: it multiplies numbers, and steps through lists."""
    match parameter:
        case FloatParameter(low=low, high=high, log=log):
            return tune.loguniform(low, high) if log else tune.uniform(low, high)
        case IntParameter(low=low, high=high, log=log):
            return tune.lograndint(low, high + 1) if log else tune.randint(low, high + 1)
        case CategoricalParameter(choices=choices):
            return list(choices)
        case BoolParameter():
            return [False, True]


# -- configurations -----------------------------------------------------------------------------------------------
def key(name: str) -> str:
    """A parameter's key in a Tune configuration, where some names and the slash have a meaning of their own."""
    return "param:" + quote(name, safe="")


def to_config(params: Params) -> dict[str, ParamValue]:
    """The parameters as keys of a Tune configuration: flat, so that Ray's schedulers find and change them."""
    return {key(name): value for name, value in params.items()}


def from_config(space: Space, config: Mapping[str, Any], donor: Params, rng: random.Random) -> dict[str, ParamValue]:
    """The parameters of a Tune configuration that a scheduler has made from `donor`'s.

    Values are brought into the parameter's type and range. A parameter that has become active is drawn if it has no
    value. Where nothing that is allowed comes out of it, they are the donor's own.
    """
    values: dict[str, ParamValue] = {}
    for name, parameter in space.parameters.items():
        if key(name) in config:
            value = coerce(parameter, config[key(name)])
            if value is None:
                value = donor.get(name)
            if value is not None:
                values[name] = value
    # Asked before, too: to complete what is forbidden already would be a long search for nothing.
    params = space.canonical(values)
    if not space.is_forbidden(params):
        params = space.complete(values, rng)
        if space.contains(params):
            return params
    return dict(donor)


def coerce(parameter: Parameter, value: Any) -> ParamValue | None:
    """The parameter's value that is nearest to what a scheduler made of one; None where there is none."""
    match parameter:
        case BoolParameter():
            return bool(value)
        case CategoricalParameter(choices=choices):
            if type(value).__hash__ is None:
                return None
            place = parameter.places.get(typed(value))
            return choices[place] if place is not None else next((each for each in choices if each == value), None)
        case FloatParameter() | IntParameter():
            number = float(value)
            if math.isnan(number):
                return None
            number = min(max(float(parameter.low), number), float(parameter.high))
            count = num_values(parameter)
            if count is None:
                return number
            return nth_value(parameter, min(round((number - parameter.low) / (parameter.step or 1)), count - 1))
