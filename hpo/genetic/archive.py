"""What was tried, and what came out at which rung: growing arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpo.genetic.selection import Floats, Ints


class Archive:
    """Configurations by number, and their costs (lower is better) by rung; each counts once.

    A row is a configuration's place in the arrays.
    """

    def __init__(self, num_genes: int, num_rungs: int, num_objectives: int) -> None:
        self.num_rungs, self.num_objectives = num_rungs, num_objectives
        self._row: dict[int, int] = {}
        self._points = np.empty((64, num_genes))
        self._costs = np.full((num_rungs, 64, num_objectives), np.nan)
        self._at: list[list[int]] = [[] for _ in range(num_rungs)]
        self._order: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, number: int) -> bool:
        return number in self._row

    def row(self, number: int) -> int:
        """Where a configuration stands in the arrays."""
        return self._row[number]

    def add(self, number: int, point: Floats | list[float]) -> None:
        """A configuration at a point (d,) of the unit cube. One that is known already moves there."""
        row = self._row.setdefault(number, len(self._row))
        if row == len(self._points):
            self._points = np.concatenate([self._points, np.empty_like(self._points)])
            self._costs = np.concatenate([self._costs, np.full_like(self._costs, np.nan)], axis=1)
        self._points[row] = point

    def record(self, number: int, rung: int, costs: Floats | list[float]) -> bool:
        """What came out, costs (m,). False, and nothing changes, for a number that is unknown or was there already."""
        row = self._row.get(number)
        if row is None or not np.isnan(self._costs[rung, row, 0]):
            return False
        self._costs[rung, row] = costs
        self._at[rung].append(row)
        self._order.append((row, rung))
        return True

    @property
    def points(self) -> Floats:
        """All configurations, (n, d)."""
        return self._points[: len(self)]

    def costs(self, rung: int) -> Floats:
        """What came out at a rung, by row; NaN where nothing did. (n, m)."""
        return self._costs[rung, : len(self)]

    def rows(self, rung: int) -> Ints:
        """The rows that came to a rung, in their order."""
        return np.array(self._at[rung], dtype=np.intp)

    def num_at(self, rung: int) -> int:
        """How many came to a rung."""
        return len(self._at[rung])

    @property
    def num_observations(self) -> int:
        """Of all rungs together."""
        return len(self._order)

    def observations(self) -> tuple[Ints, Ints, Floats]:
        """Rows (o,), rungs (o,) and costs (o, m) of all observations in the order in which they came."""
        pairs = np.array(self._order, dtype=np.intp).reshape(-1, 2)
        rows, rungs = pairs[:, 0], pairs[:, 1]
        return rows, rungs, self._costs[rungs, rows]

    def is_observed(self) -> NDArray[np.bool_]:
        """Which rows have come to any rung, (n,)."""
        found: NDArray[np.bool_] = ~np.isnan(self._costs[:, : len(self), 0]).all(axis=0)
        return found
