"""The space that a study's parameters span: sampling, membership, its grid, and its unit cube.

A point of the unit cube has one coordinate a parameter, in [0, 1], in the order of `names`. Pure functions, without
numpy, so that checking a specification loads nothing heavy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeGuard

from hpo.spec import (
    BoolParameter,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    ParamValue,
    exact,
)

Parameters = Mapping[str, Parameter]


class Uniform(Protocol):
    """Draws from [0, 1): a `numpy.random.Generator` or a `random.Random`."""

    def random(self) -> float: ...


def names(parameters: Parameters) -> list[str]:
    """The parameters' names in the order that every function here uses."""
    # Sorted: a database may give a JSON object back in another order than the file had, and a replay of the
    # study must draw the same configurations.
    return sorted(parameters)


def sample(parameters: Parameters, rng: Uniform) -> dict[str, ParamValue]:
    """A configuration drawn uniformly from the unit cube: log-uniform where a parameter is log-scaled."""
    return {name: decode_value(parameters[name], float(rng.random())) for name in names(parameters)}


def contains(parameters: Parameters, params: Mapping[str, ParamValue]) -> bool:
    """Whether the configuration gives each parameter, and nothing else, a value of its range and of its type.

    Types matter: True is not 1, and 1 is not 1.0.
    """
    return parameters.keys() == params.keys() and all(
        contains_value(parameter, params[name]) for name, parameter in parameters.items()
    )


def size(parameters: Parameters) -> int | None:
    """The number of configurations, or None where a float without a step makes it infinite."""
    total = 1
    for parameter in parameters.values():
        count = num_values(parameter)
        if count is None:
            return None
        total *= count
    return total


def grid(parameters: Parameters) -> Iterator[dict[str, ParamValue]]:
    """Every configuration once, in the order of `grid_point`. Raises ValueError for an infinite space."""
    total = size(parameters)
    if total is None:
        raise ValueError("a float parameter without a step has no grid; give it a step")
    return (grid_point(parameters, index) for index in range(total))


def grid_point(parameters: Parameters, index: int) -> dict[str, ParamValue]:
    """Configuration `index` of the grid, 0 <= index < size; the last name (alphabetically) changes fastest.

    A mixed-radix number, so that a grid of any size takes no memory. Raises IndexError outside of the grid.
    """
    digits: dict[str, ParamValue] = {}
    rest = index
    for name in reversed(names(parameters)):
        count = num_values(parameters[name])
        if count is None:
            raise ValueError(f"{name} is a float without a step, which has no grid; give it a step")
        rest, digit = divmod(rest, count)
        digits[name] = nth_value(parameters[name], digit)
    if rest:  # also for a negative index, whose rest stays at -1
        raise IndexError(f"{index} is outside of the grid of {size(parameters)} configurations")
    return {name: digits[name] for name in names(parameters)}


def encode(parameters: Parameters, params: Mapping[str, ParamValue]) -> list[float]:
    """The point of a configuration in the unit cube; a discrete value is the centre of its bin."""
    return [encode_value(parameters[name], params[name]) for name in names(parameters)]


def decode(parameters: Parameters, point: Sequence[float]) -> dict[str, ParamValue]:
    """The configuration at a point of the unit cube; coordinates outside of [0, 1] are clamped.

    `decode(encode(params))` gives back discrete values exactly (log-scaled integers up to 2**40), and continuous
    ones up to rounding.
    """
    order = names(parameters)
    if len(point) != len(order):
        raise ValueError(f"the point has {len(point)} coordinates, but the space has {len(order)} parameters")
    return {name: decode_value(parameters[name], float(u)) for name, u in zip(order, point, strict=True)}


