"""What a command does to a study in the store: pure functions, which both stores call under the study's lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo import compatibility
from hpo.errors import InvalidSpecError, StudyStateError
from hpo.spec import RaySchedule, StudySpec
from hpo.steering import (
    DONE,
    DROPPED,
    ENDINGS,
    ENQUEUED,
    PAST,
    REQUESTED,
    Command,
    Verb,
    changed,
    end_state,
    values_of,
)
from hpo.store.transitions import moved
from hpo.trial import Event, Study, StudyState, TrialState

CREATED = "trial.created"
LEFT = (REQUESTED, DONE, ENQUEUED, CREATED)
"""The kinds of lines that say what is still to be done."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What else counts beside the study itself."""

    is_driven: bool
    """Whether a driver holds it."""
    has_value: bool
    """Whether a trial has reported the objective."""
    num_trials: int
    waiting: Sequence[Command]
    num_enqueued: int = 0
    """Configurations that the driver has taken and not begun yet; counted for ENQUEUE only."""
    trial: TrialState | None = None
    """How the trial stands that the command is about, if it is about one that is recorded."""


def steered(study: Study, command: Command, standing: Standing) -> tuple[Study, list[Event]]:
    """The study after a command, and the events to write, the command's own first. What only the driver can do waits:
    its line has no `command.done` yet. Nothing is written where the study is already as it is asked to be.

    Raises StudyStateError, and InvalidSpecError for a change that breaks a rule, or that the searcher or the scheduler
    can't honour.
    """
    if study.state.is_final:
        raise StudyStateError(
            f"study {study.name!r} has ended ({study.state}), so it can't {_WORDS[command.verb]}; "
            f"fork it to go on from what it found"
        )
    if isinstance(study.spec.scheduler, RaySchedule):
        _check_foreign(study, command)
    match command.verb:
        case Verb.PAUSE | Verb.STOP | Verb.CANCEL:
            return _ended(study, command, standing)
        case Verb.RESUME:
            return _resumed(study, command, standing)
        case Verb.CHANGE:
            return _changed(study, command, standing)
        case Verb.STOP_TRIAL:
            _check_live(study, command, standing)
        case Verb.ENQUEUE:
            _check_enqueued(study, command, standing)
    return study, [command.event()]


def commands(events: Sequence[Event], *, done: bool) -> list[Command]:
    """The commands among a study's lines (REQUESTED and DONE, in their order): all, or those that are not done."""
    if done:
        return [Command.of(event) for event in events if event.kind == REQUESTED]
    finished = {event.data.get("command") for event in events if event.kind == DONE}
    asked = [event for event in events if event.kind == REQUESTED and not event.data.get("done")]
    return [Command.of(event) for event in asked if event.id not in finished]


def num_enqueued(events: Sequence[Event]) -> int:
    """How many configurations wait with the driver, by a study's lines (at least those of LEFT)."""
    return sum(event.kind == ENQUEUED for event in events) - _num_begun(events)


def left_behind(after: Study, events: Sequence[Event], now: float, *, done: Command | None = None) -> list[Event]:
    """What a study that ends leaves undone, by its lines (at least those of LEFT): a line for each configuration that
    is never tried, and for each command that no driver has heard of; `done` is the one that it ends by."""
    waiting = [each for each in commands(events, done=False) if done is None or each.id != done.id]
    dropped = [dict(event.data) for event in events if event.kind == ENQUEUED][_num_begun(events) :]
    for command in waiting:
        if command.verb is Verb.ENQUEUE:
            dropped += _asked_for(command.data)
    message = f"the study has ended ({after.state}) before its turn came"
    return [
        *(
            Event(study=after.name, kind=DROPPED, data={**each, "message": message}, recorded_at=now)
            for each in dropped
        ),
        *(each.done(f"nothing: the study has ended ({after.state})", now) for each in waiting),
    ]


def _num_begun(events: Sequence[Event]) -> int:
    return sum(event.kind == CREATED and bool(event.data.get("enqueued")) for event in events)


