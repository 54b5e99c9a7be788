"""The world that `hpo doctor` looks at.

No Ray head runs here: an HTTP server gives the answers of Ray's dashboard that `cluster.jobs.Jobs` asks for.
"""

from __future__ import annotations

import json
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.doctor.check import Check
from api.settings import Settings
from hpo import specfile
from hpo.protocols import Store
from hpo.store import open_store
from hpo.trial import Checkpoint, StudyState

Usage = namedtuple("Usage", "total used free")
Doctor = Callable[[], dict[str, Check]]


class RayDashboard:
    """Answers as Ray's dashboard does (its REST API of jobs); `jobs` are its jobs' states by their ids."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                jobs: list[dict[str, Any]] = [
                    {"type": "SUBMISSION", "submission_id": job, "job_id": None, "status": status}
                    for job, status in world.jobs.items()
                ]
                jobs.append({"type": "DRIVER", "submission_id": None, "job_id": "01000000", "status": "RUNNING"})
                body = json.dumps({"/api/jobs/": jobs, "/api/version": {"ray_version": "2.60.0"}}[self.path]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def ray() -> Iterator[RayDashboard]:
    dashboard = RayDashboard()
    yield dashboard
    dashboard.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HPO_URL", "http://127.0.0.1:9")  # no service there
    monkeypatch.setenv("HPO_PORT", "0")  # and none that takes its port
    monkeypatch.setenv("HPO_DASHBOARD_PORT", "0")
    monkeypatch.setattr("api.cli.checks._torch", lambda settings: iter(()))  # loads for seconds
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 0, 10**12))
    return Settings()


@pytest.fixture
def doctor(home: Settings) -> Doctor:
    """What it finds wrong, by what it looked at; its exit code is checked on the way."""

    def ask() -> dict[str, Check]:
        done = CliRunner().invoke(app, ["doctor", "--json"])
        assert done.exit_code in (0, 1), done.output
        found = [Check(**check) for check in json.loads(done.output)]
        wrong = {check.what: check for check in found if not check.ok}
        assert done.exit_code == bool(wrong)
        assert all(check.remedy for check in wrong.values())
        return wrong

    return ask


@pytest.fixture
def at_home(home: Settings) -> Iterator[Store]:
    """The store of the home, which is open while the doctor looks."""
    with closing(open_store(home.database_url)) as opened:
        yield opened


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds go by at once."""
    real = time.time

    def pass_by(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return pass_by


def new(store: Store, spec: dict[str, Any], name: str, state: StudyState = StudyState.QUEUED) -> None:
    store.create_study(specfile.parse(spec | {"name": name}))
    if state is StudyState.STARTING:
        store.new_attempt(name, job_prefix=f"hpo-{name}")
    elif state is not StudyState.QUEUED:
        store.set_study_state(name, state)


def save(store: Store, folder: Path, study: str, step: int, *, size: int = 100) -> Path:
    """A checkpoint as a worker writes it, with its row."""
    path = stray(folder, study, step, size=size)
    lease = store.claim(study, holder="test", lease_seconds=60)
    row = Checkpoint(study=study, trial=0, step=step, path=str(path), size_bytes=size, recorded_at=1.0)
    store.write(lease, [row])
    return path


def stray(folder: Path, study: str, step: int, *, size: int = 100, trial: str = "00000") -> Path:
    """A checkpoint without a row."""
    path = folder / study / "trials-1" / trial / f"step-{step:06d}"
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "model.pt").write_bytes(bytes(size))
    return path
