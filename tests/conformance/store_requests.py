"""Requests that come again, leases that are taken away, and roles that one process at a time has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from conformance.store_values import spec, trial

from hpo.errors import (
    LeaseLostError,
    RequestKeyError,
    StudyExistsError,
    StudyNotFoundError,
    StudyStateError,
    VersionError,
)
from hpo.protocols import Store
from hpo.steering import RequestKey, Verb
from hpo.trial import Lease, StudyState

KEY = RequestKey("key", "digest")
ONE = {"params": [{"lr": 0.5, "size": 1}], "retry_of": [None]}


class RequestConformance:
    # -- requests -----------------------------------------------------------------------------------------
    def test_the_same_request_once_more_creates_nothing_and_gets_the_study_as_it_is(
        self, store: Store, peer: Store
    ) -> None:
        store.create_study(spec(), request=KEY)
        moved = store.set_study_state("s", StudyState.RUNNING)
        assert peer.create_study(spec(), request=KEY) == moved
        assert [line.kind for line in store.events("s")] == ["study.created", "study.running"]
        with pytest.raises(StudyExistsError):
            store.create_study(spec(), request=RequestKey("other", "digest"))

    def test_the_same_request_once_more_commands_nothing_whatever_has_become_of_the_study(
        self, store: Store, peer: Store, lease: Lease
    ) -> None:
        store.steer("s", Verb.ENQUEUE, ONE, who="ann", request=KEY)
        peer.steer("s", Verb.ENQUEUE, ONE, who="ann", request=KEY)
        assert len(store.commands("s")) == 1
        store.steer("s", Verb.CHANGE, {"changes": {"budget.trials": 1}}, who="ann")  # no room for another
        assert store.steer("s", Verb.ENQUEUE, ONE, who="ann", request=KEY) == store.study("s")
        ended = store.set_study_state("s", StudyState.FAILED, lease=lease)
        assert store.steer("s", Verb.ENQUEUE, ONE, who="ann", request=KEY) == ended
        assert len(store.commands("s", done=True)) == 2

    def test_a_change_that_is_sent_again_is_not_for_another_version(self, store: Store) -> None:
        store.create_study(spec())
        change = {"changes": {"priority": 2}}
        first = store.steer("s", Verb.CHANGE, change, who="ann", version=1, request=KEY)
        assert store.steer("s", Verb.CHANGE, change, who="ann", version=1, request=KEY) == first

    @pytest.mark.parametrize("name", ["s", "t"])
    def test_a_key_that_was_used_for_something_else_is_refused(self, store: Store, name: str) -> None:
        """Of the same study with other content, or of another study."""
        store.create_study(spec())
        store.create_study(spec("t"))
        store.steer("s", Verb.PAUSE, who="ann", request=KEY)
        before = store.study(name), store.events(name)
        other = RequestKey("key", "another" if name == "s" else "digest")
        for use in (
            lambda: store.steer(name, Verb.CANCEL, who="ann", request=other),
            lambda: store.create_study(spec("new"), request=other),
        ):
            with pytest.raises(RequestKeyError, match="'key' was used for another request"):
                use()
        assert (store.study(name), store.events(name)) == before
        with pytest.raises(StudyNotFoundError):
            store.study("new")

    def test_a_request_that_was_refused_is_not_remembered(self, store: Store) -> None:
        store.create_study(spec("t"))
        with pytest.raises(StudyNotFoundError):
            store.steer("s", Verb.PAUSE, who="ann", request=KEY)
        with pytest.raises(StudyExistsError):
            store.create_study(spec("t"), request=KEY)
        with pytest.raises(VersionError):
            store.steer("t", Verb.CHANGE, {"changes": {"priority": 1}}, who="ann", version=7, request=KEY)
        store.set_study_state("t", StudyState.FAILED)
        with pytest.raises(StudyStateError):
            store.steer("t", Verb.PAUSE, who="ann", request=KEY)
        assert store.create_study(spec(), request=KEY).name == "s"

    def test_of_the_same_request_at_once_one_creates_the_study(self, store: Store, peer: Store) -> None:
        def create(one: Store) -> float:
            barrier.wait()
            return one.create_study(spec(), request=KEY).created_at

        barrier = Barrier(6)
        with ThreadPoolExecutor(6) as threads:
            assert len(set(threads.map(create, [store, peer] * 3))) == 1
        assert len(store.events("s")) == 1

    def test_of_the_same_request_at_once_one_commands(self, store: Store, peer: Store, lease: Lease) -> None:
        def enqueue(one: Store) -> int:
            barrier.wait()
            return one.steer("s", Verb.ENQUEUE, ONE, who="ann", request=KEY).version

        barrier = Barrier(6)
        with ThreadPoolExecutor(6) as threads:
            assert set(threads.map(enqueue, [store, peer] * 3)) == {1}
        assert len(store.commands("s")) == 1

    def test_a_deleted_study_takes_its_keys_along(self, store: Store) -> None:
        store.create_study(spec(), request=KEY)
        store.create_study(spec("t"), request=RequestKey("kept", "digest"))
        store.set_study_state("s", StudyState.FAILED)
        store.delete_study("s")
        with pytest.raises(StudyNotFoundError):
            store.commands("s", done=True)
        store.create_study(spec(), request=KEY)
        assert [line.kind for line in store.events("s")] == ["study.created"]
        with pytest.raises(RequestKeyError):
            store.create_study(spec("u"), request=RequestKey("kept", "digest"))

    # -- leases that are taken away -----------------------------------------------------------------------
    def test_the_lease_of_a_dead_holder_is_revoked_and_another_claims_at_once(
        self, store: Store, peer: Store, lease: Lease
    ) -> None:
        assert not peer.revoke("s", holder="driver-2")
        store.write(lease, [trial(0)])
        assert peer.revoke("s", holder="driver-1")
        assert not peer.revoke("s", holder="driver-1")
        for use in (lambda: store.write(lease, [trial(1)]), lambda: store.renew(lease, lease_seconds=60)):
            with pytest.raises(LeaseLostError):
                use()
        peer.write(peer.claim("s", holder="driver-2", lease_seconds=60), [trial(1)])
        assert [each.number for each in store.trials("s").items] == [0, 1]

    # -- roles --------------------------------------------------------------------------------------------
    def test_a_role_is_one_holders_until_it_runs_out_or_is_given_back(self, store: Store, peer: Store) -> None:
        assert store.lead("controller", holder="a", lease_seconds=60)
        assert not peer.lead("controller", holder="b", lease_seconds=60)
        assert peer.lead("another", holder="b", lease_seconds=60)
        assert store.lead("controller", holder="a", lease_seconds=60), "it stays whose it is"
        assert not peer.lead("controller", holder="b", lease_seconds=0), "what isn't its own it can't give back"
        assert not peer.lead("controller", holder="b", lease_seconds=60)
        assert not store.lead("controller", holder="a", lease_seconds=0)
        assert peer.lead("controller", holder="b", lease_seconds=1e-9)  # has run out by the next call
        assert store.lead("controller", holder="a", lease_seconds=60)
        assert not peer.lead("controller", holder="b", lease_seconds=60)

    def test_of_many_that_would_lead_at_once_one_does(self, store: Store, peer: Store) -> None:
        def lead(number: int) -> bool:
            barrier.wait()
            return (store, peer)[number % 2].lead("controller", holder=f"h-{number}", lease_seconds=60)

        for _ in range(2):  # when nobody has ever led, and when one has given it back
            barrier = Barrier(6)
            with ThreadPoolExecutor(6) as threads:
                won = list(threads.map(lead, range(6)))
            assert sum(won) == 1
            assert not store.lead("controller", holder=f"h-{won.index(True)}", lease_seconds=0)
