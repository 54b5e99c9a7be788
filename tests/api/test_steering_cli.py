"""The commands that steer a study, against a real service. No driver listens here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from hpo import specfile
from hpo.protocols import Store
from hpo.steering import Verb
from hpo.trial import Lease, StudyState, Trial, TrialState

Run = Callable[..., Result]


@pytest.fixture
def lease(store: Store, spec: dict[str, Any]) -> Lease:
    """Of the study `mine`, which a driver holds: its trial 0 runs, 1 and 2 have failed."""
    store.create_study(specfile.parse(spec | {"labels": {"team": "news", "of": "ann"}}))
    lease = store.claim("mine", holder="test", lease_seconds=60)
    store.set_study_state("mine", StudyState.RUNNING, lease=lease)
    ends: list[dict[str, Any]] = [
        {"state": TrialState.RUNNING}, {"state": TrialState.FAILED, "cause": "error"},
        {"state": TrialState.FAILED, "cause": "out_of_memory"},
    ]  # fmt: skip
    store.write(lease, [
        Trial(study="mine", number=number, params={"lr": 0.01, "units": number + 1}, created_at=1.0, **end)
        for number, end in enumerate(ends)
    ])  # fmt: skip
    return lease


def said(result: Result, code: int = 0) -> str:
    assert result.exit_code == code, result.output
    return result.output.strip()


def test_a_study_is_paused_resumed_and_ended(run: Run, store: Store, spec: dict[str, Any]) -> None:
    store.create_study(specfile.parse(spec))
    assert said(run("pause", "mine")) == "study mine is paused; `hpo resume mine` lets it go on"
    assert said(run("resume", "mine")) == "study mine is queued; `hpo watch mine` follows it"
    assert json.loads(said(run("pause", "mine", "--json")))["state"] == "paused"
    assert json.loads(said(run("resume", "mine", "--json")))["version"] == 5
    assert said(run("cancel", "mine")) == "study mine is cancelled; `hpo rm mine` deletes it once it has ended"
    assert "fork it to go on" in said(run("stop", "mine"), 2)
    assert "no study is named 'none'" in said(run("pause", "none"), 2)
    asked = store.commands("mine", done=True)
    assert [command.verb for command in asked] == [Verb.PAUSE, Verb.RESUME, Verb.PAUSE, Verb.RESUME, Verb.CANCEL]
    assert all("@" in command.who for command in asked)


def test_a_study_is_stopped_with_its_result(run: Run, store: Store, lease: Lease) -> None:
    assert said(run("stop", "mine")) == "study mine is running; `hpo best mine` shows what it found"
    assert [command.verb for command in store.commands("mine")] == [Verb.STOP]


def test_a_study_is_changed(run: Run, store: Store, lease: Lease) -> None:
    assert said(run("change", "mine", "budget.trials=64", "concurrency=2")).endswith("it is version 3 now")
    answer = json.loads(said(run("change", "mine", "concurrency=none", "budget.wall_seconds=60", "--json")))
    found = store.study("mine").spec
    assert (found.budget.trials, found.budget.wall_seconds, found.concurrency) == (64, 60, None)
    assert answer["spec"]["budget"]["trials"] == 64
    assert "is at version 4, but the change is for version 3" in said(
        run("change", "mine", "priority=1", "--version", "3"), 2
    )
    said(run("change", "mine", "priority=1", "--version", "4"))
    assert said(run("change", "mine", "seed=3"), 2).startswith("error: seed: seed can't change while a study runs")
    assert said(run("change", "mine", "budget.trials=0"), 2).startswith("error: budget.trials: 0")
    assert "not of the form key.key=value" in said(run("change", "mine", "priority"), 2)
    assert store.study("mine").version == 5


@pytest.mark.parametrize(("assignments", "labels"), [
    (["labels.run=2nd"], {"team": "news", "of": "ann", "run": "2nd"}),
    (["labels.of=none", "labels.team=sports"], {"team": "sports"}),
    (["labels=none"], {}),
])  # fmt: skip
def test_labels_are_changed_one_by_one(
    run: Run, store: Store, lease: Lease, assignments: list[str], labels: dict[str, str]
) -> None:
    said(run("change", "mine", *assignments))
    assert store.study("mine").spec.labels == labels


def test_labels_that_are_none_are_refused(run: Run, store: Store, lease: Lease) -> None:
    assert said(run("change", "mine", "labels=3"), 2).startswith("error: labels: ")
    assert said(run("change", "mine", "labels.run=3"), 2).startswith("error: labels.run: ")


def test_a_study_is_forked(run: Run, store: Store, lease: Lease) -> None:
    assert said(run("fork", "mine", "child", "--set", "seed=3", "--set", "budget.trials=2")) == (
        "study child is queued; `hpo watch child` follows it"
    )
    assert (store.study("child").spec.seed, store.study("child").spec.warm_start) == (3, ("mine",))
    assert json.loads(said(run("fork", "mine", "other", "--no-learn", "--json")))["spec"]["warm_start"] == []
    assert "study 'child' exists already" in said(run("fork", "mine", "child"), 2)
    assert said(run("fork", "mine", "bad", "--set", "budget.trials=0"), 2).startswith("error: budget.trials: 0")


def test_trials_are_stopped_retried_and_enqueued(run: Run, store: Store, lease: Lease) -> None:
    assert said(run("trial", "stop", "mine", 0)) == "study mine is running; trial 0 stops"
    assert said(run("trial", "retry", "mine", 1)) == "study mine is running; they are tried next"
    assert json.loads(said(run("trial", "retry", "mine", "--cause", "out_of_memory", "--json")))["name"] == "mine"
    said(run("trial", "retry", "mine"))
    said(run("trial", "enqueue", "mine", "lr=0.05", "units=7"))
    assert [(command.verb, command.data.get("retry_of")) for command in store.commands("mine")] == [
        (Verb.STOP_TRIAL, None), (Verb.ENQUEUE, [1]), (Verb.ENQUEUE, [2]), (Verb.ENQUEUE, [1, 2]),
        (Verb.ENQUEUE, [None]),
    ]  # fmt: skip
    assert store.commands("mine")[-1].data["params"] == [{"lr": 0.05, "units": 7}]


@pytest.mark.parametrize(("arguments", "told"), [
    (["stop", "mine", "1"], "has ended (failed)"),
    (["stop", "mine", "9"], "has no trial 9"),
    (["stop", "mine", "-1"], "-1"),
    (["retry", "mine", "0"], "only a failed one can be retried"),
    (["retry", "mine", "1", "--cause", "error"], "give a number or a cause"),
    (["retry", "mine", "--cause", "no_metric"], "no trial that failed by no_metric"),
    (["retry", "mine", "--cause", "luck"], "error: cause: 'luck'"),
    (["enqueue", "mine", "lr=0.05"], "error: params.0.units: "),
    (["enqueue", "mine", "lr=0.05", "units=70"], "error: params.0.units: 70"),
])  # fmt: skip
def test_what_is_wrong_about_a_trial_is_told_in_a_line(
    run: Run, store: Store, lease: Lease, arguments: list[str], told: str
) -> None:
    assert told in said(run("trial", *arguments), 2)
    assert list(store.commands("mine")) == []
