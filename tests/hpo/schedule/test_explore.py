"""The explore step: perturbations worked by hand, and what holds for all of them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from conformance.scheduler import study
from hypothesis import given
from hypothesis import strategies as st

from hpo.parameters import (
    BoolParameter,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    ParamValue,
    contains_value,
    decode_value,
    index_of,
)
from hpo.schedule.explore import explore, perturb
from hpo.space import Space


def real(low: float, high: float, **options: Any) -> FloatParameter:
    return FloatParameter(type="float", low=low, high=high, **options)


def whole(low: int, high: int, **options: Any) -> IntParameter:
    return IntParameter(type="int", low=low, high=high, **options)


@pytest.mark.parametrize(
    ("parameter", "value", "factor", "expected"),
    [
        (real(0.001, 1.0, log=True), 0.1, 0.8, 0.08),
        (real(0.001, 1.0), 0.1, 1.2, 0.12),
        (real(0.001, 1.0), 0.9, 1.2, 1.0),  # clipped
        (real(0.5, 1.0), 0.6, 0.8, 0.5),
        (real(0.0, 1.0), 0.5, 1.2, 0.7),  # a fifth of the range, as low is 0
        (real(-5.0, 5.0), 0.0, 0.8, -2.0),
        (real(-5.0, 5.0), -4.0, 0.8, -5.0),
        (real(-5.0, 5.0), 2.0, 1.0, 2.0),
        (whole(1, 100), 50, 1.2, 60),
        (whole(1, 100, log=True), 50, 0.8, 40),
        (whole(1, 100), 2, 1.2, 3),  # 2.4 would stay: at least one step
        (whole(1, 100), 2, 0.8, 1),
        (whole(1, 100), 1, 0.8, 1),  # the range ends there
        (whole(1, 100), 100, 1.2, 100),
        (whole(1, 100), 7, 1.0, 7),
        (whole(0, 9), 4, 1.2, 6),  # two of ten values
        (whole(0, 3), 1, 0.8, 0),  # 0.8 of a value, rounded
        (whole(0, 2), 1, 1.1, 2),  # 0.3 of a value would stay
        (whole(16, 128, step=16), 64, 1.2, 80),  # 76.8 on the grid
        (whole(16, 128, step=16), 16, 1.2, 32),
        (real(0.1, 0.9, step=0.1), 0.5, 1.2, 0.6),
        (real(0.1, 0.9, step=0.1), 0.3, 1.1, 0.4),
        (real(0.0, 1.0, step=0.25), 0.5, 0.8, 0.25),
        (whole(1, 100), 50, 1e308, 100),
        (whole(-9, 9), 5, 1e308, 9),
        (real(-9.0, 9.0), 5.0, 1e308, 9.0),
        (real(1.0, 9.0), 5.0, 1e308, 9.0),
        (CategoricalParameter(type="categorical", choices=("a", "b")), "a", 1.2, "a"),
        (BoolParameter(type="bool"), True, 0.8, True),
    ],
)
def test_perturbations_worked_by_hand(
    parameter: Parameter, value: ParamValue, factor: float, expected: ParamValue
) -> None:
    changed = perturb(parameter, value, factor)
    assert type(changed) is type(expected)
    assert changed == (pytest.approx(expected) if isinstance(expected, float) else expected)


PARAMETERS = [
    real(1e-5, 1.0, log=True), real(0.1, 0.7), real(-3.0, 2.0), real(0.1, 0.9, step=0.1), real(-1.0, 1.0, step=0.3),
    whole(1, 1000, log=True), whole(1, 10), whole(-5, 5), whole(0, 100, step=7), whole(8, 512, step=8),
]  # fmt: skip


@given(
    parameter=st.sampled_from(PARAMETERS),
    place=st.floats(0, 1),
    factor=st.floats(0.1, 3.0).filter(lambda factor: abs(factor - 1) > 1e-6),
)
def test_a_number_moves_the_way_of_its_factor_and_stays_in_its_range(
    parameter: FloatParameter | IntParameter, place: float, factor: float
) -> None:
    before = decode_value(parameter, place)
    after = perturb(parameter, before, factor)
    assert contains_value(parameter, after)
    assert isinstance(before, float | int)
    assert isinstance(after, float | int)
    assert (after - before) * (factor - 1) >= 0
    if index_of(parameter, before) is not None:
        last = decode_value(parameter, 1.0 if factor > 1 else 0.0)
        assert after != before or before == last


def space(**tables: Any) -> Space:
    more = {"forbidden": tables.pop("forbidden")} if "forbidden" in tables else {}
    return Space.of(study({"algorithm": "fifo"}, steps=1, parameters=tables, **more))


def changes(where: Space, params: dict[str, Any], count: int = 200, **options: Any) -> list[dict[str, Any]]:
    fixed: dict[str, Any] = {"resample_probability": 0.25, "factors": (0.8, 1.2)}
    return [explore(where, params, random.Random(seed), **{**fixed, **options}) for seed in range(count)]


def test_only_mutable_parameters_change() -> None:
    where = space(
        rate={"type": "float", "low": 0.1, "high": 10.0, "log": True, "mutable": True},
        width={"type": "int", "low": 1, "high": 100},
    )
    seen = changes(where, {"rate": 1.0, "width": 7}, resample_probability=0.0)
    assert {params["width"] for params in seen} == {7}
    assert {params["rate"] for params in seen} == {0.8, 1.2}


def test_the_donors_configuration_is_left_as_it_is() -> None:
    where = space(rate={"type": "float", "low": 0.1, "high": 10.0, "mutable": True})
    donor = {"rate": 1.0}
    changes(where, donor)
    assert donor == {"rate": 1.0}


def test_about_as_many_are_resampled_as_asked_for() -> None:
    where = space(rate={"type": "float", "low": 0.1, "high": 10.0, "mutable": True})
    seen = changes(where, {"rate": 1.0}, count=2_000)
    assert 400 <= sum(params["rate"] not in (0.8, 1.2) for params in seen) <= 600


def test_choices_are_kept_or_resampled() -> None:
    where = space(
        kind={"type": "categorical", "choices": ["a", "b", "c", "d"], "mutable": True},
        deep={"type": "bool", "mutable": True},
    )
    donor = {"kind": "a", "deep": True}
    assert all(params == donor for params in changes(where, donor, resample_probability=0.0))
    seen = changes(where, donor, resample_probability=1.0)
    assert {params["kind"] for params in seen} == {"a", "b", "c", "d"}
    assert {params["deep"] for params in seen} == {True, False}


CONDITIONAL: dict[str, Any] = {
    "kind": {"type": "categorical", "choices": ["adam", "sgd"], "mutable": True},
    "momentum": {"type": "float", "low": 0.1, "high": 0.9, "when": {"kind": "sgd"}},
    "beta": {"type": "float", "low": 0.5, "high": 0.99, "mutable": True, "when": {"kind": "adam"}},
}


def test_children_come_and_go_with_their_parents() -> None:
    where = space(**CONDITIONAL)
    seen = changes(where, {"kind": "adam", "beta": 0.7}, resample_probability=0.5)
    assert all(where.contains(params) for params in seen)
    assert {tuple(sorted(params)) for params in seen} == {("beta", "kind"), ("kind", "momentum")}
    assert len({params["momentum"] for params in seen if "momentum" in params}) > 10


def test_a_forbidden_result_is_drawn_again() -> None:
    where = space(**CONDITIONAL, forbidden=[{"kind": "sgd"}])
    donor = {"kind": "adam", "beta": 0.7}
    seen = changes(where, donor, resample_probability=0.5)
    assert {params["kind"] for params in seen} == {"adam"}
    assert any(params != donor for params in seen)


def test_a_change_that_leaves_a_new_child_no_value_is_drawn_again() -> None:
    momentum = {"type": "categorical", "choices": [0.5, 0.9], "when": {"kind": "sgd"}}
    where = space(**{**CONDITIONAL, "momentum": momentum}, forbidden=[{"kind": "sgd", "momentum": [0.5, 0.9]}])
    seen = changes(where, {"kind": "adam", "beta": 0.7}, count=50, resample_probability=0.5)
    assert all(where.contains(params) for params in seen)


def test_where_every_change_is_forbidden_the_donors_own_configuration_is_taken() -> None:
    where = space(
        size={"type": "int", "low": 1, "high": 5, "mutable": True},
        forbidden=[{"size": [1, 2, 4, 5]}],
    )
    assert all(params == {"size": 3} for params in changes(where, {"size": 3}, count=5, resample_probability=0.0))


def test_the_same_draws_give_the_same_configuration() -> None:
    where = space(**CONDITIONAL)
    donor = {"kind": "adam", "beta": 0.7}
    assert changes(where, donor) == changes(where, donor)
