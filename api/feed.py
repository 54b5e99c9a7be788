"""A study's events for all who follow it: read from the store once, however many listen.

A listener that comes late, or goes on after an id, reads what it has missed from the store, page by page; those that
want the same page share it. From then on all wait for one task, which asks the store every POLL_SECONDS and keeps the
last RECENT events as they are sent. A listener takes them when its connection has room: one that falls further behind
reads pages again. So neither a slow listener nor many of them hold memory or threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial

import anyio
from sse_starlette import ServerSentEvent

from api.routes.common import event_answer
from hpo.errors import HpoError
from hpo.namesakes import check_same
from hpo.protocols import Store
from hpo.trial import Event, Study

POLL_SECONDS = 0.3
PAGE = 500
"""Events that are read at once."""
CHECK_SECONDS = 2.0
"""How often it is asked whether a listener may still listen."""
RECENT = 2000
"""Events that are kept for those who listen."""
READERS = 4
"""Pages that are read at a time: the other threads are for other requests."""
PAGES = 8
"""Full pages of a study that are kept for others who want them; they never change."""
Sent = tuple[int, bytes]
"""An event's id, and how it is sent."""


class Feeds:
    """The studies that are followed, each as long as somebody listens. Used by one event loop."""

    def __init__(self, store: Store, *, poll_seconds: float = POLL_SECONDS, recent: int = RECENT) -> None:
        self._store, self._poll_seconds, self._recent = store, poll_seconds, recent
        self._feeds: dict[tuple[str, float], _Feed] = {}
        """By the study's name and when it was created."""
        self._readers: anyio.CapacityLimiter | None = None

    async def follow(
        self, study: Study, after: int, *, may: Callable[[], Awaitable[bool]] | None = None
    ) -> AsyncIterator[bytes]:
        """The events with higher ids as they are sent, some at a time, until the study is final and all were given.
        Ends too where the study is deleted, the database is away, or `may`, which is asked every CHECK_SECONDS, says
        no: the client asks again, and is told which."""
        asked, key = time.monotonic(), (study.name, study.created_at)
        feed = self._feeds.setdefault(key, _Feed(self._recent))
        feed.listeners += 1
        try:
            while True:
                if may is not None and time.monotonic() - asked >= CHECK_SECONDS:
                    if not await may():
                        return
                    asked = time.monotonic()
                if feed.has(after):
                    news = feed.news
                    found = feed.since(after)
                    if not found:
                        if feed.is_over:
                            return
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(news.wait(), CHECK_SECONDS)
                        continue
                else:
                    found = await feed.page(after, partial(self._read, study, after))
                    if len(found) < PAGE and feed.task is None:
                        feed.begin(found[-1][0] if found else after)
                        feed.task = asyncio.create_task(self._poll(study, feed))
                if found:
                    after = found[-1][0]
                    yield b"".join(text for _, text in found)
        except HpoError:
            return
        finally:
            feed.listeners -= 1
            if feed.listeners == 0:
                if feed.task is not None:
                    feed.task.cancel()
                if self._feeds.get(key) is feed:
                    del self._feeds[key]

    def _events(self, study: Study, after: int) -> Sequence[Event]:
        """Raises StudyNotFoundError where they may be another study's."""
        rows = self._store.events(study.name, after=after, limit=PAGE)
        check_same(self._store, study)
        return rows

    async def _poll(self, study: Study, feed: _Feed) -> None:
        def look() -> tuple[bool, Sequence[Event]]:
            # The state first: a study that was final before the events were read will have no more of them.
            is_final = check_same(self._store, study).state.is_final
            return is_final, self._events(study, feed.last)

        try:
            while True:
                is_final, rows = await anyio.to_thread.run_sync(look)
                feed.add([(row.id, sent(row)) for row in rows])
                if is_final and not rows:
                    return
                if len(rows) < PAGE:
                    await asyncio.sleep(self._poll_seconds)
        except HpoError:
            return
        finally:  # whatever ends it, nobody waits for ever
            self._feeds.pop((study.name, study.created_at), None)
            feed.end()

    async def _read(self, study: Study, after: int) -> list[Sent]:
        def read() -> list[Sent]:
            return [(row.id, sent(row)) for row in self._events(study, after)]

        if self._readers is None:  # it belongs to the loop that runs
            self._readers = anyio.CapacityLimiter(READERS)
        return await anyio.to_thread.run_sync(read, limiter=self._readers)


class _Feed:
    """The last events of a study, and who waits for more."""

    def __init__(self, recent: int) -> None:
        self.listeners = 0
        self.task: asyncio.Task[None] | None = None
        self.is_over = False
        self.news = asyncio.Event()
        """Set when there is something new; another one takes its place then."""
        self.last = 0
        """The id of the last event that was read."""
        self._floor = 0
        """All events with higher ids are kept, up to the last."""
        self._recent: deque[Sent] = deque(maxlen=recent)
        self._pages: dict[int, asyncio.Task[list[Sent]]] = {}

    async def page(self, after: int, read: Callable[[], Coroutine[None, None, list[Sent]]]) -> list[Sent]:
        """The page after an id, read once for all who want it at about the same time."""
        task = self._pages.get(after)
        if task is None:
            task = self._pages[after] = asyncio.create_task(read())
            if len(self._pages) > PAGES:
                del self._pages[next(iter(self._pages))]
        try:
            # One listener that leaves must not end what others wait for.
            found = await asyncio.shield(task)
        except HpoError:
            self._pages.pop(after, None)
            raise
        if len(found) < PAGE:  # more may come
            self._pages.pop(after, None)
        return found

    def begin(self, after: int) -> None:
        self.last = self._floor = after

    def has(self, after: int) -> bool:
        """Whether whatever comes after an id will be found here."""
        return self.task is not None and after >= self._floor

    def since(self, after: int) -> list[Sent]:
        found = []
        for event in reversed(self._recent):
            if event[0] <= after:
                break
            found.append(event)
        return found[::-1]

    def add(self, events: Sequence[Sent]) -> None:
        for event in events:
            if len(self._recent) == self._recent.maxlen:
                self._floor = self._recent[0][0]
            self._recent.append(event)
            self.last = event[0]
        if events:
            self._wake()

    def end(self) -> None:
        self.is_over = True
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


def sent(event: Event) -> bytes:
    """An event as a server sends it."""
    text = event_answer(event).model_dump_json()
    return ServerSentEvent(text, id=str(event.id), event=event.kind).encode()
