"""Conditions and forbidden combinations, worked by hand."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest

from hpo.forbidden import Undecided
from tests.hpo.test_space_conditions import of

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
