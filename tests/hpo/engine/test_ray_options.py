"""Ray Tune's schedulers as they are installed, made from a specification; and configurations, there and back."""

from __future__ import annotations

import importlib
import inspect
import random
from typing import Any

import pytest
from pydantic import TypeAdapter
from ray import tune
from ray.tune import schedulers

from hpo import specfile
from hpo.engine.ray_options import build, coerce, from_config, key, to_config
from hpo.errors import InvalidSpecError
from hpo.ray_names import KNOWN, SAID_ELSEWHERE, UNFIT
from hpo.space import Space
from hpo.spec import Parameter, StudySpec

PARAMETERS: dict[str, Any] = {
    "lr": {"type": "float", "low": 0.01, "high": 1, "log": True, "mutable": True},
    "drop": {"type": "float", "low": 0, "high": 0.5, "step": 0.1, "mutable": True},
    "layers": {"type": "int", "low": 1, "high": 8, "mutable": True},
    "kind": {"type": "categorical", "choices": ["a", "b"], "mutable": True},
    "fast": {"type": "bool", "mutable": True},
    "fixed/size": {"type": "int", "low": 1, "high": 8},
}


def spec(algorithm: str, options: dict[str, Any] | None = None, **changes: Any) -> StudySpec:
    return specfile.parse(
        {
            "name": "s",
            "trainable": "tests.nothing:train",
            "parameters": PARAMETERS,
            "objective": {"metric": "loss", "direction": "maximize"},
            "budget": {"trials": 10, "steps_per_trial": 100},
            "scheduler": {"algorithm": f"ray:{algorithm}", "options": options or {}},
            **changes,
        }
    )


def parameter(**values: Any) -> Parameter:
    return TypeAdapter[Parameter](Parameter).validate_python(values)


# -- the contract with the Ray that is installed --------------------------------------------------------------------
@pytest.mark.parametrize("name", KNOWN)
def test_the_table_has_each_schedulers_options_and_defaults(name: str) -> None:
    known = KNOWN[name]
    takes = inspect.signature(getattr(importlib.import_module(known.module), name)).parameters
    assert dict(known.options) == {
        option: parameter.default for option, parameter in takes.items() if option not in SAID_ELSEWHERE
    }


def test_no_scheduler_of_rays_is_missing_from_the_table() -> None:
    assert {*schedulers.__all__, "PB2"} == {*KNOWN, *UNFIT}


@pytest.mark.parametrize("name", KNOWN)
def test_each_scheduler_can_be_made_with_its_defaults(name: str) -> None:
    made = build(spec(name))
    assert isinstance(made, schedulers.TrialScheduler)
    assert type(made).__name__ in (name, "AsyncHyperBandScheduler")
    if name != "FIFOScheduler":
        assert made.metric == "loss"
        assert made._metric_op == 1.0 if hasattr(made, "_metric_op") else made._mode == "max"
        assert made._time_attr == "training_iteration"


# -- options --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "attribute"), [("ASHAScheduler", "_max_t"), ("HyperBandScheduler", "_max_t_attr")])
def test_the_longest_trial_is_the_budgets_unless_it_is_given(name: str, attribute: str) -> None:
    assert getattr(build(spec(name)), attribute) == 100
    assert getattr(build(spec(name, {"max_t": 27})), attribute) == 27


def test_population_based_training_mutates_what_is_mutable_over_its_range() -> None:
    mutations = build(spec("PopulationBasedTraining"))._hyperparam_mutations
    assert set(mutations) == {key(name) for name in ("lr", "drop", "layers", "kind", "fast")}
    assert isinstance(mutations[key("lr")], tune.search.sample.Float)
    assert isinstance(mutations[key("lr")].sampler, tune.search.sample.Float._LogUniform)
    assert {mutations[key("layers")].sample(None) for _ in range(200)} == set(range(1, 9))
    assert mutations[key("kind")] == ["a", "b"]
    assert mutations[key("fast")] == [False, True]


def test_pb2_has_the_bounds_of_the_mutable_numbers() -> None:
    assert build(spec("PB2"))._hyperparam_bounds == {key("lr"): [0.01, 1], key("drop"): [0, 0.5], key("layers"): [1, 8]}


def test_what_a_study_says_of_its_mutations_counts() -> None:
    given = {"layers": [2, 4], "kind": ["a"]}
    mutations = build(spec("PopulationBasedTraining", {"hyperparam_mutations": given}))._hyperparam_mutations
    assert mutations == {key("layers"): [2, 4], key("kind"): ["a"]}
    assert build(spec("PB2", {"hyperparam_bounds": {"lr": [0.1, 0.2]}}))._hyperparam_bounds == {key("lr"): [0.1, 0.2]}


