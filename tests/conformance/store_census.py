"""What the store says of all studies together."""

from __future__ import annotations

import time

import pytest
from conformance.store_values import event, spec, trial

from hpo.census import OpenStudy
from hpo.protocols import Store
from hpo.specfile import parse, to_data
from hpo.trial import Lease, StudyState, TrialState, Waiting, WaitReason


def only(store: Store) -> OpenStudy:
    [study] = store.census().open
    return study


class CensusConformance:
    def test_a_census_of_nothing_has_every_state_at_none(self, store: Store) -> None:
        census = store.census()
        assert census.studies == dict.fromkeys(StudyState, 0)
        assert census.trials == dict.fromkeys(TrialState, 0)
        assert (list(census.open), census.queue_seconds, census.quiet_seconds, census.lease_seconds) == ([], 0, 0, None)

    def test_a_census_counts_studies_and_trials_of_all_studies(self, store: Store, peer: Store) -> None:
        for number, name in enumerate(("a", "b", "c")):
            store.create_study(spec(name))
            lease = store.claim(name, holder="h", lease_seconds=60)
            rows = [trial(0, study=name, state=TrialState.COMPLETED), trial(1, study=name)]
            store.write(lease, rows[: number + 1])
        store.set_study_state("a", StudyState.FAILED)
        store.set_study_state("b", StudyState.RUNNING)
        census = peer.census()
        assert {state: n for state, n in census.studies.items() if n} == {"failed": 1, "running": 1, "queued": 1}
        assert {state: n for state, n in census.trials.items() if n} == {"completed": 3, "pending": 2}
        assert [(study.name, study.state) for study in census.open] == [("b", "running"), ("c", "queued")]

    def test_a_census_says_who_waits_for_what(self, store: Store, peer: Store) -> None:
        waiting = Waiting(WaitReason.SHARE, "needs 2 CPUs")
        for name in ("a", "b", "c"):
            store.create_study(spec(name))
            store.allot(name, share=0, waiting=None if name == "c" else waiting)
        store.set_study_state("b", StudyState.RUNNING)
        store.set_study_state("c", StudyState.RUNNING)
        census = peer.census()
        assert [study.waiting for study in census.open] == [waiting, waiting, None]
        assert census.waiting == dict.fromkeys(WaitReason, 0) | {WaitReason.SHARE: 2}
        quiet = [study.quiet_seconds for study in census.open if study.name == "c"]
        assert [census.quiet_seconds] == quiet  # b may train nothing, so nobody expects to hear of it

    def test_a_census_says_whose_a_study_is_and_what_it_may_have(self, store: Store, peer: Store) -> None:
        store.create_project("ours")
        store.create_study(parse({**to_data(spec()), "priority": 7}), project="ours")
        study = only(peer)
        assert (study.project, study.priority, study.job, study.share) == ("ours", 7, None, None)
        store.allot("s", share=3)
        store.new_attempt("s", job_prefix="hpo-s")
        study = only(peer)
        assert (study.job, study.share) == ("hpo-s-1", 3)

    def test_a_deleted_study_is_counted_no_more(self, store: Store, lease: Lease) -> None:
        store.write(lease, [trial(0)])
        store.set_study_state("s", StudyState.FAILED)
        store.delete_study("s")
        census = store.census()
        assert (sum(census.studies.values()), sum(census.trials.values())) == (0, 0)

    def test_a_study_without_a_live_lease_has_no_driver(self, store: Store) -> None:
        store.create_study(spec())
        assert only(store).lease_seconds is None
        assert list(store.census().undriven) == []  # nobody expects a driver of a queued study
        store.set_study_state("s", StudyState.RUNNING)
        assert [study.name for study in store.census().undriven] == ["s"]
        lease = store.claim("s", holder="h", lease_seconds=60)
        assert only(store).lease_seconds == pytest.approx(60, abs=20)
        assert store.census().lease_seconds == pytest.approx(60, abs=20)
        assert list(store.census().undriven) == []
        store.renew(lease, lease_seconds=-5)
        assert only(store).lease_seconds == pytest.approx(-5, abs=20)
        assert [study.name for study in store.census().undriven] == ["s"]
        store.release(lease)
        assert store.census().lease_seconds is None
        store.set_study_state("s", StudyState.FAILED)
        assert list(store.census().undriven) == []

    def test_the_first_lease_to_run_out_is_told(self, store: Store) -> None:
        for name, seconds in (("a", 3000), ("b", 1000), ("c", 2000)):
            store.create_study(spec(name))
            store.set_study_state(name, StudyState.RUNNING)
            store.claim(name, holder="h", lease_seconds=seconds)
        assert store.census().lease_seconds == pytest.approx(1000, abs=100)

    def test_a_study_is_quiet_since_its_last_event(self, store: Store) -> None:
        store.create_study(spec())
        lease = store.claim("s", holder="h", lease_seconds=60)
        store.set_study_state("s", StudyState.RUNNING)
        assert store.census().quiet_seconds == pytest.approx(0, abs=20)
        store.write(lease, [event(recorded_at=time.time() - 5000), event(recorded_at=time.time() - 3000)])
        census = store.census()
        assert census.quiet_seconds == census.open[0].quiet_seconds == pytest.approx(3000, abs=100)
        assert census.open[0].state_seconds == pytest.approx(0, abs=20)  # running since just now

    def test_a_clock_that_is_ahead_makes_no_time_negative(self, store: Store, lease: Lease) -> None:
        store.set_study_state("s", StudyState.RUNNING)
        store.write(lease, [event("study.running", recorded_at=time.time() + 5000)])
        assert (only(store).quiet_seconds, only(store).state_seconds) == (0, 0)

    def test_a_study_waits_since_it_was_queued_whatever_happened_to_it_meanwhile(self, store: Store) -> None:
        store.create_study(spec())
        lease = store.claim("s", holder="h", lease_seconds=60)
        store.write(lease, [event("note", recorded_at=time.time() - 5000)])
        assert store.census().queue_seconds == pytest.approx(0, abs=20)
        assert only(store).quiet_seconds == pytest.approx(5000, abs=100)
        store.set_study_state("s", StudyState.RUNNING)
        assert store.census().queue_seconds == 0  # none waits

    def test_a_starting_study_starts_since_its_last_attempt(self, store: Store, lease: Lease) -> None:
        store.new_attempt("s", job_prefix="hpo-s")
        store.write(lease, [event("job.submitted", recorded_at=time.time() + 5000)])
        assert only(store).state_seconds == 0
        store.set_study_state("s", StudyState.PAUSED)
        assert [study.name for study in store.census().open] == ["s"]

    def test_a_study_whose_workers_are_the_users_own_needs_no_driver(self, store: Store) -> None:
        data = {key: value for key, value in to_data(spec()).items() if key != "trainable"}
        store.create_study(parse({**data, "engine": "ask"}))
        census = store.census()
        assert (census.queue_seconds, list(census.queued)) == (0.0, [])
        lease = store.claim("s", holder="h", lease_seconds=60)
        store.set_study_state("s", StudyState.RUNNING, lease=lease)
        store.renew(lease, lease_seconds=-5)
        census = store.census()
        assert (only(store).is_asked, list(census.undriven), census.lease_seconds) == (True, [], None)
        assert census.quiet_seconds == 0.0
