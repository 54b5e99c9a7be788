"""Steering a study over HTTP: verbs, changes with a version, and requests that come again. No driver listens here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api.bodies import ForkRequest, RetryRequest, StudyChange, TrialsEnqueue
from api.client import Client
from hpo.errors import ServiceError
from hpo.protocols import Store
from hpo.steering import CHANGEABLE
from hpo.trial import Lease, StudyState, Trial, TrialState

PROBLEM = "application/problem+json"


@pytest.fixture
def patch(http: httpx.Client) -> Callable[..., httpx.Response]:
    def send(body: Any, version: str | None = "*", **headers: str) -> httpx.Response:
        sent = {name.encode(): value.encode() for name, value in headers.items()}
        sent |= {b"Content-Type": b"application/json"} | ({} if version is None else {b"If-Match": version.encode()})
        return http.patch("/v1/studies/mine", content=json.dumps(body), headers=sent)

    return send


def problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem document, which has every part."""
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), response.text
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:hpo:problem:{slug}"
    assert all(each["detail"] and each["hint"] for each in document.get("errors", []))
    return document


def pointers(document: dict[str, Any]) -> list[str]:
    return [each["pointer"] for each in document["errors"]]


def asked(store: Store, name: str = "mine") -> list[tuple[str, str]]:
    return [(command.verb.value, command.who) for command in store.commands(name, done=True)]


# -- verbs ------------------------------------------------------------------------------------------------
def test_a_study_that_no_driver_holds_does_at_once_what_it_is_told(
    http: httpx.Client, store: Store, spec: dict[str, Any]
) -> None:
    http.post("/v1/studies", json={"spec": spec})
    for verb, state in (("pause", "paused"), ("resume", "queued"), ("pause", "paused"), ("stop", "cancelled")):
        response = http.post(f"/v1/studies/mine:{verb}", headers={"X-Hpo-User": "ann@desk"})
        study = store.study("mine")
        assert (response.status_code, response.headers["etag"]) == (202, f'"{study.version}"')
        assert (response.json()["state"], response.json()["version"]) == (state, study.version)
    assert asked(store) == [(verb, "ann@desk") for verb in ("pause", "resume", "pause", "stop")]
    assert study.message == "stopped by ann@desk"


@pytest.mark.parametrize("verb", ["pause", "stop", "cancel"])
def test_what_a_driver_holds_is_told_to_it(http: httpx.Client, store: Store, lease: Lease, verb: str) -> None:
    response = http.post(f"/v1/studies/mine:{verb}", headers={"X-Hpo-User": ""})
    assert (response.status_code, response.json()["state"]) == (202, "running")
    assert [(each.verb, each.who) for each in store.commands("mine")] == [(verb, "api")]


def test_what_can_not_be_asked_is_refused_with_the_state_and_the_remedy(
    http: httpx.Client, store: Store, lease: Lease
) -> None:
    http.post("/v1/studies/mine:pause")
    told = problem(http.post("/v1/studies/mine:resume"), 409, "study-state")
    assert "about to pause" in told["detail"]
    store.set_study_state("mine", StudyState.FAILED)
    for verb in ("pause", "resume", "stop", "cancel", "trials/1:stop"):
        told = problem(http.post(f"/v1/studies/mine{'/' if '/' in verb else ':'}{verb}"), 409, "study-state")
        assert "has ended" in told["detail"]
    problem(http.post("/v1/studies/none:pause"), 404, "study-not-found")
    assert http.get("/v1/studies/mine:pause").status_code in (404, 405)