def _asked_for(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The configurations of a command."""
    olds = data.get("retry_of") or [None] * len(data["params"])
    return [{"params": params, "retry_of": old} for params, old in zip(data["params"], olds, strict=True)]


_WORDS = {
    Verb.PAUSE: "pause", Verb.RESUME: "resume", Verb.STOP: "be stopped", Verb.CANCEL: "be cancelled",
    Verb.CHANGE: "change", Verb.STOP_TRIAL: "stop a trial", Verb.ENQUEUE: "take more configurations",
}  # fmt: skip


def _check_foreign(study: Study, command: Command) -> None:
    """Ray Tune's own schedulers choose the trials, and know how many there are."""
    changes = command.data.get("changes", {})
    fixed = [name for name in ("concurrency", "budget.trials") if name in changes]
    if fixed or command.verb is Verb.ENQUEUE:
        what = f"change {' and '.join(fixed)}" if fixed else "take more configurations"
        raise StudyStateError(
            f"study {study.name!r} runs under {study.spec.scheduler.algorithm}, which can't {what} on the way; "
            "fork it under a scheduler of ours"
        )


def _ended(study: Study, command: Command, standing: Standing) -> tuple[Study, list[Event]]:
    if command.verb is Verb.PAUSE and study.state is StudyState.PAUSED:
        return study, []
    # The driver of a paused study is about to leave, and does nothing more.
    if standing.is_driven and study.state is not StudyState.PAUSED:
        waits = any(each.verb is command.verb for each in standing.waiting)
        return study, [] if waits else [command.event()]
    state = end_state(command.verb, has_value=standing.has_value)
    after, lines = _at_once(study, command, state, f"{PAST[command.verb]} by {command.who}")
    # Those that a dead driver has left undone: a pause would keep the study from being resumed.
    if after.state.is_final:
        return after, lines  # which leaves all else behind
    return after, [
        *lines,
        *(each.done("done", command.requested_at) for each in standing.waiting if each.verb in ENDINGS),
    ]


def _resumed(study: Study, command: Command, standing: Standing) -> tuple[Study, list[Event]]:
    if any(each.verb is Verb.PAUSE for each in standing.waiting):
        raise StudyStateError(
            f"study {study.name!r} is about to pause, and only what is paused resumes; retry in a moment"
        )
    if study.state is not StudyState.PAUSED:
        return study, []
    return _at_once(study, command, StudyState.QUEUED, f"resumed by {command.who}")


def _at_once(study: Study, command: Command, state: StudyState, message: str) -> tuple[Study, list[Event]]:
    """No driver need do it: the command is done as it is written."""
    after, event = moved(study, state, message=message, job=None, now=command.requested_at)
    line = replace(command.event(), data={**command.event().data, "done": True})
    return after, [line, *([event] if event else [])]


def _changed(study: Study, command: Command, standing: Standing) -> tuple[Study, list[Event]]:
    changes: Mapping[str, Any] = command.data["changes"]
    spec = changed(study.spec, changes)
    if "budget.trials" in changes:
        _check_room(study, spec.budget.trials, standing.num_trials)
    _check_compatible(study.spec, spec, changes)
    if spec == study.spec:
        return study, []
    after = replace(study, spec=spec, version=study.version + 1)
    data = {"changes": values_of(spec, changes), "was": values_of(study.spec, changes)}
    return after, [replace(command, data=data).event()]


def _check_compatible(before: StudySpec, after: StudySpec, changes: Mapping[str, Any]) -> None:
    """Raises InvalidSpecError for what the searcher or the scheduler can't honour any more, at what was changed."""
    known = set(compatibility.problems(before))
    pointers = ["/" + name.replace(".", "/") for name in changes]
    found = [
        each if each.pointer in pointers else replace(each, pointer=pointers[0] if len(pointers) == 1 else "")
        for each in compatibility.problems(after)
        if each not in known
    ]
    if found:
        raise InvalidSpecError(found)


def _check_room(study: Study, trials: int, begun: int) -> None:
    if trials < begun:
        raise StudyStateError(
            f"budget.trials is {trials}, but study {study.name!r} has begun {begun} trials, which can't be undone; "
            f"give at least {begun}, or stop the study"
        )


def _check_live(study: Study, command: Command, standing: Standing) -> None:
    if standing.trial is not None and standing.trial.is_final:
        raise StudyStateError(
            f"trial {command.data['trial']} of study {study.name!r} has ended ({standing.trial}); "
            "only a live one can be stopped"
        )


def _check_enqueued(study: Study, command: Command, standing: Standing) -> None:
    """Raises StudyStateError where the budget has no room for so many more trials."""
    asked = sum(len(each.data["params"]) for each in standing.waiting if each.verb is Verb.ENQUEUE)
    taken, count = standing.num_trials + standing.num_enqueued + asked, len(command.data["params"])
    if taken + count > study.spec.budget.trials:
        raise StudyStateError(
            f"{taken} trials have begun or wait, and {count} more are over budget.trials, which is "
            f"{study.spec.budget.trials}; raise it first (PATCH /v1/studies/{study.name}, `hpo change`)"
        )
