"""Who may do what: a test for every route, made from the route table. A new route is tested as soon as it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from api import access, tokens
from api.access import LEAST, OPEN, Level, least
from api.app import GUARDED, create_app
from api.settings import Settings
from hpo import specfile
from hpo.protocols import Store
from hpo.store.memory import MemoryStore
from hpo.tenancy import Role
from hpo.trial import Checkpoint, Event, Measurement, StudyState, Trial, TrialState, Waiting, WaitReason

ROUTES = sorted(
    (method, route.path_format)
    for module in GUARDED
    for route in module.router.routes
    if isinstance(route, APIRoute)
    for method in route.methods
)
IDS = [f"{method} {path}" for method, path in ROUTES]
MARK = "xyzzy"
"""Is in everything that a study of ours says, and nowhere else."""
PATH = {
    "study": "mine", "number": "0", "project": "ours", "token": "reader", "step": "1",
    "digest": f"sha256:{'0' * 64}",
}  # fmt: skip
"""What stands in the place of a path's parameters. All of it is there, but for the package."""

every_route = pytest.mark.parametrize(("method", "path"), ROUTES, ids=IDS)


@pytest.fixture
def filled(spec: dict[str, Any]) -> MemoryStore:
    """The project `ours` with a study that has something of everything and one that waits, and the empty project
    `theirs`."""
    store = MemoryStore()
    for project in ("ours", "theirs"):
        store.create_project(project)
    store.create_study(specfile.parse(spec | {"labels": {"mark": MARK}}), project="ours")
    lease = store.claim("mine", holder="test", lease_seconds=60)
    store.set_study_state("mine", StudyState.RUNNING, lease=lease)
    common: dict[str, Any] = {"study": "mine", "trial": 0, "step": 1, "recorded_at": 5.0}
    store.write(
        lease,
        [
            Trial(study="mine", number=0, params={"lr": 0.01, "units": 1}, state=TrialState.FAILED, message=MARK,
                  value=1.0, value_step=1, value_generation=0, created_at=1.0),
            Measurement(**common, metrics={"loss": 1.0, MARK: 2.0}),
            Checkpoint(**common, path=f"/{MARK}", size_bytes=7),
            Event(study="mine", kind="trial.failed", trial=0, data={"message": MARK}, recorded_at=6.0),
        ],
    )  # fmt: skip
    store.set_study_state("mine", StudyState.SUCCEEDED, message=MARK, lease=lease)
    store.create_study(specfile.parse(spec | {"name": MARK}), project="ours")
    store.allot(MARK, share=0, waiting=Waiting(WaitReason.SHARE, MARK))
    return store


class Service:
    """An app over a store, asked with tokens of any project and role."""

    def __init__(self, store: Store, home: Path) -> None:
        self.store, self.home = store, home
        self.app = create_app(Settings(home=home), store)
        self.http = TestClient(self.app)

    def token(self, project: str, role: Role) -> str:
        issued = tokens.issue()
        self.store.create_token(issued.id, issued.digest, project=project, name=role.value, role=role)
        return issued.text

    def ask(self, method: str, path: str, token: str | None) -> httpx.Response:
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        return self.http.request(method, path.format(**PATH), headers=headers)

    def everything(self) -> Any:
        """All that a request could change, but for when a token was used last."""
        store = self.store
        names = [study.name for study in store.studies(page_size=1000).items]
        projects = store.projects(page_size=1000).items
        return {
            "studies": [store.study(name) for name in names],
            "trials": [store.trials(name, page_size=1000) for name in names],
            "history": [store.history(name) for name in names],
            "commands": [store.commands(name, done=True) for name in names],
            "projects": projects,
            "tokens": [
                replace(each, last_used_at=None) for project in projects for each in store.tokens(project.name).items
            ],
            "files": sorted(str(path) for path in self.home.rglob("*") if path.is_file()),
        }


@pytest.fixture
def service(filled: MemoryStore, tmp_path: Path) -> Iterator[Service]:
    made = Service(filled, tmp_path / "home")
    filled.create_token("reader", "digest", project="ours", name="another", role=Role.READER)
    with made.http:
        yield made


def kind(response: httpx.Response) -> str:
    """The problem of an answer, or nothing."""
    if response.headers.get("content-type") != "application/problem+json":
        return ""
    return str(response.json()["type"]).rpartition(":")[2]


REFUSALS = {"unauthorized", "forbidden", "study-not-found", "project-not-found", "token-not-found", "no-such-route"}


# -- the table --------------------------------------------------------------------------------------------
def test_every_address_is_guarded_or_open_and_the_table_has_no_other(service: Service) -> None:
    shown = {(method.upper(), path) for path, each in service.app.openapi()["paths"].items() for method in each}
    assert {route for route in shown if route[1] not in OPEN} == set(ROUTES)
    assert set(LEAST) <= set(IDS)


def test_a_route_that_changes_something_and_isnt_in_the_table_keeps_the_service_from_starting() -> None:
    router = APIRouter(prefix="/v1/studies/{study}")
    router.add_api_route(":bury", lambda: None, methods=["POST"])
    with pytest.raises(LookupError, match=r"POST /v1/studies/\{study\}:bury is not in api\.access\.LEAST"):
        access.check(router.routes)


def test_a_reader_only_reads() -> None:
    assert [route for route, level in LEAST.items() if level <= Level.READER] == []


