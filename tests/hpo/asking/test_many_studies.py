"""One process keeps the studies of many workers: what it does for all of them takes as long as for one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from hpo.asking.desk import OPENED_AT_ONCE, Desk
from hpo.specfile import parse
from hpo.store.memory import MemoryStore
from hpo.trial import Lease
from tests.hpo.asking.bench import ask_spec

NAMES = [f"s{number}" for number in range(20)]


class Counting(MemoryStore):
    """Counts how often leases are renewed, and lets the claim of some studies hang."""

    def __init__(self) -> None:
        super().__init__()
        self.renewed: list[set[str]] = []
        self.hanging: set[str] = set()
        self.claimed, self.free = threading.Event(), threading.Event()
        for name in NAMES:
            self.create_study(parse(ask_spec(name=name)))

    def renew_all(self, held: Sequence[Lease], *, lease_seconds: float) -> Sequence[Lease]:
        self.renewed.append({lease.study for lease in held})
        return super().renew_all(held, lease_seconds=lease_seconds)

    def claim(self, name: str, **given: Any) -> Lease:
        if name in self.hanging:
            self.claimed.set()
            assert self.free.wait(30)
        return super().claim(name, **given)


@pytest.fixture
def store() -> Counting:
    return Counting()


@pytest.fixture
def desk(store: Counting) -> Desk:
    return Desk(store, lease_seconds=60)


def ask(desk: Desk, name: str) -> int:
    return desk.suggest(name, "ann", count=1, lease_seconds=60).trials[0].trial


def grow_old(desk: Desk) -> None:
    """The leases were renewed long ago, as far as the desk knows."""
    for keeper in desk._keepers.values():
        keeper.held.renewed(keeper.held.lease, float("-inf"))
    desk._renew_at = 0.0


def test_the_leases_of_all_studies_are_renewed_together_once_they_are_due(store: Counting, desk: Desk) -> None:
    for name in NAMES:
        ask(desk, name)
    grow_old(desk)
    desk.tick()
    assert store.renewed == [set(NAMES)]
    desk.tick()
    assert store.renewed == [set(NAMES)]


def test_a_study_that_another_process_has_taken_is_left_and_the_others_go_on(store: Counting, desk: Desk) -> None:
    for name in NAMES[:3]:
        ask(desk, name)
    store.revoke(NAMES[1], holder=desk._holder)
    store.claim(NAMES[1], holder="another", lease_seconds=60)
    grow_old(desk)
    desk.tick()
    assert set(desk._keepers) == {NAMES[0], NAMES[2]}
    assert ask(desk, NAMES[2]) == 0
    grow_old(desk)
    desk.tick()
    assert store.renewed[-1] == {NAMES[0], NAMES[2]}


def test_a_study_whose_claim_takes_long_keeps_no_other_from_being_opened(store: Counting, desk: Desk) -> None:
    slow = NAMES[0]
    other = next(name for name in NAMES if hash(name) % OPENED_AT_ONCE != hash(slow) % OPENED_AT_ONCE)
    store.hanging = {slow}
    waiting = threading.Thread(target=ask, args=(desk, slow))
    waiting.start()
    try:
        assert store.claimed.wait(30)
        assert ask(desk, other) == 0
        assert set(desk._keepers) == {other}
    finally:
        store.free.set()
        waiting.join(30)
    assert set(desk._keepers) == {slow, other}


def test_those_who_open_one_study_at_once_find_one_keeper(store: Counting, desk: Desk) -> None:
    together = threading.Barrier(8)
    found: list[int] = []

    def open_it(client: int) -> None:
        together.wait(30)
        found.extend(each.trial for each in desk.suggest("s0", f"c{client}", count=1, lease_seconds=60).trials)

    threads = [threading.Thread(target=open_it, args=(client,)) for client in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [0, 1, 2, 3]  # the budget's: nobody was fenced off by another's claim
    lease = desk._keepers["s0"].held.lease
    assert store.renew(lease, lease_seconds=60).token == lease.token
