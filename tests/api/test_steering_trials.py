"""A study's trials are stopped, retried and enqueued over HTTP, and the study itself is forked and planned."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.settings import Settings
from hpo.protocols import Store
from hpo.store.memory import MemoryStore
from hpo.trial import Lease, Trial
from tests.api.test_steering import problem

GOOD: dict[str, Any] = {"lr": 0.01, "units": 32}


@pytest.fixture
def post(http: httpx.Client) -> Callable[..., httpx.Response]:
    return lambda path, body=None: http.post(f"/v1/studies/mine{path}", json=body, headers={"X-Hpo-User": "ann"})


def pointers(response: httpx.Response, slug: str = "invalid-request") -> list[str]:
    return [each["pointer"] for each in problem(response, 422, slug)["errors"]]


# -- stop and retry ---------------------------------------------------------------------------------------
def test_a_live_trial_is_to_be_stopped(post: Callable[..., httpx.Response], store: Store, lease: Lease) -> None:
    assert post("/trials/1:stop").status_code == 202
    [command] = store.commands("mine")
    assert (command.verb, command.data, command.who) == ("stop_trial", {"trial": 1}, "ann")
    told = problem(post("/trials/0:stop"), 409, "study-state")
    assert told["detail"] == "trial 0 of study 'mine' has ended (completed); only a live one can be stopped"
    problem(post("/trials/9:stop"), 404, "trial-not-found")
    problem(post("/trials/-1:stop"), 422, "invalid-request")


@pytest.mark.parametrize(("path", "body", "trials"), [
    ("/trials/2:retry", None, [2]),
    ("/trials:retry", {}, [2, 3]),
    ("/trials:retry", {"cause": None}, [2, 3]),
    ("/trials:retry", {"cause": "out_of_memory"}, [3]),
])  # fmt: skip
def test_failed_trials_are_to_be_tried_again_as_trials_of_their_own(
    post: Callable[..., httpx.Response], store: Store, lease: Lease, path: str, body: Any, trials: list[int]
) -> None:
    assert post(path, body).status_code == 202
    [command] = store.commands("mine")
    params = [{"lr": 0.01, "units": number + 1} for number in trials]
    assert (command.verb, command.data) == ("enqueue", {"params": params, "retry_of": trials})


def test_what_has_not_failed_is_not_retried(post: Callable[..., httpx.Response], store: Store, lease: Lease) -> None:
    assert "only a failed one can be retried" in problem(post("/trials/1:retry"), 409, "study-state")["detail"]
    told = problem(post("/trials:retry", {"cause": "no_metric"}), 409, "study-state")
    assert told["detail"] == "study 'mine' has no trial that failed by no_metric"
    problem(post("/trials/9:retry"), 404, "trial-not-found")
    assert pointers(post("/trials:retry", {"cause": "bad luck"})) == ["/cause"]
    assert list(store.commands("mine")) == []


def test_no_more_are_retried_than_the_budget_has_room_for(
    post: Callable[..., httpx.Response], store: Store, lease: Lease
) -> None:
    store.write(lease, [Trial(study="mine", number=number, params={}, created_at=1.0) for number in range(4, 7)])
    told = problem(post("/trials:retry", {}), 409, "study-state")
    assert told["detail"].startswith(
        "7 trials have begun or wait, and 2 more are over budget.trials, which is 8; raise"
    )
    assert post("/trials/2:retry").status_code == 202
    assert "8 trials have begun or wait" in problem(post("/trials/3:retry"), 409, "study-state")["detail"]


# -- enqueue ----------------------------------------------------------------------------------------------
def test_configurations_are_taken_in_the_types_of_their_parameters(
    post: Callable[..., httpx.Response], store: Store, lease: Lease
) -> None:
    answer = post("/trials", {"params": [GOOD, {"lr": 1e-1, "units": 1}]})
    assert (answer.status_code, answer.headers["etag"]) == (202, '"2"')
    [command] = store.commands("mine")
    assert command.data == {"params": [GOOD, {"lr": 0.1, "units": 1}], "retry_of": [None, None]}
    assert post("/trials", {"params": [{**GOOD, "lr": 0.05}]}).status_code == 202
    told = problem(post("/trials", {"params": [GOOD, {**GOOD, "lr": 0.06}]}), 409, "study-state")
    assert "7 trials have begun or wait, and 2 more are over budget.trials" in told["detail"]


def test_a_whole_number_for_a_float_is_one(
    http: httpx.Client, store: Store, spec: dict[str, Any]
) -> None:  # fmt: skip
    spec["parameters"]["lr"] = {"type": "float", "low": 0, "high": 2}
    http.post("/v1/studies", json={"spec": spec})
    http.post("/v1/studies/mine/trials", json={"params": [{"lr": 1, "units": 2}]})
    [command] = store.commands("mine")
    assert [(type(value), value) for value in command.data["params"][0].values()] == [(float, 1.0), (int, 2)]


@pytest.mark.parametrize(("body", "where"), [
    ({"params": [{**GOOD, "lr": 3.0}]}, ["/params/0/lr"]),
    ({"params": [GOOD, {**GOOD, "units": 65}, {**GOOD, "lr": "a"}]}, ["/params/1/units", "/params/2/lr"]),
    ({"params": [{**GOOD, "lr": [0.1]}]}, ["/params/0/lr"]),
    ({"params": [{**GOOD, "units": None}]}, ["/params/0/units"]),
    ({"params": [{"lr": 0.1}]}, ["/params/0/units"]),
    ({"params": [{**GOOD, "lr": {"low": 1}}]}, ["/params/0/lr"]),
    ({"params": [{**GOOD, "a/b~c": 1}]}, ["/params/0/a~1b~0c"]),
    ({"params": [GOOD, 3]}, ["/params/1"]),
    ({"params": []}, ["/params"]),
    ({"params": GOOD}, ["/params"]),
    ({}, ["/params"]),
    ({"params": [GOOD], "now": True}, ["/now"]),
    ([], [""]),
    ("params", [""]),
])  # fmt: skip
def test_a_configuration_that_is_none_of_the_space_is_refused_where_it_is_wrong(
    post: Callable[..., httpx.Response], store: Store, lease: Lease, body: Any, where: list[str]
) -> None:
    assert pointers(post("/trials", body)) == where
    assert list(store.commands("mine")) == []


def test_under_rays_schedulers_no_configuration_is_taken(
    http: httpx.Client, post: Callable[..., httpx.Response], spec: dict[str, Any]
) -> None:
    spec["scheduler"] = {"algorithm": "ray:MedianStoppingRule", "options": {"grace_period": 2}}
    assert http.post("/v1/studies", json={"spec": spec}).status_code == 201
    told = problem(post("/trials", {"params": [GOOD]}), 409, "study-state")
    assert "ray:MedianStoppingRule, which can't take more configurations on the way; fork it" in told["detail"]
    answer = http.patch("/v1/studies/mine", json={"budget": {"trials": 9}}, headers={"If-Match": "*"})
    assert "can't change budget.trials on the way" in problem(answer, 409, "study-state")["detail"]
    told = problem(http.post("/v1/studies:preview", json={"spec": spec | {"name": "p"}}), 422, "invalid-specification")
    assert [each["pointer"] for each in told["errors"]] == ["/spec/scheduler/algorithm"]


# -- fork -------------------------------------------------------------------------------------------------
@pytest.fixture
def package(http: httpx.Client) -> str:
    """A folder with the trainable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mine.py", "def train(params, trial): ...\n")
    digest = f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}"
    sent = http.put(
        f"/v1/packages/{digest}", content=buffer.getvalue(), headers={"Content-Type": "application/zip"}
    )  # fmt: skip
    assert sent.status_code == 201
    return digest


