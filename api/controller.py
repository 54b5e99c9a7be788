"""The thread that gives queued studies to Ray and watches their jobs.

The store is its only memory: what it knows of a study it reads anew each time, so it may be killed at any moment.
One process a home is the controller (a file lock says which); the others stand by.
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from api import packages
from api.settings import Settings
from hpo.errors import ClusterError, HpoError, LeaseHeldError
from hpo.protocols import Store
from hpo.trial import Study, StudyState

log = logging.getLogger("api.controller")

HEARTBEAT_SECONDS = 30.0
"""Without a round for so long, the controller counts as stuck."""
UNCLAIMED_SECONDS = 60.0
"""How long after its creation a study of `hpo run` may be without a driver."""
MAX_REFUSALS = 3
"""Ray answers, but refuses the same job so often: the study has failed."""
LOG_LINES = 8
LEASE_HELD = 3
"""The driver's exit code where another driver holds the study (`hpo.driver`)."""


class JobsApi(Protocol):
    """What the controller asks of a cluster (`cluster.jobs.Jobs`). All methods raise ClusterError."""

    address: str

    def ping(self) -> str: ...

    def submit(
        self, submission_id: str, entrypoint: str, *, env: dict[str, str] | None = None, working_dir: Path | None = None
    ) -> None: ...

    def status(self, submission_id: str) -> str | None: ...

    def message(self, submission_id: str) -> str: ...

    def exit_code(self, submission_id: str) -> int | None: ...

    def logs(self, submission_id: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Health:
    """For /readyz."""

    at_work: bool
    work: str
    ray_ok: bool
    ray: str


class Controller:
    """Submits queued studies in the order of their creation, and fails those whose job has ended without a word."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        connect: Callable[[], JobsApi],
        entrypoint: Callable[[str], str],
        period_seconds: float = 0.5,
    ) -> None:
        """`connect` gives the cluster as it is now, or raises ClusterError; `entrypoint(study)` the job's command."""
        self._settings, self._store = settings, store
        self._connect, self._entrypoint, self._period = connect, entrypoint, period_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock_file: IO[str] | None = None
        self._beat = time.monotonic()
        self._ray: tuple[bool, str] = (False, "not asked yet")
        self._refusals: dict[str, int] = {}

    def start(self) -> None:
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="hpo-controller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        if self._lock_file is not None:
            self._lock_file.close()

    def health(self) -> Health:
        silent = time.monotonic() - self._beat
        alive = self._thread is not None and self._thread.is_alive()
        if not alive or silent > HEARTBEAT_SECONDS:
            return Health(False, f"silent for {silent:.0f} s; restart the service", *self._ray)
        work = "at work" if self._lock_file else "stands by: another process of this home is the controller"
        return Health(True, work, *self._ray)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.round()
            except HpoError as error:
                log.warning("the controller goes on: %s", error)
            except Exception:
                log.exception("the controller goes on")
            self._beat = time.monotonic()
            self._stop.wait(self._period)

    def round(self) -> None:
        """One look at everything. Raises StoreError where the store doesn't answer."""
        try:
            jobs = self._connect()
            version = jobs.ping()
        except ClusterError as error:
            if self._ray != (False, str(error)):
                log.warning("studies stay queued: %s", error)
            self._ray = (False, str(error))
            return
        self._ray = (True, f"Ray {version} at {jobs.address}")
        if not self._is_controller():
            return
        for state, handle in (
            (StudyState.QUEUED, self._submit),
            (StudyState.STARTING, self._watch),
            (StudyState.RUNNING, self._watch),
        ):
            for study in reversed(list(self._studies(state))):  # the store gives the newest first
                if self._stop.is_set():
                    return
                try:
                    handle(study, jobs)
                except ClusterError as error:
                    log.warning("study %s: %s", study.name, error)

    def _is_controller(self) -> bool:
        if self._lock_file is None:
            self._settings.home.mkdir(parents=True, exist_ok=True)
            file = (self._settings.home / "controller.lock").open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                return False
            self._lock_file = file
        return True

    def _studies(self, state: StudyState) -> Iterator[Study]:
        token: str | None = None
        while True:
            page = self._store.studies(state=state, page_size=100, page_token=token)
            yield from page.items
            token = page.next_page_token
            if token is None:
                return

    def _submit(self, study: Study, jobs: JobsApi) -> None:
        counted = self._store.new_attempt(study.name, job_prefix=f"hpo-{study.name}")
        if counted.attempt != study.attempt + 1:
            log.warning("study %s: another controller was faster", study.name)  # on another machine
            return
        self._hand_over(counted, jobs)

    def _hand_over(self, study: Study, jobs: JobsApi) -> None:
        """Submit the study's job. Safe to repeat: its id is the study and the attempt, and Ray takes an id once."""
        assert study.job is not None  # new_attempt has set it
        folder = None
        if study.package is not None:
            folder = packages.folder_of(self._settings.packages, study.package)
            if folder is None:
                self._fail(study, f"its package {study.package} is gone; upload the working folder again")
                return
        try:
            jobs.submit(
                study.job, self._entrypoint(study.name), env=self._settings.job_environment(), working_dir=folder
            )
        except ClusterError as error:
            refusals = self._refusals[study.job] = self._refusals.get(study.job, 0) + 1
            if refusals < MAX_REFUSALS:
                raise
            self._fail(study, str(error))
        self._refusals.pop(study.job, None)
        log.info("study %s: job %s submitted", study.name, study.job)

    def _watch(self, study: Study, jobs: JobsApi) -> None:
        if study.job is None:  # run without the service, by `hpo run`, whose driver claims it at once
            if time.time() - study.created_at > UNCLAIMED_SECONDS and not self._is_driven(study.name):
                self._fail(study, "its driver, an `hpo run`, has ended in mid-study; run it again")
            return
        status = jobs.status(study.job)
        if status is None and study.state is StudyState.STARTING:
            self._hand_over(study, jobs)  # we were killed in between, or the cluster was started anew
        elif status is None:
            self._fail(study, f"Ray at {jobs.address} has lost its job {study.job}; was the cluster started anew?")
        elif status in ("FAILED", "STOPPED", "SUCCEEDED"):
            if status == "FAILED" and jobs.exit_code(study.job) == LEASE_HELD and self._is_driven(study.name):
                return  # another driver is at it, such as that of `hpo run`
            # The driver writes the study's end before it ends itself, and a final state stays: no race.
            self._fail(study, _why(study.job, status, jobs))

    def _is_driven(self, study: str) -> bool:
        """Whether a driver holds the study's lease."""
        try:
            self._store.release(self._store.claim(study, holder="controller", lease_seconds=1))
        except LeaseHeldError:
            return True
        return False

    def _fail(self, study: Study, message: str) -> None:
        after = self._store.set_study_state(study.name, StudyState.FAILED, message=message)
        if after.message == message:
            log.warning("study %s failed: %s", study.name, message)


def _why(job: str, status: str, jobs: JobsApi) -> str:
    lines = [line for line in jobs.logs(job).splitlines() if line.strip()][-LOG_LINES:]
    said = jobs.message(job).strip() or "it has left no log"
    if lines:
        said = "\n".join(["its log ends:", *lines])
    return f"job {job} has ended ({status.lower()}) before the study did; {said}"[:4000]
