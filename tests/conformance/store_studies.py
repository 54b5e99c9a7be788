"""Studies, their states, and the leases of their drivers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest
from conformance.store_values import checkpoint, decision, event, measurement, spec, trial, walk

from hpo.errors import (
    LeaseHeldError,
    LeaseLostError,
    StudyExistsError,
    StudyNotDeletableError,
    StudyNotFoundError,
)
from hpo.protocols import Store
from hpo.trial import (
    Lease,
    StudyState,
)

FINAL = [StudyState.SUCCEEDED, StudyState.FAILED, StudyState.CANCELLED]


class StudyConformance:
    # -- studies ------------------------------------------------------------------------------------------
    def test_a_new_study_is_queued_and_reads_back_the_same(self, store: Store, peer: Store) -> None:
        study = store.create_study(spec(), package="sha256:abc")
        assert (study.state, study.attempt, study.version, study.package) == ("queued", 0, 1, "sha256:abc")
        assert study.spec == spec()
        assert store.study("s") == peer.study("s") == study
        assert [type(c) for c in study.spec.parameters["size"].choices] == [  # type: ignore[union-attr]
            type(c)
            for c in store.study("s").spec.parameters["size"].choices  # type: ignore[union-attr]
        ]
        assert [(e.kind, e.recorded_at) for e in store.events("s")] == [("study.created", study.created_at)]

    def test_a_study_that_its_creator_runs_is_never_queued(self, store: Store) -> None:
        store.create_study(spec(), queued=False)
        assert store.studies(state=StudyState.QUEUED).items == []
        assert [study.state for study in store.studies().items] == [StudyState.STARTING]

    def test_a_taken_name_is_refused_and_nothing_changes(self, store: Store, peer: Store) -> None:
        study = store.create_study(spec())
        with pytest.raises(StudyExistsError):
            peer.create_study(spec(direction="maximize"))
        assert store.study("s") == study
        assert len(store.events("s")) == 1

    def test_of_two_that_create_one_name_one_wins(self, store: Store, peer: Store) -> None:
        def create(one: Store) -> bool:
            barrier.wait()
            with suppress(StudyExistsError):
                one.create_study(spec())
                return True
            return False

        barrier = Barrier(6)
        with ThreadPoolExecutor(6) as threads:
            assert sum(threads.map(create, [store, peer] * 3)) == 1

    def test_studies_are_listed_newest_first_in_pages(self, store: Store) -> None:
        names = [f"s-{number:02}" for number in range(27)]
        for name in names:
            store.create_study(spec(name))
        assert [study.name for study in walk(store.studies, 10)] == names[::-1]
        assert [study.name for study in store.studies().items] == names[::-1]

    def test_studies_are_listed_by_state(self, store: Store) -> None:
        for name in ("a", "b", "c", "d"):
            store.create_study(spec(name))
        store.set_study_state("a", StudyState.RUNNING)
        store.set_study_state("c", StudyState.RUNNING)
        running = walk(lambda **page: store.studies(state=StudyState.RUNNING, **page), 1)
        assert [study.name for study in running] == ["c", "a"]
        assert store.studies(state=StudyState.FAILED).items == []

    def test_a_study_that_comes_between_two_pages_disturbs_none(self, store: Store) -> None:
        for name in ("a", "b", "c"):
            store.create_study(spec(name))
        first = store.studies(page_size=2)
        store.create_study(spec("d"))
        second = store.studies(page_size=2, page_token=first.next_page_token)
        assert [study.name for study in (*first.items, *second.items)] == ["c", "b", "a"]

    def test_a_state_brings_its_event_its_times_and_a_new_version(self, store: Store) -> None:
        created = store.create_study(spec())
        starting = store.set_study_state("s", StudyState.STARTING, job="s-1")
        assert (starting.state, starting.job, starting.version, starting.started_at) == ("starting", "s-1", 2, None)
        running = store.set_study_state("s", StudyState.RUNNING)
        assert running.started_at is not None
        assert running.started_at >= created.created_at
        assert (running.job, running.ended_at) == ("s-1", None)
        store.set_study_state("s", StudyState.PAUSED)
        again = store.set_study_state("s", StudyState.RUNNING)
        assert again.started_at == running.started_at
        ended = store.set_study_state("s", StudyState.FAILED, message="no GPU\x00 \ud800")
        assert ended.ended_at is not None
        assert ended.ended_at >= running.started_at
        assert (ended.message, ended.version) == ("no GPU\ufffd ?", 6)
        assert store.study("s") == ended
        assert [e.kind for e in store.events("s")] == [
            "study.created", "study.starting", "study.running", "study.paused", "study.running", "study.failed",
        ]  # fmt: skip

    def test_the_same_state_changes_message_and_job_without_an_event(self, store: Store) -> None:
        store.create_study(spec())
        before = store.set_study_state("s", StudyState.RUNNING, message="a", job="j")
        assert store.set_study_state("s", StudyState.RUNNING) == before
        after = store.set_study_state("s", StudyState.RUNNING, message="b")
        assert (after.message, after.job, after.version) == ("b", "j", before.version + 1)
        assert after.started_at == before.started_at
        assert len(store.events("s")) == 2

    @pytest.mark.parametrize("final", FINAL)
    def test_a_final_state_stays(self, store: Store, final: StudyState) -> None:
        store.create_study(spec())
        ended = store.set_study_state("s", final)
        events = store.events("s")
        for state in (*FINAL, StudyState.RUNNING):
            assert store.set_study_state("s", state, message="late", job="late") == ended
        assert store.new_attempt("s", job_prefix="j") == ended
        assert store.study("s") == ended
        assert store.events("s") == events

    def test_a_state_under_a_lost_lease_is_refused(self, store: Store, lease: Lease) -> None:
        assert store.set_study_state("s", StudyState.STARTING, lease=lease).state == "starting"
        store.release(lease)
        store.claim("s", holder="driver-2", lease_seconds=60)
        before = store.study("s")
        with pytest.raises(LeaseLostError, match="driver-1"):
            store.set_study_state("s", StudyState.RUNNING, lease=lease)
        assert store.study("s") == before

    def test_the_lease_of_another_study_moves_nothing(self, store: Store, lease: Lease) -> None:
        store.create_study(spec("other"))
        with pytest.raises(LeaseLostError):
            store.set_study_state("other", StudyState.RUNNING, lease=lease)

    def test_an_attempt_counts_and_names_its_job(self, store: Store) -> None:
        store.create_study(spec())
        store.set_study_state("s", StudyState.RUNNING)
        study = store.new_attempt("s", job_prefix="hpo-s")
        assert (study.attempt, study.job, study.state, study.version) == (1, "hpo-s-1", "starting", 3)
        assert store.study("s") == study
        last = store.events("s")[-1]
        assert (last.kind, last.data) == ("job.submitted", {"attempt": 1, "job": "hpo-s-1"})

    def test_attempts_at_once_are_counted_one_by_one(self, store: Store, peer: Store) -> None:
        store.create_study(spec())
        with ThreadPoolExecutor(8) as threads:
            studies = list(threads.map(lambda one: one.new_attempt("s", job_prefix="j"), [store, peer] * 8))
        assert sorted(study.attempt for study in studies) == list(range(1, 17))
        assert {study.job for study in studies} == {f"j-{n}" for n in range(1, 17)}
        assert store.study("s").attempt == 16
        assert store.study("s").version == 17

    @pytest.mark.parametrize("state", [state for state in StudyState if not state.is_final])
    def test_a_study_at_work_is_not_deleted(self, store: Store, state: StudyState) -> None:
        store.create_study(spec())
        store.set_study_state("s", state)
        with pytest.raises(StudyNotDeletableError, match=state):
            store.delete_study("s")
        assert store.study("s").state is state

    def test_a_final_study_goes_with_all_its_rows_and_frees_its_name(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0), measurement(1), decision(1), checkpoint(1), event()])
        store.set_study_state("s", StudyState.CANCELLED)
        store.delete_study("s")
        with pytest.raises(StudyNotFoundError):
            store.study("s")
        store.create_study(spec())
        assert store.trials("s").items == store.measurements("s").items == store.decisions("s").items == []
        assert list(store.checkpoints("s")) == []
        assert [e.kind for e in store.events("s")] == ["study.created"]
        assert store.counts("s").steps == 0

    def test_the_driver_of_a_deleted_study_writes_into_no_later_one(self, store: Store, lease: Lease) -> None:
        store.set_study_state("s", StudyState.CANCELLED)
        store.delete_study("s")
        for recreate in (False, True):
            if recreate:
                store.create_study(spec())
                store.claim("s", holder=lease.holder, lease_seconds=60)
            with pytest.raises(LeaseLostError):
                store.write(lease, [trial(0)])
            with pytest.raises(LeaseLostError):
                store.renew(lease, lease_seconds=60)
            store.release(lease)

    @pytest.mark.parametrize("name", ["nobody", "", "No Name", "n\x00", "\ud800", "x" * 100])
    def test_an_unknown_study_is_said_to_be_unknown(self, store: Store, name: str) -> None:
        store.create_study(spec())
        calls: list[Callable[[], object]] = [
            lambda: store.study(name),
            lambda: store.set_study_state(name, StudyState.RUNNING),
            lambda: store.new_attempt(name, job_prefix="j"),
            lambda: store.delete_study(name),
            lambda: store.claim(name, holder="h", lease_seconds=1),
            lambda: store.trial(name, 0),
            lambda: store.trials(name),
            lambda: store.measurements(name),
            lambda: store.decisions(name),
            lambda: store.checkpoints(name),
            lambda: store.inheritances(name),
            lambda: store.history(name),
            lambda: store.events(name),
            lambda: store.counts(name),
        ]
        for call in calls:
            with pytest.raises(StudyNotFoundError):
                call()

    # -- leases -------------------------------------------------------------------------------------------
    def test_a_running_lease_keeps_others_out(self, store: Store, peer: Store, lease: Lease) -> None:
        assert (lease.study, lease.holder) == ("s", "driver-1")
        with pytest.raises(LeaseHeldError, match="driver-1"):
            peer.claim("s", holder="driver-2", lease_seconds=60)
        store.write(lease, [trial(0)])

    def test_of_many_that_claim_at_once_one_wins(self, store: Store, peer: Store) -> None:
        def claim(number: int) -> Lease | None:
            barrier.wait()
            with suppress(LeaseHeldError):
                return (store, peer)[number % 2].claim("s", holder=f"driver-{number}", lease_seconds=60)
            return None

        store.create_study(spec())
        barrier = Barrier(8)
        with ThreadPoolExecutor(8) as threads:
            [won] = [lease for lease in threads.map(claim, range(8)) if lease]
        store.write(won, [trial(0)])

    def test_a_lease_that_ran_out_lets_another_in_and_fences_off_the_first(self, store: Store, peer: Store) -> None:
        store.create_study(spec())
        first = store.claim("s", holder="driver-1", lease_seconds=0)
        second = peer.claim("s", holder="driver-2", lease_seconds=60)
        assert second.token > first.token
        with pytest.raises(LeaseLostError):
            store.write(first, [trial(0)])
        with pytest.raises(LeaseLostError):
            store.forget_checkpoints(first, [])
        with pytest.raises(LeaseLostError):
            store.renew(first, lease_seconds=60)
        store.release(first)
        assert store.trials("s").items == []
        peer.write(second, [trial(0)])

    def test_a_lease_is_current_until_another_claims(self, store: Store) -> None:
        store.create_study(spec())
        lease = store.claim("s", holder="driver-1", lease_seconds=0)
        store.write(lease, [trial(0)])
        renewed = store.renew(lease, lease_seconds=60)
        assert (renewed.token, renewed.holder, renewed.study) == (lease.token, lease.holder, lease.study)
        assert renewed.expires_at > lease.expires_at
        with pytest.raises(LeaseHeldError):
            store.claim("s", holder="driver-2", lease_seconds=60)
        store.write(lease, [trial(1)])

    def test_the_leases_of_many_studies_are_renewed_at_once_but_for_those_that_are_lost(
        self, store: Store, peer: Store
    ) -> None:
        names = [f"s{number}" for number in range(7)]
        for name in names:
            store.create_study(spec(name))
        held = [store.claim(name, holder="h", lease_seconds=0) for name in names]
        assert list(store.renew_all([], lease_seconds=60)) == []
        taken = peer.claim("s2", holder="other", lease_seconds=60)
        store.release(held[4])
        store.set_study_state("s5", StudyState.FAILED)
        store.delete_study("s5")
        renewed = store.renew_all(held, lease_seconds=60)
        assert [lease.study for lease in renewed] == ["s0", "s1", "s3", "s6"]
        assert [lease.token for lease in renewed] == [held[number].token for number in (0, 1, 3, 6)]
        assert min(lease.expires_at for lease in renewed) > max(lease.expires_at for lease in held) + 30
        for name in ("s0", "s6"):
            with pytest.raises(LeaseHeldError):
                peer.claim(name, holder="other", lease_seconds=60)
        peer.write(taken, [trial(0, study="s2")])

    def test_a_holder_that_claims_again_fences_off_its_old_self(self, store: Store, lease: Lease) -> None:
        again = store.claim("s", holder="driver-1", lease_seconds=60)
        assert again.token > lease.token
        with pytest.raises(LeaseLostError):
            store.write(lease, [])
        store.write(again, [])

    def test_a_lease_that_was_given_back_is_free_and_gone(self, store: Store, peer: Store, lease: Lease) -> None:
        store.release(lease)
        store.release(lease)
        with pytest.raises(LeaseLostError):
            store.write(lease, [trial(0)])
        with pytest.raises(LeaseLostError):
            store.renew(lease, lease_seconds=60)
        assert peer.claim("s", holder="driver-2", lease_seconds=60).token > lease.token

    def test_to_give_back_a_lost_lease_leaves_the_new_one(self, store: Store) -> None:
        store.create_study(spec())
        first = store.claim("s", holder="driver-1", lease_seconds=0)
        second = store.claim("s", holder="driver-2", lease_seconds=60)
        store.release(first)
        store.write(second, [trial(0)])

    def test_tokens_rise_with_every_claim(self, store: Store) -> None:
        store.create_study(spec())
        tokens = [store.claim("s", holder=f"driver-{n}", lease_seconds=0).token for n in range(5)]
        assert tokens == sorted(set(tokens))
