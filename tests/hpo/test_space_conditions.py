"""Conditions and forbidden combinations: by hand, and against a plain enumeration of small random spaces."""

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

from hpo.forbidden import Undecided
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


# -- by hand ------------------------------------------------------------------------------------------------------
OPTIMIZER = {
    "opt": {"type": "categorical", "choices": ["adam", "sgd"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.9, "step": 0.45, "when": {"opt": ["sgd"]}},
    "nesterov": {"type": "bool", "when": {"opt": ["sgd"], "momentum": [0.45, 0.9]}},
}


def test_a_grid_of_conditions_worked_by_hand() -> None:
    space = of(OPTIMIZER)
    assert space.names == ("opt", "momentum", "nesterov")
    assert list(space.grid()) == [
        {"opt": "adam"},
        {"opt": "sgd", "momentum": 0.0},
        {"opt": "sgd", "momentum": 0.45, "nesterov": False},
        {"opt": "sgd", "momentum": 0.45, "nesterov": True},
        {"opt": "sgd", "momentum": 0.9, "nesterov": False},
        {"opt": "sgd", "momentum": 0.9, "nesterov": True},
    ]
    assert space.size() == 6


def test_a_child_of_an_inactive_parent_is_inactive() -> None:
    space = of(OPTIMIZER)
    params: dict[str, Any] = {"opt": "adam", "momentum": 0.9, "nesterov": True}
    assert not space.is_active("nesterov", params)
    assert space.canonical(params) == {"opt": "adam"}
    assert not space.contains(params)
    assert space.encode(params) == [0.25, 0.5, 0.5]


def test_a_condition_keeps_true_and_one_apart() -> None:
    space = of({"a": {"type": "categorical", "choices": [1, True]}, "b": {"type": "bool", "when": {"a": [True]}}})
    assert space.is_active("b", {"a": True})
    assert not space.is_active("b", {"a": 1})


def test_samples_are_uniform_over_what_is_not_forbidden() -> None:
    """The cube: adam 1/2, and 1/20 for each momentum of sgd. With one of these left, adam has 10/11 of the rest."""
    tables: dict[str, Any] = {
        "opt": {"type": "categorical", "choices": ["adam", "sgd"]},
        "momentum": {"type": "int", "low": 0, "high": 9, "when": {"opt": ["sgd"]}},
    }
    space = of(tables, {"opt": ["sgd"], "momentum": list(range(9))})
    rng = random.Random(0)
    counts = Counter(space.sample(rng).get("momentum") for _ in range(5000))
    assert counts.keys() == {None, 9}
    assert abs(counts[None] - 4545) < 80


def test_a_rule_does_not_match_where_one_of_its_parameters_is_inactive() -> None:
    space = of(OPTIMIZER, {"momentum": [0.0, 0.45, 0.9]})
    assert list(space.grid()) == [{"opt": "adam"}]
    assert not space.is_forbidden({"opt": "adam", "momentum": 0.9})
    assert space.is_forbidden({"opt": "sgd", "momentum": 0.9})


def test_the_one_configuration_left_of_a_million_is_found() -> None:
    digits = {name: {"type": "int", "low": 0, "high": 9} for name in "abcdef"}
    space = of(digits, *({name: [k for k in range(10) if k != place]} for place, name in enumerate("abcdef")))
    assert space.sample(random.Random(0)) == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5}
    assert space.size() == 1


def test_the_search_draws_all_that_is_left() -> None:
    """Of the triples of twenty digits, the twenty with a = b = c are left, and the draws find hardly any."""
    digits = {name: {"type": "int", "low": 0, "high": 19} for name in "abc"}
    others = [[each for each in range(20) if each != k] for k in range(20)]
    space = of(digits, *({one: [k], "c": others[k]} for k in range(20) for one in "ab"))
    rng = random.Random(0)
    found = [space.sample(rng) for _ in range(200)]
    assert all(params["a"] == params["b"] == params["c"] for params in found)
    assert {params["a"] for params in found} == set(range(20))


