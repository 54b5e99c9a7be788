"""Who is better, and who becomes a parent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.genetic.selection import bounded, crowding, fronts, normal_scores, num_elites, order, parents, places, ranks

COSTS = st.integers(1, 4).flatmap(
    lambda m: st.lists(st.tuples(*[st.integers(0, 6)] * m), min_size=1, max_size=25).map(
        lambda rows: np.array(rows, float)
    )
)


def test_equal_costs_share_the_mean_of_their_places() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [2.5, 0.0, 2.5, 1.0]


def test_normal_scores_do_not_depend_on_the_scale() -> None:
    costs = np.random.default_rng(0).random((50, 2))
    np.testing.assert_allclose(normal_scores(costs), normal_scores(np.exp(30 * costs)))
    np.testing.assert_allclose(normal_scores(costs).mean(axis=0), 0, atol=1e-9)


@settings(derandomize=True, deadline=None, database=None)
@given(COSTS)
def test_a_front_is_the_longest_chain_of_those_that_dominate(costs: np.ndarray) -> None:
    """The definition, by a search over all pairs."""

    def dominates(a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a <= b).all() and (a < b).any())

    expected: dict[int, int] = {}
    while len(expected) < len(costs):
        rest = [k for k in range(len(costs)) if k not in expected]
        level = max(expected.values(), default=-1) + 1
        expected |= {k: level for k in rest if not any(dominates(costs[j], costs[k]) for j in rest)}
    assert fronts(costs).tolist() == [expected[k] for k in range(len(costs))]


def test_the_ends_of_a_front_are_infinitely_far_from_others() -> None:
    """Deb et al. 2002: (3 - 1) / 4 + (4 - 1) / 4 for the one in the middle."""
    costs = np.array([[1.0, 4.0], [2.0, 3.0], [3.0, 1.0], [5.0, 0.0]])
    assert crowding(costs).tolist() == [np.inf, 2 / 4 + 3 / 4, 3 / 4 + 3 / 4, np.inf]


def test_several_objectives_are_ordered_by_front_then_by_room() -> None:
    costs = np.array([[5.0, 5.0], [1.0, 4.0], [2.0, 3.0], [2.1, 2.9], [4.0, 1.0]])
    assert order(costs).tolist() == [1, 4, 3, 2, 0]
    assert places(costs)[0] == 4


def test_infinite_costs_come_last_and_break_nothing() -> None:
    costs = np.array([[np.inf, np.inf], [1.0, 2.0], [2.0, 1.0]])
    assert order(costs)[-1] == 0
    assert bounded(costs)[0].tolist() == [3.0, 3.0]


@pytest.mark.parametrize(("count", "elites"), [(2, 2), (10, 4), (40, 8), (1000, 12)])
def test_a_fifth_are_elites_within_limits(count: int, elites: int) -> None:
    assert num_elites(count) == elites


def test_better_elites_are_parents_more_often() -> None:
    counts = np.bincount(parents(np.random.default_rng(0), 10_000, 8), minlength=8)
    assert len(counts) == 8
    assert (np.diff(counts) < 0).all()
