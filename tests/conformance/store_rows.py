"""The rows that a driver writes, and the lists that are read."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conformance.store_values import checkpoint, decision, event, measurement, spec, trial, walk

from hpo.errors import (
    InvalidPageError,
    TrialNotFoundError,
)
from hpo.page import MAX_PAGE_SIZE, NEWEST_FIRST, Page
from hpo.protocols import Store
from hpo.trial import (
    Action,
    FailureCause,
    Lease,
    StudyState,
    TrialState,
)


class RowConformance:
    # -- writing ------------------------------------------------------------------------------------------
    def test_every_field_of_every_row_comes_back(self, store: Store, peer: Store, lease: Lease) -> None:
        rows = (
            trial(
                3, params={"lr": 0.1}, state=TrialState.FAILED, generation=2, parent=1, step=9, value=0.1 + 0.2,
                value_step=4, cause=FailureCause.OUT_OF_MEMORY, message="it's 满", started_at=101.25, ended_at=102.5,
            ),
            measurement(9, trial=3, generation=2, metrics={"loss": 1e-300, "acc": 0.1}),
            decision(9, trial=3, generation=2, action=Action.STOP, reason="rung 9", rung=9, cutoff=0.3),
            checkpoint(9, trial=3, generation=2, size_bytes=2**40, path="s3://bucket/a b/'\"%"),
            event("trial.failed", trial=3, data={"a": [1, 1.5, None, True, {"b": "好"}]}),
        )  # fmt: skip
        store.write(lease, rows)
        assert peer.trial("s", 3) == rows[0]
        assert peer.measurements("s").items == [rows[1]]
        assert peer.decisions("s").items == [rows[2]]
        assert list(peer.checkpoints("s")) == [rows[3]]
        stored = peer.events("s")[-1]
        assert (stored.kind, stored.trial, stored.data, stored.recorded_at) == (
            "trial.failed", 3, rows[4].data, rows[4].recorded_at,
        )  # fmt: skip

    def test_parameters_keep_their_types(self, store: Store, lease: Lease) -> None:
        params = {
            "a": 1,
            "b": 1.0,
            "c": True,
            "d": "1",
            "e": 2**70,
            "f": 0.1,
            "g": "",
            "h": False,
            "i": "\x00\ud800",
        }
        store.write(lease, [trial(0, params=params)])
        found = store.trial("s", 0).params
        assert found == params
        assert [type(value) for value in found.values()] == [type(value) for value in params.values()]

    def test_numbers_of_numpy_are_numbers(self, store: Store, lease: Lease) -> None:
        one = np.int64(1)
        store.write(lease, [measurement(one, metrics={"loss": np.float32(0.5)}), trial(one, value=np.float32(0.5))])
        assert store.measurements("s", trial=0).items == [measurement(1, metrics={"loss": 0.5})]
        assert store.trial("s", 1) == trial(1, value=0.5)
        json.dumps([store.trial("s", 1).number, store.trial("s", 1).value])

    def test_non_finite_metrics_come_back(self, store: Store, lease: Lease) -> None:
        metrics = {"a": math.inf, "b": -math.inf, "c": math.nan, "d": 0.0}
        store.write(lease, [measurement(1, metrics=metrics)])
        [found] = store.measurements("s").items
        assert found.metrics["c"] != found.metrics["c"]
        assert {**found.metrics, "c": 0.0} == {**metrics, "c": 0.0}

    def test_what_is_not_finite_is_no_value(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0, value=math.nan), trial(1, value=-math.inf), decision(1, cutoff=math.inf)])
        assert [found.value for found in store.trials("s").items] == [None, None]
        assert store.decisions("s").items[0].cutoff is None

    def test_the_data_of_events_is_json(self, store: Store, lease: Lease) -> None:
        store.write(lease, [event(data={"loss": math.nan, "all": [math.inf, -math.inf], "n": 1})])
        data = store.events("s")[-1].data
        assert json.loads(json.dumps(data, allow_nan=False)) == {
            "loss": "NaN",
            "all": ["Infinity", "-Infinity"],
            "n": 1,
        }

    def test_a_message_may_hold_anything(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0, message="a\x00b\ud800"), decision(1, reason="c\x00")])
        assert store.trial("s", 0).message == "a\ufffdb?"
        assert store.decisions("s").items[0].reason == "c\ufffd"

    def test_a_trial_replaces_the_one_of_its_number(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0), trial(1)])
        later = trial(0, state=TrialState.RUNNING, created_at=999.0, started_at=5.0, step=2, value=0.5, value_step=1)
        store.write(lease, [later])
        assert store.trial("s", 0) == trial(
            0, state=TrialState.RUNNING, started_at=5.0, step=2, value=0.5, value_step=1
        )
        store.write(lease, [trial(0, params={"lr": 0.2})])
        assert store.trial("s", 0) == trial(0, params={"lr": 0.2})
        assert len(store.trials("s").items) == 2

    def test_within_one_batch_the_last_trial_counts_and_the_first_creation(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0), trial(0, step=1, created_at=101.0), trial(0, step=2, created_at=102.0)])
        assert store.trial("s", 0) == trial(0, step=2)

    @pytest.mark.parametrize("batches", [1, 2])
    def test_of_two_reports_with_one_key_the_first_stays(self, store: Store, lease: Lease, batches: int) -> None:
        first = [measurement(1), decision(1), checkpoint(1)]
        again = [
            measurement(1, metrics={"loss": 9.0}),
            decision(1, action=Action.STOP),
            checkpoint(1, path="/other"),
            measurement(1, generation=1),
            measurement(1, trial=1),
        ]
        if batches == 1:
            store.write(lease, [*first, *again])
        else:
            store.write(lease, first)
            store.write(lease, again)
        assert store.measurements("s").items == [first[0], again[3], again[4]]
        assert store.decisions("s").items == [first[1]]
        assert list(store.checkpoints("s")) == [first[2]]
        assert store.counts("s").steps == 3

    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            (event(study="other"), ValueError),
            (event(data={"x": object()}), TypeError),
            (measurement(2**63), ValueError),
            (trial(9, params={"x": object()}), TypeError),
        ],
    )
    def test_a_batch_with_a_bad_row_leaves_nothing(
        self, store: Store, lease: Lease, bad: Any, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            store.write(lease, [trial(0), measurement(1), decision(1), checkpoint(1), event(), bad])
        assert store.trials("s").items == store.measurements("s").items == store.decisions("s").items == []
        assert list(store.checkpoints("s")) == []
        assert len(store.events("s")) == 1
        assert store.counts("s").steps == 0

    def test_what_was_written_does_not_change_with_its_maker(self, store: Store, lease: Lease) -> None:
        params = {"lr": 0.1}
        store.write(lease, [trial(0, params=params)])
        params["lr"] = 9.0
        assert store.trial("s", 0).params == {"lr": 0.1}
        store.trial("s", 0).params["lr"] = 9.0  # type: ignore[index]
        assert store.trial("s", 0).params == {"lr": 0.1}

    def test_many_rows_at_once(self, store: Store, lease: Lease) -> None:
        rows = [measurement(step) for step in range(1, 2001)]
        store.write(lease, rows)
        assert walk(lambda **page: store.measurements("s", **page), 999) == rows
        assert store.counts("s").steps == 2000

    def test_checkpoints_are_forgotten_by_their_paths(self, store: Store, lease: Lease) -> None:
        store.write(lease, [checkpoint(1), checkpoint(2), checkpoint(3, trial=1)])
        store.forget_checkpoints(lease, ["/c/0/1", "/c/1/3", "/unknown"])
        store.forget_checkpoints(lease, [])
        assert list(store.checkpoints("s")) == [checkpoint(2)]
        store.write(lease, [checkpoint(1, path="/new")])
        assert [found.path for found in store.checkpoints("s")] == ["/c/0/2", "/new"]

    # -- reading ------------------------------------------------------------------------------------------
    @pytest.mark.parametrize("number", [1, -1, 2**63, 10**30])
    def test_an_unknown_trial_is_said_to_be_unknown(self, store: Store, lease: Lease, number: int) -> None:
        store.write(lease, [trial(0), measurement(1), checkpoint(1)])
        with pytest.raises(TrialNotFoundError, match=str(number)):
            store.trial("s", number)
        assert store.measurements("s", trial=number).items == store.decisions("s", trial=number).items == []
        assert list(store.checkpoints("s", trial=number)) == []

    def test_trials_are_listed_by_number_in_pages(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(number) for number in reversed(range(30))])
        for size in (1, 7, 10, 30, 31):
            assert [t.number for t in walk(lambda **page: store.trials("s", **page), size)] == list(range(30))

    def test_trials_are_listed_by_state(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(n, state=TrialState.RUNNING if n % 3 else TrialState.STOPPED) for n in range(9)])
        stopped = walk(lambda **page: store.trials("s", state=TrialState.STOPPED, **page), 2)
        assert [t.number for t in stopped] == [0, 3, 6]

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_trials_are_listed_best_first(self, store: Store, direction: str) -> None:
        store.create_study(spec(direction=direction))
        lease = store.claim("s", holder="h", lease_seconds=60)
        values = [0.5, None, -1.0, 2.0, 0.5, None, 0.0, math.nan, 1e-9, math.inf, 0.5] * 3
        store.write(lease, [trial(number, value=value) for number, value in enumerate(values)])
        sign = 1 if direction == "minimize" else -1
        finite = [(sign * v, n) for n, v in enumerate(values) if v is not None and math.isfinite(v)]
        rest = [n for n, v in enumerate(values) if v is None or not math.isfinite(v)]
        expected = [n for _, n in sorted(finite)] + rest
        for size in (1, 4, 33, 1000):
            best = walk(lambda **page: store.trials("s", order_by="value", **page), size)
            assert [t.number for t in best] == expected

    def test_reports_are_listed_in_their_recorded_order(self, store: Store, lease: Lease) -> None:
        keys = [(step, number) for step in range(1, 10) for number in (2, 0, 1)]
        for step, number in keys:
            store.write(lease, [decision(step, number), measurement(step, number), checkpoint(step, number)])
        for size in (4, 9, 27, 100):
            found = walk(lambda **page: store.measurements("s", **page), size)
            assert [(m.step, m.trial) for m in found] == keys
            found = walk(lambda **page: store.decisions("s", **page), size)
            assert [(d.step, d.trial) for d in found] == keys
            of_one = walk(lambda **page: store.measurements("s", trial=2, **page), size)
            assert [(m.step, m.trial) for m in of_one] == [(step, 2) for step in range(1, 10)]
        assert [(c.step, c.trial) for c in store.checkpoints("s")] == keys
        assert [c.step for c in store.checkpoints("s", trial=0)] == list(range(1, 10))
        assert [d.step for d in store.decisions("s", trial=0).items] == list(range(1, 10))

    def test_what_comes_between_two_pages_disturbs_none(self, store: Store, lease: Lease) -> None:
        store.write(lease, [row for step in range(1, 26) for row in (measurement(step), trial(2 * step))])
        reports, trials = store.measurements("s", page_size=10), store.trials("s", page_size=10)
        store.write(lease, [measurement(26), trial(1), trial(51)])
        rest = store.measurements("s", page_size=100, page_token=reports.next_page_token)
        assert [m.step for m in (*reports.items, *rest.items)] == list(range(1, 27))
        others = store.trials("s", page_size=100, page_token=trials.next_page_token)
        assert [t.number for t in (*trials.items, *others.items)] == [*range(2, 51, 2), 51]

    @pytest.mark.parametrize("size", [0, -1, MAX_PAGE_SIZE + 1, 10**30])
    def test_a_page_size_out_of_range_is_refused(self, store: Store, lease: Lease, size: int) -> None:
        calls: list[Callable[[], object]] = [
            lambda: store.studies(page_size=size),
            lambda: store.trials("s", page_size=size),
            lambda: store.measurements("s", page_size=size),
            lambda: store.decisions("s", page_size=size),
            lambda: store.events("s", limit=size),
        ]
        for call in calls:
            with pytest.raises(InvalidPageError, match=r"1 to 1000"):
                call()
        assert store.studies(page_size=MAX_PAGE_SIZE).items
        assert store.studies(page_size=1).next_page_token is None

    def test_the_token_of_another_list_is_refused(self, store: Store, lease: Lease) -> None:
        store.create_study(spec("other"))
        store.write(lease, [row for n in range(3) for row in (trial(n), measurement(n + 1), decision(n + 1))])
        lists: list[Callable[..., Page[Any]]] = [
            store.studies,
            lambda **page: store.studies(state=StudyState.QUEUED, **page),
            lambda **page: store.trials("s", **page),
            lambda **page: store.trials("s", state=TrialState.PENDING, **page),
            lambda **page: store.trials("s", order_by="value", **page),
            lambda **page: store.measurements("s", **page),
            lambda **page: store.measurements("s", trial=0, **page),
            lambda **page: store.decisions("s", **page),
        ]
        tokens = [read(page_size=1).next_page_token for read in lists]
        assert len({*tokens, None}) == len(lists) + 1
        for mine, read in enumerate(lists):
            for theirs, token in enumerate(tokens):
                if mine == theirs:
                    assert read(page_size=1, page_token=token).items
                else:
                    with pytest.raises(InvalidPageError, match="first page"):
                        read(page_size=1, page_token=token)
        with pytest.raises(InvalidPageError):
            store.trials("other", page_token=tokens[2])

    def test_a_garbled_token_is_refused(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0), trial(1)])
        token = store.trials("s", page_size=1).next_page_token
        assert token is not None
        tag = ["trials", "s", None, "number"]
        keys: list[Any] = [[], [None], ["1"], [1.0], [True], [10**30], [1, 2], {"a": 1}, 1, None]
        forged = [base64.urlsafe_b64encode(json.dumps([tag, key]).encode()).decode() for key in keys]
        for bad in ["", "x", "!", "é", token[:-4], token + "AAAA", "A" * 5000, "[" * 900, "W1tbW1tb", *forged]:
            with pytest.raises(InvalidPageError):
                store.trials("s", page_token=bad)
        names = [[1.0, "n\x00"], [1.0, 1], [math.inf, "a"], ["1", "a"]]
        tag = ["studies", None, None, NEWEST_FIRST]
        for key in names:
            forged_name = base64.urlsafe_b64encode(json.dumps([tag, key]).encode()).decode()
            with pytest.raises(InvalidPageError):
                store.studies(page_token=forged_name)

    def test_counts_are_of_states_and_measurements(self, store: Store, lease: Lease) -> None:
        assert store.counts("s").trials == dict.fromkeys(TrialState, 0)
        store.write(lease, [trial(n, state=TrialState.RUNNING if n else TrialState.FAILED) for n in range(4)])
        store.write(lease, [measurement(1), measurement(2), measurement(1, trial=3), decision(1)])
        counts = store.counts("s")
        assert counts.trials == dict.fromkeys(TrialState, 0) | {TrialState.RUNNING: 3, TrialState.FAILED: 1}
        assert counts.steps == 3
