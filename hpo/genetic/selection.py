"""Who is better, and who becomes a parent."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri  # type: ignore[import-untyped]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

MIN_ELITES, MAX_ELITES = 4, 12
PRESSURE = 1.7
"""How strongly the best of the elites are preferred as parents: 1 is uniform."""


def ranks(costs: Floats) -> Floats:
    """The places of costs (n,) from the lowest, from 0; equal costs share the mean of their places. Shape (n,)."""
    order = np.argsort(costs, kind="stable")
    in_order = costs[order]
    starts = np.flatnonzero(np.concatenate(([True], in_order[1:] != in_order[:-1])))
    ends = np.append(starts[1:], len(costs))
    places = np.empty(len(costs))
    places[order] = np.repeat((starts + ends - 1) / 2, ends - starts)
    return places


def normal_scores(costs: Floats) -> Floats:
    """Normal quantiles of the ranks of costs (n, m), a column at a time: of any scale, and with no outliers. (n, m)."""
    return np.column_stack([ndtri((ranks(column) + 0.5) / len(costs)) for column in costs.T])


def fronts(costs: Floats) -> Ints:
    """The index of each one's non-dominated front, from 0 for those that nobody dominates; costs (n, m), result (n,).

    a dominates b where it is nowhere worse and somewhere better (Deb et al. 2002, "NSGA-II", III A). By efficient
    non-dominated sorting with binary search (Zhang et al. 2015): O(n log n) for two objectives.
    """
    num_objectives = costs.shape[1]
    found = np.zeros(len(costs), dtype=np.intp)
    members: list[list[Floats]] = []

    def dominates(front: list[Floats], cost: Floats) -> bool:
        if num_objectives == 2:  # among those before it the last has the lowest second cost
            last = front[-1]
            return bool(last[1] < cost[1] or (last[1] == cost[1] and last[0] < cost[0]))
        before = np.array(front)
        return bool(np.any(np.all(before <= cost, axis=1) & np.any(before < cost, axis=1)))

    for row in np.lexsort(costs.T[::-1]):  # whoever dominates comes before whom it dominates
        cost = costs[row]
        level = bisect_left(range(len(members)), True, key=lambda k: not dominates(members[k], cost))
        if level == len(members):
            members.append([])
        members[level].append(cost)
        found[row] = level
    return found


def crowding(costs: Floats) -> Floats:
    """How far each one's neighbours in a front are apart, summed over the objectives; infinite at the ends. (n,).

    Deb et al. 2002, III B: each objective is scaled by its range. Costs (n, m) must be finite.
    """
    count, num_objectives = costs.shape
    distance = np.zeros(count)
    for objective in range(num_objectives):
        order = np.argsort(costs[:, objective], kind="stable")
        column = costs[order, objective]
        width = column[-1] - column[0]
        distance[order[[0, -1]]] = np.inf
        if count > 2 and width > 0:
            distance[order[1:-1]] += (column[2:] - column[:-2]) / width
    return distance


def order(costs: Floats) -> Ints:
    """Indices from the best to the worst; costs (n, m), result (n,).

    One objective: by cost. Several: by front, then the less crowded first. Ties go to the lower index.
    """
    if costs.shape[1] == 1:
        return np.argsort(costs[:, 0], kind="stable")
    finite = bounded(costs)
    front = fronts(finite)
    spread = np.zeros(len(costs))
    for level in np.unique(front):
        members = np.flatnonzero(front == level)
        spread[members] = crowding(finite[members])
    return np.lexsort((-spread, front)).astype(np.intp)


def places(costs: Floats) -> Floats:
    """The place of each in `order`, from 0; equal costs share a place where there is one objective. (n,)."""
    if costs.shape[1] == 1:
        return ranks(costs[:, 0])
    found = np.empty(len(costs))
    found[order(costs)] = np.arange(len(costs))
    return found


def bounded(costs: Floats) -> Floats:
    """Infinite costs replaced by one more than the worst finite one of their column, so that distances exist."""
    if np.isfinite(costs).all():
        return costs
    columns = []
    for column in costs.T:
        finite = column[np.isfinite(column)]
        columns.append(np.where(np.isfinite(column), column, (finite.max() if len(finite) else 0.0) + 1.0))
    return np.column_stack(columns)


def num_elites(count: int) -> int:
    """How many of `count` are elites: the top fifth, from MIN_ELITES to MAX_ELITES."""
    return min(count, max(MIN_ELITES, min(-(-count // 5), MAX_ELITES)))


def parents(rng: np.random.Generator, num_parents: int, elites: int) -> Ints:
    """Places among `elites` (0 is the best), the better ones more often: floor(u^PRESSURE * elites). (num_parents,)."""
    return np.minimum((rng.random(num_parents) ** PRESSURE * elites).astype(np.intp), elites - 1)
