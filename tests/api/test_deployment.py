"""What may run on a deployment: HPO_TRAINABLES and HPO_PACKAGES."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import ValidationError

from api.cli.checks import all_checks
from api.controller import Controller
from api.deployment import Rules
from api.settings import Settings
from hpo import specfile
from hpo.protocols import Store
from hpo.store.memory import MemoryStore
from hpo.trial import StudyState
from tests.api.conftest import SPEC
from tests.api.test_controller import FakeJobs

MENDED = "ask who runs the service to add it to HPO_TRAINABLES"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("hpo") / "home", trainables="headlines, mine:tr*")


def package() -> tuple[str, bytes]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mine.py", "def train(params, trial): ...\n")
    return f"sha256:{hashlib.sha256(file.getvalue()).hexdigest()}", file.getvalue()


def only_problem(response: httpx.Response) -> tuple[str, str]:
    (problem,) = response.json()["errors"]
    return problem["pointer"], f"{problem['detail']}; {problem['hint']}"


# -- at submission ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/v1/studies", "/v1/studies:validate", "/v1/studies:preview"])
@pytest.mark.parametrize("trainable", ["os:system", "oracle", "models.seqgan.trial:train", "no_such_module:run"])
def test_another_trainable_is_refused_at_its_field(
    http: httpx.Client, store: Store, spec: dict[str, Any], path: str, trainable: str
) -> None:
    objective = spec["objective"] | {"metric": "nll_oracle" if trainable == "oracle" else "loss"}
    response = http.post(path, json={"spec": spec | {"trainable": trainable, "objective": objective}})
    pointer, said = only_problem(response)
    assert (response.status_code, pointer) == (422, "/spec/trainable")
    rule = "which runs headlines, mine:tr*; name one of these, or"
    assert said == f"{trainable!r} may not run on this deployment, {rule} {MENDED}"
    assert store.studies().items == []


def test_one_that_is_allowed_runs_and_so_do_workers_of_ones_own(http: httpx.Client, spec: dict[str, Any]) -> None:
    assert http.post("/v1/studies", json={"spec": spec}).status_code == 201
    asking = {key: value for key, value in spec.items() if key != "trainable"} | {"name": "asks", "engine": "ask"}
    assert http.post("/v1/studies", json={"spec": asking}).status_code == 201
    assert http.post("/v1/studies/asks:cancel").status_code == 202


def test_a_list_of_trainables_keeps_folders_out_since_they_can_hold_any_name(
    http: httpx.Client, settings: Settings, spec: dict[str, Any]
) -> None:
    digest, content = package()
    uploaded = http.put(f"/v1/packages/{digest}", content=content, headers={"Content-Type": "application/zip"})
    named = http.post("/v1/studies", json={"spec": spec, "package": digest})
    for response in (uploaded, named):
        assert response.status_code == 422
        assert response.json()["type"] == "urn:hpo:problem:invalid-package"
        pointer, said = only_problem(response)
        assert pointer == "/package"
        assert said.endswith("ask who runs the service to set HPO_PACKAGES=on")
    assert not settings.package_folder.exists()


def test_a_fork_may_not_bring_what_its_parent_brought_before(
    http: httpx.Client, store: Store, spec: dict[str, Any]
) -> None:
    store.create_study(specfile.parse(spec), package=package()[0])
    refused = http.post("/v1/studies/mine:fork", json={"name": "fork"})
    assert only_problem(refused)[0] == "/package"
    store.create_study(specfile.parse(spec | {"name": "plain"}))
    other = http.post("/v1/studies/plain:fork", json={"name": "fork", "spec": {"trainable": "os:system"}})
    assert only_problem(other)[0] == "/spec/trainable"
    assert http.post("/v1/studies/plain:fork", json={"name": "fork"}).status_code == 201


# -- when it starts ---------------------------------------------------------------------------------------
def start(
    tmp_path: Path, spec: dict[str, Any], *, package: str | None = None, **changed: Any
) -> tuple[Store, FakeJobs]:
    """A study that was queued before the settings were changed to these."""
    memory, jobs = MemoryStore(), FakeJobs()
    memory.create_study(specfile.parse(spec), package=package)
    settings = Settings(home=tmp_path, **changed)
    controller = Controller(settings, memory, connect=lambda: jobs, entrypoint=lambda name: f"run {name}")
    controller.round()
    controller.close()
    return memory, jobs


def test_a_study_that_was_queued_before_the_list_doesnt_start(tmp_path: Path, spec: dict[str, Any]) -> None:
    memory, jobs = start(tmp_path, spec, trainables="headlines")
    study = memory.study("mine")
    assert (study.state, jobs.submitted) == (StudyState.FAILED, [])
    assert study.message is not None
    assert study.message.startswith("trainable: 'mine:train' may not run on this deployment, which runs headlines; ")
    assert study.message.endswith(MENDED)
    _, allowed = start(tmp_path, spec, trainables="mine:*")
    assert len(allowed.submitted) == 1


def test_a_study_with_a_folder_doesnt_start_once_folders_are_refused(tmp_path: Path, spec: dict[str, Any]) -> None:
    digest = package()[0]
    (tmp_path / "packages" / digest.removeprefix("sha256:")).mkdir(parents=True)
    memory, jobs = start(tmp_path, spec, package=digest, packages="off")
    assert (memory.study("mine").state, jobs.submitted) == (StudyState.FAILED, [])
    assert "HPO_PACKAGES=on" in (memory.study("mine").message or "")
    _, taken = start(tmp_path, spec, package=digest, packages="on", trainables="mine:train")
    assert len(taken.submitted) == 1


# -- the settings -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [
        ("", "any.module:function", True),
        ("headlines", "headlines", True),
        ("models.*:train", "headlines", True),
        ("models.*:train", "models.other:train", True),
        ("models.*:train", "models.other:train_all", False),
        ("models.*:train", "mymodels.other:train", False),
        ("team.*", "team.vision:train", True),
        ("team.*", "team:train", False),
        ("team.*", "Team.vision:train", False),
        ("*", "any.module:function", True),
    ],
)
def test_patterns_name_functions(patterns: str, name: str, allowed: bool) -> None:
    given = SPEC | {"trainable": name, "objective": SPEC["objective"] | {"metric": "perplexity"}}
    faults = list(Settings(trainables=patterns).rules.faults(specfile.parse(given), package=False))
    assert (not faults) is allowed


@pytest.mark.parametrize("given", ["team/*", "a b", ",", "os:system()", "[a-z]"])
def test_what_is_no_pattern_is_refused_rather_than_allowing_everything(given: str) -> None:
    with pytest.raises(ValidationError, match=r"is no pattern of trainables|allows nothing"):
        Settings(trainables=given)


@pytest.mark.parametrize(
    ("trainables", "packages", "expected"),
    [("", "", True), ("", "off", False), ("a:b", "", False), ("a:b", "on", True), ("a:b", "off", False)],
)
def test_folders_are_taken_unless_there_is_a_list(trainables: str, packages: Any, expected: bool) -> None:
    assert Settings(trainables=trainables, packages=packages).rules.packages is expected


def test_nothing_is_limited_unless_it_is_said() -> None:
    assert Settings().rules == Rules()


def test_the_doctor_says_what_may_run(settings: Settings) -> None:
    found = {check.what: check.found for check in all_checks(settings)}
    assert found["trainables"] == "headlines, mine:tr*"
    assert found["working folders"] == "are refused (HPO_PACKAGES)"


def test_in_docker_compose_what_trains_doesnt_get_the_services_token() -> None:
    compose = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text(encoding="utf-8"))
    have = {name for name, service in compose["services"].items() if "HPO_TOKEN" in service["environment"]}
    assert have == {"api"}