@pytest.mark.parametrize(
    ("name", "options", "pointer", "detail"),
    [
        ("NoSuch", {}, "/scheduler/algorithm", "Ray Tune has no scheduler 'NoSuch'"),
        (
            "PB2",
            {"quantile_fraction": 0.7, "synch": True},
            "/scheduler/options/quantile_fraction",
            "= 0.7: You must set",
        ),
        ("PB2", {"perturbation_interval": 0}, "/scheduler/options/perturbation_interval", "must be a positive number"),
        ("ASHAScheduler", {"brackets": 1, "max_t": -1}, "/scheduler/options/max_t", "= -1: Max (time_attr) not valid!"),
        ("ASHAScheduler", {"brackets": 1.5}, "/scheduler/options/brackets", "cannot be interpreted as an integer"),
    ],
)
def test_what_rays_constructors_refuse_is_told_with_the_option(
    name: str, options: dict[str, Any], pointer: str, detail: str
) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        build(spec(name, options))
    (problem,) = caught.value.problems
    assert problem.pointer == pointer
    assert detail in problem.detail


# -- configurations -------------------------------------------------------------------------------------------------
def test_no_name_of_a_parameter_has_a_meaning_to_tune() -> None:
    config = to_config({"env": 1, "a/b": 2, "leg": 3, "a%2Fb": 4})
    assert len(config) == 4
    assert not {"env", "leg"} & set(config)
    assert not any("/" in name for name in config)


@pytest.mark.parametrize(
    ("values", "given", "nearest"),
    [
        ({"type": "float", "low": 0, "high": 1}, 1.2, 1.0),
        ({"type": "float", "low": 0, "high": 1}, -1, 0.0),
        ({"type": "float", "low": 0, "high": 1}, float("nan"), None),
        ({"type": "float", "low": 0, "high": 1, "step": 0.3}, 0.8, 0.9),
        ({"type": "float", "low": 0, "high": 1, "step": 0.3}, 7.0, 0.9),
        ({"type": "int", "low": 2, "high": 9}, 4.6, 5),
        ({"type": "int", "low": 2, "high": 9}, 1, 2),
        ({"type": "int", "low": 2, "high": 9, "step": 3}, 7.9, 8),
        ({"type": "int", "low": 2, "high": 9, "step": 3}, 100, 8),
        ({"type": "int", "low": 1, "high": 1024, "log": True}, 99.6, 100),
        ({"type": "categorical", "choices": ["a", 1, True, 2.5]}, True, True),
        ({"type": "categorical", "choices": ["a", 1, 2.5]}, 1.0, 1),
        ({"type": "categorical", "choices": ["a", "b"]}, "c", None),
        ({"type": "categorical", "choices": ["a", "b"]}, ["a"], None),
        ({"type": "bool"}, 0, False),
    ],
)
def test_a_value_becomes_the_nearest_one_of_its_parameter(values: dict[str, Any], given: Any, nearest: Any) -> None:
    value = coerce(parameter(**values), given)
    assert value == nearest
    assert type(value) is type(nearest)


CONDITIONAL = Space(
    {
        "kind": parameter(type="categorical", choices=["a", "b"], mutable=True),
        "depth": parameter(type="int", low=1, high=9, when={"kind": ["b"]}, mutable=True),
        "x": parameter(type="float", low=0, high=1, mutable=True),
    },
    [{"kind": ["b"], "depth": [3]}],
)
DONOR = {"kind": "a", "x": 0.5}


@pytest.mark.parametrize(
    ("changed", "params"),
    [
        ({}, DONOR),
        ({"x": 0.6}, {"kind": "a", "x": 0.6}),
        ({"x": 99}, {"kind": "a", "x": 1.0}),
        ({"x": float("nan")}, DONOR),
        ({"kind": "c"}, DONOR),
        ({"depth": 4}, DONOR),  # inactive
        ({"kind": "b", "depth": 4.4}, {"kind": "b", "depth": 4, "x": 0.5}),
        ({"kind": "b", "depth": 3, "x": 0.9}, DONOR),  # forbidden
    ],
)
def test_a_changed_configuration_is_one_of_the_space_or_the_donors(
    changed: dict[str, Any], params: dict[str, Any]
) -> None:
    config = {**to_config(DONOR), **to_config(changed), "leg": None}
    assert from_config(CONDITIONAL, config, DONOR, random.Random(1)) == params


def test_a_parameter_that_has_become_active_is_drawn() -> None:
    config = to_config({"kind": "b", "x": 0.5})
    drawn = [from_config(CONDITIONAL, config, DONOR, random.Random(seed)) for seed in range(50)]
    assert all(CONDITIONAL.contains(params) for params in drawn)
    assert {params["depth"] for params in drawn} == {1, 2, 4, 5, 6, 7, 8, 9}
