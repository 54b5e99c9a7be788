"""The service as a process in the background: start it, find it, end it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from api import tls
from api.client import Client
from api.ports import check_free
from api.schemas.service import ReadyAnswer
from api.settings import Settings
from cluster.processes import is_alive, start_time
from hpo.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Service:
    """A service that `start` has started."""

    pid: int
    started: float
    url: str


def _state_file(settings: Settings) -> Path:
    return settings.home / "api.json"


def log_file(settings: Settings) -> Path:
    return settings.home / "api.log"


def find(settings: Settings) -> Service | None:
    """The service that runs for this home, or None; a file left by one that is gone is removed."""
    try:
        service = Service(**json.loads(_state_file(settings).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    if is_alive(service.pid, service.started):
        return service
    _state_file(settings).unlink(missing_ok=True)
    return None


def start(settings: Settings, *, timeout_seconds: float = 60.0) -> Service:
    """Start the service and wait until it is ready; harmless where it runs. Raises ServiceError."""
    running = find(settings)
    if running is not None:
        if running.url != settings.local_url:
            raise ServiceError(
                f"the service of {settings.home} runs already, at {running.url}, but these settings are for "
                f"{settings.local_url}; set HPO_HOST, HPO_PORT, HPO_TLS_CERT and HPO_TLS_KEY as they were set for it, "
                "or end it with `hpo down --keep-cluster`"
            )
        _wait_until_ready(settings, running, time.monotonic() + timeout_seconds)
        return running
    tls.pair(settings)
    check_free(settings.host, settings.port, "HPO_PORT", "the service")
    running = _spawn(settings)
    try:
        _wait_until_ready(settings, running, time.monotonic() + timeout_seconds)
    except BaseException:
        stop(settings)
        raise
    return running


def _spawn(settings: Settings) -> Service:
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = Path(__file__).resolve().parents[2]
    environment = {**os.environ, **settings.job_environment()}
    if source.name != "site-packages":  # run from a checkout
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(source), environment.get("PYTHONPATH", ""))))
    with log_file(settings).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve"], stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, env=environment, start_new_session=True,
        )  # fmt: skip
    service = Service(process.pid, start_time(process.pid), settings.local_url)
    _state_file(settings).write_text(json.dumps(asdict(service)), encoding="utf-8")
    return service


def _wait_until_ready(settings: Settings, service: Service, deadline: float) -> None:
    with Client(settings.local_url, settings.known_token(), trust=tls.own(settings)) as client:
        while True:
            answer: ReadyAnswer | None = None
            try:
                answer = client.ready()
            except ServiceError:
                if not is_alive(service.pid, service.started):
                    raise ServiceError(f"the service ended at once; its log ends:\n{_tail(settings)}") from None
            if answer is not None and answer.ready:
                return
            if time.monotonic() > deadline:
                parts = answer.parts.items() if answer else ()
                down = "; ".join(f"{name}: {part.detail}" for name, part in parts if not part.ok) or "no answer"
                raise ServiceError(f"the service is not ready in time ({down}); its log ends:\n{_tail(settings)}")
            time.sleep(0.2)


def _tail(settings: Settings) -> str:
    lines = log_file(settings).read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
    return "\n".join(f"  {line}" for line in [*lines, f"(all of it: {log_file(settings)})"])


def stop(settings: Settings, *, grace_seconds: float = 10.0) -> bool:
    """End the service; whether it was running."""
    service = find(settings)
    if service is None:
        return False
    for number, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        try:
            os.kill(service.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience
        while is_alive(service.pid, service.started) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not is_alive(service.pid, service.started):
            break
    _state_file(settings).unlink(missing_ok=True)
    return True
