"""Conditions, forbidden combinations and first configurations: what is refused, and in which words."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from hpo import specfile
from hpo.errors import InvalidSpecError, Problem
from hpo.space import Space
from hpo.spec import StudySpec

PARAMETERS: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "opt": {"type": "categorical", "choices": ["adam", "sgd", "lion"]},
    "momentum": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.5, "when": {"opt": ["sgd"]}},
    "depth": {"type": "int", "low": 1, "high": 4},
    "amsgrad": {"type": "bool", "when": {"opt": "adam"}},
}


def data(*, add: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "name": "constraints",
        "trainable": "mine.train:train",
        "parameters": PARAMETERS | (add or {}),
        "objective": {"metric": "loss", "direction": "minimize"},
        "budget": {"trials": 3},
        **changes,
    }


def problems(study: dict[str, Any]) -> tuple[Problem, ...]:
    with pytest.raises(InvalidSpecError) as caught:
        specfile.parse(study)
    return caught.value.problems


def only(study: dict[str, Any], pointer: str, detail: str, hint: str) -> None:
    found = problems(study)
    assert [problem.pointer for problem in found] == [pointer], found
    assert detail in found[0].detail
    assert hint in found[0].hint


FLAG = {"type": "bool"}


@pytest.mark.parametrize(
    ("when", "at", "detail", "hint"),
    [
        ({"optt": ["sgd"]}, "/optt", "there is no parameter 'optt'", "did you mean 'opt'?"),
        ({"zzz": ["sgd"]}, "/zzz", "there is no parameter 'zzz'", "the parameters are lr, opt, momentum, depth"),
        ({"x": [True]}, "/x", "x depends on itself", "drop the condition"),
        ({"opt": ["sgdd"]}, "/opt/0", "'sgdd' is no value of opt, which is one of 'adam', 'sgd', 'lion'", "'sgd'?"),
        ({"opt": ["adam", 5]}, "/opt/1", "5 is no value of opt", "give one of 'adam', 'sgd', 'lion'"),
        ({"opt": "SGD"}, "/opt", "'SGD' is no value of opt", "did you mean 'sgd'?"),
        ({"opt": []}, "/opt", "is empty, so that x could never be active", "list at least one"),
        ({"opt": [None]}, "/opt/0", "None is neither text nor", "give one of these"),
        ({"depth": ["3"]}, "/depth/0", "'3' is no value of depth, which is an integer from 1 to 4", "did you mean 3?"),
        ({"depth": [2.0]}, "/depth/0", "2.0 is no value of depth", "did you mean 2?"),
        ({"depth": [True]}, "/depth/0", "True is no value of depth", "give an integer from 1 to 4"),
        ({"depth": 7}, "/depth", "7 is no value of depth", "give an integer from 1 to 4"),
        ({"momentum": [0.25]}, "/momentum/0", "0.25 is no value of momentum", "from 0.0 to 1.0 in steps of 0.5"),
        ({"momentum": ["1"]}, "/momentum/0", "'1' is no value of momentum", "did you mean 1.0?"),
        ({"amsgrad": [1]}, "/amsgrad/0", "1 is no value of amsgrad, which is true or false", "did you mean True?"),
        ({"lr": [0.01]}, "/lr", "lr is a float without a step", "give lr a step, or name a discrete parameter"),
        ("opt", "", "'opt': input should be a valid dictionary", "give a table"),
    ],
)
def test_a_condition_names_what_is_there(when: Any, at: str, detail: str, hint: str) -> None:
    only(data(add={"x": {**FLAG, "when": when}}), f"/parameters/x/when{at}", detail, hint)


def test_a_circle_of_conditions_is_printed() -> None:
    add = {
        "c": {**FLAG, "when": {"a": [True]}},
        "a": {**FLAG, "when": {"b": [True], "opt": ["sgd"]}},
        "b": {**FLAG, "when": {"c": [True]}},
        "after": {**FLAG, "when": {"c": [True]}},
    }
    only(data(add=add), "/parameters/a/when", "in a circle: a -> b -> c -> a,", "drop one of these conditions")


def test_every_circle_of_conditions_is_told() -> None:
    add = {one: {**FLAG, "when": {other: [True]}} for one, other in ("ab", "ba", "cd", "de", "ed")}
    found = problems(data(add=add))
    assert [problem.pointer for problem in found] == ["/parameters/a/when", "/parameters/d/when"]
    assert "a -> b -> a" in found[0].detail
    assert "d -> e -> d" in found[1].detail


def test_conditions_that_contradict_each_other_along_the_ancestors_are_refused() -> None:
    add = {
        "nesterov": {**FLAG, "when": {"momentum": [0.5, 1]}},
        "x": {**FLAG, "when": {"nesterov": [True], "opt": ["adam", "lion"]}},
        "below": {**FLAG, "when": {"x": [True]}},
    }
    only(
        data(add=add), "/parameters/x/when",
        "no value of opt meets all conditions: momentum needs opt = 'sgd'; x needs opt in ['adam', 'lion']",
        "let the lists share a value",
    )  # fmt: skip


def test_whole_numbers_stand_for_floats() -> None:
    spec = specfile.parse(
        data(
            add={"x": {**FLAG, "when": {"momentum": 1}}},
            forbidden=[{"momentum": [0, 0.5], "depth": 4}],
            initial=[{"lr": 0.01, "opt": "sgd", "momentum": 1, "depth": 4, "x": True}],
        )
    )
    assert repr(spec.parameters["x"].when) == "{'momentum': (1.0,)}"
    assert repr(spec.forbidden) == "({'momentum': (0.0, 0.5), 'depth': (4,)},)"
    assert repr(spec.initial[0]["momentum"]) == "1.0"
    assert repr(spec.initial[0]["depth"]) == "4"
    assert specfile.parse(specfile.to_data(spec)) == spec


@pytest.mark.parametrize(
    ("rule", "at", "detail", "hint"),
    [
        ({}, "", "the rule is empty, and would forbid everything", "name parameters, or drop it"),
        ({"optt": "sgd"}, "/optt", "there is no parameter 'optt'", "did you mean 'opt'?"),
        ({"opt": ["sgd", "x"]}, "/opt/1", "'x' is no value of opt", "give one of"),
        ({"opt": []}, "/opt", "is empty, so that the rule could never match", "list at least one"),
        ({"lr": 0.01, "opt": "sgd"}, "/lr", "lr is a float without a step", "give lr a step"),
        ({"depth": 9}, "/depth", "9 is no value of depth", "from 1 to 4"),
        (
            {"momentum": 0.5, "amsgrad": True}, "",
            "momentum and amsgrad are never active together (momentum needs opt = 'sgd', amsgrad needs opt = 'adam')",
            "drop the rule",
        ),
        (
            {"opt": ["adam", "lion"], "momentum": 0.5}, "",
            "momentum is only active where opt = 'sgd', but the rule asks for opt in ['adam', 'lion']", "drop the rule",
        ),
        (
            {"momentum": 0.5, "opt": "lion"}, "",
            "momentum is only active where opt = 'sgd', but the rule asks for opt = 'lion'", "drop the rule",
        ),
    ],
)  # fmt: skip
def test_a_forbidden_combination_names_what_can_be(rule: dict[str, Any], at: str, detail: str, hint: str) -> None:
    only(data(forbidden=[{"opt": "sgd", "depth": 1}, rule]), f"/forbidden/1{at}", detail, hint)


def test_three_parameters_of_which_each_two_can_be_active_together() -> None:
    add = {
        "x": {**FLAG, "when": {"opt": ["adam", "sgd"]}},
        "y": {**FLAG, "when": {"opt": ["sgd", "lion"]}},
        "z": {**FLAG, "when": {"opt": ["adam", "lion"]}},
    }
    specfile.parse(data(add=add, forbidden=[{"x": True, "y": True}, {"y": True, "z": True}, {"x": True, "z": True}]))
    only(
        data(add=add, forbidden=[{"x": True, "y": True, "z": True}]), "/forbidden/0",
        "x, y and z are never all active together, as no value of opt meets all their conditions", "drop the rule",
    )  # fmt: skip


def test_rules_that_empty_the_space_are_named() -> None:
    rules = [{"depth": 1, "opt": "sgd"}, {"depth": [1, 2]}, {"opt": "lion", "depth": 3}, {"depth": [3, 4]}]
    only(
        data(forbidden=rules), "/forbidden",
        "forbidden.1, forbidden.3 together forbid every configuration", "take values out of it",
    )  # fmt: skip


def test_rules_empty_a_space_of_conditions_only_if_nothing_is_left_of_any_branch() -> None:
    rules: list[dict[str, Any]] = [{"opt": ["adam", "lion"]}, {"momentum": [0.0, 0.5, 1.0], "depth": [1, 2, 3, 4]}]
    only(data(forbidden=rules), "/forbidden", "forbidden.0, forbidden.1 together forbid", "drop one of them")
    rules[1]["momentum"] = [0.0, 1.0]
    assert specfile.parse(data(forbidden=rules)).forbidden[1]["momentum"] == (0.0, 1.0)


def digits(names: str, high: int) -> dict[str, Any]:
    return {name: {"type": "int", "low": 0, "high": high} for name in names}


def test_a_thousand_rules_may_leave_one_configuration_and_not_none() -> None:
    every = [dict(zip("abc", each, strict=True)) for each in itertools.product(range(10), repeat=3)]
    random.Random(0).shuffle(every)
    spec = specfile.parse(data(parameters=digits("abc", 9), forbidden=every[:-1]))
    assert list(Space.of(spec).grid()) == [every[-1]]
    assert Space.of(spec).sample(random.Random(0)) == every[-1]
    only(
        data(parameters=digits("abc", 9), forbidden=every), "/forbidden",
        "1000 rules together forbid every configuration", "drop one of them",
    )  # fmt: skip


def pigeons(count: int) -> dict[str, Any]:
    """`count` pigeons in one hole less, no two in the same: impossible, and the harder to see the more there are."""
    names = "abcdefghijkl"[:count]
    rules = [{x: hole, y: hole} for x, y in itertools.combinations(names, 2) for hole in range(count - 1)]
    return data(parameters=digits(names, count - 2), forbidden=rules)


def test_rules_that_are_too_hard_to_judge_are_refused() -> None:
    only(pigeons(5), "/forbidden", "40 rules together forbid every configuration", "drop one")
    only(pigeons(10), "/forbidden", "no configuration that these 405 rules allow was found in 20000", "use fewer rules")


GOOD = {"lr": 0.01, "opt": "lion", "depth": 2}


@pytest.mark.parametrize(
    ("change", "at", "detail", "hint"),
    [
        ({"lr": 1.0}, "/lr", "1.0 is no value of lr, which is a float from 0.0001 to 0.1", "give a float from"),
        ({"lr": "0.01"}, "/lr", "'0.01' is no value of lr", "did you mean 0.01?"),
        ({"depth": 2.0}, "/depth", "2.0 is no value of depth", "did you mean 2?"),
        ({"depth": None}, "/depth", "depth is missing, but active in this configuration", "add depth"),
        ({"opt": None}, "/opt", "opt is missing, but active", "add opt"),
        ({"opt": "sgd"}, "/momentum", "momentum is missing, but active", "add momentum"),
        ({"opt": "sdg"}, "/opt", "'sdg' is no value of opt", "did you mean 'sgd'?"),
        (
            {"momentum": 0.5}, "/momentum",
            "momentum is inactive in this configuration: it needs opt = 'sgd', but opt is 'lion'",
            "drop momentum, or change opt",
        ),
        ({"dpeth": 2}, "/dpeth", "there is no parameter 'dpeth'", "did you mean 'depth'?"),
        ({"zzz": 2}, "/zzz", "there is no parameter 'zzz'", "drop it; the parameters are lr"),
        ({"depth": 4}, "", "it is forbidden by forbidden.1 (opt in ['adam', 'lion'] and depth = 4)", "drop one"),
        ({}, "", "it is the same as configuration 0", "drop one"),
    ],
)  # fmt: skip
def test_a_configuration_to_begin_with_is_one_of_the_space(
    change: dict[str, Any], at: str, detail: str, hint: str
) -> None:
    second = {name: value for name, value in (GOOD | change).items() if value is not None}
    rules = [{"opt": "sgd", "depth": 4}, {"opt": ["adam", "lion"], "depth": 4}]
    only(data(initial=[GOOD, second], forbidden=rules), f"/initial/1{at}", detail, hint)


def test_a_configuration_below_an_inactive_parent_is_told_the_cause() -> None:
    add = {"nesterov": {**FLAG, "when": {"momentum": [1]}}}
    only(
        data(add=add, initial=[{**GOOD, "nesterov": True}]), "/initial/0/nesterov",
        "it needs opt = 'sgd', but opt is 'lion'", "drop nesterov, or change opt",
    )  # fmt: skip


def test_as_many_first_configurations_as_trials_and_no_more() -> None:
    some = [{**GOOD, "depth": depth} for depth in (1, 2, 3, 4)]
    assert specfile.parse(data(initial=some[:3])).initial == tuple(some[:3])
    only(data(initial=some), "/initial", "4 configurations are to be tried first, but budget.trials is 3", "leave some")


def test_first_configurations_that_differ_in_type_only_are_not_the_same() -> None:
    parameters = {"a": {"type": "categorical", "choices": [1, True, 1.0]}}
    spec = specfile.parse(data(parameters=parameters, initial=[{"a": 1}, {"a": True}, {"a": 1.0}]))
    assert [repr(params["a"]) for params in spec.initial] == ["1", "True", "1.0"]


def test_problems_of_all_parts_are_told_at_once() -> None:
    found = problems(
        data(
            forbidden=[{}, {"zzz": 1}],
            initial=[{**GOOD, "depth": 9}, {**GOOD, "lr": 2.0}],
            warm_start=["constraints"],
            seed=-1,
        )
    )
    assert {problem.pointer for problem in found} == {
        "/forbidden/0", "/forbidden/1/zzz", "/initial/0/depth", "/initial/1/lr", "/warm_start/0", "/seed"
    }  # fmt: skip
    found = problems(data(add={"x": {**FLAG, "when": {"y": [1], "opt": ["z"]}}}, forbidden=[{}], seed=-1))
    assert {problem.pointer for problem in found} == {"/parameters/x/when/y", "/parameters/x/when/opt/0", "/seed"}


def test_the_whole_of_it_survives_being_written() -> None:
    spec = specfile.parse(data(forbidden=[{"opt": "sgd", "depth": [1, 2]}], initial=[GOOD], warm_start=["last-week"]))
    assert isinstance(spec, StudySpec)
    assert spec.forbidden == ({"opt": ("sgd",), "depth": (1, 2)},)
    assert specfile.parse(specfile.to_data(spec)) == spec
