"""What `hpo doctor` looks at. Nothing is changed or created. That nothing runs yet isn't wrong."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from api.client import Client
from api.ports import is_free
from api.settings import SQLITE, Settings
from cluster import local
from cluster.jobs import Jobs
from hpo.errors import HpoError

MIN_FREE_BYTES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    remedy: str = ""


def all_checks(settings: Settings) -> list[Check]:
    checks: list[Callable[[Settings], Iterator[Check]]] = [
        _versions, _torch, _folders, _database, _tokens, _cluster, _service,
    ]  # fmt: skip
    return [check for function in checks for check in function(settings)]


def _versions(settings: Settings) -> Iterator[Check]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", sys.version_info >= (3, 11), python, "" if sys.version_info >= (3, 11) else "3.11 or newer")
    for package, wanted in (("ray", "2.60."), ("optuna", ""), ("fastapi", ""), ("sqlalchemy", "2.")):
        try:
            found = metadata.version(package)
        except metadata.PackageNotFoundError:
            yield Check(package, False, "not installed", "pip install hpo")
            continue
        fits = found.startswith(wanted)
        yield Check(package, fits, found, "" if fits else f"pip install '{package}=={wanted}*'")


def _torch(settings: Settings) -> Iterator[Check]:
    code = "import torch; print(torch.__version__, torch.cuda.device_count(), 'GPUs')"
    try:
        # In a process of its own: it takes seconds and hundreds of megabytes.
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1:] or [""]
        yield Check("torch", done.returncode == 0, last[0][:100], "" if done.returncode == 0 else "pip install torch")
    except subprocess.TimeoutExpired:
        yield Check("torch", False, "doesn't load within 120 s", "try again on an idle machine")


def _folders(settings: Settings) -> Iterator[Check]:
    for what, folder in (("home", settings.home), ("storage", settings.storage)):
        parent = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(parent).free
        enough = free >= MIN_FREE_BYTES
        yield Check(
            what, enough, f"{folder}, {free / 1e9:.1f} GB free", "" if enough else "free some space, or move it"
        )


def _database(settings: Settings) -> Iterator[Check]:
    if settings.database_url.startswith(SQLITE) and not Path(settings.database_url.removeprefix(SQLITE)).exists():
        yield Check("database", True, "none yet; the service makes it")
        return
    from hpo.store import open_store

    try:
        store = open_store(settings.database_url)
        try:
            store.ping()
        finally:
            store.close()
    except HpoError as error:
        yield Check("database", False, str(error), "correct HPO_DATABASE_URL, or start the database")
    else:
        yield Check("database", True, "answers")


def _tokens(settings: Settings) -> Iterator[Check]:
    for what, path in (("token", settings.home / "token"), ("ray token", local.token_path(settings.home))):
        if not path.exists():
            given = what == "token" and settings.token is not None
            yield Check(what, True, "HPO_TOKEN" if given else "none yet; `hpo up` makes it")
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        private = mode & 0o077 == 0
        yield Check(what, private, f"{path}, mode {mode:o}", "" if private else f"chmod 600 {path}")


def _cluster(settings: Settings) -> Iterator[Check]:
    head = local.status(settings.home)
    address = settings.ray_address or (head.dashboard_url if head else "")
    if address:
        try:
            version = Jobs(address, settings.known_ray_token()).ping()
        except HpoError as error:
            yield Check("cluster", False, str(error), "hpo down, then hpo up")
        else:
            yield Check("cluster", True, f"Ray {version} at {address}")
        return
    free = is_free(local.HOST, settings.dashboard_port)
    found = "not running; `hpo up` starts it" if free else f"port {settings.dashboard_port} is taken by another program"
    yield Check("cluster", free, found, "" if free else "end that program, or set HPO_DASHBOARD_PORT")


def _service(settings: Settings) -> Iterator[Check]:
    with Client(settings.url, settings.known_token(), timeout_seconds=5) as client:
        try:
            answer = client.ready()
        except HpoError:
            free = is_free(settings.host, settings.port)
            found = "not running; `hpo up` starts it" if free else f"port {settings.port} is taken by another program"
            yield Check("service", free, found, "" if free else "end that program, or set HPO_PORT")
            return
        for name, part in answer.parts.items():
            yield Check(f"service: {name}", part.ok, part.detail, "" if part.ok else "hpo down, then hpo up")
        try:
            client.studies(page_size=1)
        except HpoError as error:
            yield Check("service: token", False, str(error), "take the token of the service's HPO_HOME")
        else:
            yield Check("service: token", True, "is accepted")