# -- one parameter --------------------------------------------------------------------------------------------
def num_values(parameter: Parameter) -> int | None:
    """How many values a parameter has, or None for a float without a step."""
    match parameter:
        case FloatParameter(step=None):
            return None
        case FloatParameter(low=low, high=high, step=float() as step):
            exact_low, exact_step = exact(low), exact(step)
            return int((exact(high) - exact_low) // exact_step) + 1
        case IntParameter(low=low, high=high, step=step):
            return (high - low) // (step or 1) + 1
        case CategoricalParameter(choices=choices):
            return len(choices)
        case BoolParameter():
            return 2
    raise TypeError(f"{parameter!r} is no parameter")


def nth_value(parameter: Parameter, k: int) -> ParamValue:
    """Value k, from 0, of a parameter with finitely many: low + k * step, choice k, or false and true."""
    match parameter:
        case FloatParameter(low=low, step=float() as step):
            # From the integer k, in the decimals that the user wrote: 0.1 + 0.1 + 0.1 drifts to
            # 0.30000000000000004, which lies above high = 0.3.
            return float(exact(low) + k * exact(step))
        case IntParameter(low=low, step=step):
            return low + k * (step or 1)
        case CategoricalParameter(choices=choices):
            return choices[k]
        case BoolParameter():
            return bool(k)
    raise TypeError(f"{parameter!r} has no finite list of values")


def index_of(parameter: Parameter, value: ParamValue) -> int | None:
    """The k of `nth_value`, or None where the parameter has no such value."""
    match parameter:
        case FloatParameter(low=low, step=float() as step):
            if type(value) is not float or not math.isfinite(value):
                return None
            k = round((exact(value) - exact(low)) / exact(step))
        case IntParameter(low=low, step=step):
            if type(value) is not int:
                return None
            k = (value - low) // (step or 1)
        case CategoricalParameter(choices=choices):
            return next((k for k, c in enumerate(choices) if type(c) is type(value) and c == value), None)
        case BoolParameter():
            return int(value) if isinstance(value, bool) else None
        case _:
            return None
    count = num_values(parameter)
    return k if count is not None and 0 <= k < count and nth_value(parameter, k) == value else None


def contains_value(parameter: Parameter, value: ParamValue) -> bool:
    """Whether the value has the parameter's type and lies in its range (and on its grid)."""
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return type(value) is float and parameter.low <= value <= parameter.high
    return index_of(parameter, value) is not None


def encode_value(parameter: Parameter, value: ParamValue) -> float:
    """A value's coordinate in [0, 1]. Raises ValueError where the parameter has no such value."""
    if not contains_value(parameter, value):
        raise ValueError(f"{value!r} ({type(value).__name__}) is no value of {parameter!r}")
    if _is_scaled(parameter):
        low, high = _bounds(parameter)
        number = float(value)
        if parameter.log:
            low, high, number = math.log(low), math.log(high), math.log(number)
        # Halved, as high - low may overflow; equal after the log where low and high are neighbours.
        width = high / 2 - low / 2
        return _clamp((number / 2 - low / 2) / width, 0.0, 1.0) if width > 0 else 0.5
    k, count = index_of(parameter, value), num_values(parameter)
    assert k is not None  # it is contained
    assert count is not None  # and discrete
    return (k + 0.5) / count


def decode_value(parameter: Parameter, u: float) -> ParamValue:
    """The value at coordinate u, clamped to [0, 1]; never NaN."""
    u = _clamp(u, 0.0, 1.0)
    if _is_scaled(parameter):
        low, high = _bounds(parameter)
        if parameter.log:
            low, high = math.log(low), math.log(high)
        number = low * (1 - u) + high * u
        if parameter.log:
            number = math.exp(number)
        if isinstance(parameter, IntParameter):
            return int(_clamp(round(number), parameter.low, parameter.high))
        return _clamp(number, parameter.low, parameter.high)
    count = num_values(parameter)
    assert count is not None  # it is discrete
    return nth_value(parameter, min(int(u * count), count - 1))


def _is_scaled(parameter: Parameter) -> TypeGuard[FloatParameter | IntParameter]:
    """Whether the parameter is a stretch of the number line rather than a row of equal bins."""
    return (isinstance(parameter, FloatParameter) and parameter.step is None) or (
        isinstance(parameter, IntParameter) and parameter.log
    )


def _bounds(parameter: FloatParameter | IntParameter) -> tuple[float, float]:
    # Half a step on either side gives the first and the last integer as wide a bin as their neighbours.
    margin = 0.5 if isinstance(parameter, IntParameter) else 0.0
    return parameter.low - margin, parameter.high + margin


def _clamp(number: float, low: float, high: float) -> float:
    # In this order NaN becomes low: min and max keep their first argument when a comparison is false.
    return min(max(low, number), high)
