"""The service: routes, errors, limits, and the controller beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata

from fastapi import Depends, FastAPI

from api import access, errors
from api.auth import Gate, admit
from api.controller import Controller, JobsApi
from api.feed import Feeds
from api.limits import BodyLimit
from api.metrics import Metrics, RequestTimes
from api.occupancy import Occupancy
from api.openapi import describe
from api.request_logs import RequestLogs
from api.routes import (
    asking,
    cluster,
    events,
    exports,
    health,
    packages,
    projects,
    reports,
    series,
    steering,
    studies,
    trials,
)
from api.routes import metrics as metrics_route
from api.settings import Settings
from api.turns import Turns
from cluster import local
from cluster.jobs import Jobs, driver_entrypoint
from hpo.asking.desk import Desk
from hpo.errors import ClusterError
from hpo.protocols import Store

TAGS = [
    {"name": "studies", "description": "A specification and where its search stands."},
    {"name": "steering", "description": "What may be asked of a study while it runs."},
    {"name": "trials", "description": "Configurations, and what was reported, decided and saved."},
    {"name": "asking", "description": 'For workers of your own (`engine = "ask"`): they ask for trials and report.'},
    {"name": "events", "description": "A study's history, live."},
    {"name": "exports", "description": "A study as a table, and studies from elsewhere."},
    {"name": "reports", "description": "What a study comes to: one page, and its parts as data."},
    {"name": "packages", "description": "Working folders with your own trainables."},
    {"name": "projects", "description": "Who shares the service: projects, their quotas and their tokens."},
    {"name": "cluster", "description": "Who holds how much of the cluster, and who waits for what."},
    {"name": "health", "description": "For load balancers and Prometheus; no token needed."},
]

GUARDED = (studies, steering, trials, series, asking, events, exports, reports, packages, projects, cluster)
"""The rooms whose every route passes `api.auth.admit`."""


def create_app(settings: Settings, store: Store, *, controller: Controller | None = None) -> FastAPI:
    """The service over a store. The controller, if any, and the desk of the workers that ask
    run as long as the app does; the store stays open."""

    desk = Desk(store)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if controller is not None:
            controller.start()
        desk.start()
        yield
        desk.close()
        if controller is not None:
            controller.close()

    app = FastAPI(
        title="hpo", version=_version(), lifespan=lifespan, openapi_tags=TAGS, redoc_url=None,
        summary="Hyperparameter search as a service, on Ray",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        generate_unique_id_function=lambda route: route.name,  # the function that answers: `create_study`
    )  # fmt: skip
    app.state.settings, app.state.store, app.state.controller = settings, store, controller
    app.state.desk, app.state.feeds = desk, Feeds(store)
    app.state.submissions, app.state.reckonings = Turns(), Turns()
    app.state.occupancy = Occupancy(store, controller.cluster if controller is not None else None)
    app.state.token = settings.ensure_token()
    app.state.gate = Gate(store, app.state.token, rate=settings.rate_limit)
    metrics = app.state.metrics = Metrics(store, controller)
    errors.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestTimes, requests=metrics.requests)
    app.add_middleware(RequestLogs)
    for module in (health, metrics_route):
        app.include_router(module.router)
    for module in GUARDED:
        access.check(module.router.routes)
        app.include_router(module.router, dependencies=[Depends(admit)])
    describe(app)
    return app


def connector(settings: Settings) -> JobsApi:
    """The cluster as it is now: the one named in the settings, or the local head, which may be started later."""
    if settings.ray_address:
        return Jobs(settings.ray_address, settings.known_ray_token())
    head = local.status(settings.home)
    if head is None:
        raise ClusterError("no Ray cluster is running here; `hpo up` starts one, or set HPO_RAY_ADDRESS")
    return Jobs(head.dashboard_url, settings.known_ray_token())


def make_controller(settings: Settings, store: Store) -> Controller:
    """The controller of a service that runs for real."""
    return Controller(settings, store, connect=lambda: connector(settings), entrypoint=driver_entrypoint)


def _version() -> str:
    try:
        return metadata.version("hpo")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "0.1.0"
