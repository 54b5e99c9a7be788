"""The space without conditions: counts and orders by hand, and properties over random spaces."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from hpo.parameters import FloatParameter, IntParameter, Parameter, encode_value
from hpo.space import Space

# The same examples in every run, and no limit of time on a busy machine.
EXAMPLES = settings(derandomize=True, deadline=None, max_examples=100)

_adapter: TypeAdapter[Any] = TypeAdapter(Parameter)


def of(**parameters: dict[str, Any]) -> Space:
    return Space({name: _adapter.validate_python(parameter) for name, parameter in parameters.items()})


def integer(**keys: Any) -> dict[str, Any]:
    return {"type": "int", **keys}


def number(**keys: Any) -> dict[str, Any]:
    return {"type": "float", **keys}


def choice(*choices: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": choices}


@st.composite
def a_parameter(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["float", "int", "categorical", "bool"]))
    log = draw(st.booleans())
    if kind == "bool":
        return {"type": "bool"}
    if kind == "categorical":
        values = st.one_of(st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.sampled_from(["", "a", "1", "True"]))
        unique = st.lists(values, min_size=1, max_size=6, unique_by=lambda v: (type(v), v))
        return {"type": "categorical", "choices": draw(unique)}
    if kind == "int":
        low = draw(st.integers(1 if log else -(10**9), 10**9))
        high = draw(st.integers(low + 1, 2 * 10**9))
        step = None if log else draw(st.none() | st.integers(1, high - low))
        return {"type": "int", "low": low, "high": high, "log": log, "step": step}
    ends = st.floats(1e-300 if log else -1e300, 1e300)
    low, high = sorted(draw(st.tuples(ends, ends).filter(lambda pair: pair[0] != pair[1])))
    if log or draw(st.booleans()):
        return {"type": "float", "low": low, "high": high, "log": log}
    step = draw(st.integers(1, 999)) / draw(st.sampled_from([1, 10, 100, 1000]))
    low = draw(st.integers(-999, 999)) / 100
    # A little more than one step: the sum's rounding must not make the range shorter than that.
    return {"type": "float", "low": low, "high": low + draw(st.floats(1.001, 50)) * step, "step": step}


spaces = st.dictionaries(st.sampled_from("abcdef"), a_parameter(), min_size=1, max_size=4).map(lambda d: of(**d))


@EXAMPLES
@given(spaces, st.integers(0, 2**32))
def test_samples_are_contained(space: Space, seed: int) -> None:
    assert space.contains(space.sample(random.Random(seed)))


@EXAMPLES
@given(spaces, st.lists(st.floats(), min_size=4, max_size=4))
def test_any_point_decodes_into_the_space(space: Space, point: list[float]) -> None:
    assert space.contains(space.decode(point[: len(space.names)]))


@EXAMPLES
@given(spaces, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_encoding_inverts_decoding(space: Space, point: list[float]) -> None:
    params = space.decode(point[: len(space.names)])
    encoded = space.encode(params)
    assert all(0 <= u <= 1 for u in encoded)
    for name, value in space.decode(encoded).items():
        parameter = space.parameters[name]
        if isinstance(parameter, FloatParameter) and parameter.step is None:
            again = encode_value(parameter, value)
            assert math.isclose(again, encode_value(parameter, params[name]), abs_tol=1e-9)
        else:
            assert (type(value), value) == (type(params[name]), params[name])


@EXAMPLES
@given(spaces)
def test_without_conditions_the_order_is_alphabetical(space: Space) -> None:
    assert space.names == tuple(sorted(space.parameters))


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (of(a=number(low=0, high=1)), None),
        (of(a=number(low=0, high=1, step=0.1)), 11),
        (of(a=number(low=0.1, high=0.3, step=0.1)), 3),  # 0.3 - 0.1 is 0.19999999999999998 in floats
        (of(a=number(low=0, high=1, step=0.3)), 4),
        (of(a=integer(low=1, high=9, step=3)), 3),
        (of(a=integer(low=1, high=10, log=True)), 10),
        (of(a=choice("x", "y"), b={"type": "bool"}, c=integer(low=0, high=4)), 20),
        (of(a=integer(low=0, high=2**53 - 1), b=integer(low=0, high=2**53 - 1)), 2**106),
    ],
)
def test_sizes_worked_by_hand(space: Space, expected: int | None) -> None:
    assert space.size() == expected


def test_a_grid_worked_by_hand() -> None:
    space = of(b=number(low=0.1, high=0.3, step=0.1), a=choice("x", True))
    assert list(space.grid()) == [{"a": a, "b": b} for a, b in itertools.product(["x", True], [0.1, 0.2, 0.3])]


def test_a_grid_holds_every_configuration_once() -> None:
    space = of(a=integer(low=1, high=4, log=True), b=choice(True, 1, 1.0), c=number(low=0, high=1, step=0.25))
    points = list(space.grid())
    assert len({repr(point) for point in points}) == len(points) == space.size() == 60
    assert all(space.contains(point) for point in points)


def test_a_huge_grid_takes_no_memory() -> None:
    space = of(a=integer(low=0, high=2**53 - 1), b=integer(low=0, high=2**53 - 1))
    assert list(itertools.islice(space.grid(), 3)) == [{"a": 0, "b": 0}, {"a": 0, "b": 1}, {"a": 0, "b": 2}]


def test_an_infinite_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="give it a step"):
        of(a=number(low=0, high=1)).grid()


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (number(low=0, high=1), [0.0, 0.5, 1.0], [0, 1, True, -0.1, 1.1, math.nan, math.inf, "0.5"]),
        (number(low=0.1, high=0.5, step=0.1), [0.1, 0.3, 0.5], [0.30000000000000004, 0.15, 0.6, 0.0, math.nan]),
        (integer(low=0, high=9, step=3), [0, 3, 9], [1, 12, -3, 3.0, False, "3"]),
        (choice(True, "a", 2.0), [True, "a", 2.0], [1, 2, "True", False]),
        ({"type": "bool"}, [True, False], [1, 0, "true", 1.0]),
    ],
)
def test_types_and_ranges_of_values(parameter: dict[str, Any], inside: list[Any], outside: list[Any]) -> None:
    space = of(p=parameter)
    assert [v for v in inside if not space.contains({"p": v})] == []
    assert [v for v in outside if space.contains({"p": v})] == []


def test_a_missing_or_a_strange_name_is_not_contained() -> None:
    space = of(a={"type": "bool"}, b={"type": "bool"})
    assert not space.contains({"a": True})
    assert not space.contains({"a": True, "c": True})
    assert not space.contains({"a": True, "b": True, "c": True})


def test_a_log_scaled_parameter_is_drawn_evenly_over_its_decades() -> None:
    space = of(a=number(low=1e-4, high=1.0, log=True), b=integer(low=1, high=10_000, log=True))
    rng = random.Random(0)
    samples = [space.sample(rng) for _ in range(2000)]
    assert 0.4 < sum(float(params["a"]) < 1e-2 for params in samples) / 2000 < 0.6
    assert 0.4 < sum(float(params["b"]) < 100 for params in samples) / 2000 < 0.6


def test_the_ends_of_an_integer_are_as_likely_as_its_middle() -> None:
    space = of(a=integer(low=0, high=4))
    rng = random.Random(0)
    counts = [0] * 5
    for _ in range(5000):
        counts[int(space.sample(rng)["a"])] += 1
    assert all(850 < count < 1150 for count in counts)


def test_encoding_refuses_what_is_not_in_the_space() -> None:
    space = of(a=integer(low=0, high=4))
    with pytest.raises(ValueError, match="is no value of"):
        space.encode({"a": 5})
    with pytest.raises(ValueError, match="a is active, but has no value"):
        space.encode({})
    with pytest.raises(ValueError, match="2 coordinates, but the space has 1"):
        space.decode([0.1, 0.2])


def test_neighbouring_floats_are_a_range() -> None:
    space = of(a=number(low=1e15, high=math.nextafter(1e15, math.inf), log=True))
    assert space.contains(space.decode([0.5]))
    assert 0 <= space.encode({"a": 1e15})[0] <= 1


def test_a_range_that_no_float_can_span_is_refused() -> None:
    with pytest.raises(ValidationError):
        FloatParameter(type="float", low=-1.7e308, high=1.7e308)
    with pytest.raises(ValidationError):
        IntParameter(type="int", low=0, high=10**400)
