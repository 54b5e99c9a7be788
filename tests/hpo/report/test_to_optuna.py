"""A study in an Optuna storage: what Optuna and its dashboard read there is what we have."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import optuna
import pytest
from ports import free_port

from hpo import specfile
from hpo.errors import ExchangeError
from hpo.report import optuna_bulk
from hpo.report.optuna_space import distribution, shown
from hpo.report.to_optuna import MARK, Exported, to_optuna
from hpo.spec import StudySpec
from hpo.trial import Measurement, TrialState
from tests.hpo.report.played import AT, SPEC, searched


@pytest.fixture
def spec() -> StudySpec:
    return specfile.parse(SPEC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'out.db'}"


@contextmanager
def dashboard(url: str) -> Iterator[httpx.Client]:
    """The real optuna-dashboard over the storage."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), url, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as client:
        try:
            for _ in range(600):
                try:
                    client.get("/api/studies").raise_for_status()
                    break
                except httpx.TransportError:
                    assert process.poll() is None, "optuna-dashboard has ended"
                    time.sleep(0.2)
            yield client
        finally:
            process.kill()
            process.wait()


def test_optuna_dashboard_shows_the_numbers_of_a_study_of_1000_trials(spec: StudySpec, url: str) -> None:
    trials, reports = searched(spec, 1000)
    assert to_optuna(url, spec, trials, reports, latest={}) == Exported("mine", 1000, False)
    with dashboard(url) as client:
        (study,) = client.get("/api/studies").json()["study_summaries"]
        detail = client.get(f"/api/studies/{study['study_id']}", params={"after": 0}).json()
    assert (study["study_name"], study["directions"]) == ("mine", ["minimize"])
    assert len(detail["trials"]) == 1000
    assert detail["objective_names"] == ["loss"]
    (best,) = detail["best_trials"]
    assert (best["number"], best["values"]) == (7, [0.5])
    for trial, theirs in zip(trials, detail["trials"], strict=True):
        attributes = {each["key"]: each["value"] for each in theirs["user_attrs"]}
        state = {"completed": "Complete", "stopped": "Pruned", "failed": "Fail"}[trial.state]
        assert theirs["state"] == ("Complete" if trial.number == 7 else state)
        assert attributes["state"] == trial.state
        assert theirs["number"] == trial.number
        if theirs["state"] == "Complete":
            assert theirs["values"] == [trial.value]
        assert {each["name"]: each["param_external_value"] for each in theirs["params"]} == {
            name: str(shown(spec.parameters[name], value)) for name, value in trial.params.items()
        }
        assert [(each["step"], each["value"]) for each in theirs["intermediate_values"]] == [
            (row.step, row.metrics["loss"]) for row in reports if row.trial == trial.number
        ]


def test_optuna_itself_reads_times_parameters_and_distributions(spec: StudySpec, url: str) -> None:
    trials, reports = searched(spec, 60)
    to_optuna(url, spec, trials, reports, latest={})
    study = optuna.load_study(study_name="mine", storage=url)
    assert study.best_params == {name: shown(spec.parameters[name], v) for name, v in trials[7].params.items()}
    for trial, theirs in zip(trials, study.trials, strict=True):
        assert theirs.datetime_start is not None
        assert theirs.datetime_start.timestamp() == trial.started_at
        assert theirs.duration is not None
        assert theirs.duration.total_seconds() == 10
        assert theirs.distributions == {name: distribution(spec.parameters[name]) for name in trial.params}
        assert ("momentum" in theirs.params) is (theirs.params["optimizer"] == "sgd")
    failed = study.trials[49].user_attrs
    assert (failed["cause"], failed["message"], failed["generation"]) == ("error", "said", 0)


def test_distributions_are_those_of_the_parameters(spec: StudySpec) -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found = {name: distribution(parameter) for name, parameter in spec.parameters.items()}
    assert found == {
        "optimizer": CategoricalDistribution(["adam", "sgd"]),
        "lr": FloatDistribution(1e-5, 1.0, log=True),
        "momentum": FloatDistribution(0.0, 0.9, step=0.1),
        "units": IntDistribution(8, 998, step=3),
        "layers": IntDistribution(1, 64, log=True),
        "bias": CategoricalDistribution([False, True]),
        "odd": CategoricalDistribution(["true", "1", "1.0", '"1"']),
    }


