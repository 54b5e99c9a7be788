"""A study's history, and what several stores on one database see of each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event as Flag

from conformance.store_values import event, measurement, trial

from hpo.protocols import Store
from hpo.trial import (
    Event,
    Lease,
    Study,
    StudyState,
)


class EventConformance:
    # -- events -------------------------------------------------------------------------------------------
    def test_events_go_on_after_the_last_one_seen(self, store: Store, lease: Lease) -> None:
        store.write(lease, [event(data={"n": n}) for n in range(10)])
        store.write(lease, [measurement(1), event("trial.stopped")])
        everything = store.events("s")
        assert [e.data.get("n") for e in everything] == [None, *range(10), None]
        ids = [e.id for e in everything]
        assert ids == sorted(set(ids))
        assert ids[0] > 0
        seen: list[Event] = []
        while more := store.events("s", after=seen[-1].id if seen else 0, limit=5):
            assert len(more) <= 5
            seen += more
        assert seen == everything
        assert store.events("s", after=ids[-1]) == store.events("s", after=10**30) == []
        assert store.events("s", after=-(10**30)) == everything

    def test_a_reader_of_events_misses_none_while_many_write(self, store: Store, peer: Store, lease: Lease) -> None:
        def write(writer: int) -> None:
            for n in range(10):
                if writer == 0:
                    peer.new_attempt("s", job_prefix="j")
                else:
                    (store, peer)[n % 2].write(lease, [event(data={"writer": writer, "n": n})] * 2)

        def follow() -> Iterator[Event]:
            last = 0
            while True:
                finished = done.is_set()
                for found in peer.events("s", after=last):
                    last = found.id
                    yield found
                if finished:
                    return

        done = Flag()
        with ThreadPoolExecutor(5) as threads:
            reader = threads.submit(lambda: list(follow()))
            try:
                for writer in [threads.submit(write, writer) for writer in range(4)]:
                    writer.result()
            finally:
                done.set()
            seen = reader.result()
        assert len(seen) == 1 + 10 + 3 * 10 * 2
        assert seen == store.events("s", limit=1000)
        for writer in (1, 2, 3):
            assert [e.data["n"] for e in seen if e.data.get("writer") == writer] == [n for n in range(10) for _ in "ab"]

    # -- two stores ---------------------------------------------------------------------------------------
    def test_two_stores_on_one_database_see_each_other(self, store: Store, peer: Store, lease: Lease) -> None:
        peer.write(lease, [trial(0), measurement(1), event()])
        assert store.trial("s", 0) == trial(0)
        assert store.measurements("s").items == [measurement(1)]
        assert store.events("s") == peer.events("s")
        study: Study = store.set_study_state("s", StudyState.RUNNING)
        assert peer.study("s") == study
        page = store.studies(page_size=1)
        assert peer.studies(page_size=1) == page

    def test_a_store_that_is_there_answers(self, store: Store, peer: Store) -> None:
        store.ping()
        peer.ping()
