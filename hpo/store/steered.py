"""What a command does to a study in the store: pure functions, which both stores call under the study's lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo.errors import StudyStateError
from hpo.spec import RaySchedule
from hpo.steering import DONE, ENDINGS, PAST, REQUESTED, Command, Verb, changed, end_state, values_of
from hpo.store.transitions import moved
from hpo.trial import Event, Study, StudyState, TrialState

ENQUEUED, CREATED = "trial.enqueued", "trial.created"


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

    Raises StudyStateError, and InvalidSpecError for a change that breaks a rule.
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
    """How many configurations wait with the driver, by a study's lines (at least those of ENQUEUED, and of CREATED)."""
    begun = sum(event.kind == CREATED and bool(event.data.get("enqueued")) for event in events)
    return sum(event.kind == ENQUEUED for event in events) - begun


def carried_out(command: Command | None, now: float) -> Event | None:
    """The line that says that a command is done, if there is one to speak of."""
    if command is None:
        return None
    data = {"command": command.id, "verb": command.verb.value, "who": command.who, "outcome": "done"}
    return Event(study=command.study, kind=DONE, data=data, recorded_at=now)


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
    left = [carried_out(each, command.requested_at) for each in standing.waiting if each.verb in ENDINGS]
    return after, [*lines, *(line for line in left if line is not None)]


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
    if spec == study.spec:
        return study, []
    after = replace(study, spec=spec, version=study.version + 1)
    data = {"changes": values_of(spec, changes), "was": values_of(study.spec, changes)}
    return after, [replace(command, data=data).event()]


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
