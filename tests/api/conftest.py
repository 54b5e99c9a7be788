"""A real service for the tests: uvicorn on a free port in a thread, over a real SQLite file."""

from __future__ import annotations

import copy
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from typer.testing import CliRunner, Result

from api.app import create_app
from api.cli import app
from api.client import Client
from api.settings import Settings
from hpo import specfile
from hpo.protocols import Store
from hpo.store import open_store
from hpo.trial import Action, Checkpoint, Decision, Event, Lease, Measurement, StudyState, Trial, TrialState

SPEC: dict[str, Any] = {
    "name": "mine",
    "trainable": "mine:train",
    "parameters": {
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        "units": {"type": "int", "low": 1, "high": 64},
    },
    "objective": {"metric": "loss", "direction": "minimize"},
    "scheduler": {"algorithm": "asha"},
    "budget": {"trials": 8, "steps_per_trial": 9},
}


@pytest.fixture(autouse=True, scope="module")
def _no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("HPO_", "RAY_")):
                patch.delenv(name)
        folder = tmp_path_factory.mktemp("trainables")
        (folder / "mine.py").write_text("def train(params, trial): ...\n")
        patch.syspath_prepend(str(folder))
        yield


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> Iterator[None]:
    """One service serves a module (it takes a second to start); each test leaves it empty."""
    yield
    if "store" not in request.fixturenames:
        return
    store: Store = request.getfixturevalue("store")
    for study in store.studies(page_size=1000).items:
        store.set_study_state(study.name, StudyState.CANCELLED)
        store.delete_study(study.name)
    shutil.rmtree(request.getfixturevalue("settings").package_folder, ignore_errors=True)


@pytest.fixture
def spec() -> dict[str, Any]:
    return copy.deepcopy(SPEC)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("hpo") / "home")


@pytest.fixture(scope="module")
def store(settings: Settings) -> Iterator[Store]:
    opened = open_store(settings.database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server(settings: Settings, store: Store) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(settings, store), log_level="error", ws="none", timeout_graceful_shutdown=1)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not running.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        running.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def token(server: str, settings: Settings) -> str:
    return settings.known_token() or ""


@pytest.fixture(scope="module")
def http(server: str, token: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(server: str, token: str) -> Iterator[Client]:
    with Client(server, token) as opened:
        yield opened


@pytest.fixture(scope="module")
def fill(store: Store) -> Callable[..., None]:
    """Writes a study as its driver would: trials whose values are 10, 9, 8 ..., the last one stopped."""

    def write(data: dict[str, Any], *, num_trials: int = 4, end: StudyState | None = StudyState.SUCCEEDED) -> None:
        name = data["name"]
        store.create_study(specfile.parse(data))
        lease = store.claim(name, holder="test", lease_seconds=60)
        store.set_study_state(name, StudyState.RUNNING, lease=lease)
        for number in range(num_trials):
            common = {"study": name, "trial": number, "step": 1, "recorded_at": 5.0 + number}
            last = number == num_trials - 1
            value = 10.0 - number
            store.write(
                lease,
                [
                    Trial(
                        study=name, number=number, params={"lr": 0.01, "units": number + 1}, step=1, value=value,
                        value_step=1, value_generation=0, created_at=1.0,
                        state=TrialState.STOPPED if last else TrialState.COMPLETED,
                    ),
                    Measurement(**common, metrics={"loss": value, "odd": float("nan"), "far": float("inf")}),
                    Decision(**common, action=Action.STOP if last else Action.CONTINUE, rung=1, cutoff=float("-inf")),
                    Checkpoint(**common, path=f"/somewhere/{number}", size_bytes=7),
                    Event(
                        study=name, kind="incumbent.changed", trial=number, recorded_at=5.0,
                        data={"value": value, "step": 1, "params": {"lr": 0.01}},
                    ),
                    Event(
                        study=name, kind="trial.stopped" if last else "trial.completed", trial=number,
                        recorded_at=6.0, data={"step": 1, "best": value, "message": "rung 1"},
                    ),
                ],
            )  # fmt: skip
        if end is not None:
            store.set_study_state(name, end, lease=lease)
        store.release(lease)

    return write


@pytest.fixture
def lease(store: Store, spec: dict[str, Any]) -> Lease:
    """Of the study `mine`, which a driver holds: its trial 0 has completed, 1 runs, 2 and 3 have failed. The budget has
    room for 4 more."""
    store.create_study(specfile.parse(spec))
    lease = store.claim("mine", holder="test", lease_seconds=60)
    store.set_study_state("mine", StudyState.RUNNING, lease=lease)
    ends: list[dict[str, Any]] = [
        {"state": TrialState.COMPLETED, "value": 1.0}, {"state": TrialState.RUNNING},
        {"state": TrialState.FAILED, "cause": "error"}, {"state": TrialState.FAILED, "cause": "out_of_memory"},
    ]  # fmt: skip
    store.write(lease, [
        Trial(study="mine", number=number, params={"lr": 0.01, "units": number + 1}, created_at=1.0, **end)
        for number, end in enumerate(ends)
    ])  # fmt: skip
    return lease


@pytest.fixture
def run(server: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs an `hpo` command against the server."""
    monkeypatch.setenv("HPO_HOME", str(settings.home))
    monkeypatch.setenv("HPO_URL", server)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])
