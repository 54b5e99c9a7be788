"""Commands to a study: what is done at once, what waits for its driver, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conformance.store_values import event, spec, trial

from hpo.errors import LeaseLostError, StudyNotFoundError, StudyStateError
from hpo.protocols import Store
from hpo.steering import Verb
from hpo.trial import Lease, StudyState, TrialState

DATA: dict[Verb, dict[str, Any]] = {
    Verb.CHANGE: {"changes": {"priority": 3}},
    Verb.STOP_TRIAL: {"trial": 0},
    Verb.ENQUEUE: {"params": [{"lr": 0.5, "size": 1}], "retry_of": [None]},
}
PAST = {Verb.PAUSE: "paused", Verb.STOP: "stopped", Verb.CANCEL: "cancelled"}


def steer(store: Store, verb: Verb, **options: Any) -> StudyState:
    return store.steer("s", verb, DATA.get(verb), who="ann", **options).state


def queued(store: Store) -> Lease | None:
    store.create_study(spec())
    return None


def starting(store: Store) -> Lease | None:
    queued(store)
    store.new_attempt("s", job_prefix="hpo-s")
    return None


def driven(store: Store) -> Lease | None:
    starting(store)
    lease = store.claim("s", holder="hpo-s-1", lease_seconds=60)
    store.set_study_state("s", StudyState.RUNNING, lease=lease)
    return lease


def abandoned(store: Store) -> Lease | None:
    lease = driven(store)
    assert lease is not None
    return store.renew(lease, lease_seconds=-1)


def paused(store: Store) -> Lease | None:
    queued(store)
    store.set_study_state("s", StudyState.PAUSED)
    return None


SITUATIONS: list[Callable[[Store], Lease | None]] = [queued, starting, driven, abandoned, paused]


class SteeringConformance:
    # -- pause, stop, cancel, resume ----------------------------------------------------------------------
    @pytest.mark.parametrize("verb", PAST)
    @pytest.mark.parametrize("situation", [queued, starting, abandoned])
    def test_what_no_driver_holds_pauses_and_ends_at_once(
        self, store: Store, peer: Store, situation: Callable[[Store], Lease | None], verb: Verb
    ) -> None:
        situation(store)
        before, last = store.study("s"), store.events("s")[-1].id
        state = StudyState.PAUSED if verb is Verb.PAUSE else StudyState.CANCELLED
        after = store.steer("s", verb, who="ann")
        assert (after.state, after.message, after.version) == (state, f"{PAST[verb]} by ann", before.version + 1)
        assert (after.ended_at is not None) == state.is_final
        assert peer.study("s") == after
        asked, done = store.events("s", after=last)
        assert (asked.kind, asked.data) == ("command.requested", {"verb": verb, "who": "ann", "done": True})
        assert (done.kind, done.data) == (f"study.{state}", {"message": f"{PAST[verb]} by ann"})
        assert list(store.commands("s")) == []
        assert [command.verb for command in store.commands("s", done=True)] == [verb]

    @pytest.mark.parametrize("verb", PAST)
    def test_what_a_driver_holds_waits_for_it_and_is_asked_once(self, store: Store, peer: Store, verb: Verb) -> None:
        driven(store)
        before = store.study("s")
        assert store.steer("s", verb, who="ann") == peer.steer("s", verb, who="bob") == before
        [command] = peer.commands("s")
        assert (command.verb, command.who, command.data, command.study) == (verb, "ann", {}, "s")
        assert command == command.of(store.events("s")[-1])

    def test_a_study_that_is_stopped_has_succeeded_if_a_trial_had_a_value(self, store: Store) -> None:
        lease = driven(store)
        assert lease is not None
        store.write(lease, [trial(0, state=TrialState.COMPLETED, value=1.0), trial(1)])
        store.release(lease)
        assert steer(store, Verb.STOP) is StudyState.SUCCEEDED

    @pytest.mark.parametrize("verb", PAST)
    def test_trials_that_a_dead_driver_left_open_pause_or_stop_with_their_study(self, store: Store, verb: Verb) -> None:
        lease = abandoned(store)
        assert lease is not None
        states = (TrialState.PENDING, TrialState.RUNNING, TrialState.PAUSED, TrialState.FAILED)
        store.write(lease, [trial(number, state=state) for number, state in enumerate(states)])
        after = store.steer("s", verb, who="ann")
        *left, failed = store.trials("s").items
        assert failed == trial(3, state=TrialState.FAILED)
        for each in left:
            if verb is Verb.PAUSE:
                assert each == trial(each.number, state=TrialState.PAUSED)
            else:
                assert (each.state, each.message, each.ended_at) == ("stopped", after.message, after.ended_at)

    @pytest.mark.parametrize("verb", PAST)
    def test_a_driver_that_slept_through_its_lease_is_fenced_off(self, store: Store, verb: Verb) -> None:
        lease = abandoned(store)
        assert lease is not None
        steer(store, verb)
        for use in (lambda: store.renew(lease, lease_seconds=60), lambda: store.write(lease, [trial(0)])):
            with pytest.raises(LeaseLostError):
                use()

    def test_a_paused_study_is_queued_by_resume(self, store: Store) -> None:
        paused(store)
        last = store.events("s")[-1].id
        assert steer(store, Verb.RESUME) is StudyState.QUEUED
        assert [line.kind for line in store.events("s", after=last)] == ["command.requested", "study.queued"]
        assert list(store.commands("s")) == []

    @pytest.mark.parametrize(("verb", "situation"), [
        (Verb.PAUSE, paused), (Verb.RESUME, queued), (Verb.RESUME, starting), (Verb.RESUME, driven),
    ])  # fmt: skip
    def test_what_is_as_it_is_asked_to_be_changes_nothing(
        self, store: Store, verb: Verb, situation: Callable[[Store], Lease | None]
    ) -> None:
        situation(store)
        before = store.study("s"), store.events("s")
        assert store.steer("s", verb, who="ann") == before[0]
        assert (store.study("s"), store.events("s")) == before

    def test_what_is_about_to_pause_can_not_be_resumed_yet(self, store: Store) -> None:
        driven(store)
        steer(store, Verb.PAUSE)
        with pytest.raises(StudyStateError, match="about to pause"):
            steer(store, Verb.RESUME)

    @pytest.mark.parametrize("verb", [Verb.STOP, Verb.CANCEL])
    def test_a_paused_study_ends_at_once_though_its_driver_is_not_gone_yet(self, store: Store, verb: Verb) -> None:
        lease = driven(store)
        store.set_study_state("s", StudyState.PAUSED, lease=lease)
        assert steer(store, verb) is StudyState.CANCELLED

    def test_a_pause_that_a_dead_driver_left_undone_is_done_by_the_next_and_keeps_nobody_from_resuming(
        self, store: Store
    ) -> None:
        lease = driven(store)
        assert lease is not None
        steer(store, Verb.PAUSE)
        store.renew(lease, lease_seconds=-1)
        assert steer(store, Verb.PAUSE) is StudyState.PAUSED
        assert list(store.commands("s")) == []
        assert steer(store, Verb.RESUME) is StudyState.QUEUED

    @pytest.mark.parametrize("verb", Verb)
    @pytest.mark.parametrize("end", [state for state in StudyState if state.is_final])
    def test_what_has_ended_takes_no_command(self, store: Store, end: StudyState, verb: Verb) -> None:
        queued(store)
        store.set_study_state("s", end)
        before = store.study("s"), store.events("s")
        with pytest.raises(StudyStateError, match=rf"'s' has ended \({end}\).*fork it"):
            steer(store, verb)
        assert (store.study("s"), store.events("s")) == before

    def test_a_study_that_is_not_there_takes_none(self, store: Store) -> None:
        for use in (
            lambda: store.steer("none", Verb.PAUSE, who="ann"),
            lambda: store.commands("none"),
            lambda: store.revoke("none", holder="h"),
        ):
            with pytest.raises(StudyNotFoundError, match="'none'"):
                use()

    # -- what waits ---------------------------------------------------------------------------------------
    @pytest.mark.parametrize("verb", DATA)
    @pytest.mark.parametrize("situation", SITUATIONS)
    def test_what_only_a_driver_can_do_waits_in_every_state(
        self, store: Store, situation: Callable[[Store], Lease | None], verb: Verb
    ) -> None:
        situation(store)
        state = store.study("s").state
        assert steer(store, verb) is state
        [command] = store.commands("s")
        assert (command.verb, command.who) == (verb, "ann")
        assert DATA[verb].items() <= command.data.items()
        assert store.events("s")[-1].trial == DATA[verb].get("trial")

    def test_commands_wait_in_their_order_until_their_line_says_that_they_are_done(self, store: Store) -> None:
        lease = driven(store)
        assert lease is not None
        for verb in (Verb.ENQUEUE, Verb.CHANGE, Verb.STOP_TRIAL, Verb.PAUSE):
            steer(store, verb)
        first, second, third, last = store.commands("s")
        store.write(lease, [trial(0), event("command.done", data={"command": second.id})])
        assert list(store.commands("s")) == [first, third, last]
        store.set_study_state("s", StudyState.PAUSED, lease=lease, command=last)
        assert list(store.commands("s")) == [first, third]
        assert store.commands("s", done=True) == [first, second, third, last]
        state, done = store.events("s")[-2:]
        assert (state.kind, done.kind) == ("study.paused", "command.done")
        assert done.data == {"command": last.id, "verb": "pause", "who": "ann", "outcome": "done"}

    def test_a_holder_is_told_for_which_of_its_studies_commands_wait(self, store: Store, peer: Store) -> None:
        leases = {}
        for name in ("a", "b", "c", "d"):
            store.create_study(spec(name))
            leases[name] = store.claim(name, holder="me" if name != "d" else "other", lease_seconds=60)
            store.set_study_state(name, StudyState.RUNNING, lease=leases[name])
        assert set(store.commanded("me")) == set()
        for name in ("a", "b", "d"):
            peer.steer(name, Verb.STOP, who="ann")
        assert set(store.commanded("me")) == {"a", "b"}
        [command] = store.commands("a")
        store.write(leases["a"], [event("command.done", study="a", data={"command": command.id})])
        assert set(peer.commanded("me")) == {"b"}
        assert set(store.commanded("nobody")) == set()

    def test_a_driver_that_has_lost_its_lease_can_not_say_that_a_command_is_done(self, store: Store) -> None:
        lease = driven(store)
        assert lease is not None
        steer(store, Verb.CANCEL)
        [command] = store.commands("s")
        store.release(lease)
        with pytest.raises(LeaseLostError):
            store.set_study_state("s", StudyState.CANCELLED, lease=lease, command=command)
        assert (list(store.commands("s")), store.study("s").state) == ([command], "running")
