"""Our parameters as Optuna's distributions, for people to look at.

`hpo.search.optuna_space` is another translation: it hands a searcher indices. Here every value stays what it is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hpo.parameters import (
    BoolParameter,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    nth_value,
    num_values,
)
from hpo.table import ParamValue

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def distribution(parameter: Parameter) -> BaseDistribution:
    """The distribution whose values `shown` gives."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match parameter:
        case FloatParameter(low=low, high=high, log=log, step=None):
            return FloatDistribution(low, high, log=log)
        case FloatParameter(low=low, step=step):
            return FloatDistribution(low, float(_last(parameter)), step=step)
        case IntParameter(low=low, high=high, log=True):
            return IntDistribution(low, high, log=True)
        case IntParameter(low=low, step=step):
            return IntDistribution(low, int(_last(parameter)), step=step or 1)
        case CategoricalParameter(choices=choices):
            return CategoricalDistribution([shown(parameter, choice) for choice in choices])
        case BoolParameter():
            return CategoricalDistribution([False, True])
    raise TypeError(f"{parameter!r} is no parameter")


def shown(parameter: Parameter, value: ParamValue) -> ParamValue:
    """A value in Optuna. To Optuna True, 1 and 1.0 are one choice: where a categorical has such, its choices are their
    JSON texts."""
    if isinstance(parameter, CategoricalParameter) and len(set(parameter.choices)) < len(parameter.choices):
        return json.dumps(value, ensure_ascii=False)
    return value


def _last(parameter: Parameter) -> float:
    """The highest value of a grid: Optuna warns where `high` isn't on it."""
    count = num_values(parameter)
    assert count is not None  # a grid is finite
    return float(nth_value(parameter, count - 1))
