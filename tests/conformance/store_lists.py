"""Lists of trials and studies: what is filtered, in which order, and pages that stay right."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from conformance.store_values import measurement, spec, trial, walk

from hpo.errors import InvalidPageError, InvalidQueryError
from hpo.protocols import Page, Store
from hpo.trial import FailureCause, Lease, StudyState, Trial, TrialState

ODD = "a \"b\" \\ 'c'.d 谁😀"
"""The name of a parameter, and a text."""

TRIALS = (
    trial(0, state=TrialState.COMPLETED, value=0.5, step=9, ended_at=30.0, params={"lr": 0.1, "n": 1, "on": True}),
    trial(1, state=TrialState.FAILED, cause=FailureCause.ERROR, ended_at=10.0, params={"lr": 1, "kind": "a"}),
    trial(2, state=TrialState.STOPPED, value=0.25, step=3, ended_at=20.0, params={"lr": 1e-3, "kind": "1"}),
    trial(3, state=TrialState.RUNNING, value=0.5, step=4, parent=2, generation=1, params={"kind": 1, "on": False}),
    trial(4, state=TrialState.PENDING, params={"kind": "true", ODD: ODD}),
    trial(5, state=TrialState.COMPLETED, value=-2.0, step=9, ended_at=20.0, params={"kind": True, ODD: 3}),
    trial(6, state=TrialState.FAILED, cause=FailureCause.OUT_OF_MEMORY, params={"bad": "\x00\ud800\\u0000", "lr": 7}),
)
QUOTED = '"' + ODD.replace("\\", "\\\\").replace('"', '\\"') + '"'


def numbers(trials: list[Trial]) -> list[int]:
    return [found.number for found in trials]


class ListConformance:
    @pytest.mark.parametrize(
        ("filter", "expected"),
        [
            ("state = completed", [0, 5]),
            ('state != "completed"', [1, 2, 3, 4, 6]),
            ("state = running OR state = pending", [3, 4]),
            ("cause = error", [1]),
            ("cause != error", [6]),
            ("NOT cause:*", [0, 2, 3, 4, 5]),
            ("value:*", [0, 2, 3, 5]),
            ("value < 0.5", [2, 5]),
            ("value <= 0.5 AND value > -2", [0, 2, 3]),
            ("value >= 0.25 AND NOT value > 0.25", [2]),
            ("NOT (value < 0.5 OR step = 9)", [3]),
            ("NOT value = 0.5", [2, 5]),
            ("(state = completed OR state = failed) AND (number < 1 OR number >= 5)", [0, 5, 6]),
            ("parent = 2 AND generation = 1", [3]),
            ("ended_at > 10 AND ended_at <= 20", [2, 5]),
            ('ended_at < "1970-01-01T00:00:20Z"', [1]),
            ('ended_at < "1970-01-01T01:00:20+01:00"', [1]),
            ("params.lr > 0.01", [0, 1, 6]),
            ("params.lr = 1", [1]),
            ("params.lr != 1", [0, 2, 6]),
            ("NOT params.lr < 0.1", [0, 1, 6]),
            ("params.lr:*", [0, 1, 2, 6]),
            ("NOT params.lr:*", [3, 4, 5]),
            ("params.kind = a", [1]),
            ('params.kind = "1"', [2]),
            ("params.kind = 1", [3]),
            ("params.kind = true", [5]),
            ('params.kind = "true"', [4]),
            ('params.kind != "a"', [2, 4]),
            ("params.on = true", [0]),
            ("params.on != true", [3]),
            ("NOT params.on = false", [0]),
            (f"params.{QUOTED} = {QUOTED}", [4]),
            (f"params.{QUOTED} > 2", [5]),
            ("params.LR > 0", []),
            ("params.n = 1 AND params.on = true AND state = completed", [0]),
        ],
    )
    def test_a_filter_gives_the_trials_for_which_it_holds(
        self, store: Store, lease: Lease, filter: str, expected: list[int]
    ) -> None:
        store.write(lease, TRIALS)
        for size in (1, 2, 100):
            assert numbers(walk(lambda **page: store.trials("s", filter=filter, **page), size)) == expected
        best = walk(lambda **page: store.trials("s", filter=filter, order_by="value", **page), 2)
        assert sorted(numbers(best)) == expected

    def test_a_filter_and_a_state_both_count(self, store: Store, lease: Lease) -> None:
        store.write(lease, TRIALS)
        assert numbers(store.trials("s", state=TrialState.COMPLETED, filter="value > 0").items) == [0]  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            ("number", [0, 1, 2, 3, 4, 5, 6]),
            ("number asc", [0, 1, 2, 3, 4, 5, 6]),
            ("number desc", [6, 5, 4, 3, 2, 1, 0]),
            ("value", [5, 2, 0, 3, 1, 4, 6]),
            ("value asc", [5, 2, 0, 3, 1, 4, 6]),
            ("value desc", [0, 3, 2, 5, 1, 4, 6]),
            ("step", [1, 4, 6, 2, 3, 0, 5]),
            ("step desc", [0, 5, 3, 2, 1, 4, 6]),
            ("ended_at", [1, 2, 5, 0, 3, 4, 6]),
            ("ended_at  desc", [0, 2, 5, 1, 3, 4, 6]),
            ("created_at desc", [0, 1, 2, 3, 4, 5, 6]),
        ],
    )
    def test_trials_are_listed_in_either_direction_with_ties_by_number(
        self, store: Store, lease: Lease, order: str, expected: list[int]
    ) -> None:
        store.write(lease, TRIALS)
        for size in (1, 2, 3, 4, 7, 8):
            assert numbers(walk(lambda **page: store.trials("s", order_by=order, **page), size)) == expected

    @pytest.mark.parametrize(("direction", "expected"), [("minimize", [5, 2, 0, 3]), ("maximize", [0, 3, 2, 5])])
    def test_by_value_alone_the_best_come_first(self, store: Store, direction: str, expected: list[int]) -> None:
        store.create_study(spec(direction=direction))
        store.write(store.claim("s", holder="d", lease_seconds=60), TRIALS)
        assert numbers(walk(lambda **page: store.trials("s", order_by="value", **page), 3))[:4] == expected

    @pytest.mark.parametrize("order", ["number desc", "value", "value desc", "ended_at", "ended_at desc", "step desc"])
    @pytest.mark.parametrize("filter", [None, "params.lr < 0.5"])
    def test_pages_stay_right_while_trials_are_added(
        self, store: Store, lease: Lease, order: str, filter: str | None
    ) -> None:
        draw = random.Random(7)

        def some(numbers: range) -> list[Trial]:
            return [
                trial(
                    n, value=draw.choice([None, 0.25, draw.random()]), step=draw.randrange(4),
                    ended_at=draw.choice([None, 5.0, draw.random()]), params={"lr": draw.random()},
                )
                for n in numbers
            ]  # fmt: skip

        store.write(lease, some(range(0, 120, 2)))
        before = walk(lambda **page: store.trials("s", filter=filter, order_by=order, **page), 1000)
        seen, token = [], None
        for step in range(1, 1000):
            page = store.trials("s", filter=filter, order_by=order, page_size=7, page_token=token)
            seen += page.items
            token = page.next_page_token
            if token is None:
                break
            store.write(lease, some(range(2 * step - 1, 2 * step)))
        assert [found for found in seen if found in before] == before
        assert len(set(numbers(seen))) == len(seen)
        after = walk(lambda **page: store.trials("s", filter=filter, order_by=order, **page), 1000)
        places = [after.index(found) for found in seen]
        assert places == sorted(places)

    def test_studies_are_filtered_by_what_stands_in_their_rows_and_specifications(self, store: Store) -> None:
        for n, name in enumerate(("a", "b-1", "c")):
            labels = {"team": "nlp" if n else "vision", "谁": "我们"}
            store.create_study(spec(name).model_copy(update={"labels": labels, "priority": n}))
        store.set_study_state("b-1", StudyState.RUNNING)

        def names(filter: str) -> list[str]:
            return [study.name for study in store.studies(filter=filter, order_by="name").items]

        assert names("labels.team = nlp") == ["b-1", "c"]
        assert names('labels."谁" = "我们" AND state = running') == ["b-1"]
        assert names("NOT labels.owner:*") == ["a", "b-1", "c"]
        assert names('name = "b-1" OR priority > 1') == ["b-1", "c"]
        assert names("started_at:*") == ["b-1"]
        assert names('trainable != "some.module:train"') == []
        assert names("labels.team = vision AND attempt = 0") == ["a"]

    def test_studies_are_listed_in_either_direction(self, store: Store) -> None:
        for name in ("b", "a", "c"):
            store.create_study(spec(name))
        for name in ("c", "b"):
            store.set_study_state(name, StudyState.CANCELLED)
        for order, expected in {
            "name": "abc", "name desc": "cba", "created_at": "bac", "created_at desc": "cab",
            "ended_at": "cba", "ended_at desc": "bca",
        }.items():  # fmt: skip
            for size in (1, 2, 4):
                found = walk(lambda by=order, **page: store.studies(order_by=by, **page), size)
                assert "".join(study.name for study in found) == expected, order
        assert [study.name for study in store.studies().items] == ["c", "a", "b"]

    def test_the_token_of_another_filter_or_order_is_refused(self, store: Store, lease: Lease) -> None:
        store.write(lease, TRIALS)
        lists: list[Callable[..., Page[Any]]] = [
            lambda order=order, filter=filter, **page: store.trials("s", order_by=order, filter=filter, **page)
            for order in ("number", "number desc", "value", "value asc", "step", "ended_at")
            for filter in (None, "number >= 0", "number  >= 0")
        ]
        tokens = [read(page_size=1).next_page_token for read in lists]
        assert len({*tokens, None}) == len(lists) + 1
        for mine, read in enumerate(lists):
            for theirs, token in enumerate(tokens):
                if mine == theirs:
                    assert read(page_size=1, page_token=token).items
                else:
                    with pytest.raises(InvalidPageError):
                        read(page_size=1, page_token=token)

    @pytest.mark.parametrize("order", ["", "loss", "value up", "value desc number", "params.lr", "value;--"])
    def test_an_order_that_is_none_is_refused(self, store: Store, lease: Lease, order: str) -> None:
        for read in (lambda: store.trials("s", order_by=order), lambda: store.studies(order_by=order)):
            with pytest.raises(InvalidQueryError, match=r"order_by: .*; "):
                read()

    def test_a_filter_that_can_not_be_read_is_refused(self, store: Store, lease: Lease) -> None:
        for filter in ("", "value <", "volume = 3", "params.lr = \x00"):
            with pytest.raises(InvalidQueryError, match=r"filter: .*; "):
                store.trials("s", filter=filter)
        with pytest.raises(InvalidQueryError, match="'value' is no field"):
            store.studies(filter="value < 3")

    def test_the_reports_of_a_trial_come_by_generation_and_step(self, store: Store, lease: Lease) -> None:
        keys = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 1)]
        store.write(lease, [measurement(step, trial=4, generation=life) for life, step in reversed(keys)])
        store.write(lease, [measurement(9), measurement(9, trial=5)])
        for size in (1, 2, 6, 7):
            found = walk(lambda **page: store.measurements("s", trial=4, **page), size)
            assert [(report.generation, report.step) for report in found] == keys
