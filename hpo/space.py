"""The space that a study's parameters span: sampling, membership, its grid, and its unit cube.

A configuration gives every active parameter a value, and nothing else. A parameter is active where all its parents
(the names in its `when`) are active and have one of the values listed there. Without numpy, so that checking a
specification loads nothing heavy.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hpo.forbidden import MAX_NODES, Needs, Rule, Search, Undecided, count
from hpo.parameters import Parameter, Uniform, contains_value, decode_value, encode_value, nth_value, num_values
from hpo.table import ParamValue, Typed, typed

Parameters = Mapping[str, Parameter]

NUM_DRAWS = 200
"""How often a forbidden configuration is drawn again before one is searched for."""


class Spanning(Protocol):
    """What has a space: a StudySpec."""

    @property
    def parameters(self) -> Parameters: ...
    @property
    def forbidden(self) -> Sequence[Mapping[str, Sequence[ParamValue]]]: ...


@dataclass(frozen=True, slots=True)
class Space:
    """Parameters, their conditions, and forbidden combinations.

    A rule of `forbidden` matches a configuration in which all of its parameters are active and have one of the values
    that it lists. Two spaces are equal whatever order their parameters came in.
    """

    parameters: Parameters
    forbidden: Sequence[Mapping[str, Sequence[ParamValue]]] = ()
    names: tuple[str, ...] = field(init=False, compare=False, repr=False)
    """Parents before children, else alphabetical: the order of every function here."""
    # Not the file's order: a database may give a JSON object back in another one, and a replay of the study must draw
    # the same configurations.
    needs: Needs = field(init=False, compare=False, repr=False)
    """For each parameter, what makes it active: its ancestors, and the values that each must have."""
    rules: tuple[Rule, ...] = field(init=False, compare=False, repr=False)
    """`forbidden`, for looking values up."""

    def __post_init__(self) -> None:
        names = _parents_first(self.parameters)
        needs: dict[str, dict[str, frozenset[Typed]]] = {}
        for name in names:
            needs[name] = {}
            for parent, values in self.parameters[name].when.items():
                for ancestor, allowed in [*needs[parent].items(), (parent, frozenset(map(typed, values)))]:
                    needs[name][ancestor] = needs[name].get(ancestor, allowed) & allowed
        rules = tuple({name: frozenset(map(typed, values)) for name, values in rule.items()} for rule in self.forbidden)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "needs", needs)
        object.__setattr__(self, "rules", rules)

    @classmethod
    def of(cls, spec: Spanning) -> Space:
        """The space of a specification."""
        return cls(spec.parameters, spec.forbidden)

    # -- one configuration ------------------------------------------------------------------------------------
    def is_active(self, name: str, params: Mapping[str, ParamValue]) -> bool:
        """Whether the parameter has a value in this configuration. What is missing has none of the values."""
        return all(
            ancestor in params and typed(params[ancestor]) in values for ancestor, values in self.needs[name].items()
        )

    def canonical(self, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """Without the values of inactive parameters; in the order of `names`, unknown names last."""
        known = {name: params[name] for name in self.names if name in params and self.is_active(name, params)}
        return known | {name: value for name, value in params.items() if name not in self.parameters}

    def contains(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether the configuration gives exactly the active parameters values of their ranges and types, and is not
        forbidden. Types matter: True is not 1, and 1 is not 1.0."""
        active = [name for name in self.names if self.is_active(name, params)]
        return (
            len(active) == len(params)
            and all(name in params and contains_value(self.parameters[name], params[name]) for name in active)
            and not self.is_forbidden(params)
        )

    def is_forbidden(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether a rule of `forbidden` matches."""
        return any(self.matches(rule, params) for rule in self.rules)

    def matches(self, rule: Rule, params: Mapping[str, ParamValue]) -> bool:
        """Whether all parameters of the rule are active and have one of its values."""
        return all(
            name in params and typed(params[name]) in values and self.is_active(name, params)
            for name, values in rule.items()
        )

    # -- drawing ----------------------------------------------------------------------------------------------
    def sample(self, rng: Uniform) -> dict[str, ParamValue]:
        """A contained configuration, drawn uniformly from what is not forbidden of the unit cube: log-uniformly where
        a parameter is log-scaled.

        Where NUM_DRAWS draws are all forbidden, one is searched for at random; then it is contained, but not drawn
        uniformly.
        """
        return self.complete({}, rng)

    def complete(self, params: Mapping[str, ParamValue], rng: Uniform) -> dict[str, ParamValue]:
        """The canonical configuration with what is active but missing drawn as in `sample`.

        It is forbidden only where the given values allow nothing else.
        """
        for _ in range(NUM_DRAWS):
            drawn = self._drawn(params, rng)
            if not self.is_forbidden(drawn):
                return drawn
        found = self._searched(params, rng)
        return drawn if found is None else self._drawn({**params, **found}, rng)

    def _drawn(self, params: Mapping[str, ParamValue], rng: Uniform) -> dict[str, ParamValue]:
        drawn: dict[str, ParamValue] = {}
        for name in self.names:
            if self.is_active(name, drawn):
                given = name in params
                drawn[name] = params[name] if given else decode_value(self.parameters[name], float(rng.random()))
        return drawn

    def _searched(self, given: Mapping[str, ParamValue], rng: Uniform) -> dict[str, ParamValue] | None:
        """Values for the parameters of the rules with which none matches."""
        try:
            found = self.search(rng, given).first()
        except Undecided:
            try:  # without chance, as when the specification was checked: then it is known to find something
                found = self.search(None, given).first()
            except Undecided:
                found = None
        if found is None:
            return None
        return {name: option.draw(rng) for name, option in found.items() if option is not None and name not in given}

    def search(
        self,
        rng: Uniform | None = None,
        given: Mapping[str, ParamValue] | None = None,
        *,
        max_nodes: int = MAX_NODES,
    ) -> Search:
        """Over the parameters of the forbidden rules and their ancestors."""
        named = {name for rule in self.rules for name in rule}
        named |= {ancestor for name in named for ancestor in self.needs[name]}
        names = [name for name in self.names if name in named]
        return Search(self.parameters, names, self.needs, self.rules, rng, given or {}, max_nodes)

    # -- the unit cube ----------------------------------------------------------------------------------------
    def encode(self, params: Mapping[str, ParamValue]) -> list[float]:
        """The point of a configuration in the unit cube, one coordinate a name: the centre of its bin for a discrete
        value, 0.5 for an inactive parameter. Raises ValueError for a value that is missing or out of range."""
        point = []
        for name in self.names:
            if not self.is_active(name, params):
                point.append(0.5)
            elif name in params:
                point.append(encode_value(self.parameters[name], params[name]))
            else:
                raise ValueError(f"{name} is active, but has no value in {dict(params)!r}")
        return point

    def decode(self, point: Sequence[float]) -> dict[str, ParamValue]:
        """The canonical configuration at a point of the unit cube, which may be forbidden. Coordinates outside of
        [0, 1] are clamped.

        `decode(encode(params))` gives back discrete values exactly (log-scaled integers up to 2**40), and continuous
        ones up to rounding.
        """
        if len(point) != len(self.names):
            raise ValueError(f"the point has {len(point)} coordinates, but the space has {len(self.names)} parameters")
        params: dict[str, ParamValue] = {}
        for name, u in zip(self.names, point, strict=True):
            if self.is_active(name, params):
                params[name] = decode_value(self.parameters[name], float(u))
        return params

    # -- the grid ---------------------------------------------------------------------------------------------
    def size(self) -> int | None:
        """The number of contained configurations; None where a float without a step makes it infinite.

        Exact, unless counting takes more than MAX_NODES choices of conditions and rules: then it is an upper bound.
        """
        return count(self.parameters, self.names, self.needs, self.rules)

    def grid(self) -> Iterator[dict[str, ParamValue]]:
        """Every contained configuration once, the last name changing fastest, an inactive parameter standing still.

        Takes no memory. Raises ValueError for an infinite space.
        """
        for name in self.names:
            if num_values(self.parameters[name]) is None:
                raise ValueError(f"{name} is a float without a step, which has no grid; give it a step")
        return self._grid()

    def _grid(self) -> Iterator[dict[str, ParamValue]]:
        closing = {name: [rule for rule in self.rules if name == self._last(rule)] for name in self.names}
        params: dict[str, ParamValue] = {}
        open_: list[Iterator[ParamValue | None]] = [self._values(self.names[0], params)]
        while open_:
            name = self.names[len(open_) - 1]
            value = next(open_[-1], _DONE)
            if value is _DONE:
                open_.pop()
                params.pop(name, None)
                continue
            if value is not None:
                params[name] = value  # type: ignore[assignment]
                if any(self.matches(rule, params) for rule in closing[name]):
                    continue
            if len(open_) == len(self.names):
                yield dict(params)
            else:
                open_.append(self._values(self.names[len(open_)], params))

    def _values(self, name: str, params: Mapping[str, ParamValue]) -> Iterator[ParamValue | None]:
        """All values, or None once where the parameter is inactive."""
        if not self.is_active(name, params):
            return iter((None,))
        parameter = self.parameters[name]
        return (nth_value(parameter, k) for k in range(num_values(parameter) or 0))

    def _last(self, rule: Rule) -> str:
        return max(rule, key=self.names.index)


_DONE = object()


def _parents_first(parameters: Parameters) -> tuple[str, ...]:
    """Of those whose parents have come, always the alphabetically first. Raises ValueError for a circle."""
    missing = {name: set(parameter.when) for name, parameter in parameters.items()}
    children: dict[str, list[str]] = {}
    for name, parents in missing.items():
        for parent in parents:
            children.setdefault(parent, []).append(name)
    ready = [name for name, parents in missing.items() if not parents]
    heapq.heapify(ready)
    order = []
    while ready:
        name = heapq.heappop(ready)
        order.append(name)
        for child in children.get(name, ()):
            missing[child].discard(name)
            if not missing[child]:
                heapq.heappush(ready, child)
    if len(order) < len(parameters):
        stuck = sorted(set(parameters) - set(order))
        raise ValueError(f"the conditions of {', '.join(stuck)} go in a circle, or name no parameter")
    return tuple(order)
