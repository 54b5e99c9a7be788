"""What a study may have and waits for, in every store."""

from __future__ import annotations

import pytest
from conformance.store_values import spec

from hpo.errors import StudyNotFoundError
from hpo.protocols import Store
from hpo.steering import Verb
from hpo.trial import StudyState, Waiting, WaitReason

QUOTA = Waiting(WaitReason.MAX_STUDIES, "quota max_studies of project a is 2: 2 are at work")


class ShareConformance:
    """A part of the store's conformance suite."""

    def test_a_share_and_what_a_study_waits_for_are_kept_and_leave_its_version(self, store: Store, peer: Store) -> None:
        created = store.create_study(spec())
        after = store.allot("s", share=0, waiting=QUOTA)
        assert (after.share, after.waiting, after.version) == (0, QUOTA, created.version)
        assert peer.study("s") == after
        assert peer.studies().items == [after]
        freed = peer.allot("s", share=3)
        assert (freed.share, freed.waiting, freed.version) == (3, None, created.version)
        assert store.allot("s", share=None) == created

    def test_waiting_is_a_line_once_for_each_reason(self, store: Store) -> None:
        store.create_study(spec())
        room = Waiting(WaitReason.ROOM, "needs 2 CPUs; waits until trials of other studies are over\x00")
        for waiting in (QUOTA, QUOTA, Waiting(QUOTA.reason, "other figures"), room, room, None, None, room):
            store.allot("s", share=0, waiting=waiting)
        lines = store.events("s", kind="study.waiting")
        assert [line.data["reason"] for line in lines] == ["max_studies", "room", "room"]
        assert lines[0].data["message"] == QUOTA.message
        assert str(lines[1].data["message"]).endswith("over\ufffd")
        assert len(store.events("s")) == 4

    def test_a_share_survives_all_that_is_written_beside_it(self, store: Store, peer: Store) -> None:
        store.create_study(spec())
        store.allot("s", share=2)
        peer.new_attempt("s", job_prefix="job")
        peer.set_study_state("s", StudyState.RUNNING)
        assert peer.steer("s", Verb.CHANGE, {"changes": {"priority": 2}}, who="ann").share == 2
        assert store.study("s").share == 2

    @pytest.mark.parametrize("state", [StudyState.PAUSED, StudyState.FAILED])
    def test_who_is_paused_or_has_ended_has_no_share_and_waits_for_nothing(
        self, store: Store, state: StudyState
    ) -> None:
        store.create_study(spec())
        store.allot("s", share=0, waiting=QUOTA)
        ended = store.set_study_state("s", state)
        assert (ended.share, ended.waiting) == (None, None)
        assert store.allot("s", share=1, waiting=QUOTA) == ended
        assert len(store.events("s", kind="study.waiting")) == 1

    def test_pause_and_cancel_end_the_wait_of_a_queued_study(self, store: Store) -> None:
        store.create_study(spec())
        store.allot("s", share=0, waiting=QUOTA)
        assert store.steer("s", Verb.PAUSE, who="ann").waiting is None
        store.steer("s", Verb.RESUME, who="ann")
        store.allot("s", share=0, waiting=QUOTA)
        assert store.steer("s", Verb.CANCEL, who="ann").waiting is None

    def test_of_an_unknown_study_nothing_is_kept(self, store: Store) -> None:
        with pytest.raises(StudyNotFoundError):
            store.allot("s", share=1)
