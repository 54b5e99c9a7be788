"""Tables over REST, in the client and on the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from typer.testing import Result

from api.client import Client
from hpo import specfile
from hpo.errors import ServiceError, StoreError
from hpo.protocols import Store
from hpo.report.formats import Format
from hpo.report.tables import What
from hpo.warm_start import past_trials

Fill = Callable[..., None]
Run = Callable[..., Result]


@pytest.mark.parametrize("format", Format)
def test_a_study_is_exported_by_the_suffix_of_the_file(
    client: Client, fill: Fill, spec: dict[str, Any], tmp_path: Path, format: Format
) -> None:
    fill(spec, num_trials=4)
    path = tmp_path / f"trials.{format}"
    assert client.export_to("mine", path) == path.stat().st_size
    frame = {
        Format.CSV: pd.read_csv,
        Format.PARQUET: pd.read_parquet,
        Format.JSON: lambda file: pd.DataFrame(json.loads(file.read_text())),
        Format.JSONL: lambda file: pd.read_json(file, lines=True),
    }[format](path)
    assert list(frame["value"]) == [10.0, 9.0, 8.0, 7.0]
    assert list(frame["params.units"]) == [1, 2, 3, 4]
    assert list(frame["metrics.loss"]) == [10.0, 9.0, 8.0, 7.0]
    assert list(tmp_path.iterdir()) == [path]


def test_the_answer_says_its_type_and_a_name_for_the_file(http: httpx.Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    answer = http.get("/v1/studies/mine/export", params={"what": "measurements", "format": "parquet"})
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert answer.headers["content-disposition"] == 'attachment; filename="mine-measurements.parquet"'
    assert len(pd.read_parquet(io.BytesIO(answer.content))) == 4
    plain = http.get("/v1/studies/mine/export")
    assert plain.headers["content-type"] == "text/csv; charset=utf-8"
    assert plain.text.startswith("number,state,value,")


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/v1/studies/nobody/export", 404, "study-not-found"),
        ("/v1/studies/mine/export?format=xlsx", 422, "invalid-request"),
        ("/v1/studies/mine/export?what=secrets", 422, "invalid-request"),
    ],
)
def test_what_can_not_be_exported_is_a_problem(
    http: httpx.Client, fill: Fill, spec: dict[str, Any], path: str, status: int, slug: str
) -> None:
    fill(spec)
    answer = http.get(path)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:hpo:problem:{slug}")


def test_a_file_that_can_not_be_written_leaves_nothing_behind(
    client: Client, fill: Fill, spec: dict[str, Any], tmp_path: Path
) -> None:
    fill(spec)
    with pytest.raises(ServiceError, match=r"no format of a table; name it \.csv"):
        client.export_to("mine", tmp_path / "table.xlsx")
    with pytest.raises(ServiceError, match="can't be written"):
        client.export_to("mine", tmp_path / "nowhere" / "table.csv")
    with pytest.raises(ServiceError) as caught:
        client.export_to("nobody", tmp_path / "table.csv")
    assert caught.value.status == 404
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_file_or_standard_output(
    run: Run, fill: Fill, spec: dict[str, Any], tmp_path: Path
) -> None:
    fill(spec)
    done = run("export", "mine", "-o", tmp_path / "out.jsonl", "--what", "decisions")
    assert done.exit_code == 0
    assert "the decisions of study mine" in done.output
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 4
    said = run("export", "mine", "-o", tmp_path / "out.dat", "--format", "parquet", "--json")
    assert json.loads(said.output)["bytes"] == (tmp_path / "out.dat").stat().st_size
    piped = run("export", "mine", "-o", "-", "--format", "json", "--what", "events")
    assert {"study.created", "incumbent.changed"} <= {row["kind"] for row in json.loads(piped.output)}
    assert run("export", "mine").output.startswith("number,state,value,")
    refused = run("export", "mine", "-o", tmp_path / "out.xlsx")
    assert refused.exit_code != 0
    assert ".xlsx is no format of a table" in refused.output


def test_every_table_can_be_asked_for(client: Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    for what in What:
        lines = b"".join(client.export("mine", what=what, format="jsonl")).splitlines()
        assert all(isinstance(json.loads(line), dict) for line in lines)


def test_the_command_writes_into_an_optuna_storage(run: Run, fill: Fill, spec: dict[str, Any], tmp_path: Path) -> None:
    import optuna

    fill(spec, num_trials=4)
    url = f"sqlite:///{tmp_path / 'out.db'}"
    assert "Optuna study mine is there now, with 4 trials" in run("export", "mine", "--optuna", url).output
    again = run("export", "mine", "--optuna", url, "--json")
    assert json.loads(again.output) == {"study": "mine", "name": "mine", "trials": 4, "replaced": True}
    study = optuna.load_study(study_name="mine", storage=url)
    assert study.best_value == 7.0
    assert [trial.params["units"] for trial in study.trials] == [1, 2, 3, 4]
    assert [trial.intermediate_values for trial in study.trials] == [{1: 10.0}, {1: 9.0}, {1: 8.0}, {1: 7.0}]
    refused = run("export", "mine", "--optuna", "nonsense")
    assert refused.exit_code == 2
    assert "can't be used as an Optuna storage" in refused.output


def imported(spec: dict[str, Any], **changes: Any) -> dict[str, Any]:
    trials = [
        {
            "number": number, "params": {"lr": 0.01, "units": number + 1}, "state": "completed", "value": 5.0 - number,
            "value_step": 2, "started_at": 7.0, "ended_at": 9.0,
            "measurements": [{"step": 1, "metrics": {"loss": "NaN"}}, {"step": 2, "metrics": {"loss": 5.0 - number}}],
        }
        for number in range(3)
    ]  # fmt: skip
    trials[0] |= changes
    return {"spec": {**spec, "trainable": "elsewhere:run"}, "trials": trials, "source": "a test"}


def test_trials_from_elsewhere_become_a_finished_study_that_another_learns_from(
    http: httpx.Client, client: Client, spec: dict[str, Any], store: Store
) -> None:
    body = imported(spec)
    answer = http.post("/v1/studies:import", json=body, headers={"Idempotency-Key": "one"})
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/studies/mine")
    assert answer.json()["state"] == "succeeded"
    assert answer.json()["message"] == "imported from a test"
    again = http.post("/v1/studies:import", json=body, headers={"Idempotency-Key": "one"})
    assert again.json() == answer.json()
    assert http.post("/v1/studies:import", json=body).status_code == 409
    assert [trial.value for trial in client.best("mine")] == [3.0, 4.0, 5.0]
    reports = client.measurements("mine").items
    assert [(row.trial, row.step, row.metrics["loss"]) for row in reports][:2] == [(0, 1, "NaN"), (0, 2, 5.0)]
    new = specfile.parse({**spec, "name": "new", "warm_start": ["mine"]})
    assert [trial.value for trial in past_trials(store, new)] == [5.0, 4.0, 3.0]


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"number": 1}, "/trials/1/number", "stands twice"),
        ({"params": {"lr": 7.0, "units": 1}}, "/trials/0/params", "no configuration of spec.parameters"),
        ({"value": 1.0}, "/trials/0/value", "not what the measurement of step 2 says"),
        ({"value": None}, "/trials/0/value_step", "come together"),
        ({"measurements": []}, "/trials/0/value", "not what the measurement"),
        ({"state": "running"}, "/trials/0/state", "input should be"),
        ({"odd": 1}, "/trials/0/odd", "not permitted"),
    ],
)
def test_a_trial_that_breaks_a_rule_is_named_and_nothing_is_made(
    http: httpx.Client, spec: dict[str, Any], changes: dict[str, Any], pointer: str, said: str
) -> None:
    answer = http.post("/v1/studies:import", json=imported(spec, **changes))
    assert answer.status_code == 422
    faults = {fault["pointer"]: fault["detail"] for fault in answer.json()["errors"]}
    assert said in faults[pointer]
    assert http.get("/v1/studies/mine").status_code == 404


def test_an_import_whose_service_died_midway_is_finished_by_the_same_request(
    http: httpx.Client, client: Client, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "write", lambda *_: (_ for _ in ()).throw(StoreError("gone")))
        answer = http.post("/v1/studies:import", json=imported(spec), headers={"Idempotency-Key": "two"})
        assert answer.status_code == 503
    assert client.study("mine").state == "starting"
    answer = http.post("/v1/studies:import", json=imported(spec), headers={"Idempotency-Key": "two"})
    assert (answer.status_code, answer.json()["state"]) == (201, "succeeded")
    assert client.study("mine").counts.trials["completed"] == 3


def test_an_import_may_be_larger_than_other_bodies(
    http: httpx.Client, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = {"loss": 5.0} | {f"odd-{number}": 0.5 for number in range(60_000)}
    body = imported(spec, value=5.0, value_step=1, measurements=[{"step": 1, "metrics": metrics}])
    assert len(json.dumps(body)) > 1_000_000
    assert http.post("/v1/studies:import", json=body, timeout=120).status_code == 201
    monkeypatch.setattr("api.limits.MAX_IMPORT", 1000)
    answer = http.post("/v1/studies:import", content=b" " * 1001, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "import fewer trials" in answer.json()["detail"]


def test_the_command_imports_an_optuna_study(run: Run, client: Client, tmp_path: Path) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{tmp_path / 'old.db'}"
    study = optuna.create_study(storage=url, study_name="Old", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)
    study.ask()
    done = run("import", f"{url}#Old", "--metric", "acc", "--name", "mine")
    assert done.exit_code == 0, done.output
    assert "left out, since they wait or run: 1 of 6 trials" in done.output
    assert 'study mine has 5 trials; warm_start = ["mine"] learns from them' in done.output
    assert client.best("mine")[0].value == study.best_value
    assert client.study("mine").message == "imported from the Optuna study Old"
    again = run("import", url, "--study", "Old", "--json")
    assert json.loads(again.stdout)["name"] == "old"
    refused = run("import", url, "--study", "New")
    assert refused.exit_code == 2
    assert "no study 'New'; name one of Old" in refused.output


def test_a_study_is_refused_where_what_it_is_to_be_logged_with_is_missing(
    http: httpx.Client, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"spec": {**spec, "logging": {"mlflow": "http://127.0.0.1:5000"}}}
    assert http.post("/v1/studies:validate", json=body).json()["spec"]["logging"]["mlflow"] == "http://127.0.0.1:5000"
    monkeypatch.setattr("hpo.followers.find_spec", lambda name: None)
    answer = http.post("/v1/studies", json=body)
    assert answer.status_code == 422
    [fault] = answer.json()["errors"]
    assert fault["pointer"] == "/spec/logging/mlflow"
    assert "pip install 'hpo[mlflow]'" in fault["hint"]
