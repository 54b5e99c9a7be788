"""A space and its configurations as HyperOpt knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hyperopt import hp
from hyperopt.pyll import Apply, as_apply, scope

from hpo.parameters import (
    BoolParameter,
    CategoricalParameter,
    Parameter,
    decode_value,
    encode_value,
    index_of,
    nth_value,
)
from hpo.space import Space
from hpo.spec import ParamValue
from hpo.table import Typed, typed
from hpo.trial import Params


class HyperoptSpace:
    """HyperOpt's search space, and the way to and from its values.

    A categorical or boolean parameter is `randint`, its index. Any other is `uniform` on its coordinate in [0, 1]
    (see `encode_value`): for a log-scaled one the same model as `loguniform`, without its overflows; and a discrete
    one keeps its order and costs no memory, however many values it has.

    A condition is a `switch` between nothing and what hangs on it, so that HyperOpt draws only active parameters and
    learns from them only. A parameter's ancestors are asked one after the other, parents first.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        nodes = {name: _node(name, space.parameters[name]) for name in space.names}
        root = _Branch()
        for name in space.names:
            branch = root
            needs = space.needs[name]
            for ancestor in space.names:
                if ancestor in needs:
                    branch = branch.below.setdefault((ancestor, needs[ancestor]), _Branch())
            branch.names.append(name)
        self.expression = root.expression(space, nodes)

    def params(self, values: Mapping[str, Sequence[Any]]) -> dict[str, ParamValue]:
        """The configuration that HyperOpt's `misc.vals` says: no value for an inactive parameter, else one."""
        return {
            name: _value(self._space.parameters[name], values[name][0])
            for name in self._space.names
            if len(values[name])
        }

    def values(self, params: Params) -> dict[str, list[Any]]:
        """The inverse of `params`; a discrete value is at the centre of its bin."""
        return {
            name: [_coordinate(self._space.parameters[name], params[name])] if name in params else []
            for name in self._space.names
        }


@dataclass
class _Branch:
    """The parameters that are active under the same conditions, and what hangs on further ones."""

    names: list[str] = field(default_factory=list)
    below: dict[tuple[str, frozenset[Typed]], _Branch] = field(default_factory=dict)

    def expression(self, space: Space, nodes: Mapping[str, Apply]) -> Apply:
        switches = [
            scope.switch(
                scope.call(_Gate(space.parameters[name], allowed), [nodes[name]]),
                None,
                branch.expression(space, nodes),
            )
            for (name, allowed), branch in self.below.items()
        ]
        return as_apply([{name: nodes[name] for name in self.names}, *switches])


@dataclass(frozen=True, slots=True)
class _Gate:
    """Which branch of a switch to take: 1 where the parameter has one of the values."""

    parameter: Parameter
    allowed: frozenset[Typed]

    def __call__(self, coordinate: Any) -> int:
        return int(typed(_value(self.parameter, coordinate)) in self.allowed)


def _node(name: str, parameter: Parameter) -> Apply:
    match parameter:
        case CategoricalParameter(choices=choices):
            return hp.randint(name, len(choices))
        case BoolParameter():
            return hp.randint(name, 2)
    return hp.uniform(name, 0.0, 1.0)


def _value(parameter: Parameter, coordinate: Any) -> ParamValue:
    if isinstance(parameter, CategoricalParameter | BoolParameter):
        return nth_value(parameter, int(coordinate))
    return decode_value(parameter, float(coordinate))


def _coordinate(parameter: Parameter, value: ParamValue) -> int | float:
    if isinstance(parameter, CategoricalParameter | BoolParameter):
        k = index_of(parameter, value)
        if k is None:
            raise ValueError(f"{value!r} ({type(value).__name__}) is no value of {parameter!r}")
        return k
    return encode_value(parameter, value)
