"""Ask and tell over HTTP: a real service, workers that are plain requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from typer.testing import Result

from api.asking import BODIES
from api.doctor import checkpoints, studies
from api.routes import asking as routes
from api.settings import Settings
from hpo.protocols import Store
from hpo.steering import Verb
from hpo.trial import StudyState
from tests.hpo.asking.bench import ask_spec

Post = Callable[..., httpx.Response]


@pytest.fixture
def post(http: httpx.Client, store: Store) -> Iterator[Post]:
    """Sends a body to an address of the study `s`, which is made first, and ended in the end."""
    assert http.post("/v1/studies", json={"spec": ask_spec(fixed={"epochs": 3})}).status_code == 201

    def send(path: str, body: Any = None, **options: Any) -> httpx.Response:
        return http.post(f"/v1/studies/s/{path}", json=body, **options)

    yield send
    http.post("/v1/studies/s:cancel")
    while not store.study("s").state.is_final:
        time.sleep(0.05)


def suggested(post: Post, client: str = "ann", **more: Any) -> dict[str, Any]:
    answer = post("trials:suggest", {"client_id": client, **more})
    assert answer.status_code == 200, answer.text
    (trial,) = answer.json()["trials"]
    found: dict[str, Any] = trial
    return found


def fault(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:hpo:problem:{slug}"
    return found


def test_two_requests_are_a_worker(post: Post, store: Store) -> None:
    for _ in range(4):
        trial = suggested(post)
        assert (trial["max_steps"], trial["step"], trial["params"]["epochs"]) == (3, 0, 3)
        for step in range(1, 4):
            told = {
                "lease": trial["lease"],
                "step": step,
                "metrics": {"loss": trial["params"]["x"] / step, "odd": "NaN"},
            }
            answer = post(f"trials/{trial['number']}:report", told).json()
            assert answer["action"] == ("continue" if step < 3 else "complete")
    over = post("trials:suggest", {"client_id": "ann"}).json()
    assert over == {"trials": [], "done": True, "state": "succeeded", "message": None, "retry_after_seconds": None}
    assert store.counts("s").steps == 12


def test_every_verb_answers_and_checkpoints_go_to_the_next_holder(post: Post) -> None:
    trial = suggested(post, lease_seconds=30)
    lease = {"lease": trial["lease"]}
    assert trial["lease_seconds"] == 30.0
    saved = {"reference": "s3://mine/0/1", "size_bytes": 12}
    post("trials/0:report", {**lease, "step": 1, "metrics": {"loss": 1}, "checkpoint": saved})
    assert post("trials/0:renew", lease).json() == {"action": "continue", "reason": "", "unneeded": []}
    assert post("trials/0:release", {**lease, "message": "lunch"}).status_code == 200
    again = suggested(post, "bob")
    assert again["resume"] == {"trial": 0, "step": 1, **saved}
    assert "goes on elsewhere" in fault(post("trials/0:renew", lease), 409, "trial-lease-lost")["detail"]
    failed = {"lease": again["lease"], "state": "failed", "cause": "infeasible", "message": "no"}
    assert post("trials/0:complete", failed).json()["action"] == "stop"
    other = suggested(post, "bob")
    post("trials/1:report", {"lease": other["lease"], "step": 1, "metrics": {"loss": 1}})
    assert post("trials/1:complete", {"lease": other["lease"]}).json()["action"] == "complete"


def test_where_there_is_nothing_just_now_it_says_when_to_ask_again(
    post: Post, http: httpx.Client, store: Store
) -> None:
    http.patch("/v1/studies/s", json={"concurrency": 1}, headers={"If-Match": "*"})
    for client, number, pause in (("ann", 1, None), ("bob", 0, 1.0)):
        answer = post("trials:suggest", {"client_id": client}).json()
        assert (len(answer["trials"]), answer["done"], answer["retry_after_seconds"]) == (number, False, pause)
    http.post("/v1/studies/s:pause", headers={"X-Hpo-User": "zoe"})
    while store.study("s").state is not StudyState.PAUSED:
        time.sleep(0.05)
    answer = post("trials:suggest", {"client_id": "bob"}).json()
    assert (answer["state"], answer["message"], answer["retry_after_seconds"]) == ("paused", "paused by zoe", 5.0)


@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("trials:suggest", {}, ["/client_id"]),
        ("trials:suggest", {"client_id": "é"}, ["/client_id"]),
        ("trials:suggest", {"client_id": "a", "count": 0, "lease_seconds": 1e9}, ["/count", "/lease_seconds"]),
        ("trials:suggest", {"client_id": "a", "cuont": 1}, ["/cuont"]),
        ("trials:suggest", [], [""]),
        ("trials/0:report", {"lease": "x", "step": 0, "metrics": {}}, ["/step", "/metrics"]),
        ("trials/0:report", {"lease": "x", "step": True, "metrics": {"loss": "1.5"}}, ["/step", "/metrics/loss"]),
        ("trials/0:report", {"lease": "x", "step": 1.5, "metrics": {"loss": None}}, ["/step", "/metrics/loss"]),
        (
            "trials/0:report",
            {"lease": "x", "step": 1, "metrics": {"loss": 1}, "checkpoint": {"reference": "a\u0000b"}},
            ["/checkpoint/reference"],
        ),
        ("trials/0:complete", {"lease": "x", "cause": "error"}, ["/cause"]),
        ("trials/0:complete", {"lease": "x", "state": "failed", "cause": "preempted"}, ["/cause"]),
        ("trials/0:release", {"lease": ""}, ["/lease"]),
    ],
)
def test_what_breaks_a_rule_is_refused_with_its_field(post: Post, path: str, body: Any, pointers: list[str]) -> None:
    found = fault(post(path, body), 422, "invalid-request")
    assert sorted(each["pointer"] for each in found["errors"]) == sorted(pointers)


def test_what_cannot_be_answered_says_why(post: Post, http: httpx.Client, spec: dict[str, Any]) -> None:
    trial = suggested(post)
    told = {"lease": trial["lease"], "metrics": {"loss": 1.0}}
    assert "gives a trial 3" in fault(post("trials/0:report", {**told, "step": 4}), 422, "invalid-report")["detail"]
    fault(post("trials/0:renew", {"lease": "nonsense"}), 409, "trial-lease-lost")
    http.post("/v1/studies", json={"spec": spec})
    on_ray = http.post("/v1/studies/mine/trials:suggest", json={"client_id": "ann"})
    assert "engine = 'ray'" in fault(on_ray, 409, "study-state")["detail"]
    fault(http.post("/v1/studies/nowhere/trials:suggest", json={"client_id": "ann"}), 404, "study-not-found")
    refused = http.post(
        "/v1/studies/s/trials:suggest", json={"client_id": "ann"}, headers={"Authorization": "Bearer x"}
    )
    fault(refused, 401, "unauthorized")


def test_a_study_that_another_process_keeps_is_busy(post: Post, store: Store) -> None:
    lease = store.claim("s", holder="another process", lease_seconds=60)
    answer = post("trials:suggest", {"client_id": "ann"})
    assert "another process" in fault(answer, 503, "study-busy")["detail"]
    assert int(answer.headers["retry-after"]) > 0
    store.release(lease)
    suggested(post)


def test_the_service_steers_what_it_keeps(
    post: Post, http: httpx.Client, store: Store, run: Callable[..., Result]
) -> None:
    trial = suggested(post)
    post("trials/0:report", {"lease": trial["lease"], "step": 1, "metrics": {"loss": 1.0}})
    assert run("trial", "stop", "s", 0).exit_code == 0
    while not (told := post("trials/0:renew", {"lease": trial["lease"]}).json())["reason"]:
        assert told["action"] == "continue"
    assert told["action"] == "stop"
    shown = run("show", "s").output
    assert "your own workers" in shown
    store.steer("s", Verb.STOP, who="zoe")
    while not store.study("s").state.is_final:
        post("trials:suggest", {"client_id": "ann"})
    assert post("trials:suggest", {"client_id": "ann"}).json()["state"] == "succeeded"


def test_openapi_describes_every_verb_by_a_model_that_takes_its_example(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    named = {
        operation["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for path, operation in document["paths"].items()
        if path in {route.path for route in routes.router.routes}  # type: ignore[attr-defined]
    }
    assert named == {model.__name__ for model in BODIES}
    for model in BODIES:
        [example] = document["components"]["schemas"][model.__name__]["examples"]
        assert model.model_validate(example)


def test_doctor_misses_neither_a_driver_nor_the_checkpoints_of_the_users_own_workers(
    post: Post, store: Store, settings: Settings
) -> None:
    trial = suggested(post)
    saved = {"reference": "/nowhere/1", "size_bytes": 1}
    post("trials/0:report", {"lease": trial["lease"], "step": 1, "metrics": {"loss": 1}, "checkpoint": saved})
    assert [each.path for each in store.checkpoints("s")] == ["/nowhere/1"]
    assert all(found.ok for found in [*studies.check(store, None, None), *checkpoints.check(store, settings.storage)])
