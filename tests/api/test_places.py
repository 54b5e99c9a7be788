"""HPO_DATA_FOLDERS and HPO_LOGGING_TARGETS on a real service: nobody learns what lies elsewhere on its machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli.checks import all_checks
from api.controller import Controller
from api.settings import Settings
from hpo import specfile
from hpo.driver import drive
from hpo.places import Places
from hpo.protocols import Store
from hpo.store.memory import MemoryStore
from hpo.trial import StudyState
from tests.api.test_controller import FakeJobs


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data` is open to studies, `private` is not."""
    root = tmp_path_factory.mktemp("machine")
    rows = [{"title": f"{n}", "body": "text", "split": split} for n, split in enumerate(["train"] * 3 + ["dev"] * 2)]
    for folder, columns in (("data", ("title", "body")), ("private", ("salary", "employee"))):
        (root / folder).mkdir()
        lines = [{columns[0]: row["title"], columns[1]: row["body"], "split": row["split"]} for row in rows]
        (root / folder / "table.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "data" / "door").symlink_to(root / "private")
    return root


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, machine: Path) -> Settings:
    return Settings(
        home=tmp_path_factory.mktemp("hpo") / "home", data_folders=str(machine / "data"),
        logging_targets=f"{machine}/runs, http://mlflow:5000",
    )  # fmt: skip


@pytest.fixture
def headlines(spec: dict[str, Any]) -> dict[str, Any]:
    parameters = {"lr": spec["parameters"]["lr"]}
    objective = {"metric": "perplexity", "direction": "minimize"}
    return spec | {"trainable": "headlines", "parameters": parameters, "objective": objective}


@pytest.mark.parametrize("path", ["/v1/studies", "/v1/studies:validate", "/v1/studies:preview"])
def test_what_lies_elsewhere_is_refused_alike_whether_it_is_there_or_not(
    http: httpx.Client, store: Store, machine: Path, headlines: dict[str, Any], path: str
) -> None:
    for key in ("data", "embeddings"):
        for folder in (machine / "private", machine / "data" / "door", machine / "data" / ".." / "private"):
            said = []
            for name in ("table.jsonl", "nowhere.jsonl"):
                answer = http.post(path, json={"spec": headlines | {"fixed": {key: str(folder / name)}}})
                assert answer.status_code == 422
                (problem,) = answer.json()["errors"]
                assert problem["pointer"] == f"/spec/fixed/{key}"
                assert f"({machine / 'data'})" in problem["detail"]
                assert problem["hint"].endswith("ask who runs the service to add its folder to HPO_DATA_FOLDERS")
                said.append(answer.text.replace(name, "NAME"))
            assert said[0] == said[1]
            assert "salary" not in said[0]
    assert store.studies().items == []


def test_files_in_the_folder_of_data_are_read_and_their_faults_told(
    http: httpx.Client, machine: Path, headlines: dict[str, Any]
) -> None:
    data = machine / "data" / "table.jsonl"
    assert http.post("/v1/studies", json={"spec": headlines | {"fixed": {"data": str(data)}}}).status_code == 201
    missing = http.post("/v1/studies:validate", json={"spec": headlines | {"fixed": {"data": f"{data}.gz"}}})
    assert "is not a file" in missing.json()["errors"][0]["detail"]


def test_reports_go_to_no_other_place(http: httpx.Client, machine: Path, spec: dict[str, Any]) -> None:
    wrong = {"tensorboard": str(machine / "private"), "mlflow": "http://169.254.169.254:80"}
    answer = http.post("/v1/studies", json={"spec": spec | {"logging": wrong}})
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [
        "/spec/logging/tensorboard",
        "/spec/logging/mlflow",
    ]
    right = {"tensorboard": str(machine / "runs" / "vision"), "mlflow": "http://mlflow:5000"}
    assert http.post("/v1/studies", json={"spec": spec | {"logging": right}}).status_code == 201


def test_a_fork_may_not_open_what_its_parent_may_not(
    http: httpx.Client, store: Store, machine: Path, headlines: dict[str, Any]
) -> None:
    private = str(machine / "private" / "table.jsonl")
    store.create_study(specfile.parse(headlines))
    answer = http.post("/v1/studies/mine:fork", json={"name": "fork", "spec": {"fixed": {"data": private}}})
    assert answer.json()["errors"][0]["pointer"] == "/spec/fixed/data"


def test_a_study_that_was_queued_before_the_settings_were_changed_doesnt_start(
    tmp_path: Path, machine: Path, headlines: dict[str, Any]
) -> None:
    memory, jobs = MemoryStore(), FakeJobs()
    memory.create_study(specfile.parse(headlines | {"fixed": {"data": str(machine / "private" / "table.jsonl")}}))
    settings = Settings(home=tmp_path, data_folders=str(machine / "data"))
    controller = Controller(settings, memory, connect=lambda: jobs, entrypoint=lambda name: f"run {name}")
    controller.round()
    controller.close()
    assert (memory.study("mine").state, jobs.submitted) == (StudyState.FAILED, [])
    assert "HPO_DATA_FOLDERS" in (memory.study("mine").message or "")


def test_a_driver_opens_nothing_elsewhere_whatever_the_service_has_let_pass(
    tmp_path: Path, machine: Path, headlines: dict[str, Any], settings: Settings
) -> None:
    memory = MemoryStore()
    memory.create_study(specfile.parse(headlines | {"fixed": {"data": str(machine / "data" / "door" / "table.jsonl")}}))
    ended = drive(memory, "mine", tmp_path, places=Places.of(settings.job_environment()))
    assert ended.state is StudyState.FAILED
    assert (ended.message or "").startswith("fixed.data: ")


def test_the_doctor_says_what_may_be_opened_and_which_folder_is_missing(tmp_path: Path) -> None:
    here, gone = tmp_path / "here", tmp_path / "gone"
    here.mkdir()
    settings = Settings(home=tmp_path, data_folders=f"{here}:{gone}", logging_targets="off")
    found = {check.what: check for check in all_checks(settings)}
    assert (found["data folders"].ok, found["data folders"].found) == (False, f"{here}, {gone}")
    assert found["data folders"].remedy == f"make or mount {gone}, or correct HPO_DATA_FOLDERS"
    assert found["logging targets"].found == "none (HPO_LOGGING_TARGETS)"
