"""Projects and tokens by REST, the client and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from typer.testing import Result

from api import tokens
from api.client import Client
from api.rates import Buckets, neighbourhood
from hpo.errors import ServiceError
from hpo.protocols import Store


@pytest.fixture(autouse=True)
def _no_projects(store: Store) -> Iterator[None]:
    yield
    for token in store.tokens("default").items:
        store.revoke_token("default", token.id)
    for project in store.projects().items:
        for study in store.studies(project=project.name).items:
            store.set_study_state(study.name, "cancelled")  # type: ignore[arg-type]
            store.delete_study(study.name)
        if project.name != "default":
            store.delete_project(project.name)


def test_a_token_made_by_the_client_steers_its_projects_studies_under_its_own_name(
    client: Client, server: str, store: Store, spec: dict[str, Any]
) -> None:
    assert client.create_project("vision", {"max_trials": 8, "max_gpus": 1.5}).weight == 1
    assert client.change_project("vision", weight=2.5).weight == client.project("vision").weight == 2.5
    assert client.project("vision").quotas.max_trials == 8
    assert client.change_project("vision", {"max_gpus": None}).quotas.model_dump() == {
        "max_trials": 8, "max_gpus": None, "max_studies": None
    }  # fmt: skip
    made = client.create_token("vision", "anna", "submitter")
    assert tokens.FORM.fullmatch(made.token)
    assert "token" not in client.tokens("vision").items[0].model_dump()
    with Client(server, made.token) as anna:
        anna._http.headers["X-Hpo-User"] = "token:boss"
        assert anna.create_study(spec).project == "vision"
        anna.pause("mine")
        assert [project.name for project in anna.projects().items] == ["vision"]
        with pytest.raises(ServiceError, match="needs a token of role admin"):
            anna.delete_study("mine")
        assert [command.who for command in store.commands("mine", done=True)] == ["token:anna"]
        client.revoke_token("vision", made.id)
        with pytest.raises(ServiceError, match="the token is revoked") as caught:
            anna.studies()
    assert caught.value.status == 401


@pytest.mark.parametrize("weight", [0, -2, 1e-4, 1000.5, 10**400, "2", True, [1]])
def test_what_is_no_weight_is_refused_at_its_field(client: Client, http: httpx.Client, weight: object) -> None:
    before = client.create_project("vision", weight=3)
    for method, path, body in (("PATCH", "/vision", {}), ("POST", "", {"name": "text"})):
        quotas = {"max_trials": 1}
        response = http.request(method, f"/v1/projects{path}", json={**body, "quotas": quotas, "weight": weight})
        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == ["/weight"]
    assert client.projects().items[1:] == [before]


@pytest.mark.parametrize("weight", ["NaN", "Infinity", "1e400"])
def test_a_weight_that_isnt_finite_is_refused(client: Client, http: httpx.Client, weight: str) -> None:
    before = client.create_project("vision")
    body = f'{{"weight": {weight}}}'
    response = http.patch("/v1/projects/vision", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert client.project("vision") == before


def test_a_null_weight_stays_as_it_is(client: Client, http: httpx.Client) -> None:
    client.create_project("vision", {"max_trials": 2}, weight=4)
    changed = http.patch("/v1/projects/vision", json={"weight": None, "quotas": {}}).json()
    assert (changed["weight"], changed["quotas"]["max_trials"]) == (4, 2)


def test_no_header_can_claim_to_be_a_token(http: httpx.Client, store: Store, spec: dict[str, Any]) -> None:
    http.post("/v1/studies", json={"spec": spec})
    http.post("/v1/studies/mine:pause", headers={"X-Hpo-User": "token:anna"})
    assert [command.who for command in store.commands("mine", done=True)] == ["api"]


def test_the_command_makes_lists_and_revokes(run: Callable[..., Result], store: Store) -> None:
    assert "max_trials=8" in run("project", "create", "vision", "max_trials=8", "max_gpus=0.5").output
    assert json.loads(run("project", "change", "vision", "max_trials=none", "--json").output)["quotas"] == {
        "max_trials": None, "max_gpus": 0.5, "max_studies": None
    }  # fmt: skip
    made = run("token", "create", "anna", "--role", "reader", "--project", "vision", "--expires", "90d", "--json")
    token = json.loads(made.output)
    assert store.authenticate(token["id"], tokens.digest(token["token"])) is not None
    assert token["id"] in run("token", "ls", "--project", "vision").output
    assert "is revoked" in run("token", "revoke", token["id"], "--project", "vision").output
    assert store.tokens("vision").items[0].revoked_at is not None
    assert "weight=0.5" in run("project", "change", "vision", "--weight", "0.5").output
    listed = [line.split() for line in run("project", "ls").output.splitlines()]
    assert listed == [
        ["project", "weight", "max_trials", "max_gpus", "max_studies"],
        ["default", "1", "–", "–", "–"],
        ["vision", "0.5", "–", "0.5", "–"],
    ]
    assert run("project", "rm", "vision").exit_code == 0
    assert run("project", "rm", "default").exit_code == 2
    for bad in (
        ("project", "create", "x", "max_trials"),
        ("project", "create", "x", "--weight", "0"),
        ("token", "create", "x", "--expires", "soon"),
    ):
        assert run(*bad).exit_code == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "Anna", "role": "reader"}, "/name"),
        ({"name": "anna", "role": "king"}, "/role"),
        ({"name": "anna", "role": "reader", "expires_at": 1.0}, "/expires_at"),
    ],
)
def test_a_token_that_breaks_a_rule_is_refused_at_its_field(
    http: httpx.Client, store: Store, body: dict[str, Any], pointer: str
) -> None:
    response = http.post("/v1/projects/default/tokens", json=body)
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert store.tokens("default").items == []


# -- rates ------------------------------------------------------------------------------------------------
def test_a_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    now = 0.0
    buckets = Buckets(60, 2, clock=lambda: now)
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 1.0]
    assert buckets.take("b") == 0.0
    now = 0.75
    assert buckets.wait("a") == buckets.take("a") == 0.25
    now = 1.0
    assert [buckets.take("a"), buckets.take("a")] == [0.0, 1.0]
    now = 100.0
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 1.0]
    assert [Buckets(0, 0).take("a") for _ in range(9)] == [0.0] * 9


def test_an_address_of_ipv6_stands_for_its_network() -> None:
    assert neighbourhood("2001:db8:1:2:3::4") == neighbourhood("2001:db8:1:2::9") != neighbourhood("2001:db8:1:3::9")
    assert [neighbourhood(each) for each in ("10.0.0.1", "testclient")] == ["10.0.0.1", "testclient"]
