"""A new study's searcher begins with what past studies found, and a driver that takes over does so only once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo import registry, specfile
from hpo.engine.resume import resume
from hpo.errors import InvalidSpecError
from hpo.ledger import Ledger
from hpo.spec import StudySpec
from hpo.store.memory import MemoryStore
from hpo.trial import Event, Row, Trial, TrialState
from hpo.warm_start import check, from_data, past_trials, to_data


def study(name: str, **changes: Any) -> StudySpec:
    return specfile.parse(
        {
            "name": name,
            "trainable": "tests.nothing:train",
            "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": 40, "steps_per_trial": 1},
            "search": {"algorithm": "optuna", "startup_trials": 1},
            **changes,
        }
    )


@pytest.fixture
def store() -> MemoryStore:
    """A past study: 30 trials whose loss is least at x = 0.9, one that failed and one outside of the new space."""
    store = MemoryStore()
    store.create_study(study("past"))
    lease = store.claim("past", holder="test", lease_seconds=60)
    common: dict[str, Any] = {"study": "past", "state": TrialState.COMPLETED, "step": 1, "created_at": 0.0}
    rows: list[Row] = [
        Trial(number=n, params={"x": n / 30}, value=(n / 30 - 0.9) ** 2, value_step=1, **common) for n in range(30)
    ]
    rows.append(Trial(number=30, params={"x": 0.5}, **common | {"state": TrialState.FAILED}))
    rows.append(Trial(number=31, params={"y": 0.5}, value=0.0, value_step=1, **common))
    store.write(lease, rows)
    return store


def test_ended_trials_of_the_space_are_taken_and_others_are_not(store: MemoryStore) -> None:
    found = past_trials(store, study("new", warm_start=["past"]))
    assert [trial.number for trial in found] == list(range(30))
    again = [from_data(to_data(trial)) for trial in found]
    assert [(t.params, t.value, t.state) for t in again] == [(t.params, t.value, t.state) for t in found]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"warm_start": ["nobody"]}, "no study is named 'nobody'"),
        ({"warm_start": ["past"], "objective": {"metric": "loss", "direction": "maximize"}}, "is to minimize loss"),
    ],
)
def test_a_study_that_can_not_be_learned_from_is_refused(store: MemoryStore, changes: Any, said: str) -> None:
    with pytest.raises(InvalidSpecError, match=said) as caught:
        check(store, study("new", **changes))
    assert [problem.pointer for problem in caught.value.problems] == ["/warm_start/0"]


def test_the_searcher_begins_where_the_past_was_good_and_a_second_driver_teaches_it_from_the_record(
    store: MemoryStore, tmp_path: Path
) -> None:
    spec = study("new", warm_start=["past"])
    store.create_study(spec)
    lease = store.claim("new", holder="test", lease_seconds=60)

    def driver() -> Ledger:
        ledger = Ledger(
            spec, registry.searcher(spec), registry.scheduler(spec), write=lambda rows: store.write(lease, rows)
        )
        resume(ledger, store, tmp_path)
        return ledger

    first = driver()
    legs = [first.next() for _ in range(5)]
    proposed = [float(leg.params["x"]) for leg in legs if leg]
    assert sum(abs(x - 0.9) for x in proposed) / 5 < 0.15
    driver()
    events = [event for event in store.events("new", limit=1000) if isinstance(event, Event)]
    assert [event.data["taken"] for event in events if event.kind == "study.warm_started"] == [30]
    (resumed,) = [event for event in events if event.kind == "study.resumed"]
    assert resumed.data["differences"] == 0
    assert resumed.data["requeued"] == [0, 1, 2, 3, 4]
