"""The family tree, what gave a trial its best value, and the history of all rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event as Flag
from typing import Any

import numpy as np
import pytest
from conformance.store_values import checkpoint, decision, event, inheritance, measurement, spec, trial

from hpo.errors import InvalidPageError, StudyNotFoundError
from hpo.protocols import MAX_PAGE_SIZE, Store
from hpo.trial import Action, Event, Inheritance, Lease, Row, StudyState, Trial

PARAMS = {
    "int": 1, "float": 1.0, "bool": True, "text": "1", "没": "满 '\"%\\", "big": 2**70, "small": 5e-324, "off": False,
    "zero": -0.0, "none": "", "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "odd": "\x00\ud800",
}  # fmt: skip


def follow(store: Store, limit: int, study: str = "s") -> list[tuple[int, Row]]:
    """All of a history, page by page."""
    seen: list[tuple[int, Row]] = []
    while page := store.history(study, after=seen[-1][0] if seen else 0, limit=limit):
        assert len(page) <= limit
        seen += page
    return seen


def plain(rows: Sequence[tuple[int, Row]]) -> list[Row]:
    """The rows as they were written: without ids, and without what creating the study wrote."""
    written = [replace(row, id=0) if isinstance(row, Event) else row for _, row in rows]
    return [row for row in written if not (isinstance(row, Event) and row.kind == "study.created")]


class HistoryConformance:
    # -- the family tree ----------------------------------------------------------------------------------
    def test_every_field_of_an_inheritance_comes_back(self, store: Store, peer: Store, lease: Lease) -> None:
        row = inheritance(
            7, trial=3, generation=4, donor=5, donor_generation=6, params=PARAMS, path="s3://b/a b/'\"%",
            reason="5 为先, 3 is in the last fifth", recorded_at=0.1 + 0.2,
        )  # fmt: skip
        store.write(lease, [row])
        [found] = peer.inheritances("s")
        # By their texts: 1, 1.0 and True are equal, and NaN is not equal to itself.
        assert repr(found) == repr(row)
        assert [repr(row) for row in plain(peer.history("s"))] == [repr(row)]

    def test_the_family_tree_is_in_the_order_in_which_it_grew(self, store: Store, lease: Lease) -> None:
        rows = [inheritance(step, number) for step in (3, 1, 2) for number in (2, 0, 1)]
        for row in rows:
            store.write(lease, [measurement(row.step, row.trial), row])
        assert list(store.inheritances("s")) == rows
        assert list(store.inheritances("s", trial=0)) == [row for row in rows if row.trial == 0]
        # Of the trial that inherited, not of the one that gave.
        assert list(store.inheritances("s", trial=3)) == []

    @pytest.mark.parametrize("number", [9, -1, 2**63, 10**30])
    def test_an_unknown_trial_has_no_ancestors(self, store: Store, lease: Lease, number: int) -> None:
        store.write(lease, [inheritance(1)])
        assert list(store.inheritances("s", trial=number)) == []

    @pytest.mark.parametrize("batches", [1, 2])
    def test_of_two_inheritances_with_one_key_the_first_stays(self, store: Store, lease: Lease, batches: int) -> None:
        first = [inheritance(1)]
        again = [inheritance(1, donor=9), inheritance(1, generation=2), inheritance(2), inheritance(1, trial=1)]
        for rows in [first + again] if batches == 1 else [first, again]:
            store.write(lease, rows)
        assert list(store.inheritances("s")) == [*first, *again[1:]]
        assert store.counts("s").steps == 0

    def test_a_reason_may_hold_anything(self, store: Store, lease: Lease) -> None:
        store.write(lease, [inheritance(1, reason="a\x00b\ud800")])
        assert store.inheritances("s")[0].reason == "a\ufffdb?"

    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            (inheritance(2, study="other"), ValueError),
            (inheritance(2, donor=2**63), ValueError),
            (inheritance(2, donor_generation=2**63), ValueError),
            (inheritance(2, params={"x": object()}), TypeError),
            (trial(0, value_generation=2**63), ValueError),
            (trial(0, value_params={"x": object()}), TypeError),
        ],
    )
    def test_a_batch_with_a_bad_row_leaves_no_ancestor(
        self, store: Store, lease: Lease, bad: Any, error: type[Exception]
    ) -> None:
        before = store.history("s")
        with pytest.raises(error):
            store.write(lease, [inheritance(1), bad])
        assert list(store.inheritances("s")) == []
        assert store.history("s") == before

    # -- what gave a trial its value ----------------------------------------------------------------------
    def test_what_gave_a_trial_its_value_comes_back(self, store: Store, peer: Store, lease: Lease) -> None:
        row = trial(0, generation=2, value=0.5, value_step=3, value_generation=1, value_params=PARAMS)
        store.write(lease, [row, trial(1, value=0.25, value_step=1, value_generation=0)])
        assert repr(peer.trial("s", 0)) == repr(row)
        assert repr(peer.trial("s", 0).best_params) == repr(PARAMS)
        assert (peer.trial("s", 1).value_generation, peer.trial("s", 1).value_params) == (0, None)
        assert peer.trial("s", 1).best_params == {"lr": 0.1}
        assert repr(peer.trials("s", order_by="value").items[1]) == repr(row)

    def test_what_gave_a_trial_its_value_is_replaced(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0, value_generation=1, value_params={"lr": 0.3})])
        store.write(lease, [trial(0, value_generation=2, value_params={})])
        assert store.trial("s", 0) == trial(0, value_generation=2, value_params={})
        store.write(lease, [trial(0)])
        assert store.trial("s", 0) == trial(0)

    def test_numbers_of_numpy_are_numbers_in_the_family_tree(self, store: Store, lease: Lease) -> None:
        two = np.int64(2)
        store.write(lease, [inheritance(two, donor=two, donor_generation=two), trial(0, value_generation=two)])
        [found] = store.inheritances("s")
        numbers = [found.step, found.donor, found.donor_generation, store.trial("s", 0).value_generation]
        assert json.dumps(numbers) == "[2, 2, 2, 2]"

    # -- history ------------------------------------------------------------------------------------------
    def test_history_is_every_row_but_trials_in_its_recorded_order(
        self, store: Store, peer: Store, lease: Lease
    ) -> None:
        rows: list[Row] = [
            event("trial.created", trial=0, data={"满": [1, 1.5, None]}),
            measurement(1, metrics={"loss": 1e-300, "far": -math.inf}),
            decision(1, action=Action.PAUSE, reason="rung 1", rung=1, cutoff=0.3),
            checkpoint(1, size_bytes=2**40),
            inheritance(1, params={"a": True, "b": 1, "c": 1.0}),
            checkpoint(2, generation=1),
            decision(2, generation=1, action=Action.STOP),
            measurement(2, generation=1),
            event("trial.stopped", trial=0),
        ]
        store.write(lease, [trial(0), *rows[:4]])
        store.write(lease, [rows[4], trial(1)])
        for row in rows[5:]:
            peer.write(lease, [row])
        found = store.history("s")
        assert repr(plain(found)) == repr(rows)
        assert found == peer.history("s")
        ids = [number for number, _ in found]
        assert ids == sorted(set(ids))
        assert not any(isinstance(row, Trial) for _, row in found)
        assert [row for _, row in found if isinstance(row, Event)] == store.events("s")
        assert all(row.id == number for number, row in found if isinstance(row, Event))

    def test_history_comes_once_in_pages_of_every_size(self, store: Store, lease: Lease) -> None:
        for step in range(1, 4):
            rows = [measurement(step), decision(step), event(data={"n": step}), checkpoint(step), inheritance(step)]
            store.write(lease, [*rows, measurement(step, trial=1), measurement(step, trial=2)])
        everything = store.history("s")
        assert len(everything) == 1 + 3 * 7
        for limit in range(1, len(everything) + 2):
            assert follow(store, limit) == everything
        for start in range(len(everything)):
            assert store.history("s", after=everything[start][0], limit=3) == everything[start + 1 : start + 4]
        assert store.history("s", after=everything[-1][0]) == store.history("s", after=10**30) == []
        assert store.history("s", after=-(10**30)) == everything

    def test_a_page_of_history_is_the_first_rows_of_one_kind_too(self, store: Store, lease: Lease) -> None:
        rows: list[Row] = [measurement(step) for step in range(1, 1501)]
        store.write(lease, [*rows, decision(1)])
        assert len(store.history("s")) == MAX_PAGE_SIZE
        assert plain(follow(store, MAX_PAGE_SIZE)) == [*rows, decision(1)]

    def test_what_was_dropped_is_no_history(self, store: Store, lease: Lease) -> None:
        rows: list[Row] = [measurement(1), decision(1), checkpoint(1), inheritance(1)]
        store.write(lease, [*rows, *rows])
        store.write(lease, [*rows, event()])
        assert plain(store.history("s")) == [*rows, event()]
        assert plain(follow(store, 1)) == [*rows, event()]

    def test_a_forgotten_checkpoint_is_no_history(self, store: Store, lease: Lease) -> None:
        store.write(lease, [checkpoint(1), measurement(1), checkpoint(2), checkpoint(3, trial=1), decision(1)])
        first = store.history("s", limit=2)
        store.forget_checkpoints(lease, ["/c/0/2", "/c/1/3", "/unknown"])
        rest = store.history("s", after=first[-1][0])
        assert plain([*first, *rest]) == [checkpoint(1), measurement(1), decision(1)]
        store.write(lease, [checkpoint(2, path="/new")])
        for limit in (1, 2, 100):
            assert plain(follow(store, limit)) == [
                checkpoint(1), measurement(1), decision(1), checkpoint(2, path="/new"),
            ]  # fmt: skip

    def test_the_history_of_another_study_is_another(self, store: Store, lease: Lease) -> None:
        store.create_study(spec("other"))
        theirs = store.claim("other", holder="driver-2", lease_seconds=60)
        mine: list[Row] = [measurement(1), decision(1), checkpoint(1), inheritance(1), event()]
        others = [replace(row, study="other") for row in [*mine, measurement(2), inheritance(2)]]
        store.write(lease, mine)
        store.write(theirs, others)
        assert plain(store.history("s")) == mine
        assert plain(store.history("other")) == others
        assert list(store.inheritances("s")) == [inheritance(1)]
        assert list(store.inheritances("other")) == [row for row in others if isinstance(row, Inheritance)]

    def test_the_history_of_a_deleted_study_is_gone(self, store: Store, lease: Lease) -> None:
        store.write(lease, [measurement(1), decision(1), checkpoint(1), inheritance(1), event()])
        store.set_study_state("s", StudyState.CANCELLED)
        store.delete_study("s")
        for read in (store.history, store.inheritances):
            with pytest.raises(StudyNotFoundError):
                read("s")
        store.create_study(spec())
        assert list(store.inheritances("s")) == []
        [(_, created)] = store.history("s")
        assert [created] == store.events("s")

    @pytest.mark.parametrize("limit", [0, -1, MAX_PAGE_SIZE + 1, 10**30])
    def test_a_limit_of_history_out_of_range_is_refused(self, store: Store, lease: Lease, limit: int) -> None:
        with pytest.raises(InvalidPageError, match=r"limit .* 1 to 1000"):
            store.history("s", limit=limit)

    def test_what_was_read_of_history_changes_nothing(self, store: Store, lease: Lease) -> None:
        params = {"lr": 0.1}
        store.write(lease, [inheritance(1, params=params), trial(0, value_params=params)])
        params["lr"] = 9.0
        for found in (store.inheritances("s")[0], plain(store.history("s"))[0]):
            assert isinstance(found, Inheritance)
            assert found.params == {"lr": 0.1}
            found.params["lr"] = 9.0  # type: ignore[index]
        assert store.inheritances("s")[0].params == store.trial("s", 0).value_params == {"lr": 0.1}

    def test_a_reader_of_history_misses_nothing_while_many_write(self, store: Store, peer: Store, lease: Lease) -> None:
        def write(writer: int) -> None:
            for step in range(1, 11):
                rows = [event(trial=writer), inheritance(step, writer), checkpoint(step, writer)]
                (store, peer)[step % 2].write(lease, [*rows, decision(step, writer), measurement(step, writer)])

        def read() -> Iterator[tuple[int, Row]]:
            last = 0
            while True:
                finished = done.is_set()
                while page := peer.history("s", after=last, limit=7):
                    yield from page
                    last = page[-1][0]
                if finished:
                    return

        done = Flag()
        with ThreadPoolExecutor(4) as threads:
            reader = threads.submit(lambda: list(read()))
            try:
                for writing in [threads.submit(write, writer) for writer in range(3)]:
                    writing.result()
            finally:
                done.set()
            seen = reader.result()
        assert len(seen) == 1 + 3 * 10 * 5
        assert seen == store.history("s")