def test_a_sample_is_found_where_a_search_at_random_gives_up() -> None:
    """Unless a is 0, ten pigeons can't find places in nine holes, and the search can't find out in time. In its own
    order it tries a = 0 first."""
    pigeons = "bcdefghijk"
    tables: dict[str, Any] = {"a": {"type": "int", "low": 0, "high": 999}, "z": {"type": "bool"}}
    tables |= {name: {"type": "int", "low": 0, "high": 8} for name in pigeons}
    busy = list(range(1, 1_000))
    rules: list[dict[str, list[Any]]] = [
        {"a": busy, one: [hole], other: [hole]}
        for one, other in itertools.combinations(pigeons, 2)
        for hole in range(9)
    ]
    space = of(tables, {"a": [0], "z": [False]}, *rules)
    with pytest.raises(Undecided):
        space.search(random.Random(0)).first()
    params = space.sample(random.Random(0))
    assert (params["a"], params["z"]) == (0, True)
    assert space.contains(params)


def test_forward_checking_spares_the_search_a_dead_end_of_twenty_choices() -> None:
    """a = 0 leaves z nothing. Whoever finds that out only at z tries 2^20 ways to get there."""
    flags = {name: {"type": "int", "low": 0, "high": 1} for name in "abcdefghijklmnopqrstuz"}
    pairs = [{left: [0], right: [1]} for left, right in itertools.pairwise("bcdefghijklmnopqrstu")]
    space = of(flags, {"a": [0], "z": [0]}, {"a": [0], "z": [1]}, *pairs)
    search = space.search()
    found = search.first()
    assert found is not None
    assert search.nodes < 100


def test_the_values_that_no_rule_names_are_one_option_and_drawn_from_evenly() -> None:
    space = of({"a": {"type": "int", "low": 0, "high": 9_999}}, {"a": list(range(9_000))})
    rng = random.Random(0)
    option = next(iter(space.search(rng).solutions()))["a"]
    assert option is not None
    assert option.count == 1_000
    drawn = {option.draw(rng) for _ in range(200)}
    assert len(drawn) > 100
    assert all(9_000 <= int(value) < 10_000 for value in drawn)


@pytest.mark.parametrize(("count", "is_exact"), [(8, True), (24, False)])
def test_a_size_that_takes_too_long_to_count_is_an_upper_bound(count: int, is_exact: bool) -> None:
    """A row of values 0, 1, 2 without two zeros in a row: 3, 8, 22, ... by a(n) = 2 a(n - 1) + 2 a(n - 2)."""
    row: dict[str, Any] = {f"x{k:02}": {"type": "int", "low": 0, "high": 2} for k in range(count)}
    space = of(row, *({one: [0], other: [0]} for one, other in itertools.pairwise(row)))
    before, ways = 1, 3
    for _ in range(count - 1):
        before, ways = ways, 2 * ways + 2 * before
    assert space.size() == (ways if is_exact else 3**count)


def test_parts_that_nothing_connects_are_counted_apart() -> None:
    tables: dict[str, Any] = {}
    for k in range(40):
        tables[f"on{k}"] = {"type": "bool"}
        tables[f"rate{k}"] = {"type": "int", "low": 0, "high": 9, "when": {f"on{k}": [True]}}
    assert of(tables).size() == 11**40


def test_a_grid_skips_forbidden_parts_without_going_through_them() -> None:
    wide = {name: {"type": "int", "low": 0, "high": 2**40} for name in "bc"}
    space = of({"a": {"type": "bool"}, **wide}, {"a": [False]})
    assert next(space.grid()) == {"a": True, "b": 0, "c": 0}


def test_a_circle_of_conditions_is_no_space() -> None:
    with pytest.raises(ValueError, match="circle"):
        of({"a": {"type": "bool", "when": {"b": [True]}}, "b": {"type": "bool", "when": {"a": [True]}}})
