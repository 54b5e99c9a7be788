"""The thread that brings the cluster to what the store says: every study at work has a driver, and none that isn't.

The store is its only memory: what it knows of a study it reads anew each time, so it may be killed at any moment.
One process of all that share a database is the controller (a lease says which); the others stand by.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from api import packages
from api.settings import Settings
from api.shares import Capacity, Shares
from hpo.errors import ClusterError, HpoError, LeaseHeldError, StudyNotFoundError
from hpo.logs import study_context
from hpo.protocols import Store
from hpo.trial import Study, StudyState

log = logging.getLogger("api.controller")

ROLE = "controller"
AT_WORK = (StudyState.QUEUED, StudyState.STARTING, StudyState.RUNNING)

HEARTBEAT_SECONDS = 30.0
"""Without a round for so long, the controller counts as stuck."""
UNCLAIMED_SECONDS = 60.0
"""How long after its creation a study of `hpo run` may be without a driver."""
MAX_REFUSALS = 3
"""Ray answers, but refuses the same job so often: the study has failed."""
MAX_IDLE_ATTEMPTS = 3
"""Drivers that die one after the other without a step recorded: the next would, too."""
LEADER_SECONDS = 10.0
"""How long the controller stays it without a sign of life."""
ORPHAN_SECONDS = 10.0
"""How often jobs that nobody needs are looked for."""
GRACE_SECONDS = 60.0
"""How long the job of a study that has ended may take to end."""
LOG_LINES = 8
CANNOT_RUN, LEASE_HELD = 2, 3
"""The driver's exit codes where the study can't be run, and where another driver holds it (`hpo.driver`)."""


class JobsApi(Capacity, Protocol):
    """What the controller asks of a cluster (`cluster.jobs.Jobs`). All methods raise ClusterError."""

    address: str

    def ping(self) -> str: ...

    def placed(self) -> dict[str, dict[str, float]]: ...

    def submit(
        self, submission_id: str, entrypoint: str, *, env: dict[str, str] | None = None, working_dir: Path | None = None
    ) -> None: ...

    def status(self, submission_id: str) -> str | None: ...

    def statuses(self) -> dict[str, str]: ...

    def stop(self, submission_id: str) -> bool: ...

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
    """Submits queued studies as their turn comes (`api.shares`); starts a new driver where one has
    died, which goes on from what is recorded; and stops jobs that no study needs."""

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
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._leads_until = 0.0
        self._asked_at = 0.0
        self._swept_at = time.monotonic()
        self._idle: dict[str, tuple[int, int]] = {}
        """Steps of a study when its driver last died, and how often it has died since without another step."""
        self._beat = time.monotonic()
        self._ray: tuple[bool, str] = (False, "not asked yet")
        self._refusals: dict[str, int] = {}
        self._shares = Shares(store)

    def start(self) -> None:
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="hpo-controller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        if self._leads:
            with contextlib.suppress(HpoError):  # else another takes over when the lease has run out
                self._store.lead(ROLE, holder=self._holder, lease_seconds=0)
            self._leads_until = 0.0

    def cluster(self) -> JobsApi:
        """The cluster as it is now. Raises ClusterError."""
        return self._connect()

    def health(self) -> Health:
        silent = time.monotonic() - self._beat
        alive = self._thread is not None and self._thread.is_alive()
        if not alive or silent > HEARTBEAT_SECONDS:
            return Health(False, f"silent for {silent:.0f} s; restart the service", *self._ray)
        work = "at work" if self._leads else "stands by: another process is the controller"
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
        # By name: one that moves on in between is found twice.
        studies = list({study.name: study for state in AT_WORK for study in self._studies(state)}.values())
        starting = self._shares.starting(studies, jobs)
        for study in sorted(studies, key=lambda study: (-study.spec.priority, study.created_at)):
            if self._stop.is_set():
                return
            with study_context(study.name):
                try:
                    if study.state is not StudyState.QUEUED:
                        self._watch(study, jobs)
                    elif study.name in starting:
                        self._submit(study, jobs)
                except ClusterError as error:
                    log.warning("study %s: %s", study.name, error)
        if time.monotonic() - self._swept_at > ORPHAN_SECONDS:
            self._stop_orphans(jobs)

    @property
    def _leads(self) -> bool:
        return time.monotonic() < self._leads_until

    def _is_controller(self) -> bool:
        now = time.monotonic()
        if self._leads and now - self._asked_at < LEADER_SECONDS / 4:
            return True
        leads = self._store.lead(ROLE, holder=self._holder, lease_seconds=LEADER_SECONDS)
        self._asked_at = now
        self._leads_until = now + LEADER_SECONDS if leads else 0.0
        return leads

    def _studies(self, state: StudyState) -> Iterator[Study]:
        token: str | None = None
        while True:
            page = self._store.studies(state=state, page_size=100, page_token=token)
            yield from (study for study in page.items if study.spec.engine == "ray")  # the others need no driver
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
        # What was allowed when the study was submitted may not be any more.
        folder = packages.folder_of(self._settings.package_folder, study.package or "")
        rules = self._settings.rules
        if faults := list(rules.faults(study.spec, package=study.package is not None, working_dir=folder)):
            self._fail(study, "\n".join(map(str, faults)))
            return
        if study.package is not None and folder is None:
            self._fail(study, f"its package {study.package} is gone; upload the working folder again")
            return
        try:
            environment = self._settings.job_environment() | {"HPO_JOB": study.job}
            jobs.submit(study.job, self._entrypoint(study.name), env=environment, working_dir=folder)
        except ClusterError as error:
            refusals = self._refusals[study.job] = self._refusals.get(study.job, 0) + 1
            if refusals < MAX_REFUSALS:
                raise
            self._refusals.pop(study.job, None)
            self._fail(study, str(error))
            return
        self._refusals.pop(study.job, None)
        log.info("study %s: job %s submitted", study.name, study.job)

    def _watch(self, study: Study, jobs: JobsApi) -> None:
        if study.job is None:  # run without the service, by `hpo run`, whose driver claims it at once
            if time.time() - study.created_at > UNCLAIMED_SECONDS and not self._is_driven(study.name):
                message = "its driver, an `hpo run`, has ended in mid-study; run it again, or resume it here"
                self._store.set_study_state(study.name, StudyState.PAUSED, message=message)
            return
        status = jobs.status(study.job)
        if status is None and study.state is StudyState.STARTING:
            self._hand_over(study, jobs)  # we were killed in between, or the cluster was started anew
        elif status is None:
            self._drive_anew(study, jobs, f"Ray at {jobs.address} has lost its job {study.job}")
        elif status in ("FAILED", "STOPPED", "SUCCEEDED"):
            code = jobs.exit_code(study.job)
            if status == "FAILED" and code == LEASE_HELD and self._is_driven(study.name):
                return  # another driver is at it, such as that of `hpo run`
            # The driver writes the study's end before it ends itself: what is still at work then was left.
            study = self._store.study(study.name)
            if study.state not in (StudyState.STARTING, StudyState.RUNNING):
                return
            why = _why(study.job or "", status, jobs)
            if status == "FAILED" and code == CANNOT_RUN:
                self._fail(study, why)
            else:
                self._drive_anew(study, jobs, why)

    def _drive_anew(self, study: Study, jobs: JobsApi, why: str) -> None:
        """A study's driver is gone: another one goes on from what is recorded."""
        steps = self._store.counts(study.name).steps
        before, count = self._idle.get(study.name, (-1, 0))
        count = count + 1 if steps == before else 1
        self._idle[study.name] = steps, count
        if count > MAX_IDLE_ATTEMPTS:
            self._fail(study, f"{MAX_IDLE_ATTEMPTS} drivers have died without a step between; of the last one: {why}")
            return
        log.warning("study %s goes on with a new driver: %s", study.name, why)
        self._store.revoke(study.name, holder=study.job or "")
        self._submit(study, jobs)

    def _stop_orphans(self, jobs: JobsApi) -> None:
        """Stop the jobs that no study needs any more. Those of studies that this store doesn't know are another's."""
        self._swept_at = time.monotonic()
        for job, status in jobs.statuses().items():
            name, _, attempt = job.removeprefix("hpo-").rpartition("-")
            if status not in ("PENDING", "RUNNING") or not job.startswith("hpo-") or not attempt.isdigit():
                continue
            try:
                study = self._store.study(name)
            except StudyNotFoundError:
                continue
            ended = study.ended_at is not None and time.time() - study.ended_at > GRACE_SECONDS
            if ended or (study.job != job and int(attempt) < study.attempt):
                log.warning("study %s: job %s is an orphan; it is stopped", name, job)
                jobs.stop(job)

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