# -- changes ----------------------------------------------------------------------------------------------
def test_a_change_is_for_the_version_that_was_read(
    http: httpx.Client, store: Store, lease: Lease, patch: Callable[..., httpx.Response]
) -> None:
    tag = http.get("/v1/studies/mine").headers["etag"]
    body: dict[str, Any] = {"budget": {"trials": 16, "wall_seconds": 60}, "concurrency": 2, "labels": {"team": "news"}}
    changed = patch(body, tag, **{"X-Hpo-User": "ann"})
    assert changed.status_code == 200
    assert body["budget"].items() <= changed.json()["spec"]["budget"].items()
    assert changed.headers["etag"] == http.get("/v1/studies/mine").headers["etag"] != tag
    told = problem(patch({"priority": 3}, tag), 412, "version-changed")
    assert "is at version 3, but the change is for version 2" in told["detail"]
    for version in (f"W/{changed.headers['etag']}", "*", '"*"'):
        assert patch({"priority": store.study("mine").version}, version).status_code == 200
    null = patch({"budget": {"wall_seconds": None}, "concurrency": None}, "*").json()["spec"]
    assert (null["budget"]["wall_seconds"], null["concurrency"], null["labels"]) == (None, None, {"team": "news"})
    assert asked(store)[0] == ("change", "ann")


@pytest.mark.parametrize("version", ["", "three", '"1", "2"', "-1", "9" * 19, '"１"'])
def test_a_version_that_is_none_is_refused(
    lease: Lease, patch: Callable[..., httpx.Response], store: Store, version: str
) -> None:
    told = problem(patch({"priority": 3}, version), 422, "invalid-request")
    assert pointers(told) == ["/header/if-match"]
    assert store.study("mine").version == 2


def test_a_change_that_the_scheduler_cannot_honour_is_refused_with_the_rule(
    http: httpx.Client, spec: dict[str, Any], patch: Callable[..., httpx.Response]
) -> None:
    spec["parameters"]["lr"]["mutable"] = True
    spec |= {"name": "mine", "scheduler": {"algorithm": "pbt", "population": 6}}
    assert http.post("/v1/studies", json={"spec": spec}).status_code == 201
    told = problem(patch({"budget": {"trials": 5}}, "*"), 422, "invalid-specification")
    assert pointers(told) == ["/budget/trials"]
    assert "a population larger than the budget of 5 trials" in told["detail"]
    assert http.get("/v1/studies/mine").json()["spec"]["budget"]["trials"] == 8


def test_a_change_without_a_version_is_refused_with_the_remedy(
    lease: Lease, patch: Callable[..., httpx.Response], store: Store
) -> None:
    told = problem(patch({"priority": 3}, None), 428, "version-required")
    assert "send its ETag, or `*`" in told["detail"]
    assert store.study("mine").version == 2


@pytest.mark.parametrize(("body", "where", "what"), [
    ({"budget": {"trials": 0}}, "/budget/trials", "0"),
    ({"budget": {"trials": None}}, "/budget/trials", "missing"),
    ({"budget": {"trials": "many"}}, "/budget/trials", "many"),
    ({"budget": {"steps_per_trial": 4}}, "/budget/steps_per_trial", "can't change while a study runs"),
    ({"budget": 4}, "/budget", "can't change"),
    ({"seed": 4}, "/seed", "can't change"),
    ({"labels": {"team": 3}}, "/labels/team", "3"),
    ({"labels": ["a"]}, "/labels", "a"),
    ({}, "", "says no change"),
    (["budget"], "", "says no change"),
    (None, "", "says no change"),
])  # fmt: skip
def test_a_change_that_breaks_a_rule_is_refused_where_it_does(
    lease: Lease, patch: Callable[..., httpx.Response], store: Store, body: Any, where: str, what: str
) -> None:
    told = patch(body)
    document = problem(told, 422, told.json()["type"].removeprefix("urn:hpo:problem:"))
    assert document["type"].endswith(("invalid-specification", "invalid-request"))
    assert pointers(document) == [where]
    assert what in document["errors"][0]["detail"]
    assert (store.study("mine").version, asked(store)) == (2, [])


def test_a_budget_below_what_has_begun_is_refused(lease: Lease, patch: Callable[..., httpx.Response]) -> None:
    told = problem(patch({"budget": {"trials": 3}}), 409, "study-state")
    assert "budget.trials is 3, but study 'mine' has begun 4 trials" in told["detail"]


