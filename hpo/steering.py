"""What people ask of a study while it runs: verbs, and what they do to a study that no driver holds.

A command is a line of the study's history, `command.requested`, written in the transaction that checks it. What only a
driver can do waits there until the driver has done it, which it says with `command.done` in the very write that has
the effects: a command takes effect once, whoever is killed in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hpo.errors import InvalidSpecError, Problem
from hpo.spec import StudySpec, suggest
from hpo.specfile import parse, to_data
from hpo.trial import Event, StudyState

REQUESTED, DONE = "command.requested", "command.done"
ENQUEUED, DROPPED = "trial.enqueued", "trial.dropped"


class Verb(StrEnum):
    """What may be asked."""

    PAUSE = "pause"
    """Give all workers back; trials go on from their checkpoints after `resume`."""
    RESUME = "resume"
    STOP = "stop"
    """End the study early and keep its result: it has succeeded."""
    CANCEL = "cancel"
    CHANGE = "change"
    """data: {"changes": {field: value}}, fields of CHANGEABLE."""
    STOP_TRIAL = "stop_trial"
    """data: {"trial": number}."""
    ENQUEUE = "enqueue"
    """Try these configurations next. data: {"params": [configuration], "retry_of": [number or None]}."""


ENDINGS = (Verb.PAUSE, Verb.STOP, Verb.CANCEL)
"""After these the study trains no more, for the time being or for good."""
PAST = {Verb.PAUSE: "paused", Verb.STOP: "stopped", Verb.CANCEL: "cancelled"}
"""What a study is then, in a message: `paused by anna`."""
CHANGEABLE = ("budget.trials", "budget.total_steps", "budget.wall_seconds", "concurrency", "priority", "labels")
"""What may change while a study runs: nothing that says what was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One request. Its id is that of its line in the study's history; 0 until it is stored."""

    study: str
    verb: Verb
    data: Mapping[str, Any] = field(default_factory=dict)
    who: str
    requested_at: float
    id: int = 0

    def event(self) -> Event:
        """Its line in the history."""
        data = {"verb": self.verb.value, "who": self.who, **self.data}
        return Event(
            study=self.study, kind=REQUESTED, trial=self.data.get("trial"), data=data, recorded_at=self.requested_at
        )

    def done(self, outcome: str, now: float) -> Event:
        """The line that says what became of it."""
        data = {"command": self.id, "verb": self.verb.value, "who": self.who, "outcome": outcome}
        return Event(study=self.study, kind=DONE, trial=self.data.get("trial"), data=data, recorded_at=now)

    @staticmethod
    def of(event: Event) -> Command:
        """The command of a line."""
        data: dict[str, Any] = dict(event.data)
        verb, who = Verb(data.pop("verb")), str(data.pop("who"))
        return Command(study=event.study, verb=verb, who=who, data=data, requested_at=event.recorded_at, id=event.id)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """An Idempotency-Key and what was sent with it: the same once more gets the first answer, another is refused."""

    key: str
    digest: str


def end_state(verb: Verb, *, has_value: bool) -> StudyState:
    """What a study becomes by PAUSE, STOP or CANCEL; `has_value` if any trial has reported the objective."""
    if verb is Verb.PAUSE:
        return StudyState.PAUSED
    return StudyState.SUCCEEDED if verb is Verb.STOP and has_value else StudyState.CANCELLED


def original(spec: StudySpec, commands: Sequence[Command]) -> StudySpec:
    """The specification that a study began with, given all commands to it."""
    first: dict[str, Any] = {}
    for command in commands:
        if command.verb is Verb.CHANGE:
            first = {**command.data["was"], **first}
    return changed(spec, first) if first else spec


def changed(spec: StudySpec, changes: Mapping[str, Any]) -> StudySpec:
    """The specification with other values of fields of CHANGEABLE; None takes one back to its default.

    Raises InvalidSpecError, with pointers into the specification.
    """
    faults = [
        Problem(
            "/" + name.replace(".", "/"), f"{name} can't change while a study runs; {', '.join(CHANGEABLE)} can",
            suggest(name, CHANGEABLE) or "fork the study to have it otherwise",
        )
        for name in changes
        if name not in CHANGEABLE
    ]  # fmt: skip
    if faults:
        raise InvalidSpecError(faults)
    data = to_data(spec)
    for name, value in changes.items():
        *tables, key = name.split(".")
        table = data
        for each in tables:
            table = table.setdefault(each, {})
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return parse(data)


def values_of(spec: StudySpec, names: Mapping[str, Any]) -> dict[str, Any]:
    """What the specification says of these fields of CHANGEABLE; None where it says nothing."""
    data = to_data(spec)
    return {
        name: (
            data.get("budget", {}).get(name.removeprefix("budget.")) if name.startswith("budget.") else data.get(name)
        )
        for name in names
    }
