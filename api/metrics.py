"""What Prometheus reads of a service: gauges from the store at the time of the scrape, and a histogram of requests.

No label holds a name that a user chose, so their number is bounded. Each app has a registry of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.controller import Controller
from hpo.census import Census
from hpo.errors import HpoError
from hpo.protocols import Store

log = logging.getLogger("api.metrics")

STORE_SECONDS = 3.0
"""How long a scrape waits for the store. Prometheus itself gives up after 10 s, and then has no figure at all."""
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The registry of one app."""

    def __init__(self, store: Store, controller: Controller | None, *, store_seconds: float = STORE_SECONDS) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "hpo_http_request_seconds",
            "Time from a request to the beginning of its answer (a stream's whole length would say nothing)",
            ("method", "route", "status"),
            registry=self.registry,
            buckets=BUCKETS,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(StoreCollector(store, store_seconds))
        if controller is not None:
            self.registry.register(PartsCollector(controller))

    def text(self, accept: str) -> tuple[bytes, str]:
        """All figures in the form that the scraper accepts, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class StoreCollector(Collector):
    """The gauges of the store, or hpo_store_up 0 alone where it doesn't answer in time."""

    def __init__(self, store: Store, seconds: float) -> None:
        self._store, self._seconds = store, seconds
        self._lock = threading.Lock()
        self._asked: Future[Census] | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        census = self._census()
        yield _gauge("hpo_store_up", "Whether the database answers", 0 if census is None else 1)
        if census is not None:
            yield from gauges(census)

    def _census(self) -> Census | None:
        try:
            return self._ask().result(self._seconds)
        except TimeoutError:
            log.warning("metrics without the store: it has not answered for %g s", self._seconds)
        except HpoError as error:
            log.warning("metrics without the store: %s", error)
        except Exception:  # a defect of ours: the other figures are wanted all the more
            log.exception("metrics without the store")
        return None

    def _ask(self) -> Future[Census]:
        """The answer to come. A question that hangs isn't asked again: else each scrape would leave a thread behind."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                threading.Thread(target=self._answer, args=(self._asked,), name="hpo-census", daemon=True).start()
            return self._asked

    def _answer(self, asked: Future[Census]) -> None:
        try:
            asked.set_result(self._store.census())
        except BaseException as error:
            asked.set_exception(error)


class PartsCollector(Collector):
    """Whether the controller and Ray are there, as /readyz says it."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def collect(self) -> Iterator[GaugeMetricFamily]:
        health = self._controller.health()
        yield _gauge("hpo_controller_up", "Whether this process's controller gives a sign of life", health.at_work)
        yield _gauge("hpo_ray_up", "Whether Ray answered when the controller last asked", health.ray_ok)


def gauges(census: Census) -> Iterator[GaugeMetricFamily]:
    """The figures of a census."""
    studies = GaugeMetricFamily("hpo_studies", "Studies", labels=["state"])
    for study_state, number in census.studies.items():
        studies.add_metric([study_state.value], number)
    yield studies
    trials = GaugeMetricFamily("hpo_trials", "Trials of all studies that are kept", labels=["state"])
    for trial_state, number in census.trials.items():
        trials.add_metric([trial_state.value], number)
    yield trials
    waiting = GaugeMetricFamily("hpo_studies_waiting", "Studies that may train nothing just now", labels=["reason"])
    for reason, number in census.waiting.items():
        waiting.add_metric([reason.value], number)
    yield waiting
    queued = len(census.queued)
    yield _gauge("hpo_queue_depth", "Queued studies", queued)
    yield _gauge(
        "hpo_queue_oldest_seconds", "How long the longest waiting queued study has waited", census.queue_seconds
    )
    yield _gauge(
        "hpo_lease_remaining_seconds",
        "Until the first lease of a starting or running study runs out; negative once it has; absent without a lease",
        census.lease_seconds,
    )
    yield _gauge("hpo_leases_expired", "Starting or running studies without a live lease", len(census.undriven))
    yield _gauge(
        "hpo_event_lag_seconds", "The longest time that a running study has had no event", census.quiet_seconds
    )


def _gauge(name: str, help: str, value: float | None) -> GaugeMetricFamily:
    """One figure without labels; none where it is None."""
    family = GaugeMetricFamily(name, help)
    if value is not None:
        family.add_metric([], value)
    return family


class RequestTimes:
    """ASGI middleware: observes each request under its route's template, as /v1/studies/{study}."""

    def __init__(self, app: ASGIApp, *, requests: Histogram) -> None:
        self.app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        begun = False

        def observe(status: int) -> None:
            nonlocal begun
            begun = True
            method = scope["method"] if scope["method"] in METHODS else OTHER
            # The router leaves the route in the scope; where none fits (404, /docs), there is none.
            route = getattr(scope.get("route"), "path_format", OTHER)
            self._requests.labels(method, route, str(status)).observe(time.perf_counter() - start)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and not begun:
                observe(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            if not begun:  # the answer is made outside of us
                observe(500)
            raise
