"""What `hpo doctor` looks at. Nothing is changed or created. That nothing runs yet isn't wrong."""

from __future__ import annotations

import contextlib
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

from api import storage, tls
from api.client import Client
from api.doctor import checkpoints, database, studies
from api.doctor.check import Check
from api.ports import is_free
from api.schemas.service import ReadyAnswer
from api.settings import Settings
from cluster import local
from cluster.jobs import Jobs
from hpo.engine.files import S3Address
from hpo.errors import HpoError, StoreError

MIN_FREE_BYTES = 2_000_000_000


def all_checks(settings: Settings) -> list[Check]:
    ready = _readiness(settings)
    found = [*_versions(settings), *_torch(settings), *_folders(settings), *database.check(settings)]
    found += [
        *_rules(settings),
        *_tokens(settings),
        *_tls(settings),
        *_cluster(settings),
        *_service(settings, ready),
        *_work(settings, ready),
    ]
    return found


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
        if isinstance(folder, S3Address):
            health = storage.look(folder)
            remedy = "" if health.ok else "see to the storage, or correct HPO_STORAGE and the AWS_* variables"
            yield Check(what, health.ok, f"{folder}: {health.detail}", remedy)
            continue
        parent = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(parent).free
        enough = free >= MIN_FREE_BYTES
        yield Check(
            what, enough, f"{folder}, {free / 1e9:.1f} GB free", "" if enough else "free some space, or move it"
        )


def _rules(settings: Settings) -> Iterator[Check]:
    """What may run here: nothing of it is wrong, but people wonder."""
    rules = settings.rules
    if rules.trainables or settings.packages:
        yield Check("trainables", True, ", ".join(rules.trainables) or "all")
        yield Check("working folders", True, "are taken" if rules.packages else "are refused (HPO_PACKAGES)")
    if (folders := rules.places.data_folders) is not None:
        missing = [str(folder) for folder in folders if not folder.is_dir()]
        found = ", ".join(map(str, folders)) or "none: only what comes with hpo"
        remedy = f"make or mount {', '.join(missing)}, or correct HPO_DATA_FOLDERS" if missing else ""
        yield Check("data folders", not missing, found, remedy)
    if (targets := rules.places.logging_targets) is not None:
        yield Check("logging targets", True, ", ".join(targets) or "none (HPO_LOGGING_TARGETS)")


def _tokens(settings: Settings) -> Iterator[Check]:
    for what, path in (("token", settings.home / "token"), ("ray token", local.token_path(settings.home))):
        if not path.exists():
            given = what == "token" and settings.token is not None
            yield Check(what, True, "HPO_TOKEN" if given else "none yet; `hpo up` makes it")
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        private = mode & 0o077 == 0
        yield Check(what, private, f"{path}, mode {mode:o}", "" if private else f"chmod 600 {path}")


def _tls(settings: Settings) -> Iterator[Check]:
    """The service's certificate, and whether it is alone with its key."""
    try:
        pair = tls.pair(settings)
        tls.trust(settings)
    except HpoError as error:
        yield Check("tls", False, str(error), "correct HPO_TLS_CERT, HPO_TLS_KEY or HPO_TLS_CA")
        return
    if pair is None:
        return
    mode = stat.S_IMODE(pair.key.stat().st_mode)
    private = mode & 0o007 == 0  # its group may be that of the certificates
    yield Check("tls", private, f"{pair.cert}; its key has mode {mode:o}", "" if private else f"chmod o= {pair.key}")


def _cluster(settings: Settings) -> Iterator[Check]:
    if (jobs := _jobs(settings)) is not None:
        try:
            version = jobs.ping()
        except HpoError as error:
            remedy = (
                "correct HPO_RAY_ADDRESS, or start that cluster" if settings.ray_address else "hpo down, then hpo up"
            )
            yield Check("cluster", False, str(error), remedy)
        else:
            yield Check("cluster", True, f"Ray {version} at {jobs.address}")
        return
    free = is_free(local.HOST, settings.dashboard_port)
    found = "not running; `hpo up` starts it" if free else f"port {settings.dashboard_port} is taken by another program"
    yield Check("cluster", free, found, "" if free else "end that program, or set HPO_DASHBOARD_PORT")


def _jobs(settings: Settings) -> Jobs | None:
    """The cluster that the settings name, else the local head; None where neither is there."""
    head = local.look(settings.home)
    address = settings.ray_address or (head.dashboard_url if head else "")
    return Jobs(address, settings.known_ray_token()) if address else None


def _readiness(settings: Settings) -> ReadyAnswer | None:
    """What the service says of itself; None where it doesn't answer."""
    try:
        with Client.of(settings, timeout_seconds=5) as client:
            return client.ready()
    except HpoError:
        return None


REMEDIES = {
    "store": "see the line `database`; the service finds it again by itself",
    "storage": "free some space at HPO_STORAGE, or let the service's user write there; on S3 see to server and bucket",
    "controller": "hpo down --keep-cluster, then hpo up: studies go on meanwhile",
    "ray": "hpo up starts it again; with HPO_RAY_ADDRESS, see to that cluster",
}


def _service(settings: Settings, ready: ReadyAnswer | None) -> Iterator[Check]:
    if ready is None:
        free = is_free(settings.host, settings.port)
        found = "not running; `hpo up` starts it" if free else f"port {settings.port} is taken by another program"
        yield Check("service", free, found, "" if free else "end that program, or set HPO_PORT")
        return
    for name, part in ready.parts.items():
        remedy = "" if part.ok else REMEDIES.get(name, "hpo down, then hpo up")
        yield Check(f"service: {name}", part.ok, part.detail, remedy)
    with Client.of(settings, timeout_seconds=5) as client:
        try:
            client.studies(page_size=1)
        except HpoError as error:
            yield Check("service: token", False, str(error), "take the token of the service's HPO_HOME")
        else:
            yield Check("service: token", True, "is accepted")


def _work(settings: Settings, ready: ReadyAnswer | None) -> Iterator[Check]:
    """Studies, jobs and checkpoints: where there is a database of this version's schema."""
    store = database.open_as_it_is(settings)
    if store is None:
        return
    with contextlib.closing(store):
        try:
            jobs = _jobs(settings)
            known = jobs.statuses() if jobs is not None else None
        except HpoError:  # `_cluster` has said so
            known = None
        try:
            yield from studies.check(store, ready, known)
            yield from checkpoints.check(store, settings.storage)
        except StoreError as error:
            yield Check("studies", False, str(error), "see to the database, then run hpo doctor again")
