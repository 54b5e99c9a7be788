"""Studies that don't go on, and Ray jobs that nobody needs any more."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping

from api.doctor.check import Check, listed
from api.schemas.service import ReadyAnswer
from hpo.census import Census, OpenStudy
from hpo.durations import duration
from hpo.errors import StudyNotFoundError
from hpo.protocols import Store
from hpo.trial import StudyState, WaitReason

START_SECONDS = 120.0
"""A job that takes longer to claim its study is stuck: Ray itself takes up to half a minute."""
SILENT_SECONDS = 60.0
"""A lease is renewed every ten seconds; what has run out for so long is nobody's."""
QUEUE_SECONDS = 300.0
ENDING_SECONDS = 60.0
"""How long a driver may take to end after its study has ended."""
_JOB = re.compile(r"hpo-(?P<study>.+)-\d+")
_LOG = 'ray job logs JOB (after eval "$(hpo env)") says why'


def check(store: Store, ready: ReadyAnswer | None, jobs: Mapping[str, str] | None) -> Iterator[Check]:
    """`ready` is what the service says, None where it doesn't answer; `jobs` are Ray's, None where it doesn't."""
    census = store.census()
    yield _driven(store, census, jobs)
    yield _queue(census, ready)
    if jobs is not None:
        yield _stray_jobs(store, census, jobs)


def _driven(store: Store, census: Census, jobs: Mapping[str, str] | None) -> Check:
    at_work = [study for study in census.open if study.state in (StudyState.STARTING, StudyState.RUNNING)]
    dead = [study for study in at_work if _is_abandoned(study)]
    if not dead:
        return Check("leases", True, f"{len(at_work)} studies at work, none without its driver")
    told = [f"{study.name} ({_standing(store, study, jobs)})" for study in dead]
    return Check(
        "leases", False, f"{len(dead)} of {len(at_work)} studies at work have no driver: {listed(told)}",
        f"{_LOG}; a service at work takes care of them: hpo up, or hpo down --keep-cluster and hpo up if it is stuck",
    )  # fmt: skip


def _is_abandoned(study: OpenStudy) -> bool:
    if not study.needs_driver:
        return False
    if study.state is StudyState.STARTING:
        return study.state_seconds > START_SECONDS
    return _silent_seconds(study) > SILENT_SECONDS


def _silent_seconds(study: OpenStudy) -> float:
    """For how long a running study without a live lease has had none, as far as the store knows."""
    if study.lease_seconds is not None:
        return -study.lease_seconds
    return min(study.quiet_seconds, study.state_seconds)


def _standing(store: Store, study: OpenStudy, jobs: Mapping[str, str] | None) -> str:
    if study.state is StudyState.STARTING:
        said = f"starting for {duration(study.state_seconds)}"
    else:
        said = f"running, without a lease for {duration(_silent_seconds(study))}"
    try:
        job = store.study(study.name).job
    except StudyNotFoundError:  # deleted meanwhile
        return said
    if job is None:
        return f"{said}, run by hpo run"
    return f"{said}, job {job}" + ("" if jobs is None else f" is {jobs.get(job, 'unknown to Ray')}")


def _queue(census: Census, ready: ReadyAnswer | None) -> Check:
    queued, fault = census.queued, _fault(ready)
    # Nobody is to blame for a study that waits for its turn, as long as somebody sees to it that it comes.
    patient = [study for study in queued if not fault and _has_turn(study)]
    late = [study for study in queued if study not in patient and study.state_seconds > QUEUE_SECONDS]
    if not late:
        return Check("queue", True, f"{len(queued)} studies queued, {len(patient)} of them for their turn")
    oldest = max(late, key=lambda study: study.state_seconds)
    why, remedy = fault or _refusal(oldest)
    found = f"{len(queued)} studies queued; {oldest.name} has waited for {duration(oldest.state_seconds)}: {why}"
    return Check("queue", False, found, remedy)


def _has_turn(study: OpenStudy) -> bool:
    return study.waiting is not None and study.waiting.reason is not WaitReason.TOO_LARGE


def _refusal(study: OpenStudy) -> tuple[str, str]:
    """Why a study isn't taken off the queue, and the remedy."""
    if study.waiting is not None:
        return study.waiting.message, "fork it with less under [resources], or add nodes"
    return "the controller and Ray answer, so it is refused", "the service's log says why"


def _fault(ready: ReadyAnswer | None) -> tuple[str, str] | None:
    """Why nobody takes any study off the queue, and the remedy."""
    if ready is None:
        return "the service doesn't answer, so there is no controller", "hpo up"
    controller, ray = ready.parts.get("controller"), ready.parts.get("ray")
    if controller is None:
        return "the service has no controller", "hpo down --keep-cluster, then hpo up"
    if not controller.ok:
        return f"the controller is {controller.detail}", "hpo down --keep-cluster, then hpo up"
    if ray is not None and not ray.ok:
        return f"Ray doesn't take jobs: {ray.detail}", "hpo up, or correct HPO_RAY_ADDRESS"
    return None


def _stray_jobs(store: Store, census: Census, jobs: Mapping[str, str]) -> Check:
    at_work = {job for job, status in jobs.items() if status in ("PENDING", "RUNNING") and _JOB.fullmatch(job)}
    stray = sorted(job for job in at_work if not _is_wanted(store, job))
    if not stray:
        return Check("jobs", True, f"{len(at_work)} at work on Ray, each for a study")
    return Check(
        "jobs", False, f"{len(stray)} Ray jobs run for no study that is at work: {listed(stray)}",
        "ray job stop JOB (after eval \"$(hpo env)\"), unless another service shares the cluster and they are its",
    )  # fmt: skip


def _is_wanted(store: Store, job: str) -> bool:
    """Whether a job is that of a study at work, or of one that has only just ended."""
    match = _JOB.fullmatch(job)
    assert match is not None  # the caller has seen to it
    try:
        study = store.study(match["study"])
    except StudyNotFoundError:
        return False
    if study.job != job:
        return False
    return study.ended_at is None or time.time() - study.ended_at < ENDING_SECONDS
