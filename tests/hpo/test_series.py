"""Curves with at most so many points."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.series import MIN_POINTS, Reducer


def reduced(values: list[float], limit: int) -> list[tuple[int, float]]:
    reducer: Reducer[tuple[int, float]] = Reducer(limit)
    for place, value in enumerate(values):
        reducer.add(value, (place, value))
    assert reducer.count == len(values)
    return reducer.points()


@pytest.mark.parametrize("count", [0, 1, 8, 100])
def test_a_curve_of_so_few_points_stays_as_it_is(count: int) -> None:
    values = [math.sin(place) for place in range(count)]
    assert reduced(values, 100) == list(enumerate(values))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=700), st.integers(MIN_POINTS, 60))
def test_ends_and_extremes_of_any_curve_stay_in_their_order(values: list[float], limit: int) -> None:
    points = reduced(values, limit)
    assert len(points) <= limit
    assert points == sorted(points, key=lambda point: point[0])
    assert all(values[place] == value for place, value in points)
    assert (points[0], points[-1]) == ((0, values[0]), (len(values) - 1, values[-1]))
    kept = [value for _, value in points]
    assert (min(kept), max(kept)) == (min(values), max(values))


def test_each_stretch_of_a_long_curve_keeps_its_extremes() -> None:
    """By hand: of 32 points and 16 places, buckets of 8; of each its first, lowest, highest and last."""
    values = [float(place % 8) if place % 8 not in (2, 5) else (-9.0, 9.0)[place % 8 == 5] for place in range(32)]
    places = [place for place, _ in reduced(values, 16)]
    assert places == [start + offset for start in (0, 8, 16, 24) for offset in (0, 2, 5, 7)]


def test_a_million_points_are_reduced_in_passing() -> None:
    reducer: Reducer[int] = Reducer(2000)
    for place in range(1_000_000):
        reducer.add(-1.0 if place == 765_432 else float(place % 1000), place)
    points = reducer.points()
    assert 1000 <= len(points) <= 2000
    assert 765_432 in points
