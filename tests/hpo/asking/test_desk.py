"""Workers that ask and tell: who holds what, what counts, and what a process that dies leaves behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hpo.errors import InvalidReportError, StudyBusyError, StudyStateError, TrialLeaseError, TrialNotFoundError
from hpo.steering import Verb
from hpo.trial import Action, FailureCause, StudyState, TrialState
from tests.hpo.asking.bench import Bench

Make = Callable[..., Bench]


# -- who holds what ---------------------------------------------------------------------------------------
def test_the_first_ask_starts_the_study_and_the_last_report_ends_it(bench: Make) -> None:
    play = bench()
    assert play.study.state is StudyState.QUEUED
    for _ in range(4):
        assert play.train(play.one()) is Action.COMPLETE
    assert (play.study.state, play.study.job, play.study.attempt) == (StudyState.SUCCEEDED, None, 0)
    over = play.desk.suggest("s", "ann", count=1, lease_seconds=60)
    assert (list(over.trials), over.study) == ([], StudyState.SUCCEEDED)
    assert [trial.state for trial in play.trials()] == [TrialState.COMPLETED] * 4


def test_a_client_gets_its_pending_trials_back_and_another_client_others(bench: Make) -> None:
    play = bench()
    mine = play.one("ann")
    assert play.one("ann") == mine
    assert play.one("bob").trial == 1
    both = play.ask("ann", count=2)
    assert (both[0], both[1].trial) == (mine, 2)
    assert play.ask("ann", count=2) == both
    assert play.one("ann") == mine


def test_a_suggestion_says_what_to_train_with_and_what_to_go_on_from(bench: Make) -> None:
    play = bench(fixed={"epochs": 3})
    trial = play.one()
    assert set(trial.params) == {"x", "epochs"}
    assert (trial.step, trial.max_steps, trial.resume, trial.inherit, trial.lease_seconds) == (0, 3, None, None, 60.0)
    play.report(trial, 2, saved="here/2")
    again = play.one()
    assert (again.step, again.lease) == (2, trial.lease)
    assert again.resume is not None
    assert (again.resume.path, again.resume.step, again.resume.size_bytes) == ("here/2", 2, 7)


def test_no_more_trials_are_out_than_the_study_allows(bench: Make) -> None:
    play = bench(concurrency=2)
    assert [trial.trial for trial in play.ask("ann", count=5)] == [0, 1]
    assert play.ask("bob") == []
    play.train(play.ask("ann")[0])
    assert [trial.trial for trial in play.ask("bob")] == [2]


# -- reports ----------------------------------------------------------------------------------------------
def test_a_report_that_comes_again_gets_the_same_answer_and_counts_once(bench: Make) -> None:
    play = bench(scheduler={"algorithm": "asha", "grace_steps": 1}, budget={"trials": 2})
    good, bad = play.one("ann"), play.one("bob")
    assert play.report(good, 1, 0.1).action is Action.CONTINUE
    stopped = play.report(bad, 1, 5.0)
    assert stopped.action is Action.STOP
    assert "cutoff" in stopped.reason
    for _ in range(2):
        assert play.report(bad, 1, 5.0) == stopped
        assert play.report(good, 1, 0.1).action is Action.CONTINUE
        play.kill()  # the next one knows as much
    assert play.steps() == [(0, 1), (1, 1)]


@pytest.mark.parametrize(("how", "action"), [("complete", Action.COMPLETE), ("fail", Action.STOP)])
def test_the_end_of_a_trial_that_is_told_again_is_answered_again(bench: Make, how: str, action: Action) -> None:
    play = bench()
    trial = play.one()
    play.report(trial, 1)
    cause = FailureCause.ERROR if how == "fail" else None
    for _ in range(3):
        answer = play.desk.complete("s", 0, trial.lease, cause=cause, message="it broke")
        assert answer.action is action
        play.kill()
    assert len(play.events("trial.completed") + play.events("trial.failed")) == 1
    assert play.report(trial, 2).action is action  # and nothing more counts
    assert play.steps() == [(0, 1)]


def test_the_last_report_of_a_study_is_answered_again_though_nobody_keeps_it(bench: Make) -> None:
    play = bench(budget={"trials": 1})
    trial = play.one()
    assert play.train(trial) is Action.COMPLETE
    play.kill()
    assert play.report(trial, 3).action is Action.COMPLETE
    with pytest.raises(TrialNotFoundError):
        play.desk.renew("s", 7, "x")


def test_a_report_beyond_the_budget_of_steps_is_refused(bench: Make) -> None:
    play = bench()
    with pytest.raises(InvalidReportError, match=r"step 4, but budget\.steps_per_trial"):
        play.report(play.one(), 4)
    assert play.steps() == []


def test_a_report_without_the_objective_fails_the_study_and_says_so(bench: Make) -> None:
    play = bench()
    trial = play.one()
    answer = play.desk.report("s", 0, trial.lease, 1, {"accuracy": 1.0})
    assert (answer.action, "'loss'" in answer.reason) == (Action.STOP, True)
    assert play.study.state is StudyState.FAILED


def test_the_budget_of_steps_is_kept_to_the_step(bench: Make) -> None:
    play = bench(budget={"total_steps": 2})
    first, second = play.ask("ann", count=2)
    play.report(first, 1)
    play.report(second, 1)
    assert play.report(first, 2).action is Action.STOP
    assert (len(play.steps()), play.study.state) == (2, StudyState.SUCCEEDED)
    assert [trial.state for trial in play.trials()] == [TrialState.STOPPED] * 2


def test_the_study_ends_when_its_time_is_spent(bench: Make) -> None:
    play = bench(budget={"wall_seconds": 50})
    trial = play.one()
    play.now = (play.study.started_at or 0) + 20
    play.report(trial, 1)
    play.now += 40
    play.desk.tick()
    assert "50 seconds are spent" in (play.study.message or "")
    assert play.report(trial, 2).action is Action.STOP


# -- failures ---------------------------------------------------------------------------------------------
def test_a_trial_that_failed_is_tried_again_as_the_study_says(bench: Make) -> None:
    play = bench(retry={"errors": 1})
    trial = play.one("ann")
    play.report(trial, 1, saved="one")
    play.desk.complete("s", 0, trial.lease, cause=FailureCause.ERROR, message="bad luck")
    again = play.one("bob")
    assert (again.trial, again.resume and again.resume.path, again.lease != trial.lease) == (0, "one", True)
    play.desk.complete("s", 0, again.lease, cause=FailureCause.OUT_OF_MEMORY, message="too big")
    (failed,) = [each for each in play.trials() if each.state is TrialState.FAILED]
    assert (failed.cause, failed.message) == (FailureCause.OUT_OF_MEMORY, "too big")


# -- leases -----------------------------------------------------------------------------------------------
def test_a_silent_workers_trial_goes_to_the_next_from_its_last_checkpoint(bench: Make) -> None:
    play = bench()
    lost = play.one("ann")
    play.report(lost, 1, saved="one")
    play.report(lost, 2)
    play.now += 59
    assert play.one("bob").trial == 1
    play.now += 2
    again = play.one("cy")
    assert (again.trial, again.step, again.resume and again.resume.step) == (0, 2, 1)
    with pytest.raises(TrialLeaseError, match=r"ann was silent for 60 s.*goes on elsewhere"):
        play.report(lost, 3)
    assert (0, 3) not in play.steps()
    # Step 2 is trained again and counts once.
    assert [play.report(again, step).action for step in (2, 3)] == [Action.CONTINUE, Action.COMPLETE]
    assert play.steps().count((0, 2)) == 1
    (line,) = play.events("trial.requeued")
    assert (line.data["client_id"], line.data["from_step"]) == ("ann", 1)


@pytest.mark.parametrize("say", ["report", "renew", "suggest"])
def test_whatever_a_worker_says_renews_its_lease(bench: Make, say: str) -> None:
    play = bench()
    trial = play.one()
    for step in (1, 2):
        play.now += 50
        match say:
            case "report":
                play.report(trial, step)
            case "renew":
                assert play.desk.renew("s", 0, trial.lease).action is Action.CONTINUE
            case "suggest":
                assert play.one().lease == trial.lease
        play.desk.tick()
    assert play.events("trial.requeued") == []


def test_a_trial_that_is_given_back_goes_to_the_next(bench: Make) -> None:
    play = bench()
    trial = play.one("ann")
    play.report(trial, 1, saved="one")
    for _ in range(2):  # also when it is said again
        play.desk.release("s", 0, trial.lease, message="lunch")
    again = play.one("bob")
    assert (again.trial, again.resume and again.resume.path) == (0, "one")
    play.desk.release("s", 0, trial.lease)  # and it takes nothing from bob
    assert play.one("bob") == again
    with pytest.raises(TrialLeaseError, match="ann gave it back: lunch"):
        play.report(trial, 2)


@pytest.mark.parametrize(("number", "lease"), [(0, "nonsense"), (1, "")])
def test_a_lease_that_is_not_of_this_trial_is_refused(bench: Make, number: int, lease: str) -> None:
    play = bench()
    trial = play.one("ann")
    play.one("bob")
    for tell in (play.desk.renew, play.desk.release, play.desk.complete):
        with pytest.raises(TrialLeaseError, match="is known"):
            tell("s", number, lease or trial.lease)


def test_a_worker_keeps_its_trial_and_its_lease_when_the_service_dies(bench: Make) -> None:
    play = bench()
    trial, other = play.one("ann"), play.one("bob")
    play.report(trial, 1, saved="one")
    play.desk.release("s", other.trial, other.lease)
    play.kill()
    play.now += 1000  # nobody could renew, so nobody was silent
    assert play.report(trial, 2).action is Action.CONTINUE
    assert play.one("ann").lease == trial.lease
    assert play.one("cy").trial == other.trial
    play.kill()
    assert play.one("ann").lease == trial.lease
    (resumed, *_) = play.events("study.resumed")
    assert (resumed.data["assigned"], resumed.data["requeued"], resumed.data["differences"]) == ([0], [1], 0)


# -- several processes ------------------------------------------------------------------------------------
def test_another_process_answers_only_when_the_first_is_silent_or_leaves(bench: Make) -> None:
    play = bench()
    play.desk = first = play.new_desk(lease_seconds=30)
    trial = play.one("ann")
    play.desk = second = play.new_desk(lease_seconds=30)
    with pytest.raises(StudyBusyError, match="answered by that process"):
        play.one("bob")
    first.close()
    assert play.one("bob").trial == 1
    play.desk = first
    with pytest.raises(StudyBusyError):
        play.report(trial, 1)
    second.close()
    assert play.report(trial, 1).action is Action.CONTINUE


def test_a_process_that_slept_through_its_lease_writes_nothing(bench: Make) -> None:
    play = bench()
    slept = play.new_desk()
    play.desk = slept
    trial = play.one("ann")
    play.desk = play.new_desk(lease_seconds=30)
    assert play.report(trial, 1).action is Action.CONTINUE
    play.desk = slept
    with pytest.raises(StudyBusyError):
        play.report(trial, 2)
    assert play.steps() == [(0, 1)]


def test_a_study_on_ray_takes_no_workers_of_ones_own(bench: Make) -> None:
    with pytest.raises(StudyStateError, match='submit one with engine = "ask"'):
        bench(engine="ray", trainable="m:f").ask()


def test_a_study_that_nobody_asks_about_leaves_the_memory(bench: Make) -> None:
    play = bench()
    trial = play.one()
    play.now += 10_000
    play.desk.tick()  # its worker is silent: the trial waits
    play.now += 10_000
    play.desk.tick()
    other = play.new_desk(lease_seconds=30)
    assert [each.trial for each in other.suggest("s", "bob", count=1, lease_seconds=60).trials] == [trial.trial]


# -- steering ---------------------------------------------------------------------------------------------
def test_a_trial_that_somebody_stops_ends_at_its_next_report(bench: Make) -> None:
    play = bench()
    play.desk = play.new_desk(lease_seconds=30)
    trial = play.one()
    play.store.steer("s", Verb.STOP_TRIAL, {"trial": 0}, who="zoe")
    play.desk.tick()
    for answer in (play.desk.renew("s", 0, trial.lease), play.report(trial, 1)):
        assert (answer.action, answer.reason) == (Action.STOP, "stopped by zoe")
    assert play.steps() == []
    assert play.one().trial == 1


def test_a_paused_study_gives_nothing_and_goes_on_after_resume(bench: Make) -> None:
    play = bench()
    play.desk = play.new_desk(lease_seconds=30)
    trial = play.one("ann")
    play.report(trial, 1, saved="one")
    play.store.steer("s", Verb.PAUSE, who="zoe")
    play.desk.tick()
    assert play.study.state is StudyState.PAUSED
    answer = play.report(trial, 2)
    assert (answer.action, answer.reason) == (Action.PAUSE, "paused by zoe")
    found = play.desk.suggest("s", "ann", count=1, lease_seconds=60)
    assert (list(found.trials), found.study, found.message) == ([], StudyState.PAUSED, "paused by zoe")
    play.store.steer("s", Verb.RESUME, who="zoe")
    assert play.report(trial, 2).action is Action.PAUSE  # whoever slept through it, too
    again = play.one("bob")
    assert (again.trial, again.resume and again.resume.path, play.study.state) == (0, "one", StudyState.RUNNING)
    assert [each.state for each in play.trials()] == [TrialState.RUNNING]
    assert play.steps() == [(0, 1)]


@pytest.mark.parametrize(("verb", "state"), [(Verb.STOP, StudyState.SUCCEEDED), (Verb.CANCEL, StudyState.CANCELLED)])
def test_a_study_is_ended_while_workers_train(bench: Make, verb: Verb, state: StudyState) -> None:
    play = bench()
    play.desk = play.new_desk(lease_seconds=30)
    trial = play.one()
    play.report(trial, 1)
    play.store.steer("s", verb, who="zoe")
    play.desk.tick()
    assert play.study.state is state
    assert play.report(trial, 2).action is Action.STOP
    assert play.desk.suggest("s", "ann", count=1, lease_seconds=60).study is state
    assert play.store.commands("s") == []


def test_configurations_are_enqueued_and_the_budget_changes_while_it_runs(bench: Make) -> None:
    play = bench(budget={"trials": 2})
    play.desk = play.new_desk(lease_seconds=30)
    play.one("ann")
    play.store.steer("s", Verb.ENQUEUE, {"params": [{"x": 0.125}]}, who="zoe")
    play.store.steer("s", Verb.CHANGE, {"changes": {"budget.trials": 3}}, who="zoe")
    play.desk.tick()
    assert play.ask("bob", count=5)[0].params["x"] == 0.125
    assert len(play.trials()) == 3
    play.desk.close()
    play.kill()
    assert len(play.ask("bob", count=5)) == 2


# -- checkpoints ------------------------------------------------------------------------------------------
def test_workers_are_told_which_checkpoints_may_go(bench: Make) -> None:
    play = bench()
    trial = play.one()
    assert play.report(trial, 1, 1.0, saved="one").unneeded == ()
    assert play.report(trial, 2, 0.5, saved="two").unneeded == ("one",)
    play.desk.tick()
    assert [each.path for each in play.store.checkpoints("s")] == ["two"]


def test_a_member_of_a_population_begins_from_another_ones_weights(bench: Make) -> None:
    play = bench(
        parameters={"x": {"type": "float", "low": 0, "high": 1, "mutable": True}},
        scheduler={"algorithm": "pbt", "population": 4, "interval_steps": 1, "quantile": 0.5},
        budget={"trials": 4, "steps_per_trial": 6},
    )
    inherited = []
    while trials := play.ask("ann", count=4):
        for trial in trials:
            if trial.inherit is not None:
                inherited.append(trial)
                assert (trial.inherit.trial != trial.trial, trial.resume, trial.generation > 0) == (True, None, True)
                assert trial.step == trial.inherit.step
            step = trial.step + 1
            play.report(trial, step, loss=trial.trial + 1 / step, saved=f"{trial.trial}/{trial.generation}/{step}")
    assert inherited
    assert len(inherited) == len(play.store.inheritances("s"))
    assert play.study.state is StudyState.SUCCEEDED
