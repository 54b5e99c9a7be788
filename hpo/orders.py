"""What people asked of a study while it runs, as the ledger carries it out: a part of it.

The effects of a command and its `command.done` go into one write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.steering import ENQUEUED, PAST, Command, Verb, changed
from hpo.trial import Event, Params

if TYPE_CHECKING:
    from hpo.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the study pauses or ends before its budget is used up."""

    verb: Verb
    message: str
    command: Command | None = None
    """None where nobody asked for it."""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A configuration that waits for a worker group."""

    params: Params
    retry_of: int | None = None
    """The trial whose configuration it is."""


class Orders:
    """Carries out commands. What the engine must do besides is told to `on_stop` and `on_change`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.enqueued: deque[Enqueued] = deque()
        self.ending: Ending | None = None
        self._is_abandoned = False
        self.on_stop: Callable[[int], None] = lambda trial: None
        self.on_change: Callable[[], None] = lambda: None

    def obey(self, command: Command) -> None:
        """Do what was asked."""
        ledger = self._ledger
        match command.verb:
            case Verb.PAUSE | Verb.STOP | Verb.CANCEL:
                # It is done when the study's new state is written.
                self.end(Ending(command.verb, f"{PAST[command.verb]} by {command.who}", command))
            case Verb.CHANGE:
                self.change(command.data["changes"], self._done(command, "the study runs by it"), who=command.who)
                self.on_change()
            case Verb.STOP_TRIAL:
                self._stop_trial(command)
            case Verb.ENQUEUE:
                olds = command.data.get("retry_of") or [None] * len(command.data["params"])
                self._enqueue(
                    command,
                    [Enqueued(params, old) for params, old in zip(command.data["params"], olds, strict=True)],
                )
            case Verb.RESUME:
                ledger.write([self._done(command, "it was not paused")])

    def end(self, ending: Ending) -> None:
        """Nothing more is trained from here on; the first reason counts."""
        if not self._ledger.progress.is_over:
            self.ending = ending
            self._ledger.progress.finish_reason = ending.message

    def await_storage(self, number: int, why: str) -> None:
        """A trial couldn't store its checkpoint, or read one. The others would fail the same way: all of them wait."""
        self._ledger.preempt(number)
        self.end(Ending(Verb.PAUSE, f"trial {number}: {why}"))

    def abandon(self, why: str) -> None:
        """This driver can't go on, but another one can: nothing of the study is ended."""
        self._is_abandoned = True
        self._ledger.progress.error = self._ledger.progress.error or why

    @property
    def is_pausing(self) -> bool:
        """Whether the study waits for `resume` from now on."""
        return self.ending is not None and self.ending.verb is Verb.PAUSE

    @property
    def keeps_trials(self) -> bool:
        """Whether the trials go on some other time, and so must not be ended."""
        return self.is_pausing or self._is_abandoned

    def change(self, changes: Mapping[str, Any], *rows: Event, who: str = "") -> None:
        """The study runs by other values from here on."""
        ledger = self._ledger
        ledger.spec = changed(ledger.spec, changes)
        ledger.progress.budget = ledger.spec.budget
        ledger.write([ledger.event("study.changed", None, changes=dict(changes), who=who), *rows])
        ledger.progress.check_budget()

    def _enqueue(self, command: Command, added: Sequence[Enqueued]) -> None:
        """Configurations that come before all that is proposed. There was room for them when they were asked for; where
        the search has used it up since, they wait until the budget is raised, or are dropped when the study ends."""
        self.enqueued.extend(added)
        budget = self._ledger.spec.budget.trials
        outcome = f"{len(added)} configurations wait for workers"
        without = min(len(added), len(self.enqueued) - max(0, budget - self._ledger.next_number))
        if without > 0:
            outcome += (
                f"; {without} of them are beyond budget.trials, which is {budget}: raise it before the study ends, "
                "or they are dropped"
            )
        self._ledger.write([*(self._line(each) for each in added), self._done(command, outcome)])

    def _line(self, enqueued: Enqueued) -> Event:
        return self._ledger.event(ENQUEUED, None, params=dict(enqueued.params), retry_of=enqueued.retry_of)

    def _stop_trial(self, command: Command) -> None:
        ledger, number = self._ledger, int(command.data["trial"])
        if number not in ledger.trials:
            ledger.write([self._done(command, "the trial had ended before")])
            return
        self.on_stop(number)
        ledger.stop(number, f"stopped by {command.who}", self._done(command, "the trial is stopped"))

    def _done(self, command: Command, outcome: str) -> Event:
        return command.done(outcome, self._ledger.clock())