# -- the same request again -------------------------------------------------------------------------------
def test_a_study_is_created_once_by_a_key(http: httpx.Client, store: Store, spec: dict[str, Any]) -> None:
    key = {"Idempotency-Key": "a key"}
    first, again = (http.post("/v1/studies", json={"spec": spec}, headers=key) for _ in range(2))
    assert (first.status_code, first.json(), first.headers["location"]) == (
        again.status_code, again.json(), again.headers["location"]
    )  # fmt: skip
    assert len(store.events("mine")) == 1
    told = http.post("/v1/studies", json={"spec": spec | {"name": "other"}}, headers=key)
    assert "'a key' was used for another request" in problem(told, 422, "key-reused")["detail"]
    problem(http.post("/v1/studies", json={"spec": spec}), 409, "study-exists")


@pytest.mark.parametrize(("path", "body"), [
    (":pause", None), (":cancel", None), ("/trials/1:stop", None), ("/trials/2:retry", None),
    ("/trials:retry", {}), ("/trials", {"params": [{"lr": 0.01, "units": n} for n in range(1, 5)]}),
])  # fmt: skip
def test_a_verb_takes_effect_once_by_a_key_whatever_has_become_of_the_study(
    http: httpx.Client, store: Store, lease: Lease, path: str, body: Any
) -> None:
    """Also where the same request would be refused by now: the budget is used up, or the trial has ended."""
    key = {"Idempotency-Key": "k"}
    first = http.post(f"/v1/studies/mine{path}", json=body, headers=key)
    assert first.status_code == 202, first.text
    again = http.post(f"/v1/studies/mine{path}", json=body, headers=key)
    assert (again.status_code, again.json()) == (202, first.json())
    stopped = Trial(study="mine", number=1, params={}, state=TrialState.STOPPED, created_at=1.0)
    store.write(lease, [stopped])
    ended = store.set_study_state("mine", StudyState.FAILED, lease=lease)
    again = http.post(f"/v1/studies/mine{path}", json=body, headers=key)
    assert (again.status_code, again.headers["etag"]) == (202, f'"{ended.version}"')
    assert len(store.commands("mine", done=True)) == 1
    other = http.post("/v1/studies/mine:stop", headers=key)
    assert "was used for another request" in problem(other, 422, "key-reused")["detail"]


@pytest.mark.parametrize("key", ["", "k" * 201, "kéy", "a\tb"])
def test_a_key_that_can_not_be_kept_is_refused(http: httpx.Client, store: Store, lease: Lease, key: str) -> None:
    told = http.post("/v1/studies/mine:pause", headers={b"Idempotency-Key": key.encode("latin-1")})
    assert pointers(problem(told, 422, "invalid-request")) == ["/header/idempotency-key"]
    assert asked(store) == []


def test_the_client_asks_once_more_where_the_answer_was_lost_and_nothing_happens_twice(
    server: str, token: str, store: Store, lease: Lease
) -> None:
    class Losing(httpx.HTTPTransport):
        lost = 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            if self.lost < 1:
                self.lost += 1
                response.read()
                raise httpx.ReadError("the line is cut")
            return response

    with Client(server, token, transport=Losing()) as client:
        client.enqueue("mine", [{"lr": 0.01, "units": n} for n in range(1, 5)])  # as many as there is room for
        assert [verb for verb, _ in asked(store)] == ["enqueue"]
    with Client(server, token, transport=Losing()) as client, pytest.raises(ServiceError, match="the line is cut"):
        client.change("mine", {"priority": 1})  # a change by version: its sender decides


def test_openapi_describes_what_each_request_sends_by_a_model_that_takes_its_example(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    sent = {
        "/v1/studies/{study}": ("patch", StudyChange),
        "/v1/studies/{study}:fork": ("post", ForkRequest),
        "/v1/studies/{study}/trials": ("post", TrialsEnqueue),
        "/v1/studies/{study}/trials:retry": ("post", RetryRequest),
    }
    for path, (method, model) in sent.items():
        operation = document["paths"][path][method]
        assert operation["requestBody"]["content"] == {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
        }
        assert {"400", "415", "422"} <= operation["responses"].keys()
        [example] = document["components"]["schemas"][model.__name__]["examples"]
        assert model.model_validate(example)
    changes = document["components"]["schemas"]
    named = {*changes["StudyChange"]["properties"], *(f"budget.{key}" for key in changes["BudgetChange"]["properties"])}
    assert named - {"budget"} == set(CHANGEABLE)