def test_a_fork_has_the_specification_and_the_package_and_learns_from_its_parent(
    http: httpx.Client, store: Store, spec: dict[str, Any], package: str
) -> None:
    spec |= {"labels": {"team": "news", "of": "ann"}, "concurrency": 2}
    http.post("/v1/studies", json={"spec": spec, "package": package})
    http.patch("/v1/studies/mine", json={"budget": {"trials": 9}}, headers={"If-Match": "*"})
    parent = store.study("mine")
    merge = {"seed": 3, "labels": {"of": None, "run": "2"}, "concurrency": None, "budget": {"steps_per_trial": 5}}
    answer = http.post("/v1/studies/mine:fork", json={"name": "child", "spec": merge})
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, "/v1/studies/child", '"1"')
    child = store.study("child")
    assert (child.state, child.package, child.spec.warm_start) == ("queued", package, ("mine",))
    assert (child.spec.seed, child.spec.concurrency, child.spec.labels) == (3, None, {"team": "news", "run": "2"})
    assert (child.spec.budget.trials, child.spec.budget.steps_per_trial) == (9, 5)
    assert child.spec.parameters == parent.spec.parameters
    assert store.study("mine") == parent


@pytest.mark.parametrize(("body", "warm_start"), [
    ({"name": "c"}, ("b", "a")), ({"name": "c", "warm_start": False}, ("b",)),
    ({"name": "c", "spec": {"warm_start": None}}, ()), ({"name": "c", "spec": {"warm_start": ["a"]}}, ("a",)),
    ({"name": "c", "spec": {"name": "other"}}, ("b", "a")),
])  # fmt: skip
def test_a_fork_learns_from_what_its_parent_learned_from_unless_told_otherwise(
    http: httpx.Client, store: Store, spec: dict[str, Any], body: dict[str, Any], warm_start: tuple[str, ...]
) -> None:
    http.post("/v1/studies", json={"spec": spec | {"name": "b"}})
    http.post("/v1/studies", json={"spec": spec | {"name": "a", "warm_start": ["b"]}})
    assert http.post("/v1/studies/a:fork", json=body).status_code == 201
    assert store.study("c").spec.warm_start == warm_start


