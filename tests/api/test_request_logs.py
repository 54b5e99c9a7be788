"""The service's log lines. Ray is away throughout, so the controller's jobs are a fake that refuses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from api.app import create_app
from api.controller import Controller
from api.settings import Settings
from hpo import logs, specfile
from hpo.errors import ClusterError, StoreError
from hpo.store.memory import MemoryStore
from hpo.trial import Study, Trial

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("root_log_as_it_was")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


class Away(MemoryStore):
    def study(self, name: str) -> Study:
        raise StoreError("the database is away")

    def trial(self, study: str, number: int) -> Trial:
        raise ZeroDivisionError


def test_what_a_request_logs_is_about_its_study_and_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    app = create_app(Settings(home=tmp_path), Away())
    client = TestClient(app, headers={"Authorization": f"Bearer {app.state.token}"}, raise_server_exceptions=False)
    client.get("/v1/studies/mine")
    client.get("/v1/studies/mine/trials/3")
    client.get("/v1/studies/No%0AName")
    found = [line for line in lines(capsys) if line["logger"] == "api"]
    assert [(line.get("study"), line.get("trial"), line["level"]) for line in found] == [
        ("mine", None, "WARNING"), ("mine", 3, "ERROR"), (None, None, "WARNING")
    ]  # fmt: skip
    assert found[1]["exception"].endswith("ZeroDivisionError")


def test_what_the_controller_logs_of_a_study_is_about_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spec: dict[str, Any]
) -> None:
    class Refusing:
        address = "http://fake"

        def ping(self) -> str:
            return "2.60.0"

        def nodes(self) -> list[dict[str, float]]:
            return [{"CPU": 64.0}]

        def held(self) -> dict[str, float]:
            return {}

        def submit(self, *_: object, **__: object) -> None:
            raise ClusterError("no room")

        def status(self, submission_id: str) -> None:
            return None

    logs.configure("json")
    refusing: Any = Refusing()
    store = MemoryStore()
    for name in ("one", "two"):
        store.create_study(specfile.parse(spec | {"name": name}))
    controller = Controller(Settings(home=tmp_path), store, connect=lambda: refusing, entrypoint=str)
    controller.round()
    controller.close()
    assert [line["study"] for line in lines(capsys) if line["logger"] == "api.controller"][:2] == ["one", "two"]


def test_the_format_of_the_service_is_that_of_its_drivers(tmp_path: Path) -> None:
    assert "HPO_LOG_FORMAT" not in Settings(home=tmp_path).job_environment()
    assert Settings(home=tmp_path, log_format="json").job_environment()["HPO_LOG_FORMAT"] == "json"


def test_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_LOG_FORMAT", "xml")
    with pytest.raises(ValidationError, match="'text' or 'json'"):
        Settings()


def test_every_line_of_a_service_is_json_where_it_is_asked_for(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HPO_HOME": str(tmp_path), "HPO_PORT": str(port), "HPO_LOG_FORMAT": "json"}
    command = [sys.executable, "-m", "api.cli", "serve"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as service:
        try:
            give_up = time.monotonic() + 60
            while time.monotonic() < give_up and service.poll() is None:
                try:
                    assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            service.send_signal(signal.SIGTERM)
            _, errors = service.communicate(timeout=30)
        finally:
            service.kill()
    found = [json.loads(line) for line in errors.splitlines()]
    assert any(line["logger"] == "uvicorn.error" and str(port) in line["message"] for line in found)
    assert {line["level"] for line in found} <= {"INFO", "WARNING"}
