"""Curves out of measurements, and events of one kind."""

from __future__ import annotations

import math

import pytest
from conformance.store_values import event, measurement, trial

from hpo.errors import InvalidQueryError, StudyNotFoundError, TrialNotFoundError
from hpo.protocols import Store
from hpo.series import MAX_POINTS, MAX_SERIES, Series
from hpo.trial import Lease


class SeriesConformance:
    def test_a_series_is_a_metric_of_a_trial_step_by_step(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(n) for n in range(4)])
        store.write(lease, [measurement(step, n, metrics={"loss": n + 1 / step}) for n in (2, 0) for step in (3, 1, 2)])
        store.write(lease, [measurement(1, 2, generation=1, metrics={"loss": 7.0, "谁 \x00": 1})])
        assert store.series("s", "loss", [2, 0, 3]) == [
            Series(trial=2, reports=4, points=((1, 3.0), (2, 2.5), (3, 2 + 1 / 3), (1, 7.0))),
            Series(trial=0, reports=3, points=((1, 1.0), (2, 0.5), (3, 1 / 3))),
            Series(trial=3, reports=0, points=()),
        ]
        assert store.series("s", "谁 \x00", [2]) == [Series(trial=2, reports=1, points=((1, 1.0),))]
        assert store.series("s", "gain", [2]) == [Series(trial=2, reports=0, points=())]
        assert store.series("s", "loss", []) == []

    def test_what_is_not_finite_is_no_point(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0)])
        values = [1.0, math.nan, math.inf, -math.inf, 0.5]
        store.write(lease, [measurement(n, metrics={"loss": value}) for n, value in enumerate(values, 1)])
        assert store.series("s", "loss", [0]) == [Series(trial=0, reports=2, points=((1, 1.0), (5, 0.5)))]

    def test_a_long_series_keeps_its_ends_and_extremes(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0)])
        values = {1234: -5.0, 2345: 99.0}
        store.write(lease, [measurement(n, metrics={"loss": values.get(n, n % 7)}) for n in range(1, 3001)])
        [found] = store.series("s", "loss", [0], points=100)
        assert found.reports == 3000
        assert 50 <= len(found.points) <= 100
        assert found.points[0] == (1, 1.0)
        assert found.points[-1] == (3000, 3000 % 7)
        assert {(1234, -5.0), (2345, 99.0)} <= set(found.points)

    def test_more_than_is_given_at_once_is_refused(self, store: Store, lease: Lease) -> None:
        with pytest.raises(InvalidQueryError, match="101 trials are asked for, but 100 series"):
            store.series("s", "loss", range(MAX_SERIES + 1))
        for points in (0, 7, MAX_POINTS + 1):
            with pytest.raises(InvalidQueryError, match=f"it is {points}, but a series has 8 to 2000 points"):
                store.series("s", "loss", [], points=points)

    def test_a_series_of_what_is_not_there_is_an_error(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0)])
        for number in (1, 2**70):
            with pytest.raises(TrialNotFoundError, match=str(number)):
                store.series("s", "loss", [0, number])
        with pytest.raises(StudyNotFoundError):
            store.series("t", "loss", [])

    def test_events_of_one_kind_are_found_page_by_page(self, store: Store, lease: Lease) -> None:
        store.write(lease, [event(("a.b", "c.d")[n % 3 == 0], data={"n": n}) for n in range(20)])
        seen: list[object] = []
        last = 0
        while page := store.events("s", after=last, limit=3, kind="c.d"):
            assert len(page) <= 3
            seen += [found.data["n"] for found in page]
            last = page[-1].id
        assert seen == [0, 3, 6, 9, 12, 15, 18]
        assert store.events("s", kind="never") == []
