"""Conditions and forbidden combinations, against a plain enumeration of small random spaces."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hpo.parameters import Parameter, nth_value, num_values
from hpo.space import Space
from hpo.table import ParamValue

# The same examples in every run, and no limit of time on a busy machine.
EXAMPLES = settings(derandomize=True, deadline=None, max_examples=100)
Params = Mapping[str, ParamValue]

_adapter: TypeAdapter[Any] = TypeAdapter(Parameter)


def of(parameters: Mapping[str, dict[str, Any]], *forbidden: dict[str, list[Any]]) -> Space:
    return Space({name: _adapter.validate_python(table) for name, table in parameters.items()}, forbidden)


def typed(params: Params) -> frozenset[tuple[str, str]]:
    return frozenset((name, repr(value)) for name, value in params.items())


# -- what a space holds, from its definition alone ----------------------------------------------------------------
def one_of(value: ParamValue, values: Any) -> bool:
    return any(type(value) is type(each) and value == each for each in values)


def is_active(space: Space, name: str, everything: Params) -> bool:
    return all(
        is_active(space, parent, everything) and one_of(everything[parent], values)
        for parent, values in space.parameters[name].when.items()
    )


def enumerated(space: Space) -> set[frozenset[tuple[str, str]]]:
    """Every way to give all parameters values, without inactive ones, unless a rule matches."""
    lists = [[nth_value(p, k) for k in range(num_values(p) or 0)] for p in space.parameters.values()]
    found = set()
    for values in itertools.product(*lists):
        everything = dict(zip(space.parameters, values, strict=True))
        params = {name: value for name, value in everything.items() if is_active(space, name, everything)}
        if not any(
            all(name in params and one_of(params[name], values) for name, values in rule.items())
            for rule in space.forbidden
        ):
            found.add(typed(params))
    return found


# -- random small spaces ------------------------------------------------------------------------------------------
FINITE: list[dict[str, Any]] = [
    {"type": "bool"},
    {"type": "int", "low": 0, "high": 2},
    {"type": "int", "low": 1, "high": 3, "log": True},
    {"type": "float", "low": 0.1, "high": 0.3, "step": 0.1},
    {"type": "categorical", "choices": [True, 1, 1.0, "1"]},
    {"type": "categorical", "choices": ["only"]},
]
INFINITE: list[dict[str, Any]] = [
    {"type": "float", "low": -1.0, "high": 1.0},
    {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
]


def values_of(parameter: Parameter) -> list[Any]:
    return [nth_value(parameter, k) for k in range(num_values(parameter) or 0)]


PARAMETERS: list[tuple[Parameter, list[Any]]] = [
    (parameter, values_of(parameter)) for parameter in map(_adapter.validate_python, [*FINITE, *INFINITE])
]


@st.composite
def a_space(draw: st.DrawFn, *, infinite: bool = False, num_rules: int = 3) -> Space:
    names = draw(st.permutations("abcdef"))[: draw(st.integers(1, 5))]
    parameters: dict[str, Parameter] = {}
    finite: dict[str, list[Any]] = {}

    def some(name: str) -> tuple[Any, ...]:
        return tuple(draw(st.lists(st.sampled_from(finite[name]), min_size=1, max_size=3)))

    for name in names:
        parents = draw(st.lists(st.sampled_from(list(finite)), max_size=2, unique=True)) if finite else []
        parameter, values = draw(st.sampled_from(PARAMETERS if infinite else PARAMETERS[: len(FINITE)]))
        parameters[name] = parameter.model_copy(update={"when": {parent: some(parent) for parent in parents}})
        if values:
            finite[name] = values
    rules = []
    for _ in range(draw(st.integers(0, num_rules)) if finite else 0):
        rules.append(
            {
                name: some(name)
                for name in draw(st.lists(st.sampled_from(list(finite)), min_size=1, max_size=3, unique=True))
            }
        )
    return Space(parameters, rules)


@EXAMPLES
@given(a_space())
def test_the_grid_holds_exactly_the_contained_configurations_once(space: Space) -> None:
    points = list(space.grid())
    assert Counter(map(typed, points)) == Counter(enumerated(space))
    assert all(space.contains(point) and not space.is_forbidden(point) for point in points)
    assert all(list(point) == [name for name in space.names if name in point] for point in points)


@EXAMPLES
@given(a_space(num_rules=5))
def test_the_size_is_the_number_of_configurations(space: Space) -> None:
    assert space.size() == len(enumerated(space))


@EXAMPLES
@given(a_space(num_rules=8), st.integers(0, 2**32))
def test_every_sample_is_contained_and_none_is_forbidden(space: Space, seed: int) -> None:
    everything = enumerated(space)
    assume(everything)
    assert typed(space.sample(random.Random(seed))) in everything


@EXAMPLES
@given(a_space(infinite=True, num_rules=0), st.integers(0, 2**32))
def test_samples_of_infinite_spaces_are_contained(space: Space, seed: int) -> None:
    assert space.contains(space.sample(random.Random(seed)))


@EXAMPLES
@given(a_space(num_rules=5))
def test_what_the_search_finds_is_there_and_what_it_does_not_is_not(space: Space) -> None:
    for rng in (None, random.Random(0)):
        assert (space.search(rng).first() is not None) == bool(enumerated(space))


@EXAMPLES
@given(a_space(infinite=True), st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_encoding_and_decoding_give_the_same_canonical_configuration(space: Space, point: list[float]) -> None:
    params = space.decode(point[: len(space.names)])
    encoded = space.encode(params)
    assert space.decode(encoded).keys() == params.keys()
    assert all(u == 0.5 for name, u in zip(space.names, encoded, strict=True) if name not in params)
    for name, value in space.decode(encoded).items():
        if num_values(space.parameters[name]) is None:
            assert value == pytest.approx(params[name])
        else:
            assert repr(value) == repr(params[name])


@EXAMPLES
@given(a_space(), st.randoms(use_true_random=False))
def test_canonical_is_idempotent_and_keeps_what_is_active(space: Space, rng: random.Random) -> None:
    everything = {name: rng.choice(values_of(p)) for name, p in space.parameters.items()}
    canonical = space.canonical(everything)
    assert canonical == {name: everything[name] for name in canonical}
    assert set(canonical) == {name for name in everything if is_active(space, name, everything)}
    assert space.canonical(canonical) == canonical
    assert space.contains(canonical) == (typed(canonical) in enumerated(space))


@EXAMPLES
@given(a_space(), st.randoms(use_true_random=False))
def test_a_configuration_is_contained_only_with_exactly_what_is_active(space: Space, rng: random.Random) -> None:
    some = {name: rng.choice(values_of(p)) for name, p in space.parameters.items() if rng.random() < 0.7}
    assert space.contains(some) == (typed(some) in enumerated(space))


@EXAMPLES
@given(a_space(), st.randoms(use_true_random=False))
def test_completing_keeps_what_is_given_and_draws_the_rest(space: Space, rng: random.Random) -> None:
    some = {name: rng.choice(values_of(p)) for name, p in space.parameters.items() if rng.random() < 0.5}
    complete = space.complete(some, rng)
    assert all(repr(value) == repr(some[name]) for name, value in complete.items() if name in some)
    possible = {
        params
        for params in enumerated(space)
        if all((name, repr(value)) in params for name, value in some.items() if name in dict(params))
    }
    assert (typed(complete) in possible) == bool(possible)
    assert space.contains(complete) == bool(possible)


@EXAMPLES
@given(a_space(infinite=True))
def test_parents_come_before_their_children(space: Space) -> None:
    assert sorted(space.names) == sorted(space.parameters)
    for name in space.names:
        assert all(space.names.index(parent) < space.names.index(name) for parent in space.parameters[name].when)


@EXAMPLES
@given(a_space(infinite=True), st.integers(0, 2**32))
def test_the_order_of_the_parameters_does_not_matter(space: Space, seed: int) -> None:
    assume(not space.forbidden or enumerated(space) or space.size() is None)
    other = Space(dict(reversed(space.parameters.items())), space.forbidden)
    assert other == space
    assert other.names == space.names
    assert list(other.sample(random.Random(seed)).items()) == list(space.sample(random.Random(seed)).items())
