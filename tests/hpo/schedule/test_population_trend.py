"""What a member is worth: its smoothed value, and where its curve leads, worked by hand."""

from __future__ import annotations

import math

import pytest

from hpo.schedule.population_trend import forecast, minmod


@pytest.mark.parametrize(
    ("slopes", "expected"),
    [([1.0, 3.0], 1.0), ([-1.0, -3.0], -1.0), ([1.0, -3.0], 0.0), ([0.0, 2.0], 0.0), ([-2.0, 0.0], 0.0), ([2.5], 2.5)],
)
def test_the_flatter_of_two_slopes_counts_and_none_where_they_disagree(slopes: list[float], expected: float) -> None:
    assert minmod(slopes) == expected


@pytest.mark.parametrize("reports", [[(1, 5.0)], [(1, 5.0), (2, 9.0)], [(1, 5.0), (6, 9.0), (7, 2.0)]])
def test_where_an_interval_has_no_report_the_last_value_counts(reports: list[tuple[int, float]]) -> None:
    assert forecast(reports, interval=1, steps_left=100) == reports[-1][1]


def test_a_straight_line_is_followed_for_as_far_as_it_was_seen() -> None:
    """Seen from step 1 to 3: two steps ahead of 3, as 20 % of what is left is more."""
    assert forecast([(1, 1.0), (2, 2.0), (3, 3.0)], interval=1, steps_left=100) == 5.0


def test_a_straight_line_is_followed_for_a_fifth_of_what_is_left_at_most() -> None:
    line = [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert forecast(line, interval=1, steps_left=5) == 4.0
    assert forecast(line, interval=1, steps_left=0) == 3.0


def test_the_flatter_slope_of_a_bending_curve_is_followed() -> None:
    """Slopes 4 and 1: the blocks carried on to step 3 are 0 + 2, 4 + 1 and 5, their median 5; then two steps."""
    assert forecast([(1, 0.0), (2, 4.0), (3, 5.0)], interval=1, steps_left=100) == 7.0


def test_a_single_lucky_report_makes_no_slope_and_counts_by_half() -> None:
    assert forecast([(1, 1.0), (2, 1.0), (3, 9.0)], interval=1, steps_left=100) == 5.0
    assert forecast([(1, 1.0), (2, 9.0), (3, 1.0)], interval=1, steps_left=100) == 1.0


def test_several_reports_of_an_interval_are_one_point() -> None:
    """Intervals of two steps: medians 1.5, 3.5, 5.5 at steps 1.5, 3.5, 5.5; the last report is at 6."""
    line = [(step, float(step)) for step in range(1, 7)]
    assert forecast(line, interval=2, steps_left=1000) == 6.0 + (6 - 1.5)


def test_a_forecast_that_is_not_finite_gives_way_to_the_last_value() -> None:
    assert forecast([(1, 1e308), (2, -1e308), (3, -1e308)], interval=1, steps_left=9) == -1e308
    found = forecast([(1, -1.7e308), (2, 0.0), (3, 1.7e308)], interval=1, steps_left=100)
    assert math.isfinite(found)
    assert found == 1.7e308
