"""Between the thread of a worker that trains and the driver, which calls the worker's actor.

The driver's call gives the answer to what the thread has asked last, and returns what it asks next. So a report costs
one call of Ray's, and no third process stands between.
"""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

from hpo.engine.messages import Request


class Line:
    """Each side is one thread."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[Request | None] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()

    def ask(self, request: Request) -> Any:
        """Ask the driver, and wait for its answer."""
        self._asked.put(request)
        return self._answers.get()

    def close(self) -> None:
        """Nothing more will be asked."""
        self._asked.put(None)

    def next_request(self) -> Request | None:
        """Wait for what the thread asks next; None when it will ask nothing more."""
        return self._asked.get()

    def answer(self, answer: object) -> Request | None:
        """Answer what was asked, and wait for what is asked next."""
        self._answers.put(answer)
        return self._asked.get()


line = Line()
"""Of this process: a worker has one thread that trains."""
