"""Curves with at most so many points, reduced while they are read: no curve is ever held whole.

The reduction is M4 (Jugel et al. 2014, "M4: A Visualization-Oriented Time Series Data Aggregation", PVLDB 7(10)): of
each bucket of neighbours the first, the last, the lowest and the highest point stay, so that a chart drawn from them
is the chart of all, pixel by pixel, while it is no wider than there are buckets. Unlike there, how many points come
isn't known beforehand: whenever there are too many buckets, neighbours are joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P")

MAX_POINTS = 2000
"""Of a curve that is asked for."""
MIN_POINTS = 8
MAX_SERIES = 100
"""Curves at once."""


@dataclass(frozen=True, slots=True)
class Series:
    """A trial's metric over its steps."""

    trial: int
    reports: int
    """How many of its measurements have a finite value of the metric."""
    points: tuple[tuple[int, float], ...]
    """(step, value) in their recorded order: all of them, or those that stand for them."""


Point = tuple[int, float, P]
"""Its place among all, its height, and what it is."""


class Reducer(Generic[P]):
    """Takes points one by one and keeps at most `limit` of them: all, as long as they are so few."""

    def __init__(self, limit: int) -> None:
        """`limit` is at least MIN_POINTS."""
        self._limit = limit
        self._width = 1
        self._buckets: list[tuple[Point[P], ...]] = []
        """Of `_width` points each, but for the last: the first, the lowest, the highest and the last."""
        self.count = 0
        """How many came."""

    def add(self, height: float, what: P) -> None:
        point = (self.count, height, what)
        if self.count % self._width == 0:  # a new bucket is due
            if self._width == 1 and len(self._buckets) == self._limit:
                self._widen(8)  # a bucket of one is one point, and a wider one up to four
            elif self._width > 1 and len(self._buckets) == self._limit // 4:
                self._widen(2)
        if self.count % self._width:
            self._buckets[-1] = _joined(self._buckets[-1], (point,) * 4)
        else:
            self._buckets.append((point,) * 4)
        self.count += 1

    def _widen(self, times: int) -> None:
        self._width *= times
        parts = range(0, len(self._buckets), times)
        self._buckets = [_joined(*self._buckets[place : place + times]) for place in parts]

    def points(self) -> list[P]:
        """Those that stay, in the order in which they came."""
        kept = {point[0]: point[2] for bucket in self._buckets for point in bucket}
        return [kept[place] for place in sorted(kept)]


def _joined(*buckets: tuple[Point[P], ...]) -> tuple[Point[P], ...]:
    """One bucket of neighbours."""
    lows, highs = [bucket[1] for bucket in buckets], [bucket[2] for bucket in buckets]
    return buckets[0][0], min(lows, key=_height), max(highs, key=_height), buckets[-1][3]


def _height(point: Point[P]) -> float:
    return point[1]
