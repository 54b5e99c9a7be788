"""Keeps one study whose workers ask and tell: its ledger in memory, everything else in the store.

It is to such a study what a driver is to one on Ray: it holds the study's lease, replays the history when it takes the
study over, and carries out commands. Every answer is stored before it is given, so a process that is killed at any
moment owes nobody anything: whoever asks again gets what is recorded.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from hpo import registry
from hpo.asking.answers import Answer, Suggestion
from hpo.asking.assignments import ASSIGNED, Assignment, Assignments
from hpo.asking.held import HeldStudy
from hpo.asking.turns import Turns
from hpo.errors import HpoError, InvalidReportError, LeaseLostError, StudyBusyError
from hpo.ledger import Ledger, Leg
from hpo.protocols import Store
from hpo.replay import history
from hpo.tenure import begin_spec, conclusion, end_as_asked, pause, replayed, taken_over
from hpo.trial import Action, Checkpoint, FailureCause, Metrics, Row, Study, StudyState, trial_seed

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""How long a request waits for its turn: there are fewer threads than workers."""


class Keeper:
    """Thread-safe: its calls take turns, and those that wait share a transaction. Nothing can be asked of it any more
    once it `is_over`: the study has paused or ended, or the store or the lease was lost."""

    def __init__(
        self, store: Store, study: str, *, holder: str, lease_seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        """It holds nothing yet: see `open`."""
        self.study = study
        self.is_over = False
        self.assignments = Assignments()
        self._store, self._clock = store, clock
        self._ledger: Ledger | None = None
        self.held = HeldStudy(store, study, holder=holder, lease_seconds=lease_seconds)
        self.asked_at = clock()
        """When a worker last asked or told something."""
        self._rows: list[Row] = []
        self._dropped: list[str] = []
        """Checkpoints that are needed no more, and whose rows are still to go."""
        self._untold: list[str] = []
        """Those that no worker has heard of yet."""
        self._turns = Turns(self._finish, patience_seconds=PATIENCE_SECONDS)

    # -- taking over and leaving --------------------------------------------------------------------------
    def open(self) -> None:
        """Replay what is recorded, if this hasn't been done. A study that is paused or has ended isn't begun."""
        if self._ledger is None:
            self._turns.take(self._open)

    def _open(self) -> None:
        if self._ledger is not None or self.is_over:
            return
        try:
            self._begin()
        except HpoError:
            self.is_over = True  # half of a history is no state to go on from
            raise

    def _begin(self) -> None:
        study = end_as_asked(self._store, self.held.lease, self._store.study(self.study))
        if study.state.is_final or study.state is StudyState.PAUSED:
            self._leave()
            return
        if study.state is not StudyState.RUNNING:
            study = self._store.set_study_state(self.study, StudyState.RUNNING, message="", lease=self.held.lease)
        self._ledger = self._taken_over(study)
        self._obey(self._ledger)

    def _taken_over(self, study: Study) -> Ledger:
        spec = begin_spec(study, self._store)
        searcher, scheduler = registry.pair(spec)
        ledger = Ledger(
            spec,
            searcher,
            scheduler,
            write=self._write,
            drop_checkpoint=self._drop,
            clock=self._clock,
            started_at=study.started_at,
        )
        replay = replayed(ledger, self._store, self._noted(history(self._store, study.name)))
        if ledger.next_number:
            lost = [n for n, live in ledger.trials.items() if not live.is_paused and n not in self.assignments.open]
            ledger.adopt(lost=lost)
            self.assignments.renew_all(self._clock())
            rows = taken_over(ledger, replay, requeued=lost, assigned=list(self.assignments.open))
            self._write([*rows, *(ledger.trials[number].trial for number in lost)])  # shown as paused, if the study was
            log.info("study %s goes on: %d rows replayed", study.name, replay.num_rows)
        return ledger

    def _noted(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.assignments.note(row)
            yield row

    def close(self) -> None:
        """Give the study back, as it is: its workers go on with whoever keeps it next."""
        self._turns.take(self._leave)

    def _leave(self) -> None:
        if not self.is_over:
            self._forget()
        self.is_over = True
        self.held.release()

    # -- what workers say ---------------------------------------------------------------------------------
    def suggest(self, client_id: str, *, count: int, lease_seconds: float) -> list[Suggestion]:
        """At most `count` trials for a worker: first those that it holds already, then what is next."""

        def make() -> list[Suggestion]:
            ledger = self._asked()
            self._take_back()
            now = self._clock()
            ledger.progress.check_clock(now)
            held = [each for each in self.assignments.open.values() if each.client_id == client_id][:count]
            for each in held:
                each.lease_seconds = lease_seconds
                each.renew(now)
            most = ledger.spec.concurrency
            while len(held) < count and (most is None or len(self.assignments.open) < most):
                if (leg := ledger.next()) is None:
                    break
                held.append(self._assign(leg, client_id, lease_seconds))
            return [self._suggestion(each) for each in held]

        return self._turns.take(make)

    def report(
        self, number: int, lease: str, step: int, metrics: Metrics, *, checkpoint: tuple[str, int] | None = None
    ) -> Answer:
        """What the trial does after this report. One that comes again gets the recorded answer, and counts once.

        Raises TrialLeaseError and InvalidReportError.
        """

        def make() -> Answer:
            ledger = self._asked()
            held = self.assignments.held(number, lease)
            if not held.is_open:
                return self._answer(held)
            if step > ledger.spec.budget.steps_per_trial:
                raise InvalidReportError(
                    f"trial {number} reports step {step}, but budget.steps_per_trial gives a trial "
                    f"{ledger.spec.budget.steps_per_trial}; the answer to the last one ends the trial"
                )
            if ledger.progress.is_over:  # by a report or a command of the same turn
                return Answer(action=Action.STOP, reason=ledger.progress.finish_reason or "the study has ended")
            held.renew(self._clock())
            ledger.report(
                number,
                step,
                metrics,
                generation=held.generation,
                checkpoint=checkpoint,
                began_at=held.began_at,
            )
            return self._answer(held)

        return self._turns.take(make)

    def renew(self, number: int, lease: str) -> Answer:
        """The worker lives. Raises TrialLeaseError."""

        def make() -> Answer:
            self._asked()
            held = self.assignments.held(number, lease)
            if held.is_open:
                held.renew(self._clock())
            return self._answer(held)

        return self._turns.take(make)

    def complete(self, number: int, lease: str, *, cause: FailureCause | None = None, message: str = "") -> Answer:
        """The worker has done with the trial, or (with a cause) failed at it. Raises TrialLeaseError."""

        def make() -> Answer:
            ledger = self._asked()
            held = self.assignments.held(number, lease)
            if held.is_open and cause is None:
                ledger.returned(number)
            elif held.is_open and cause is not None:
                ledger.failed(number, cause, message)
            return self._answer(held)

        return self._turns.take(make)

    def release(self, number: int, lease: str, *, message: str = "") -> Answer:
        """The worker gives the trial back, and the next that asks goes on with it. Raises TrialLeaseError."""

        def make() -> Answer:
            self._asked()
            given = self.assignments.find(number, lease)
            if given.is_open:
                self._requeue(given, f"{given.client_id} gave it back" + (f": {message}" if message else ""))
            return self._answer(given)

        return self._turns.take(make)

    # -- what goes by itself ------------------------------------------------------------------------------
    def tick(self, *, commanded: bool = True) -> None:
        """Carry out commands if there may be some, and take trials back from silent workers; to be called every now and
        then."""
        if self._ledger is None:
            return
        try:
            self._turns.take(partial(self._look_around, commanded))
        except LeaseLostError:
            self.lose()

    def lose(self) -> None:
        """Another process has the study's lease."""
        if not self.is_over:
            log.warning("study %s is kept by another process now", self.study)
        self.is_over = True

    def _look_around(self, commanded: bool) -> None:
        if self.is_over or self._ledger is None:
            return
        if commanded:
            self._obey(self._ledger)
        self._ledger.progress.check_clock(self._clock())
        self._take_back()
        self._forget()

    def _forget(self) -> None:
        """The rows of checkpoints that are needed no more; what isn't forgotten now, is by the next keeper."""
        dropped, self._dropped = self._dropped, []
        if dropped:
            self._store.forget_checkpoints(self.held.lease, dropped)

    def _obey(self, ledger: Ledger) -> None:
        """Carry out what people have asked for meanwhile."""
        for command in self._store.commands(self.study):
            if not ledger.progress.is_over:
                ledger.orders.obey(command)

    def _take_back(self) -> None:
        """Trials whose workers are silent go to the next that asks."""
        now = self._clock()
        for each in [each for each in self.assignments.open.values() if each.expires_at <= now]:
            self._requeue(each, f"{each.client_id} was silent for {each.lease_seconds:g} s")

    def _requeue(self, each: Assignment, reason: str) -> None:
        assert self._ledger is not None
        self._ledger.preempt(each.trial, client_id=each.client_id, reason=reason)

    # -- inside -------------------------------------------------------------------------------------------
    def _asked(self) -> Ledger:
        if self.is_over or self._ledger is None:
            raise StudyBusyError(f"study {self.study!r} is not kept here any more; retry in a moment")
        if self.held.has_run_out:  # this process has slept: what it remembers may be the past
            self.held.renew()
        self.asked_at = self._clock()
        return self._ledger

    def _assign(self, leg: Leg, client_id: str, lease_seconds: float) -> Assignment:
        assert self._ledger is not None
        data = {
            "client_id": client_id,
            "lease": uuid.uuid4().hex,
            "lease_seconds": lease_seconds,
            "generation": leg.generation,
        }
        self._write([self._ledger.event(ASSIGNED, leg.trial, **data)])
        return self.assignments.open[leg.trial]

    def _suggestion(self, held: Assignment) -> Suggestion:
        assert self._ledger is not None
        spec, live = self._ledger.spec, self._ledger.trials[held.trial]
        return Suggestion(
            trial=held.trial,
            generation=held.generation,
            params={**spec.fixed, **live.trial.params},
            seed=trial_seed(spec.seed, held.trial),
            step=live.trial.step,
            max_steps=spec.budget.steps_per_trial,
            resume=live.last,
            inherit=live.origin,
            lease=held.token,
            lease_seconds=held.lease_seconds,
        )

    def _answer(self, held: Assignment) -> Answer:
        untold, self._untold = self._untold, []
        return Answer(action=held.action, reason=held.reason, unneeded=tuple(untold))

    def _drop(self, checkpoint: Checkpoint) -> None:
        self._dropped.append(checkpoint.path)
        self._untold.append(checkpoint.path)

    def _write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.assignments.note(row)
        self._rows.extend(rows)

    def _finish(self, defect: BaseException | None) -> None:
        """Store what the turn has caused. What can't be stored is forgotten with this keeper: the next one replays."""
        rows, self._rows = self._rows, []
        try:
            if defect is not None:
                raise defect
            if rows:
                self._store.write(self.held.lease, rows)
            if self._ledger is not None and not self.is_over and self._ledger.is_done:
                self._conclude(self._ledger)
        except HpoError:
            self.is_over = True
            raise
        except BaseException as error:
            log.exception("study %s has failed", self.study)
            self._store.set_study_state(
                self.study, StudyState.FAILED, message=f"{type(error).__name__}: {error}", lease=self.held.lease
            )
            self._leave()
            raise

    def _conclude(self, ledger: Ledger) -> None:
        """The study pauses or has ended: so do its trials."""
        progress, ending = ledger.progress, ledger.orders.ending
        if ledger.orders.is_pausing:
            pause(ledger)
        for number in list(ledger.trials) if not ledger.orders.keeps_trials else []:
            ledger.stop(number)
        rows, self._rows = self._rows, []
        self._store.write(self.held.lease, rows)
        state, why, by = conclusion(
            has_value=progress.incumbent is not None, reason=progress.finish_reason, error=progress.error, ending=ending
        )
        study = self._store.set_study_state(self.study, state, message=why, lease=self.held.lease, command=by)
        end_as_asked(self._store, self.held.lease, study)  # what came meanwhile
        self._leave()
