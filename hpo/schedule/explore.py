"""Changed configurations of those that go on from a donor: what all of them keep to, and PBT's explore step. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from hpo.parameters import (
    FloatParameter,
    IntParameter,
    Parameter,
    decode_value,
    encode_value,
    index_of,
    nth_value,
    num_values,
)
from hpo.space import Space
from hpo.table import ParamValue

MAX_DRAWS = 100
"""How often a forbidden configuration is drawn anew before the donor's own is taken."""


def mutable_names(space: Space, params: Mapping[str, ParamValue]) -> list[str]:
    """The parameters of a configuration that may change while its trial trains."""
    return [name for name in space.names if space.parameters[name].mutable and name in params]


def varied(
    space: Space,
    params: Mapping[str, ParamValue],
    rng: random.Random,
    draw: Callable[[], Mapping[str, ParamValue]],
) -> dict[str, ParamValue]:
    """A donor's configuration with what `draw` gives for its mutable parameters in place of its own.

    Parameters that become active by a change of their parent are drawn, those that become inactive are left out. Where
    the result is forbidden it is drawn again, at most MAX_DRAWS times; after that nothing is changed.
    """
    for _ in range(MAX_DRAWS):
        changed = {**params, **draw()}
        # Asked before, too: to complete what is forbidden already would be a long search for nothing.
        if not space.is_forbidden(changed):
            changed = space.complete(changed, rng)
            if not space.is_forbidden(changed):
                return changed
    return dict(params)


def explore(
    space: Space,
    params: Mapping[str, ParamValue],
    rng: random.Random,
    *,
    resample_probability: float,
    factors: Sequence[float],
) -> dict[str, ParamValue]:
    """A donor's configuration with each parameter that is marked `mutable` drawn anew, or else perturbed.

    Jaderberg et al. 2017 (arXiv:1711.09846), section 4: "perturb" and "resample". Conditions and forbidden
    combinations as `varied` says.
    """

    def draw() -> dict[str, ParamValue]:
        drawn: dict[str, ParamValue] = {}
        for name in mutable_names(space, params):
            parameter = space.parameters[name]
            if rng.random() < resample_probability:
                drawn[name] = decode_value(parameter, rng.random())
            else:
                drawn[name] = perturb(parameter, params[name], rng.choice(factors))
        return drawn

    return varied(space, params, rng, draw)


def perturb(parameter: Parameter, value: ParamValue, factor: float) -> ParamValue:
    """A number moved by `factor`, within its range; a choice or a bool as it is.

    Where low > 0 it is multiplied; else a factor of 1.2 moves it up by a fifth of its range. An integer, or a number on
    a grid, moves at least one step, unless the range ends there. With log or without it is the same.
    """
    if not isinstance(parameter, FloatParameter | IntParameter):
        return value
    # Clamped before all else: a factor may be so large that the product is infinite.
    product = min(max(parameter.low, float(value) * factor), parameter.high)
    shift = min(max(-1.0, factor - 1), 1.0)
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return product if parameter.low > 0 else decode_value(parameter, encode_value(parameter, value) + shift)
    before, count = index_of(parameter, value), num_values(parameter)
    if before is None or count is None:
        raise ValueError(f"{value!r} is no value of {parameter!r}")
    if parameter.low > 0:
        after = round((product - parameter.low) / (parameter.step or 1))
    else:
        after = before + round(shift * count)
    if after == before and factor != 1:
        after += 1 if factor > 1 else -1
    return nth_value(parameter, min(max(0, after), count - 1))