def test_an_export_replaces_an_earlier_one_and_nothing_else(spec: StudySpec, url: str) -> None:
    trials, reports = searched(spec, 6)
    to_optuna(url, spec, trials[:3], reports, latest={})
    assert to_optuna(url, spec, trials, reports, latest={}).replaced
    assert len(optuna.load_study(study_name="mine", storage=url).trials) == 6
    theirs = optuna.create_study(storage=url, study_name="theirs")
    theirs.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(ExchangeError, match=r"'theirs' that is no export of 'mine'.*--name"):
        to_optuna(url, spec, trials, reports, latest={}, name="theirs")
    assert len(theirs.trials) == 1
    assert to_optuna(url, spec, trials, reports, latest={}, name="again").name == "again"
    assert optuna.load_study(study_name="again", storage=url).user_attrs[MARK] == "mine"


def test_a_study_at_work_is_exported_with_trials_that_wait_and_run(spec: StudySpec, url: str) -> None:
    (one, *_), reports = searched(spec, 1)
    states = [TrialState.PENDING, TrialState.RUNNING, TrialState.PAUSED, TrialState.COMPLETED]
    trials = [
        dataclasses.replace(one, number=number, state=state, value=9.0 if state == "completed" else None)
        for number, state in enumerate(states)
    ]
    to_optuna(url, spec, trials, reports, latest={})
    found = optuna.load_study(study_name="mine", storage=url).trials
    assert [each.state.name for each in found] == ["WAITING", "RUNNING", "RUNNING", "COMPLETE"]
    assert [each.user_attrs["state"] for each in found] == [state.value for state in states]


def test_with_several_objectives_a_trial_has_those_of_its_last_report_and_none_is_pruned(url: str) -> None:
    spec = specfile.parse({
        **SPEC, "scheduler": {"algorithm": "fifo"},
        "objective": [
            {"metric": "loss", "direction": "minimize"}, {"metric": "acc", "direction": "maximize"}
        ],
    })  # fmt: skip
    trials, reports = searched(spec, 6)
    latest = {number: {"loss": 1.0 + number, "acc": 5.0 - number} for number in range(6)}
    latest[5] = {"loss": float("nan"), "acc": 1.0}
    to_optuna(url, spec, trials, reports, latest=latest)
    study = optuna.load_study(study_name="mine", storage=url)
    assert [each.name for each in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert [each.number for each in study.best_trials] == [0]
    assert [each.state.name for each in study.trials] == ["COMPLETE"] * 5 + ["PRUNED"]
    assert study.trials[4].values == [5.0, 1.0]


def test_where_weights_were_inherited_the_parameters_are_those_that_gave_the_value(spec: StudySpec, url: str) -> None:
    (one, *_), _ = searched(spec, 1)
    first = {**one.params, "lr": 0.5}
    trial = dataclasses.replace(one, generation=1, parent=3, value_params=first)
    reports = [
        Measurement(study="mine", trial=0, generation=generation, step=step, metrics={"loss": value}, recorded_at=AT)
        for generation, step, value in [(0, 1, 5.0), (0, 2, 4.0), (1, 2, 3.0), (1, 3, float("nan"))]
    ]
    to_optuna(url, spec, [trial], reports, latest={})
    (found,) = optuna.load_study(study_name="mine", storage=url).trials
    assert found.params["lr"] == 0.5
    assert found.user_attrs["params_at_end"]["lr"] == one.params["lr"]
    assert (found.user_attrs["generation"], found.user_attrs["parent"]) == (1, 3)
    assert str(found.intermediate_values) == "{1: 5.0, 2: 3.0, 3: nan}"


@pytest.mark.parametrize("url", ["nonsense", "postgresql+nothing://anna:secret@host/db", "sqlite:////no/where/x.db"])
def test_an_address_that_leads_nowhere_is_refused_without_its_password(spec: StudySpec, url: str) -> None:
    with pytest.raises(ExchangeError, match="can't be used as an Optuna storage") as caught:
        to_optuna(url, spec, [], [], latest={})
    assert "secret" not in str(caught.value)


def test_optuna_would_have_written_the_same(spec: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On other tables than those that are known, it does write."""
    trials, reports = searched(spec, 8)
    trials[1] = dataclasses.replace(trials[1], state=TrialState.PENDING, value=None)
    reports += [
        Measurement(study="mine", trial=2, step=step, metrics={"loss": value}, recorded_at=AT)
        for step, value in [(10, float("nan")), (11, float("inf")), (12, float("-inf"))]
    ]
    found = []
    for known in (optuna_bulk.KNOWN_SCHEMA, 0):
        monkeypatch.setattr(optuna_bulk, "KNOWN_SCHEMA", known)
        url = f"sqlite:///{tmp_path / f'{known}.db'}"
        to_optuna(url, spec, trials, reports, latest={})
        found.append([repr(trial) for trial in optuna.load_study(study_name="mine", storage=url).trials])
    assert found[0] == found[1]
