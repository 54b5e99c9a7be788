"""Commands about a study's trials and its specification: what is taken, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from conformance.store_steering import DATA, driven, queued, steer
from conformance.store_values import event, spec, trial

from hpo.errors import InvalidSpecError, StudyStateError, VersionError
from hpo.protocols import Store
from hpo.spec import StudySpec
from hpo.specfile import parse, to_data
from hpo.steering import Verb, original
from hpo.trial import StudyState, TrialState


def ray_spec() -> StudySpec:
    return parse({**to_data(spec()), "scheduler": {"algorithm": "ray:MedianStoppingRule"}, "labels": {}})


class SteeringChangesConformance:
    # -- trials -------------------------------------------------------------------------------------------
    def test_a_trial_that_has_ended_is_not_stopped(self, store: Store) -> None:
        lease = driven(store)
        assert lease is not None
        store.write(lease, [trial(0, state=TrialState.FAILED), trial(1, state=TrialState.PAUSED)])
        with pytest.raises(StudyStateError, match=r"trial 0 of study 's' has ended \(failed\)"):
            steer(store, Verb.STOP_TRIAL)
        store.steer("s", Verb.STOP_TRIAL, {"trial": 1}, who="ann")
        assert [command.data for command in store.commands("s")] == [{"trial": 1}]

    def test_no_more_configurations_are_taken_than_the_budget_has_room_for(self, store: Store) -> None:
        """100 trials: 96 have begun, 2 of them by a command; 1 more has been taken, 1 waits for the driver."""
        lease = driven(store)
        assert lease is not None
        begun = [event("trial.created", trial=number, data={"enqueued": True}) for number in (94, 95)]
        lines = [event("trial.created", trial=0), *[event("trial.enqueued", data={})] * 3, *begun]
        store.write(lease, [*(trial(number) for number in range(96)), *lines])
        steer(store, Verb.ENQUEUE)
        two = {"params": [{"lr": 0.5, "size": 1}] * 2, "retry_of": [None] * 2}
        for count, fits in ((3, False), (2, True), (1, False)):
            data = {name: (values * 2)[:count] for name, values in two.items()}
            if fits:
                store.steer("s", Verb.ENQUEUE, data, who="ann")
                continue
            with pytest.raises(StudyStateError, match=rf"and {count} more are over budget\.trials, which is 100"):
                store.steer("s", Verb.ENQUEUE, data, who="ann")
        assert [len(command.data["params"]) for command in store.commands("s")] == [1, 2]

    @pytest.mark.parametrize("ends", ["by itself", "by its driver's stop", "without a driver"])
    def test_what_an_ending_study_leaves_undone_is_said(self, store: Store, ends: str) -> None:
        """Of what was enqueued, one has begun and one waits; another, and a change, no driver has heard of."""
        lease = driven(store)
        assert lease is not None
        waits = [event("trial.enqueued", data={"params": {"lr": x}, "retry_of": 4}) for x in (0.1, 0.2)]
        store.write(lease, [*waits, trial(0), event("trial.created", trial=0, data={"enqueued": True})])
        store.steer("s", Verb.ENQUEUE, {"params": [{"lr": 0.3}], "retry_of": [None]}, who="ann")
        store.steer("s", Verb.CHANGE, {"changes": {"priority": 3}}, who="ann")
        if ends == "by itself":
            store.set_study_state("s", StudyState.SUCCEEDED, lease=lease)
        elif ends == "without a driver":
            store.release(lease)
            store.steer("s", Verb.CANCEL, who="bob")
        else:
            store.steer("s", Verb.STOP, who="bob")
            stop = store.commands("s")[-1]
            store.set_study_state("s", StudyState.CANCELLED, lease=lease, command=stop)
        assert list(store.commands("s")) == []
        lines = store.events("s", limit=1000)
        dropped = [line.data for line in lines if line.kind == "trial.dropped"]
        assert [(each["params"], each["retry_of"]) for each in dropped] == [({"lr": 0.2}, 4), ({"lr": 0.3}, None)]
        state = store.study("s").state
        assert {each["message"] for each in dropped} == {f"the study has ended ({state}) before its turn came"}
        outcomes = {line.data["verb"]: line.data["outcome"] for line in lines if line.kind == "command.done"}
        nothing = f"nothing: the study has ended ({state})"
        assert outcomes == {"enqueue": nothing, "change": nothing} | (
            {"stop": "done"} if ends == "by its driver's stop" else {}
        )
        store.set_study_state("s", StudyState.FAILED)
        assert store.events("s", limit=1000) == lines, "once"

    def test_a_change_that_the_scheduler_cannot_honour_is_refused_at_what_was_changed(self, store: Store) -> None:
        pbt = {"algorithm": "pbt", "population": 4}
        mutable = {"lr": {"type": "float", "low": 0.001, "high": 1, "mutable": True}}
        study = store.create_study(parse({**to_data(spec()), "parameters": mutable, "scheduler": pbt}))
        for changes, pointer in (
            ({"budget.trials": 3}, "/budget/trials"),
            ({"budget.trials": 1, "priority": 2}, "/budget/trials"),
            ({"budget.trials": 3, "priority": 2}, ""),
        ):
            with pytest.raises(InvalidSpecError, match=r"population|at least 2 trials") as refused:
                store.steer("s", Verb.CHANGE, {"changes": changes}, who="ann")
            assert [problem.pointer for problem in refused.value.problems] == [pointer]
        assert store.study("s") == study
        changed = store.steer("s", Verb.CHANGE, {"changes": {"budget.trials": 4}}, who="ann")
        assert changed.spec.budget.trials == 4

    def test_a_fault_that_a_study_has_from_before_keeps_nobody_from_changing_something_else(self, store: Store) -> None:
        asha = {"algorithm": "asha", "grace_steps": 50}
        store.create_study(parse({**to_data(spec()), "scheduler": asha, "budget": {"trials": 9, "steps_per_trial": 5}}))
        assert store.steer("s", Verb.CHANGE, {"changes": {"priority": 2}}, who="ann").spec.priority == 2

    def test_of_many_that_enqueue_at_once_those_are_taken_that_there_is_room_for(
        self, store: Store, peer: Store
    ) -> None:
        def enqueue(one: Store) -> bool:
            barrier.wait()
            try:
                one.steer("s", Verb.ENQUEUE, data, who="ann")
            except StudyStateError:
                return False
            return True

        queued(store)
        data = {"params": [{"lr": 0.5, "size": 1}] * 40, "retry_of": [None] * 40}
        barrier = Barrier(4)
        with ThreadPoolExecutor(4) as threads:
            assert sum(threads.map(enqueue, [store, peer] * 2)) == 2

    # -- changes ------------------------------------------------------------------------------------------
    def test_changes_count_at_once_in_the_study_and_say_what_was_before(self, store: Store, peer: Store) -> None:
        driven(store)
        first = store.study("s")
        asked: list[dict[str, Any]] = [
            {"budget.trials": 64, "labels": {"team": "news"}},
            {"budget.trials": 32, "budget.total_steps": 500},
            {"labels": None, "concurrency": 2},
            {"budget.total_steps": None, "priority": 5},
        ]
        for number, changes in enumerate(asked, start=1):
            after = store.steer("s", Verb.CHANGE, {"changes": changes}, who="ann")
            assert (after.version, after.state) == (first.version + number, first.state)
        assert (after.spec.budget.trials, after.spec.budget.total_steps) == (32, None)
        assert (after.spec.labels, after.spec.concurrency, after.spec.priority) == ({}, 2, 5)
        assert peer.study("s") == after
        assert [(command.data["changes"], command.data["was"]) for command in store.commands("s")] == [
            (asked[0], {"budget.trials": 100, "labels": {"谁": "我们"}}),
            (asked[1], {"budget.trials": 64, "budget.total_steps": None}),
            ({"labels": {}, "concurrency": 2}, {"labels": {"team": "news"}, "concurrency": None}),
            (asked[3], {"budget.total_steps": 500, "priority": 0}),
        ]
        assert original(after.spec, store.commands("s", done=True)) == first.spec

    def test_a_change_to_what_is_already_so_changes_nothing(self, store: Store) -> None:
        driven(store)
        before = store.study("s"), store.events("s")
        assert store.steer("s", Verb.CHANGE, {"changes": {"budget.trials": 100}}, who="ann") == before[0]
        assert (store.study("s"), store.events("s")) == before

    @pytest.mark.parametrize(("changes", "pointer"), [
        ({"seed": 3}, "/seed"), ({"budget.steps_per_trial": 3}, "/budget/steps_per_trial"),
        ({"budget.trials": 0}, "/budget/trials"), ({"budget.trials": None}, "/budget/trials"),
        ({"concurrency": "many"}, "/concurrency"), ({"labels": {"a": None}}, "/labels/a"),
    ])  # fmt: skip
    def test_a_change_that_breaks_a_rule_is_refused_where_it_does_and_nothing_changes(
        self, store: Store, changes: dict[str, Any], pointer: str
    ) -> None:
        driven(store)
        before = store.study("s"), store.events("s")
        with pytest.raises(InvalidSpecError) as caught:
            store.steer("s", Verb.CHANGE, {"changes": {"priority": 1, **changes}}, who="ann")
        assert [problem.pointer for problem in caught.value.problems] == [pointer]
        assert (store.study("s"), store.events("s")) == before

    def test_a_budget_is_never_below_the_trials_that_have_begun(self, store: Store) -> None:
        lease = driven(store)
        assert lease is not None
        store.steer("s", Verb.CHANGE, {"changes": {"budget.trials": 2}}, who="ann")
        # The driver had begun these before it heard of it.
        store.write(lease, [trial(number) for number in range(4)])
        with pytest.raises(StudyStateError, match=r"budget\.trials is 3, but study 's' has begun 4 trials"):
            store.steer("s", Verb.CHANGE, {"changes": {"budget.trials": 3}}, who="ann")
        store.steer("s", Verb.CHANGE, {"changes": {"priority": 1}}, who="ann")
        assert store.steer("s", Verb.CHANGE, {"changes": {"budget.trials": 4}}, who="ann").spec.budget.trials == 4

    def test_a_command_for_another_version_is_refused_with_both(self, store: Store) -> None:
        driven(store)
        before = store.study("s"), store.events("s")
        with pytest.raises(VersionError, match=r"at version 3, but the change is for version 2"):
            steer(store, Verb.CHANGE, version=2)
        assert (store.study("s"), store.events("s")) == before
        steer(store, Verb.CHANGE, version=3)
        assert store.study("s").version == 4

    @pytest.mark.parametrize(("verb", "data", "what"), [
        (Verb.ENQUEUE, DATA[Verb.ENQUEUE], "take more configurations"),
        (Verb.CHANGE, {"changes": {"concurrency": 2}}, "change concurrency"),
        (Verb.CHANGE, {"changes": {"budget.trials": 200, "priority": 1}}, "change budget.trials"),
    ])  # fmt: skip
    def test_what_rays_schedulers_can_not_take_is_refused(
        self, store: Store, verb: Verb, data: dict[str, Any], what: str
    ) -> None:
        store.create_study(ray_spec())
        with pytest.raises(StudyStateError, match=f"ray:MedianStoppingRule, which can't {what} on the way"):
            store.steer("s", verb, data, who="ann")
        store.steer("s", Verb.CHANGE, {"changes": {"priority": 1}}, who="ann")
        assert [command.verb for command in store.commands("s")] == [Verb.CHANGE]