# -- every route ------------------------------------------------------------------------------------------
@every_route
def test_without_a_token_of_ours_nothing_is_told(service: Service, method: str, path: str) -> None:
    before = service.everything()
    for token in (None, "wrong", tokens.issue().text):
        response = service.ask(method, path, token)
        assert (response.status_code, kind(response)) == (401, "unauthorized")
        assert MARK not in response.text
    assert service.everything() == before


@every_route
def test_a_readers_token_can_change_nothing(service: Service, method: str, path: str) -> None:
    token = service.token("ours", Role.READER)
    before = service.everything()
    response = service.ask(method, path, token)
    if least(method, path) is Level.READER:
        assert response.status_code < 500
        assert kind(response) not in REFUSALS
    else:
        assert (response.status_code, kind(response)) == (403, "forbidden")
        assert MARK not in response.text
    assert service.everything() == before


@every_route
def test_another_projects_token_sees_nothing(service: Service, method: str, path: str) -> None:
    token = service.token("theirs", Role.ADMIN)
    before = service.everything()
    response = service.ask(method, path, token)
    if least(method, path) is Level.ROOT:
        assert (response.status_code, kind(response)) == (403, "forbidden")
    elif "{study}" in path or "{project}" in path:
        expected = "study-not-found" if "{study}" in path else "project-not-found"
        assert (response.status_code, kind(response)) == (404, expected)
    elif method == "GET":
        items = response.json()["items"]
        assert [item["name"] for item in items] == (["theirs"] if path == "/v1/projects" else [])
    assert MARK not in response.text
    assert service.everything() == before


@every_route
def test_the_least_level_is_enough_and_the_one_below_is_not(service: Service, method: str, path: str) -> None:
    needed = least(method, path)
    token = service.app.state.token if needed is Level.ROOT else service.token("ours", Role[needed.name])
    if needed > Level.READER:
        below = service.token("ours", Role[Level(needed - 1).name])
        assert kind(service.ask(method, path, below)) == "forbidden"
    response = service.ask(method, path, token)
    assert response.status_code < 500
    assert kind(response) not in REFUSALS


@every_route
def test_a_root_that_names_a_project_is_in_that_one_only(service: Service, method: str, path: str) -> None:
    service.http.headers["X-Hpo-Project"] = "theirs"
    before = service.everything()
    response = service.ask(method, path, service.app.state.token)
    if "{study}" in path or "{project}" in path:
        assert response.status_code == 404
        assert service.everything() == before
    assert MARK not in response.text
    service.http.headers["X-Hpo-Project"] = "nowhere"
    assert kind(service.ask(method, path, service.app.state.token)) == "project-not-found"


# -- what no address says ---------------------------------------------------------------------------------
def test_another_projects_study_cannot_be_learned_from_nor_its_key_used(service: Service, spec: dict[str, Any]) -> None:
    token = service.token("theirs", Role.ADMIN)
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "a-key"}
    learner = spec | {"name": "new", "warm_start": ["mine"]}
    nobody = spec | {"name": "new", "warm_start": ["nobody"]}
    found, missing = (
        service.http.post("/v1/studies", json={"spec": each}, headers=headers) for each in (learner, nobody)
    )
    assert (found.status_code, kind(found)) == (422, "invalid-specification")
    assert json.loads(found.text.replace("mine", "nobody")) == missing.json()
    ours = {"Authorization": f"Bearer {service.token('ours', Role.SUBMITTER)}", "Idempotency-Key": "a-key"}
    created = service.http.post("/v1/studies", json={"spec": spec | {"name": "first"}}, headers=ours)
    assert created.json()["project"] == "ours"
    again = service.http.post("/v1/studies", json={"spec": spec | {"name": "second"}}, headers=headers)
    assert (again.status_code, again.json()["project"]) == (201, "theirs")
    taken = service.http.post(
        "/v1/studies", json={"spec": spec | {"name": "first"}}, headers=headers | {"Idempotency-Key": "b"}
    )
    assert kind(taken) == "study-exists"


def test_a_study_learns_from_its_own_project_and_is_forked_into_it(service: Service, spec: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {service.token('ours', Role.SUBMITTER)}"}
    root = {"Authorization": f"Bearer {service.app.state.token}"}
    learned = service.http.post(
        "/v1/studies", json={"spec": spec | {"name": "a", "warm_start": ["mine"]}}, headers=headers
    )
    assert learned.status_code == 201
    assert service.store.events("a")[0].data == {"who": "token:submitter"}
    forked = service.http.post("/v1/studies/mine:fork", json={"name": "b"}, headers=root)
    assert forked.json()["project"] == "ours"
    lured = service.http.post("/v1/studies", json={"spec": spec | {"name": "c", "warm_start": ["mine"]}}, headers=root)
    assert kind(lured) == "invalid-specification"


@pytest.mark.parametrize("name", ["a%0d%0aSet-Cookie:%20x=1", "a%22;%20filename=%22b", "%E5%AD%A6", "%2e%2e%2fmine"])
def test_a_study_that_isnt_there_puts_nothing_into_a_header(service: Service, name: str) -> None:
    for path in ("export", "events", "report"):
        response = service.http.get(
            f"/v1/studies/{name}/{path}", headers={"Authorization": f"Bearer {service.app.state.token}"}
        )
        assert response.status_code == 404
        assert "set-cookie" not in response.headers
        assert "content-disposition" not in response.headers
