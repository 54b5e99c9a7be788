"""The figures for Prometheus, over a real service. Where Ray is needed, its jobs are a fake (see test_controller)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from api.app import create_app
from api.controller import Controller, JobsApi
from api.metrics import Metrics
from api.settings import Settings
from hpo import specfile
from hpo.census import Census
from hpo.errors import ClusterError, StoreError
from hpo.protocols import Store
from hpo.store import migrations, open_store
from hpo.store.memory import MemoryStore
from hpo.trial import Study, StudyState, Waiting, WaitReason

Fill = Callable[..., None]
Samples = dict[tuple[str, ...], float]


def samples(text: str) -> Samples:
    """Each value under its name and its labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(http: httpx.Client) -> Samples:
    answer = http.get("/metrics")
    assert answer.status_code == 200
    return samples(answer.text)


def test_metrics_need_no_token_and_are_prometheus_text(server: str) -> None:
    answer = httpx.get(f"{server}/metrics", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert samples(answer.text)["hpo_store_up",] == 1


def test_open_metrics_is_given_to_who_asks_for_it(http: httpx.Client) -> None:
    answer = http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


def test_openapi_describes_metrics_without_a_token(http: httpx.Client) -> None:
    operation = http.get("/openapi.json").json()["paths"]["/metrics"]["get"]
    assert "security" not in operation
    assert list(operation["responses"]["200"]["content"]) == ["text/plain"]


def test_studies_and_trials_are_counted_by_their_state(http: httpx.Client, fill: Fill, spec: dict[str, Any]) -> None:
    before = scrape(http)
    assert {before["hpo_studies", state.value] for state in StudyState} == {0}
    fill(spec)
    fill(spec | {"name": "other"}, num_trials=2, end=None)
    found = scrape(http)
    assert found["hpo_studies", "succeeded"] == found["hpo_studies", "running"] == 1
    assert (found["hpo_trials", "completed"], found["hpo_trials", "stopped"], found["hpo_trials", "failed"]) == (
        4,
        2,
        0,
    )


def test_the_queue_and_the_leases_are_told(http: httpx.Client, store: Store, spec: dict[str, Any]) -> None:
    found = scrape(http)
    assert (found["hpo_queue_depth",], found["hpo_queue_oldest_seconds",]) == (0, 0)
    assert ("hpo_lease_remaining_seconds",) not in found  # there is no lease, so there is no number
    for name in ("a", "b", "c", "d"):
        store.create_study(specfile.parse(spec | {"name": name}))
    for name in ("c", "d"):
        store.set_study_state(name, StudyState.RUNNING)
    store.claim("c", holder="test", lease_seconds=500)
    store.allot("a", share=0, waiting=Waiting(WaitReason.MAX_TRIALS, "…"))
    found = scrape(http)
    assert (found["hpo_studies_waiting", "max_trials"], found["hpo_studies_waiting", "room"]) == (1, 0)
    assert found["hpo_queue_depth",] == 2
    assert 0 < found["hpo_queue_oldest_seconds",] < 60
    assert found["hpo_lease_remaining_seconds",] == pytest.approx(500, abs=60)
    assert found["hpo_leases_expired",] == 1
    assert 0 < found["hpo_event_lag_seconds",] < 60


def test_no_name_of_a_user_is_ever_a_label(http: httpx.Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec | {"name": "secret-name"})
    for address in ("/v1/studies/secret-name", "/v1/studies/secret-name/trials/1", "/secret-name", "/docs?secret-name"):
        http.get(address)
    http.request("SECRET-NAME", "/v1/studies/secret-name")
    text = http.get("/metrics").text
    assert "secret" not in text.lower()


@pytest.mark.parametrize(
    ("method", "address", "labels"),
    [
        ("GET", "/v1/studies/nobody", ("GET", "/v1/studies/{study}", "404")),
        ("GET", "/v1/studies/nobody/trials/3", ("GET", "/v1/studies/{study}/trials/{number}", "404")),
        ("GET", "/v1/studies?page_size=0", ("GET", "/v1/studies", "422")),
        ("PUT", "/healthz", ("PUT", "/healthz", "405")),
        ("GET", "/no/such/address", ("GET", "other", "404")),
        ("PROPFIND", "/healthz", ("other", "/healthz", "405")),
    ],
)
def test_a_request_is_counted_under_its_routes_template(
    http: httpx.Client, method: str, address: str, labels: tuple[str, ...]
) -> None:
    before = scrape(http).get(("hpo_http_request_seconds_count", *labels), 0)
    http.request(method, address)
    found = scrape(http)
    assert found["hpo_http_request_seconds_count", *labels] == before + 1
    assert found["hpo_http_request_seconds_sum", *labels] > 0


def test_a_request_without_the_token_is_counted_too(server: str, http: httpx.Client) -> None:
    httpx.get(f"{server}/v1/studies", trust_env=False)
    assert scrape(http)["hpo_http_request_seconds_count", "GET", "/v1/studies", "401"] >= 1


class Broken(MemoryStore):
    """A store whose database is away, or hangs until `free` is set."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error, self.free, self.num_asked = error, threading.Event(), 0

    def census(self) -> Census:
        self.num_asked += 1
        if self.error is not None:
            raise self.error
        self.free.wait(30)
        return super().census()


def bench(tmp_path: Path, store: Store, controller: Controller | None = None) -> tuple[FastAPI, TestClient]:
    app = create_app(Settings(home=tmp_path), store, controller=controller)
    return app, TestClient(app)


def test_a_request_that_breaks_the_service_is_counted_as_500(tmp_path: Path) -> None:
    class Defect(MemoryStore):
        def study(self, name: str) -> Study:
            raise ZeroDivisionError

    app, _ = bench(tmp_path, Defect())
    client = TestClient(app, headers={"Authorization": f"Bearer {app.state.token}"}, raise_server_exceptions=False)
    assert client.get("/v1/studies/mine").status_code == 500
    found = samples(client.get("/metrics").text)
    assert found["hpo_http_request_seconds_count", "GET", "/v1/studies/{study}", "500"] == 1


@pytest.mark.parametrize("error", [StoreError("the database is away"), ZeroDivisionError()])
def test_a_store_that_fails_leaves_its_figures_out_and_nothing_else(tmp_path: Path, error: Exception) -> None:
    store = Broken(error)
    _, client = bench(tmp_path, store)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    found = samples(answer.text)
    assert found["hpo_store_up",] == 0
    assert not any(name.startswith(("hpo_studies", "hpo_queue", "hpo_lease", "hpo_event")) for name, *_ in found)
    assert samples(client.get("/metrics").text)["hpo_http_request_seconds_count", "GET", "/metrics", "200"] == 1
    store.error = None
    store.free.set()
    assert samples(client.get("/metrics").text)["hpo_store_up",] == 1


def test_a_store_that_hangs_is_given_up_and_not_asked_twice_at_once(tmp_path: Path) -> None:
    store = Broken(None)
    app, client = bench(tmp_path, store)
    app.state.metrics = Metrics(store, None, store_seconds=0.02)
    for _ in range(3):
        assert samples(client.get("/metrics").text)["hpo_store_up",] == 0
    assert store.num_asked == 1
    app.state.metrics = Metrics(store, None, store_seconds=30)
    store.free.set()
    assert samples(client.get("/metrics").text)["hpo_store_up",] == 1


def test_a_database_that_is_gone_is_down(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    with closing(open_store(url)) as store:
        _, client = bench(tmp_path, store)
        assert samples(client.get("/metrics").text)["hpo_store_up",] == 1
        migrations.downgrade(url)
        assert samples(client.get("/metrics").text)["hpo_store_up",] == 0


def test_controller_and_ray_are_up_or_down(tmp_path: Path) -> None:
    def away() -> JobsApi:
        raise ClusterError("Ray is away")

    class Here:
        address = "http://fake"

        def ping(self) -> str:
            return "2.60.0"

    settings, store = Settings(home=tmp_path), MemoryStore()
    cluster: list[Any] = [away]
    controller = Controller(settings, store, connect=lambda: cluster[0](), entrypoint=str, period_seconds=1000)
    _, client = bench(tmp_path, store, controller)
    found = samples(client.get("/metrics").text)
    assert (found["hpo_controller_up",], found["hpo_ray_up",]) == (0, 0)  # not started
    cluster[0] = Here
    controller.round()
    assert samples(client.get("/metrics").text)["hpo_ray_up",] == 1
    with client:  # starts the controller
        assert samples(client.get("/metrics").text)["hpo_controller_up",] == 1


def test_two_apps_of_a_process_count_apart(tmp_path: Path) -> None:
    first, second = (bench(tmp_path, MemoryStore())[1] for _ in range(2))
    first.get("/healthz")
    key = ("hpo_http_request_seconds_count", "GET", "/healthz", "200")
    assert samples(first.get("/metrics").text)[key] == 1
    assert key not in samples(second.get("/metrics").text)
