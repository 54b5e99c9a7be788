"""Who holds which trial, under which lease: read off the rows of a study's history, while they are written or later.

An assignment begins with a line `trial.assigned`, and ends with whatever says that the trial pauses, ends or goes to
another. So the process that keeps the study may die at any moment: the next one knows as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpo.errors import TrialLeaseError
from hpo.trial import Action, Decision, Event, Row

ASSIGNED, LOST = "trial.assigned", "trial.requeued"
KEPT = 10_000
"""Assignments that are over and still known, the newest: a worker that repeats a report gets the same answer."""

_ENDS = {
    "trial.paused": Action.PAUSE,
    "trial.stopped": Action.STOP,
    "trial.failed": Action.STOP,
    "trial.retried": Action.STOP,
    "trial.completed": Action.COMPLETE,
}


@dataclass(slots=True)
class Assignment:
    """A trial in a worker's hands, from a suggestion to its pause, its end or its loss."""

    trial: int
    generation: int
    client_id: str
    token: str
    """Fences: whoever has another one, or one that is over, changes nothing."""
    lease_seconds: float
    began_at: float
    expires_at: float
    action: Action = Action.CONTINUE
    """What the worker is told; anything else than CONTINUE once the assignment is over."""
    reason: str = ""
    is_lost: bool = False
    """The trial went to others, for `reason`: this worker speaks for it no more."""

    @property
    def is_open(self) -> bool:
        return self.action is Action.CONTINUE

    def renew(self, now: float) -> None:
        self.expires_at = now + self.lease_seconds


class Assignments:
    """The open ones by trial, and of those that are over the newest. `note` every row, in the order of the history."""

    def __init__(self) -> None:
        self.open: dict[int, Assignment] = {}
        self._known: dict[str, Assignment] = {}
        """By token, the oldest first."""

    def note(self, row: Row) -> None:
        """Read what a row says of assignments."""
        match row:
            case Decision(action=action) if action is not Action.CONTINUE:
                self._end(row.trial, action, row.reason)
            case Event(trial=int(number)) if row.kind == ASSIGNED:
                self._begin(number, row)
            case Event(trial=int(number)) if row.kind == LOST:
                self._end(number, Action.STOP, str(row.data.get("reason", "it was queued again")), is_lost=True)
            case Event(trial=int(number)) if row.kind in _ENDS:
                self._end(number, _ENDS[row.kind], str(row.data.get("message") or row.data.get("reason") or ""))

    def find(self, trial: int, token: str) -> Assignment:
        """The assignment that a worker speaks of. Raises TrialLeaseError for one that isn't known."""
        found = self._known.get(token)
        if found is None or found.trial != trial:
            raise TrialLeaseError(
                f"no lease {token[:40]!r} of trial {trial} is known, and only who holds a trial speaks for it; "
                "leave the trial and ask for another"
            )
        return found

    def held(self, trial: int, token: str) -> Assignment:
        """As `find`; raises TrialLeaseError for one that is lost, too."""
        found = self.find(trial, token)
        if found.is_lost:
            raise TrialLeaseError(
                f"the lease of trial {trial} is over ({found.reason}), and the trial goes on elsewhere; "
                "leave it and ask for another"
            )
        return found

    def renew_all(self, now: float) -> None:
        """Give every holder its time anew: it couldn't reach anyone while nobody kept the study."""
        for each in self.open.values():
            each.renew(now)

    def _begin(self, number: int, row: Event) -> None:
        data: dict[str, Any] = dict(row.data)
        seconds = float(data["lease_seconds"])
        begun = Assignment(
            trial=number,
            generation=data["generation"],
            client_id=data["client_id"],
            token=data["lease"],
            lease_seconds=seconds,
            began_at=row.recorded_at,
            expires_at=row.recorded_at + seconds,
        )
        self.open[number] = self._known[begun.token] = begun

    def _end(self, number: int, action: Action, reason: str, *, is_lost: bool = False) -> None:
        """The trial's open assignment, if any, is over."""
        ended = self.open.pop(number, None)
        if ended is None:
            return
        ended.action, ended.reason, ended.is_lost = action, reason, is_lost
        if len(self._known) - len(self.open) > 2 * KEPT:  # rarely, so that it costs nothing a time
            newest = [each for each in self._known.values() if not each.is_open][-KEPT:]
            self._known = {each.token: each for each in [*self.open.values(), *newest]}
