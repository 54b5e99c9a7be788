"""Reads a study's history as it grows, and tells it to a sink."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from hpo.errors import HpoError, LeaseLostError
from hpo.followers.sink import Run, Sink
from hpo.protocols import Store
from hpo.trial import Event, Inheritance, Lease, Measurement, Row, Study

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
PAGE = 1000
RETRY_SECONDS = 30.0
"""The longest pause after errors; the first is POLL_SECONDS."""
CLOSE_SECONDS = 60.0
"""How long the end of a driver waits for what is left."""
MAX_MESSAGE = 500

ENDS = {"trial.completed": "completed", "trial.stopped": "stopped", "trial.failed": "failed"}


class Follower:
    """Use as a context manager. Its thread ends with the process, so a sink that hangs holds nothing up for ever."""

    def __init__(
        self,
        store: Store,
        study: Study,
        lease: Lease,
        name: str,
        make: Callable[[], Sink],
        *,
        lease_seconds: float,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self._store, self._study, self._lease = store, study, lease
        self._name, self._make = name, make
        self._lease_seconds, self._close_seconds = lease_seconds, close_seconds
        self._generations: dict[int, int] = {}
        """Of the trials that have not ended, as far as they were told."""
        self._held_at = time.monotonic()
        """When the lease was known to be this driver's."""
        self._closing = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name=f"hpo-{name}", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Tell what is left. The lease is kept meanwhile: the recorder, which renews it, is closed before."""
        self._closing.set()
        give_up = time.monotonic() + self._close_seconds
        while self._thread.is_alive() and time.monotonic() < give_up:
            self._thread.join(min(self._close_seconds, self._lease_seconds / 3))
            try:
                self._hold()
            except LeaseLostError:
                return
            except HpoError as error:
                log.warning("the lease of study %s can't be renewed: %s", self._study.name, error)
        if self._thread.is_alive():
            self._say("study.logging_failed", f"not all was logged within {self._close_seconds:g} s of the end")

    def _run(self) -> None:
        pause = POLL_SECONDS
        give_up = None
        while True:
            sink: Sink | None = None
            try:
                sink = self._make()
                self._follow(sink)
                return
            except LeaseLostError:  # the study is another driver's, and so is its log
                return
            except Exception as error:  # whatever it is, it is the sink's, and the study's matter is the study
                log.warning("study %s is not logged to %s: %s", self._study.name, self._name, error)
                if not self._is_failing:
                    self._is_failing = True
                    self._say("study.logging_failed", f"{type(error).__name__}: {error}")
            finally:
                if sink is not None:
                    with contextlib.suppress(Exception):
                        sink.close()
            if self._closing.is_set():
                give_up = give_up or time.monotonic() + self._close_seconds / 2
                if time.monotonic() + pause > give_up:
                    return
                time.sleep(min(pause, 1.0))
            else:
                self._closing.wait(pause)
            pause = min(2 * pause, RETRY_SECONDS)

    def _follow(self, sink: Sink) -> None:
        after = sink.begin()
        self._generations.clear()
        while True:
            is_last = self._closing.is_set()  # before the read: what was recorded until then is in it
            while rows := self._store.history(self._study.name, after=after, limit=PAGE):
                self._hold()
                for number, row in rows:
                    self._tell(sink, row)
                    after = number
                sink.commit(after)
                if self._is_failing:
                    self._is_failing = False
                    self._say("study.logging_resumed", "it is logged again, from where it was")
            if is_last:
                return
            self._closing.wait(POLL_SECONDS)

    def _hold(self) -> None:
        """Keep the lease. Raises LeaseLostError where another driver has it: two that log would log all twice."""
        if time.monotonic() - self._held_at > self._lease_seconds / 3:
            self._store.renew(self._lease, lease_seconds=self._lease_seconds)
            self._held_at = time.monotonic()

    def _tell(self, sink: Sink, row: Row) -> None:
        match row:
            case Measurement():
                self._generations[row.trial] = row.generation
                sink.reported(Run(row.trial, row.generation), row)
            case Inheritance():
                sink.ended(Run(row.trial, row.generation - 1), "inherited", message=row.reason, at=row.recorded_at)
                self._generations[row.trial] = row.generation
                run = Run(row.trial, row.generation)
                sink.started(run, row.params, parent=row.donor, at=row.recorded_at)
            case Event(kind="trial.created", trial=int() as trial):
                self._generations[trial] = 0
                params = row.data["params"]
                assert isinstance(params, dict)  # it is JSON of ours
                sink.started(Run(trial, 0), params, parent=None, at=row.recorded_at)
            case Event(trial=int() as trial) if row.kind in ENDS:
                generation = self._generations.pop(trial, None)
                if generation is None:  # all that came before its end was told by another driver
                    generation = self._store.trial(self._study.name, trial).generation
                message = row.data.get("message")
                said = message if isinstance(message, str) else None
                sink.ended(Run(trial, generation), ENDS[row.kind], message=said, at=row.recorded_at)

    def _say(self, kind: str, message: str) -> None:
        """A line of the study's history."""
        data = {"to": self._name, "message": message[:MAX_MESSAGE]}
        line = Event(study=self._study.name, kind=kind, data=data, recorded_at=time.time())
        with contextlib.suppress(HpoError):
            self._store.write(self._lease, [line])
