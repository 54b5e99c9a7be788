"""Studies on a real Ray head, with real worker groups; workers are really killed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from hpo.store import open_store
from hpo.trial import Action, FailureCause, StudyState, TrialState

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_asha_stops_trials_that_then_train_no_more_and_all_cpus_come_back(runner, free_cpus, tmp_path):
    trained = tmp_path / "trained"
    done = runner.run(
        budget={"trials": 12, "steps_per_trial": 8},
        concurrency=2,
        scheduler={"algorithm": "asha", "grace_steps": 1, "reduction_factor": 2},
        fixed={"trained": str(trained)},
    )
    assert done.study.state is StudyState.SUCCEEDED, done.output
    states = Counter(trial.state for trial in done.trials)
    assert sum(states.values()) == 12
    assert states[TrialState.STOPPED] >= 4
    assert states[TrialState.COMPLETED] >= 1
    reported = [(measurement.trial, measurement.step) for measurement in done.measurements]
    steps = [tuple(map(int, line.split())) for line in trained.read_text().splitlines()]
    assert sorted(steps) == sorted(reported), "a stopped trial has trained past its stop"
    stops = {(decision.trial, decision.step) for decision in done.decisions if decision.action is Action.STOP}
    assert stops == {(trial.number, trial.step) for trial in done.trials if trial.state is TrialState.STOPPED}
    deadline = time.monotonic() + 20
    while free_cpus() < 4 and time.monotonic() < deadline:
        pass
    assert free_cpus() == 4


def test_a_killed_worker_costs_no_measurement_and_its_trial_goes_on_from_its_checkpoint(runner, tmp_path):
    pids, trained = tmp_path / "pids", tmp_path / "trained"
    pids.mkdir()
    driver = runner.start(
        budget={"trials": 2, "steps_per_trial": 8},
        resources={"workers": 2},
        fixed={"pids": str(pids), "trained": str(trained), "seconds": 0.2},
    )
    store = open_store(runner.url)
    deadline = time.monotonic() + 120
    while len(store.measurements("probe").items) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    store.close()
    victim = next(path.name.split("-")[2] for path in pids.glob("0-1-*"))
    os.kill(int(victim), signal.SIGKILL)
    done = runner.finish(driver)
    assert done.study.state is StudyState.SUCCEEDED, done.output
    reported = [(measurement.trial, measurement.step) for measurement in done.measurements]
    assert reported == [(trial, step) for trial in (0, 1) for step in range(1, 9)]
    assert len({path.name for path in pids.glob("0-*")}) == 4, "the group was renewed once"
    again = Counter(trained.read_text().splitlines())
    assert all(count <= 2 for count in again.values())
    assert again["0 1"] == 1, "it went on from its checkpoint, not from the start"


def test_each_trial_keeps_its_best_and_last_checkpoints_and_no_others_stay_on_disk(runner):
    done = runner.run(budget={"trials": 2, "steps_per_trial": 5})
    assert [(checkpoint.trial, checkpoint.step) for checkpoint in done.checkpoints] == [(0, 5), (1, 5)]
    storage = runner.folder / "storage" / "probe"
    assert sorted(path.parent.name + "/" + path.name for path in storage.rglob("step-*")) == [
        "00000/step-000005",
        "00001/step-000005",
    ]
    (kept,) = storage.iterdir()
    assert kept.name.startswith("trials-"), "no scratch of Ray's stays"


@pytest.mark.parametrize(
    ("resources", "figures"),
    [
        ({"workers": 8, "gpus_per_worker": 1}, "needs 8 GPUs, the cluster has 0"),
        ({"workers": 2, "cpus_per_worker": 4}, "needs 8 CPUs, the cluster has 4"),
    ],
)
def test_a_study_that_never_fits_is_refused_with_the_figures(runner, resources, figures):
    done = runner.run(resources=resources)
    assert done.study.state is StudyState.FAILED
    assert figures in (done.study.message or "")
    assert done.trials == []


def test_failures_have_their_causes_and_leave_the_other_trials_alone(runner):
    kinds = ["raise", "fine", "exit", "nan", "backwards", "silent", "fine too"]
    done = runner.run(
        trainable="probe:misbehave",
        parameters={"kind": {"type": "categorical", "choices": kinds}},
        search={"algorithm": "grid"},
        budget={"trials": 7, "steps_per_trial": 3},
    )
    assert done.study.state is StudyState.SUCCEEDED, done.output
    by_kind = {trial.params["kind"]: trial for trial in done.trials}
    causes = {kind: trial.cause for kind, trial in by_kind.items()}
    assert causes == {
        "raise": FailureCause.ERROR,
        "fine": None,
        "exit": FailureCause.ERROR,
        "nan": FailureCause.NON_FINITE,
        "backwards": FailureCause.ERROR,
        "silent": FailureCause.NO_METRIC,
        "fine too": None,
    }
    assert by_kind["raise"].message == "ValueError: the learning rate is too funny (probe.py:38)"
    assert "steps are integers from 1 that rise" in (by_kind["backwards"].message or "")
    assert by_kind["fine too"].state is TrialState.COMPLETED


def test_an_objective_that_is_never_reported_fails_the_study_at_once_and_says_what_is(runner):
    done = runner.run(trainable="probe:misbehave", fixed={"kind": "other"}, budget={"trials": 50})
    assert done.study.state is StudyState.FAILED
    assert "objective.metric is 'loss', but it reported accuracy" in (done.study.message or "")
    assert len(done.trials) <= 4


def test_a_trainable_that_the_workers_cannot_import_fails_the_study_with_the_reason(runner):
    done = runner.run(trainable="no_such_module:train")
    assert done.study.state is StudyState.FAILED
    assert "there is no module 'no_such_module'" in (done.study.message or "")


def test_an_interrupted_driver_ends_in_order_and_the_study_is_cancelled(runner, free_cpus):
    driver = runner.start(budget={"trials": 500, "steps_per_trial": 100}, fixed={"seconds": 0.2})
    store = open_store(runner.url)
    deadline = time.monotonic() + 120
    while not store.measurements("probe").items and time.monotonic() < deadline:
        time.sleep(0.1)
    store.close()
    driver.send_signal(signal.SIGINT)
    done = runner.finish(driver)
    assert driver.returncode == 130
    assert done.study.state is StudyState.CANCELLED
    assert {trial.state for trial in done.trials} == {TrialState.STOPPED}
    assert {trial.message for trial in done.trials} == {"the study was interrupted"}
    assert free_cpus() == 4
