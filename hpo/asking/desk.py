"""Where workers of the user's own turn to: finds or opens the keeper of their study, and answers for those without."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hpo.asking.answers import Answer, Suggestion
from hpo.asking.keeper import Keeper
from hpo.errors import HpoError, LeaseHeldError, LeaseLostError, StudyBusyError, StudyStateError
from hpo.protocols import MAX_PAGE_SIZE, Store
from hpo.trial import Action, Decision, FailureCause, Metrics, Study, StudyState, TrialState

T = TypeVar("T")
log = logging.getLogger(__name__)

LEASE_SECONDS = 10.0
"""How long a study stays this process's without a sign of life: so long its workers wait when the process is killed."""
OPENED_AT_ONCE = 8
TICK_SECONDS = 0.5
"""How often commands are looked for, and silent workers."""
IDLE_SECONDS = 600.0
"""A study that nobody asks about for so long, and of which no worker holds a trial, leaves the memory."""


@dataclass(frozen=True, slots=True)
class Suggested:
    """What a worker gets when it asks."""

    trials: Sequence[Suggestion]
    study: StudyState
    message: str | None = None
    """Why there is nothing, where the study is paused or has ended."""


class Desk:
    """Thread-safe. `start` it, and `close` it in the end; what it holds then goes on wherever it is asked for next."""

    def __init__(
        self,
        store: Store,
        *,
        lease_seconds: float = LEASE_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._clock = store, clock
        self._lease_seconds, self._idle_seconds = lease_seconds, idle_seconds
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._keepers: dict[str, Keeper] = {}
        self._guard = threading.Lock()
        self._opening = [threading.Lock() for _ in range(OPENED_AT_ONCE)]
        """One study is claimed once at a time, by its name; most others needn't wait for it."""
        self._renew_at = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="hpo-desk", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give all studies back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        for keeper in list(self._keepers.values()):
            self._drop(keeper)

    # -- what workers say (see Keeper) --------------------------------------------------------------------
    def suggest(self, study: str, client_id: str, *, count: int, lease_seconds: float) -> Suggested:
        def ask(keeper: Keeper) -> Suggested | None:
            found = keeper.suggest(client_id, count=count, lease_seconds=lease_seconds)
            # Nothing, and the keeper has left: the study has just ended, which is to be said.
            return Suggested(found, StudyState.RUNNING) if found or not keeper.is_over else None

        return self._at(study, ask, lambda left: Suggested((), left.state, left.message))

    def report(
        self,
        study: str,
        number: int,
        lease: str,
        step: int,
        metrics: Metrics,
        *,
        checkpoint: tuple[str, int] | None = None,
    ) -> Answer:
        return self._of_trial(
            study, number, lambda keeper: keeper.report(number, lease, step, metrics, checkpoint=checkpoint)
        )

    def renew(self, study: str, number: int, lease: str) -> Answer:
        return self._of_trial(study, number, lambda keeper: keeper.renew(number, lease))

    def complete(
        self, study: str, number: int, lease: str, *, cause: FailureCause | None = None, message: str = ""
    ) -> Answer:
        return self._of_trial(
            study, number, lambda keeper: keeper.complete(number, lease, cause=cause, message=message)
        )

    def release(self, study: str, number: int, lease: str, *, message: str = "") -> Answer:
        return self._of_trial(study, number, lambda keeper: keeper.release(number, lease, message=message))

    def _of_trial(self, study: str, number: int, ask: Callable[[Keeper], Answer]) -> Answer:
        return self._at(study, ask, lambda left: self._answer_without(left, number))

    def _answer_without(self, study: Study, number: int) -> Answer:
        """What a worker does whose study is paused or has ended. Raises TrialNotFoundError."""
        trial = self._store.trial(study.name, number)
        if not trial.state.is_final:
            return Answer(action=Action.PAUSE, reason=study.message or f"the study is {study.state}")
        last = self._last_decision(study.name, number)
        if last is not None and last.action in (Action.STOP, Action.COMPLETE):
            return Answer(action=last.action, reason=last.reason)  # as it was answered to the trial's last report
        action = Action.COMPLETE if trial.state is TrialState.COMPLETED else Action.STOP
        return Answer(action=action, reason=trial.message or "")

    def _last_decision(self, study: str, number: int) -> Decision | None:
        last, token = None, None
        while True:
            page = self._store.decisions(study, trial=number, page_size=MAX_PAGE_SIZE, page_token=token)
            last, token = (page.items[-1] if page.items else last), page.next_page_token
            if token is None:
                return last

    # -- keepers ------------------------------------------------------------------------------------------
    def _at(self, name: str, ask: Callable[[Keeper], T | None], without: Callable[[Study], T]) -> T:
        """What the study's keeper answers; or, where it is paused or has ended, what is said `without` one.

        Raises StudyStateError for a study on Ray, and StudyBusyError while another process keeps it.
        """
        for _ in range(3):
            keeper = self._keepers.get(name)
            if keeper is None or keeper.is_over:
                study = self._store.study(name)
                if study.spec.engine != "ask":
                    raise StudyStateError(
                        f"study {name!r} is trained on Ray (engine = 'ray'), so it takes no workers of your own; "
                        'submit one with engine = "ask"'
                    )
                if study.state.is_final or study.state is StudyState.PAUSED:
                    return without(study)
                keeper = self._opened(name)
            try:
                keeper.open()
                if not keeper.is_over and (answer := ask(keeper)) is not None:
                    return answer
            except LeaseLostError:
                continue  # whoever keeps it now is found below
            except StudyBusyError:
                if not keeper.is_over:
                    raise
        raise StudyBusyError(f"study {name!r} changes hands; retry in a moment")

    def _opened(self, name: str) -> Keeper:
        """The study's keeper, claimed but not yet opened. Raises StudyBusyError."""
        with self._opening[hash(name) % len(self._opening)]:
            keeper = self._keepers.get(name)
            if keeper is not None and not keeper.is_over:
                return keeper
            try:
                keeper = Keeper(
                    self._store, name, holder=self._holder, lease_seconds=self._lease_seconds, clock=self._clock
                )
            except LeaseHeldError as error:
                raise StudyBusyError(f"{error}; its workers are answered by that process") from None
            with self._guard:
                self._keepers[name] = keeper
            return keeper

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            self.tick()

    def tick(self) -> None:
        """What goes by itself, once for every study that is kept here."""
        keepers = list(self._keepers.values())
        try:
            commanded = self._store.commanded(self._holder) if keepers else ()
        except HpoError as error:
            log.warning("commands wait: %s", error)
            commanded = ()
        for keeper in keepers:
            # Between any two, for one that waits for its turn takes seconds.
            self._renew(keepers)
            try:
                keeper.tick(commanded=keeper.study in commanded)
                idle = self._clock() - keeper.asked_at > self._idle_seconds and not keeper.assignments.open
                if keeper.is_over or idle:
                    self._drop(keeper)
            except StudyBusyError:
                pass  # the next time
            except HpoError as error:
                log.warning("study %s: %s", keeper.study, error)
            except Exception:
                log.exception("study %s", keeper.study)

    def _renew(self, keepers: Sequence[Keeper]) -> None:
        """Renew the leases that are due, in one statement: one by one, some hundreds take longer than they last."""
        asked_at = time.monotonic()
        if asked_at < self._renew_at:
            return
        self._renew_at = asked_at + self._lease_seconds / 6
        due = [keeper for keeper in keepers if keeper.held.is_due and not keeper.is_over]
        leases = [keeper.held.lease for keeper in due]
        try:
            renewed = self._store.renew_all(leases, lease_seconds=self._lease_seconds)
        except HpoError as error:
            log.warning("%d leases wait to be renewed: %s", len(due), error)
            return
        by_token = {lease.token: lease for lease in renewed}
        for keeper, lease in zip(due, leases, strict=True):
            if lease.token in by_token:
                keeper.held.renewed(by_token[lease.token], asked_at)
            else:
                keeper.lose()

    def _drop(self, keeper: Keeper) -> None:
        with self._guard:
            if self._keepers.get(keeper.study) is keeper:
                del self._keepers[keeper.study]
        with contextlib.suppress(HpoError):  # else another claims it when the lease has run out
            keeper.close()
