"""Every bad request gets a problem that names the field, the rule and the remedy, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from hpo.protocols import Store

Edit = Callable[[dict[str, Any]], object]


def problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:hpo:problem:{slug}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


@pytest.fixture
def unchanged(store: Store) -> Iterator[None]:
    """Asserts that the test has left no study behind."""
    yield
    assert list(store.studies().items) == []


@pytest.mark.parametrize(
    ("edit", "pointer", "value", "rule", "remedy"),
    [
        pytest.param(lambda s: s.update(budgett={}), "/spec/budgett", "budgett", "no key here", "budget", id="key"),
        pytest.param(
            lambda s: s["parameters"]["lr"].update(low=1.0, high=0.1, log=False),
            "/spec/parameters/lr/low", "1.0", "low must be below high", "swap", id="low-over-high",
        ),
        pytest.param(
            lambda s: s["parameters"]["lr"].update(low=0.1, high=0.1, log=False),
            "/spec/parameters/lr/low", "0.1", "low must be below high", "swap", id="low-equals-high",
        ),
        pytest.param(
            lambda s: s["parameters"]["lr"].update(low=0.0),
            "/spec/parameters/lr/low", "0.0", "needs low > 0", "raise low", id="log-from-zero",
        ),
        pytest.param(
            lambda s: s.update(trainable="headliness"),
            "/spec/trainable", "headliness", "neither one of ours", "headlines", id="trainable",
        ),
        pytest.param(
            lambda s: s.update(trainable="nowhere:train"),
            "/spec/trainable", "nowhere", "no module", "--working-dir", id="trainable-module",
        ),
        pytest.param(
            lambda s: s.update(trainable="headlines", objective={"metric": "perplexit", "direction": "minimize"}),
            "/spec/objective/metric", "perplexit", "reports perplexity", "did you mean 'perplexity'?", id="metric",
        ),
        pytest.param(
            lambda s: s.update(search={"algorithm": "optunaa"}),
            "/spec/search/algorithm", "optunaa", "not known", "did you mean 'optuna'?", id="searcher",
        ),
        pytest.param(
            lambda s: s["budget"].update(trials=10**6),
            "/spec/budget/trials", "1000000", "at most 100000", "lower budget.trials", id="trials",
        ),
        pytest.param(
            lambda s: s.update(search={"algorithm": "grid"}),
            "/spec/parameters/lr/step", "lr", "finitely many", "choose another algorithm", id="grid",
        ),
        pytest.param(
            lambda s: s.update(
                search={"algorithm": "hyperopt"},
                objective=[{"metric": "loss", "direction": "minimize"}, {"metric": "size", "direction": "minimize"}],
            ),
            "/spec/search/algorithm", "hyperopt", "", "optuna", id="objectives",
        ),
        pytest.param(
            lambda s: s.update(scheduler={"algorithm": "pbt", "population": 1000}),
            "/spec/scheduler/population", "1000", "larger than the budget", "lower population", id="population",
        ),
        pytest.param(
            lambda s: s.update(scheduler={"algorithm": "ray:PB3"}),
            "/spec/scheduler/algorithm", "PB3", "", "PB2", id="ray",
        ),
        pytest.param(
            lambda s: s["parameters"]["units"].update(when={"units": [1]}),
            "/spec/parameters/units/when/units", "units", "depends on itself", "drop the condition", id="circle",
        ),
        pytest.param(
            lambda s: s.update(warm_start=["nobody"]),
            "/spec/warm_start/0", "nobody", "no study is named", "hpo ls", id="warm-start",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("address", ["/v1/studies", "/v1/studies:validate"])
@pytest.mark.usefixtures("unchanged")
def test_a_bad_specification_is_refused_with_field_value_rule_and_remedy(
    http: httpx.Client, spec: dict[str, Any], address: str, edit: Edit, pointer: str, value: str, rule: str, remedy: str
) -> None:
    edit(spec)
    found = problem(http.post(address, json={"spec": spec}), 422, "invalid-specification")
    error = {e["pointer"]: e for e in found["errors"]}[pointer]
    assert value in error["detail"]
    assert rule in error["detail"]
    assert remedy in error["hint"]


@pytest.mark.usefixtures("unchanged")
def test_all_problems_come_at_once(http: httpx.Client, spec: dict[str, Any]) -> None:
    spec["budget"]["trials"] = 0
    spec["parameters"]["units"]["low"] = 100
    found = problem(http.post("/v1/studies", json={"spec": spec}), 422, "invalid-specification")
    assert {error["pointer"] for error in found["errors"]} == {"/spec/budget/trials", "/spec/parameters/units/low"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        ({}, "/spec"),
        ({"spec": None, "packagee": 1}, "/packagee"),
        ({"spec": {}, "package": "latest"}, "/package"),
        ({"spec": {}, "package": 3}, "/package"),
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_a_body_of_another_shape_is_refused(http: httpx.Client, body: Any, pointer: str) -> None:
    found = problem(http.post("/v1/studies", json=body), 422, "invalid-request")
    assert pointer in [error["pointer"] for error in found["errors"]]


@pytest.mark.parametrize(
    "body",
    [
        b'{"spec": {', b"", b"\xff\xfe", b'{"spec": {"seed": NaN}}', b'{"spec": "\\ud800"}', b"[" * 200_000,
        b'{"spec": ' + b"9" * 10_000 + b"}",
    ],
    ids=["cut", "empty", "encoding", "nan", "surrogate", "deep", "long-number"],
)  # fmt: skip
@pytest.mark.usefixtures("unchanged")
def test_garbled_json_is_refused(http: httpx.Client, body: bytes) -> None:
    response = http.post("/v1/studies", content=body, headers={"Content-Type": "application/json"})
    assert "no JSON" in problem(response, 400, "malformed-json")["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
@pytest.mark.usefixtures("unchanged")
def test_another_content_type_is_refused(http: httpx.Client, spec: dict[str, Any], kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = http.post("/v1/studies", content=json.dumps({"spec": spec}).encode(), headers=headers)
    assert "application/json" in problem(response, 415, "unsupported-media-type")["detail"]


@pytest.mark.usefixtures("unchanged")
def test_a_body_over_a_megabyte_is_refused(http: httpx.Client, spec: dict[str, Any]) -> None:
    spec["labels"] = {"long": "x" * 1_000_000}
    found = problem(http.post("/v1/studies", json={"spec": spec}), 413, "body-too-large")
    assert "1,000,000" in found["detail"]


@pytest.mark.usefixtures("unchanged")
def test_a_chunked_body_is_read_no_further_than_its_limit(http: httpx.Client) -> None:
    num_sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal num_sent
        for _ in range(2_000):
            num_sent += 1
            yield b" " * 50_000

    try:
        response = http.post("/v1/studies", content=chunks(), headers={"Content-Type": "application/json"})
    except httpx.TransportError:  # it hung up in mid-body: fine, too
        pass
    else:
        problem(response, 413, "body-too-large")
    assert num_sent < 1_000


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", "Basic dTpw", "Bearer \u00e9"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/studies"), ("POST", "/v1/studies"), ("DELETE", "/v1/studies/mine"), ("PUT", "/v1/packages/x")],
)
@pytest.mark.usefixtures("unchanged")
def test_without_the_token_nothing_is_told(http: httpx.Client, header: str | None, method: str, path: str) -> None:
    request = http.build_request(method, path)
    del request.headers["Authorization"]
    if header:
        request.headers = httpx.Headers([*request.headers.raw, (b"Authorization", header.encode("latin-1"))])
    response = http.send(request)
    found = problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "HPO_TOKEN" in found["detail"]


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/v1/studies?page_token=garbage", 400, "invalid-page"),
        ("/v1/studies?page_size=0", 422, "invalid-request"),
        ("/v1/studies?page_size=1001", 422, "invalid-request"),
        ("/v1/studies?state=asleep", 422, "invalid-request"),
        ("/v1/studies/nobody", 404, "study-not-found"),
        ("/v1/studies/nobody/trials", 404, "study-not-found"),
        ("/v1/studies/nobody/trials/0", 404, "study-not-found"),
        ("/v1/studies/nobody/measurements", 404, "study-not-found"),
        ("/v1/studies/nobody/decisions", 404, "study-not-found"),
        ("/v1/studies/nobody/best", 404, "study-not-found"),
        ("/v1/studies/nobody/events", 404, "study-not-found"),
        ("/v1/studies/nobody/trials/-1", 422, "invalid-request"),
        ("/v1/studies/nobody/trials/x", 422, "invalid-request"),
        ("/v1/studies/no%00body", 404, "study-not-found"),
        ("/v1/nothing", 404, "no-such-route"),
        ("/", 404, "no-such-route"),
    ],
)
def test_a_bad_address_is_refused(http: httpx.Client, path: str, status: int, slug: str) -> None:
    problem(http.get(path), status, slug)


def test_another_method_is_refused(http: httpx.Client) -> None:
    response = http.patch("/v1/studies")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"]


def test_an_event_id_that_is_none_is_refused(
    http: httpx.Client, fill: Callable[..., None], spec: dict[str, Any]
) -> None:
    fill(spec)
    found = problem(http.get("/v1/studies/mine/events", headers={"Last-Event-ID": "x"}), 422, "invalid-request")
    assert found["errors"][0]["pointer"] == "/header/last-event-id"


def test_a_second_study_of_a_name_is_refused(http: httpx.Client, store: Store, spec: dict[str, Any]) -> None:
    assert http.post("/v1/studies", json={"spec": spec}).status_code == 201
    before = store.study("mine")
    found = problem(http.post("/v1/studies", json={"spec": spec | {"seed": 7}}), 409, "study-exists")
    assert "mine" in found["detail"]
    assert "--name" in found["detail"]
    assert store.study("mine") == before
    store_studies = store.studies().items
    assert len(store_studies) == 1


def test_a_study_at_work_is_not_deleted(http: httpx.Client, store: Store, spec: dict[str, Any]) -> None:
    http.post("/v1/studies", json={"spec": spec})
    problem(http.delete("/v1/studies/mine"), 409, "study-at-work")
    assert store.study("mine").name == "mine"


def test_an_error_of_ours_leaks_nothing(http: httpx.Client, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("the secret")

    monkeypatch.setattr(type(store), "studies", broken)
    # Uvicorn closes a connection on which the app has failed, which the next request might notice too late.
    found = problem(http.get("/v1/studies", headers={"Connection": "close"}), 500, "internal-error")
    monkeypatch.undo()
    assert "secret" not in json.dumps(found)
    assert found["instance"].startswith("urn:uuid:")


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_a_web_page_of_elsewhere_gets_nothing(http: httpx.Client, method: str) -> None:
    """Also one whose name leads to this machine: the name isn't looked at, but no browser sends a token by itself."""
    elsewhere = {
        "Host": "evil.example", "Origin": "http://evil.example", "Authorization": "", "Cookie": "token=1",
        "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization",
    }  # fmt: skip
    answer = http.request(method, "/v1/studies", headers=elsewhere)
    assert answer.status_code in (401, 405)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "evil" not in answer.text + str(answer.headers)
