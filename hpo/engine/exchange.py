"""Carries what workers ask to the Conductor, and its answers to the workers.

The driver calls the workers, not the other way round: they are actors anyway, and an actor for the Conductor would be
one more process that every report goes through. A call waits on the worker for what that asks next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

import ray

from hpo.engine.conductor import Caller, Conductor
from hpo.engine.messages import Request

log = logging.getLogger(__name__)


class Exchange:
    """The Conductor is used by one thread only, which calls `turn` again and again; what other threads have to say
    waits for it."""

    def __init__(self, *, world_size: int, max_losses: int) -> None:
        self.conductor = Conductor(self._call, world_size=world_size, max_losses=max_losses)
        self._arrived: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._actors: dict[Caller, Any] = {}

    # -- any thread ---------------------------------------------------------------------------------------
    def connect(self, group: int, actors: Sequence[Any]) -> None:
        """A group has these workers from now on, by rank; each has a method `exchange` (see `warm_group.py`)."""
        self._arrived.put(lambda: self._begin(group, actors))

    def disconnect(self, group: int) -> None:
        """A group's workers are gone. It may come back with others."""
        self._arrived.put(lambda: self.conductor.group_lost(group))

    def group_ended(self, group: int) -> None:
        """A group's Ray Train run is over for good."""
        self._arrived.put(lambda: self.conductor.group_ended(group))

    # -- the Conductor's thread ---------------------------------------------------------------------------
    def turn(self, now: float, timeout: float) -> None:
        """Hand over what has arrived. Where nothing has, wait `timeout` s for it. `now` is in s, of any clock."""
        self.conductor.check(now)
        try:
            self._arrived.get(timeout=timeout)()
            while True:
                self._arrived.get_nowait()()
        except Empty:
            return

    def kill(self) -> None:
        """End all workers that are left."""
        for actor in self._actors.values():
            _end(actor)

    def _begin(self, group: int, actors: Sequence[Any]) -> None:
        attempt = self.conductor.begin(group)
        self._actors = {caller: actor for caller, actor in self._actors.items() if caller.group != group}
        for rank, actor in enumerate(actors):
            caller = Caller(group, attempt, rank)
            self._actors[caller] = actor
            self._call(caller)

    def _call(self, caller: Caller, *answer: object) -> None:
        """Give a worker the answer to what it has asked, and hear what it asks next."""
        if (actor := self._actors.get(caller)) is None:
            return
        try:
            future = actor.exchange.remote(*answer).future()
        except ray.exceptions.RayError as error:
            self._lose(caller, error)
        else:  # a thread of Ray's calls back
            future.add_done_callback(lambda future: self._arrived.put(lambda: self._take(caller, future)))

    def _take(self, caller: Caller, future: Future[Request | None]) -> None:
        if caller not in self._actors:
            return  # of an attempt that is over
        if (error := future.exception()) is not None:
            self._lose(caller, error)
        elif (request := future.result()) is None:
            del self._actors[caller]
        else:
            self.conductor.ask(caller, request)

    def _lose(self, caller: Caller, error: BaseException) -> None:
        """Ray Train brings its group back, as another attempt, or says that it has ended.

        A call may also fail while the process lives, as when a connection breaks. Its training would wait for ever for
        an answer, and Ray Train would find it well: so it is ended.
        """
        log.debug("%s is lost: %s", caller, error)
        _end(self._actors.pop(caller))


def _end(actor: Any) -> None:
    try:
        ray.kill(actor)
    except ray.exceptions.RayError as error:
        log.debug("an actor can't be ended: %s", error)