def test_a_fork_that_breaks_a_rule_is_refused_and_nothing_is_created(
    http: httpx.Client, store: Store, lease: Lease, post: Callable[..., httpx.Response]
) -> None:
    problem(post(":fork", {"name": "mine"}), 409, "study-exists")
    problem(http.post("/v1/studies/none:fork", json={"name": "child"}), 404, "study-not-found")
    bad = {"name": "child", "spec": {"budget": {"trials": 0}, "objective": {"metric": "other"}}}
    assert pointers(post(":fork", bad), "invalid-specification") == ["/spec/budget/trials"]
    del bad["spec"]["budget"]  # type: ignore[attr-defined]
    assert pointers(post(":fork", bad), "invalid-specification") == ["/spec/warm_start/0"], "its values say nothing"
    for body, where in (({}, "/name"), ({"name": 3}, "/name"), ({"name": "c", "spec": []}, "/spec"), ([], "")):
        assert pointers(post(":fork", body)) == [where]
    assert [study.name for study in store.studies().items] == ["mine"]


def test_a_fork_is_made_once_by_a_key(http: httpx.Client, store: Store, lease: Lease) -> None:
    key = {"Idempotency-Key": "k"}
    answers = [http.post("/v1/studies/mine:fork", json={"name": "child"}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert len(store.events("child")) == 1
    other = http.post("/v1/studies/mine:fork", json={"name": "child-2"}, headers=key)
    problem(other, 422, "key-reused")


# -- preview ----------------------------------------------------------------------------------------------
def test_a_plan_tells_how_long_a_study_takes_by_its_workers_and_creates_nothing(
    http: httpx.Client, store: Store, spec: dict[str, Any]
) -> None:
    spec["scheduler"] = {"algorithm": "fifo"}
    answer = http.post("/v1/studies:preview", json={"spec": spec}, params={"workers": [1, 4, 99], "step_seconds": 2})
    assert answer.status_code == 200
    estimates = answer.json()["estimates"]
    assert [each["workers"] for each in estimates] == [1, 4, 8], "no more than trials"
    assert [each["steps"]["median"] for each in estimates] == [72] * 3
    one, four, eight = [each["seconds"]["median"] for each in estimates]
    assert one == pytest.approx(144, rel=0.5), "72 steps of 2 s"
    assert one > 2 * four > 2 * eight
    assert list(store.studies().items) == []
    assert http.post("/v1/studies:preview", json={"spec": spec}, params={"step_seconds": 0}).status_code == 422


def test_a_plan_that_would_hold_the_service_up_is_refused(spec: dict[str, Any]) -> None:
    app = create_app(Settings(home=Path("nowhere"), token="t", preview_seconds=1e-9), MemoryStore())
    with TestClient(app, headers={"Authorization": "Bearer t"}) as http:
        told = problem(http.post("/v1/studies:preview", json={"spec": spec}), 422, "simulation-too-long")
    assert "8 trials of up to 9 steps" in told["detail"]


def test_a_number_beyond_all_floats_is_refused_as_any_other(http: httpx.Client, lease: Lease) -> None:
    for value in (10**400, -(10**400)):
        refused = http.post("/v1/studies/mine/trials", json={"params": [{"lr": 0.01, "units": value}]})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == "/params/0/units"
