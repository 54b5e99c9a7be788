"""Many threads' calls, one after the other; those that wait for their turn share one write."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hpo.errors import HpoError, StudyBusyError

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Call:
    make: Callable[[], Any]
    value: Any = None
    error: BaseException | None = None
    is_done: bool = False


class Turns:
    """Whoever gets the turn makes the calls of all who wait, then one `finish` for all of them.

    So a transaction of the database serves as many requests as have come while the last one was written, and no
    caller has its answer before what it caused is stored.
    """

    def __init__(self, finish: Callable[[BaseException | None], None], *, patience_seconds: float) -> None:
        """`finish` stores what the calls caused, or raises; then none of them has succeeded. It is given the defect, if
        any, that one of them has broken off with: what that left half done must not be stored."""
        self._finish, self._patience = finish, patience_seconds
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._waiting: list[_Call] = []

    def take(self, make: Callable[[], T]) -> T:
        """What the call returns, once all that it caused is stored; raises what it, or `finish`, raises.

        An HpoError of a call says that it has changed nothing, and leaves the others as they are. Raises StudyBusyError
        if no turn comes in time.
        """
        call = _Call(make)
        with self._guard:
            self._waiting.append(call)
        if not self._turn.acquire(timeout=self._patience):
            self._give_up(call)
        else:
            try:
                if not call.is_done:
                    self._serve()
            finally:
                self._turn.release()
        if call.error is not None:
            raise call.error
        value: T = call.value
        return value

    def _serve(self) -> None:
        with self._guard:
            calls, self._waiting = self._waiting, []
        fault: BaseException | None = None
        for call in calls:
            try:
                call.value = call.make()
            except HpoError as error:
                call.error = error
            except BaseException as error:
                fault = error
                break
        try:
            self._finish(fault)
        except BaseException as error:
            for call in calls:
                call.error = call.error or error
        finally:
            for call in calls:
                call.is_done = True

    def _give_up(self, call: _Call) -> None:
        with self._guard:
            if call in self._waiting:
                self._waiting.remove(call)
        if not call.is_done:
            call.error = StudyBusyError("the study is being taken over, or its search thinks; retry in a moment")
