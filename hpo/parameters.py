"""The parameters that a study varies, and the values of one: counted, listed, and as a coordinate in [0, 1]."""

from __future__ import annotations

import difflib
import math
from functools import cached_property
from typing import Annotated, Literal, Protocol, Self, TypeGuard

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hpo.table import Flag, ParamValue, Real, Table, Typed, Whole, exact, refused, typed

MAX_CHOICES = 1_000
MAX_INTEGER = 2**53
"""Up to here JSON readers and the page keep every integer exact."""


class Uniform(Protocol):
    """Draws from [0, 1): a `numpy.random.Generator` or a `random.Random`."""

    def random(self) -> float: ...


def as_list(value: object) -> object:
    """One value stands for a list of one."""
    return value if isinstance(value, list | tuple) else (value,)


Values = Annotated[
    tuple[ParamValue, ...],
    Field(max_length=MAX_CHOICES),
    BeforeValidator(as_list, json_schema_input_type=ParamValue | list[ParamValue]),
]
"""One of these; a value alone stands for a list of one."""


class _Parameter(Table):
    type: str
    when: dict[str, Values] = Field(default_factory=dict)
    """The parameter is only active where each of these (its parents) is active and has one of the values. Where it
    isn't, it has no value at all."""
    mutable: Flag = False
    """May be changed while its trial trains, by a scheduler that lets trials inherit weights."""


class FloatParameter(_Parameter):
    """A number in [low, high]; uniform, log-uniform, or on a grid of `step` from low."""

    type: Literal["float"]
    low: Real
    """The least value."""
    high: Real
    """The greatest value; it is tried too."""
    log: Flag = False
    """Whether values are spread evenly by their logarithm: as many between 0.001 and 0.01 as between 0.01 and 0.1. It
    needs low > 0."""
    step: Annotated[Real, Field(gt=0)] | None = None
    """The distance of the values, counted from low; all numbers between unless given."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        _check_range(self.low, self.high, self.log, self.step)
        return self


class IntParameter(_Parameter):
    """An integer in [low, high]; uniform, log-uniform, or on a grid of `step` from low."""

    type: Literal["int"]
    low: Whole
    """The least value."""
    high: Whole
    """The greatest value; it is tried too."""
    log: Flag = False
    """Whether values are spread evenly by their logarithm. It needs low > 0."""
    step: Annotated[Whole, Field(gt=0)] | None = None
    """The distance of the values, counted from low; 1 unless given."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        _check_range(self.low, self.high, self.log, self.step)
        return self


class CategoricalParameter(_Parameter):
    """One of `choices`, in no order."""

    type: Literal["categorical"]
    choices: Annotated[tuple[str | bool | int | float, ...], Field(min_length=1, max_length=MAX_CHOICES)]
    """The values, each once. Their types matter: 1 is not 1.0, and neither is true."""

    @field_validator("choices")
    @classmethod
    def _distinct(cls, choices: tuple[ParamValue, ...]) -> tuple[ParamValue, ...]:
        seen: set[Typed] = set()
        for choice in choices:
            if typed(choice) in seen:
                raise refused("", f"{choice!r} stands twice; choices are distinct", "drop one")
            seen.add(typed(choice))
        return choices

    @cached_property
    def places(self) -> dict[Typed, int]:
        """Where each choice stands."""
        return {typed(choice): k for k, choice in enumerate(self.choices)}


class BoolParameter(_Parameter):
    """true or false."""

    type: Literal["bool"]


Parameter = Annotated[FloatParameter | IntParameter | CategoricalParameter | BoolParameter, Field(discriminator="type")]


def extremes(parameter: Parameter) -> tuple[ParamValue, ...]:
    """The values that a trainable must take if it takes all: both ends of a range, or every choice."""
    match parameter:
        case FloatParameter() | IntParameter():
            return parameter.low, parameter.high
        case CategoricalParameter():
            return parameter.choices
        case BoolParameter():
            return False, True


def described(parameter: Parameter) -> str:
    """The parameter's values in words: `an integer from 1 to 9 in steps of 2`."""
    match parameter:
        case BoolParameter():
            return "true or false"
        case CategoricalParameter(choices=choices):
            shown = ", ".join(map(repr, choices[:8]))
            return f"one of {shown}{', …' if len(choices) > 8 else ''}" if len(choices) > 1 else f"always {shown}"
        case FloatParameter() | IntParameter():
            kind = "a float" if isinstance(parameter, FloatParameter) else "an integer"
            steps = f" in steps of {parameter.step}" if parameter.step is not None else ""
            return f"{kind} from {parameter.low} to {parameter.high}{steps}"


def same_looking(parameter: Parameter, value: ParamValue) -> ParamValue | None:
    """A value of the parameter that was likely meant: 3 for '3' or 3.0, 'adam' for 'adma'."""
    match parameter:
        case BoolParameter():
            return {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower())
        case CategoricalParameter(choices=choices):
            texts = {str(choice).lower(): choice for choice in reversed(choices)}
            close = difflib.get_close_matches(str(value).lower(), list(texts), n=1)
            return texts[close[0]] if close else None
        case FloatParameter() | IntParameter():
            try:
                number = float(value)
            except (ValueError, OverflowError):  # no number, or an integer that no float holds
                return None
            if not math.isfinite(number) or isinstance(value, bool):
                return None
            near = number if isinstance(parameter, FloatParameter) else round(number)
            return near if near == number and contains_value(parameter, near) else None


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if not low < high:
        raise refused(
            "low", f"low is {low} and high is {high}, but low must be below high",
            "swap them, or make the parameter a constant under [fixed]",
        )  # fmt: skip
    if log and low <= 0:
        raise refused(
            "low", f"low is {low}, but a log-scaled parameter needs low > 0",
            "raise low, or leave out log = true",
        )  # fmt: skip
    if log and step is not None:
        raise refused("step", f"step is {step} and log is true, but they exclude each other", "drop one")
    if isinstance(low, int) and max(abs(low), abs(high)) > MAX_INTEGER:
        raise refused(
            "low" if abs(low) > MAX_INTEGER else "high", f"the range is {low} to {high}, but integers stay within "
            f"±{MAX_INTEGER} (2**53)", "choose a smaller range, or a float parameter",
        )  # fmt: skip
    if high - low == float("inf"):
        raise refused(
            "high", f"low is {low} and high is {high}, which are too far apart for a float",
            "choose a smaller range",
        )  # fmt: skip
    if step is not None and exact(high) - exact(low) > MAX_INTEGER * exact(step):
        raise refused(
            "step", f"step is {step}, which gives more than {MAX_INTEGER} (2**53) values",
            "make the step larger, or leave it out",
        )  # fmt: skip
    if step is not None and exact(step) > exact(high) - exact(low):
        raise refused("step", f"step is {step}, but low and high are only {high - low} apart", "make the step smaller")


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
        case CategoricalParameter():
            return parameter.places.get(typed(value))
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
