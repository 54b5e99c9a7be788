"""How a study moves on: pure functions from the study as it is to the study as it shall be, with its events.

Both stores call them under the study's lock, so that they can't differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hpo.spec import StudySpec
from hpo.store.rows import clean
from hpo.trial import Event, Study, StudyState, TrialState, Waiting


def created(
    spec: StudySpec, project: str, who: str | None, package: str | None, queued: bool, now: float
) -> tuple[Study, Event]:
    state = StudyState.QUEUED if queued else StudyState.STARTING
    study = Study(name=spec.name, spec=spec, project=project, state=state, package=package, created_at=now)
    data = {} if who is None else {"who": clean(who)}
    return study, Event(study=spec.name, kind="study.created", data=data, recorded_at=now)


def moved(
    study: Study, state: StudyState, *, message: str | None, job: str | None, now: float
) -> tuple[Study, Event | None]:
    """The study in its new state. The very same object if nothing changes; an event if the state does."""
    if study.state.is_final:
        return study, None
    after = replace(
        study,
        state=StudyState(state),
        message=study.message if message is None else clean(message),
        job=study.job if job is None else job,
    )
    if after == study:
        return study, None
    if after.state is study.state:
        return replace(after, version=study.version + 1), None
    if after.state is StudyState.PAUSED or after.state.is_final:
        after = replace(after, share=None, waiting=None)
    after = replace(
        after,
        version=study.version + 1,
        started_at=now if after.state is StudyState.RUNNING and study.started_at is None else study.started_at,
        ended_at=now if after.state.is_final else None,
    )
    data = {} if message is None else {"message": after.message}
    return after, Event(study=study.name, kind=f"study.{after.state}", data=data, recorded_at=now)


def allotted(study: Study, share: int | None, waiting: Waiting | None, now: float) -> tuple[Study, Event | None]:
    """The study with another share, or another thing that it waits for. Its version stays: nobody has changed what it
    is to do. An event where it comes to wait, or waits for something of another kind."""
    if study.state is StudyState.PAUSED or study.state.is_final:
        return study, None
    waiting = replace(waiting, message=clean(waiting.message)) if waiting else None
    after = replace(study, share=share, waiting=waiting)
    if waiting is None or (study.waiting and study.waiting.reason is waiting.reason):
        return after, None
    data = {"reason": waiting.reason.value, "message": waiting.message}
    return after, Event(study=study.name, kind="study.waiting", data=data, recorded_at=now)


def attempted(study: Study, job_prefix: str, now: float) -> tuple[Study, Event | None]:
    """The study with one more driver. A final study stays as it is: a cancelled one doesn't come back to life; and
    so does a paused one."""
    if study.state.is_final or study.state is StudyState.PAUSED:
        return study, None
    attempt = study.attempt + 1
    after = replace(
        study,
        attempt=attempt,
        job=f"{job_prefix}-{attempt}",
        state=StudyState.STARTING,
        version=study.version + 1,
    )
    data = {"attempt": attempt, "job": after.job}
    return after, Event(study=study.name, kind="job.submitted", data=data, recorded_at=now)


def left_open(before: Study, after: Study) -> tuple[tuple[TrialState, ...], dict[str, Any]]:
    """The states in which a driver that is gone may have left trials of a study that pauses or ends, and the columns
    that they get: they pause or stop with it. A driver that is there has written so itself."""
    if after.state is before.state:
        return (), {}
    if after.state is StudyState.PAUSED:
        return (TrialState.PENDING, TrialState.RUNNING), {"state": TrialState.PAUSED.value}
    if after.state.is_final:
        message = after.message or f"the study is {after.state}"
        ended = {"state": TrialState.STOPPED.value, "message": message, "ended_at": after.ended_at}
        return (TrialState.PENDING, TrialState.RUNNING, TrialState.PAUSED), ended
    return (), {}
