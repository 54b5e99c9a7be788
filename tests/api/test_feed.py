"""Many who follow one study: each hears all, and the store is asked once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from api.feed import PAGE, Feeds
from hpo import specfile
from hpo.protocols import Store
from hpo.store import open_store
from hpo.trial import Event, Lease, StudyState

NAME = "followed"


class Watched:
    """A store that notes how often each event was read from it, and by how many threads at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read: Counter[int] = Counter()
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()

    def study(self, name: str) -> Any:
        return self._store.study(name)

    def events(self, study: str, *, after: int = 0, limit: int = 100) -> Sequence[Event]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        found = self._store.events(study, after=after, limit=limit)
        with self._lock:
            self._at_once -= 1
            self.read.update(event.id for event in found)
        return found


@pytest.fixture
def book(spec: dict[str, Any]) -> Store:
    opened = open_store("memory://")
    opened.create_study(specfile.parse({**spec, "name": NAME}))
    return opened


@pytest.fixture
def lease(book: Store) -> Lease:
    return book.claim(NAME, holder="driver", lease_seconds=600)


@pytest.fixture
def watched(book: Store) -> Any:
    return Watched(book)


def happen(book: Store, lease: Lease, count: int) -> None:
    book.write(lease, [Event(study=NAME, kind="trial.reported", trial=n, recorded_at=1.0) for n in range(count)])


def ids(chunk: bytes) -> list[int]:
    lines = chunk.decode().split("\r\n")
    found = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [event["id"] for event in data] == found
    return found


async def listen(stream: AsyncIterator[bytes], heard: list[int]) -> None:
    async for chunk in stream:
        heard += ids(chunk)


def polling_of(feeds: Feeds) -> asyncio.Task[None] | None:
    return next((feed.task for feed in feeds._feeds.values()), None)


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


def test_a_hundred_listeners_hear_what_is_read_once(book: Store, lease: Lease, watched: Any) -> None:
    async def scene() -> list[list[int]]:
        feeds = Feeds(watched, poll_seconds=0.002)
        heard: list[list[int]] = [[] for _ in range(100)]
        tasks = [asyncio.create_task(listen(feeds.follow(book.study(NAME), 0), each)) for each in heard]
        await until(lambda: all(heard))
        for _ in range(10):
            happen(book, lease, 7)
            await asyncio.sleep(0)
        await until(lambda: all(len(each) == 71 for each in heard))
        book.set_study_state(NAME, StudyState.CANCELLED)
        await asyncio.wait_for(asyncio.gather(*tasks), 20)
        assert feeds._feeds == {}
        return heard

    heard = asyncio.run(scene())
    stored = [event.id for event in book.events(NAME, limit=1000)]
    assert all(each == stored for each in heard)
    assert {watched.read[number] for number in stored[1:]} == {1}
    assert watched.most_at_once <= 5  # four that catch up, and the one that all wait for


def test_thousands_of_waiting_events_are_replayed_from_any_id(book: Store, lease: Lease, watched: Any) -> None:
    for _ in range(5):
        happen(book, lease, 1000)
    book.set_study_state(NAME, StudyState.CANCELLED)
    stored = [event.id for start in range(0, 5002, 1000) for event in book.events(NAME, after=start, limit=1000)]
    assert len(stored) > 5 * PAGE

    async def scene(after: int) -> list[int]:
        heard: list[int] = []
        await asyncio.wait_for(listen(Feeds(watched, poll_seconds=0.002).follow(book.study(NAME), after), heard), 20)
        return heard

    for place in (0, 1, 2500, len(stored) - 1):
        assert asyncio.run(scene(stored[place])) == stored[place + 1 :]
    assert asyncio.run(scene(10**15)) == []


def test_a_listener_that_falls_behind_misses_nothing(book: Store, lease: Lease, watched: Any) -> None:
    async def scene() -> tuple[list[int], list[int]]:
        feeds = Feeds(watched, poll_seconds=0.002, recent=10)
        quick: list[int] = []
        task = asyncio.create_task(listen(feeds.follow(book.study(NAME), 0), quick))
        slow = feeds.follow(book.study(NAME), 0)
        heard = ids(await anext(slow))
        for round in range(1, 6):
            happen(book, lease, 30)
            await until(lambda round=round: len(quick) == 1 + 30 * round)
        book.set_study_state(NAME, StudyState.CANCELLED)
        await asyncio.wait_for(listen(slow, heard), 20)
        await asyncio.wait_for(task, 20)
        return quick, heard

    quick, heard = asyncio.run(scene())
    assert quick == heard == [event.id for event in book.events(NAME, limit=1000)]


def test_nobody_asks_the_store_once_nobody_listens(book: Store, watched: Any) -> None:
    async def scene() -> None:
        feeds = Feeds(watched, poll_seconds=0.002)
        task = asyncio.create_task(listen(feeds.follow(book.study(NAME), 0), []))
        await until(lambda: polling_of(feeds))
        polling = polling_of(feeds)
        assert polling is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(polling.done)
        assert feeds._feeds == {}

    asyncio.run(scene())


def test_a_study_that_is_deleted_ends_its_streams(book: Store, watched: Any) -> None:
    async def scene() -> None:
        feeds = Feeds(watched, poll_seconds=0.002)
        tasks = [asyncio.create_task(listen(feeds.follow(book.study(NAME), 0), [])) for _ in range(3)]
        await until(lambda: polling_of(feeds))
        book.set_study_state(NAME, StudyState.CANCELLED)
        book.delete_study(NAME)
        await asyncio.wait_for(asyncio.gather(*tasks), 20)

    asyncio.run(scene())


@pytest.mark.parametrize("behind", [False, True])
def test_a_stream_tells_nothing_of_another_study_that_has_taken_the_name(
    book: Store, lease: Lease, watched: Any, spec: dict[str, Any], behind: bool
) -> None:
    happen(book, lease, 20)

    async def scene() -> list[int]:
        feeds = Feeds(watched, poll_seconds=0.002, recent=5)
        stream = feeds.follow(book.study(NAME), 0)
        heard = ids(await anext(stream))
        if not behind:  # it has read all there is, and waits for more with the others
            waits = asyncio.create_task(listen(stream, heard))
            await until(lambda: polling_of(feeds))
        book.set_study_state(NAME, StudyState.CANCELLED)
        book.delete_study(NAME)
        book.create_study(specfile.parse({**spec, "name": NAME}), project="default")
        happen(book, book.claim(NAME, holder="another", lease_seconds=60), 100)
        await asyncio.wait_for(listen(stream, heard) if behind else waits, 20)
        return heard

    assert asyncio.run(scene()) == list(range(1, 22))


def test_those_who_replay_a_long_past_share_its_pages(book: Store, lease: Lease, watched: Any) -> None:
    """While as many as there are pages come along together, each full page is read once."""
    happen(book, lease, 3 * PAGE)
    book.set_study_state(NAME, StudyState.CANCELLED)

    async def scene() -> list[list[int]]:
        feeds = Feeds(watched, poll_seconds=0.002)
        heard: list[list[int]] = [[] for _ in range(30)]
        tasks = [asyncio.create_task(listen(feeds.follow(book.study(NAME), 0), each)) for each in heard]
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
        return heard

    heard = asyncio.run(scene())
    stored = [event.id for start in range(0, 4 * PAGE, PAGE) for event in book.events(NAME, after=start, limit=PAGE)]
    assert all(each == stored for each in heard)
    assert {watched.read[number] for number in stored[: 3 * PAGE]} == {1}
