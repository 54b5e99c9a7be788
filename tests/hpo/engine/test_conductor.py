"""The conductor, whose workers and leases a test plays: no cluster needed."""

from __future__ import annotations

import pytest

from hpo.engine.messages import Assignment, Ended, Failure, Hello, Report
from hpo.trial import FailureCause
from tests.hpo.engine.conductor_play import Lease, Play, Worker


def at_work(play: Play, trial: int = 0) -> tuple[Lease, Worker]:
    """A trial, and the only worker of the group that has taken it."""
    worker, lease = play.worker(), play.lease(trial)
    assert isinstance(worker.next(), Assignment)
    return lease, worker


def test_a_worker_waits_in_its_report_until_the_lease_lets_it_go_on() -> None:
    lease, worker = at_work(Play())
    worker.report(1)
    [event] = lease.heard
    assert isinstance(event, Report)
    assert (event.step, event.metrics) == (1, {"loss": 1.0})
    assert worker.waits
    lease.goes_on(1)
    assert worker.answer is True


def test_a_lease_that_waits_already_hears_of_the_report_at_once_and_only_once() -> None:
    lease, worker = at_work(Play())
    for step in (1, 2, 3):
        worker.report(step)
        lease.goes_on(step)
        assert worker.answer is True
    assert lease.reports == [1, 2, 3]


def test_a_worker_that_is_free_waits_for_a_trial() -> None:
    play = Play()
    worker = play.worker()
    worker.next()
    assert worker.waits
    lease = play.lease(7)
    assert (worker.assignment.trial, worker.assignment.job) == (7, lease.job)


def test_a_cancelled_trial_leaves_at_the_report_that_it_waits_in() -> None:
    play = Play()
    lease, worker = at_work(play)
    worker.report(1)
    play.conductor.cancel(lease.job)
    assert worker.answer is False
    assert worker.leave() is False
    other = play.lease(1)
    worker.next()
    assert worker.assignment.job == other.job


def test_a_cancelled_trial_leaves_at_its_next_report() -> None:
    play = Play()
    lease, worker = at_work(play)
    play.conductor.cancel(lease.job)
    assert lease.end == Ended()
    assert worker.report(1) is False
    assert worker.leave() is False


def test_a_trial_cancelled_in_the_queue_is_never_handed_out() -> None:
    play = Play()
    worker = play.worker()
    first, second = play.lease(0), play.lease(1)
    play.conductor.cancel(first.job)
    assert first.end == Ended()
    worker.next()
    assert worker.assignment.job == second.job


def test_to_cancel_what_has_ended_does_nothing() -> None:
    play = Play()
    lease, worker = at_work(play)
    assert worker.leave() is False
    play.conductor.cancel(lease.job)
    play.conductor.cancel(lease.job)
    assert lease.heard == [Ended()]


def test_a_trial_that_returns_has_ended_well() -> None:
    lease, worker = at_work(Play())
    assert worker.leave() is False
    assert lease.heard == [Ended()]


# -- losses -----------------------------------------------------------------------------------------------
def test_a_lost_group_takes_its_trial_up_again_from_the_last_checkpoint_and_reports_each_step_once() -> None:
    play = Play()
    lease, worker = at_work(play)
    worker.report(1, path="/step-1")
    lease.goes_on(1)
    worker.report(2)  # without a checkpoint
    lease.goes_on(2)

    worker = play.worker()  # the group was killed and is back
    worker.next()
    assert (worker.assignment.job, worker.assignment.checkpoint) == (lease.job, "/step-1")
    assert worker.report(2) is True, "it was trained again, but is decided already"
    assert lease.reports == [1, 2]
    worker.report(3)
    event = lease.heard[-1]
    assert isinstance(event, Report)
    assert (event.step, event.requeued) == (3, 1)


def test_a_report_whose_decision_was_not_there_when_its_group_was_lost_is_not_reported_again() -> None:
    play = Play()
    lease, worker = at_work(play)
    worker.report(1)
    worker = play.worker()
    worker.next()
    worker.report(1)
    assert worker.waits
    assert lease.reports == [1]
    lease.goes_on(1)
    assert worker.answer is True


def test_the_trial_of_a_group_that_has_ended_for_good_goes_on_in_another() -> None:
    play = Play()
    lease, _ = at_work(play)
    play.conductor.group_ended(0)
    play.conductor.group_ended(7)  # one that never started: nothing to do
    other = play.worker(1)
    other.next()
    assert other.assignment.job == lease.job


def test_what_a_lost_group_was_at_goes_on_elsewhere_before_it_is_back() -> None:
    play = Play()
    lease, old = at_work(play)
    free = play.worker(1)
    free.next()
    play.conductor.group_lost(0)
    assert free.assignment.job == lease.job
    assert old.report(1) is False
    play.conductor.group_lost(7)  # one that never started
    back = play.worker(0)
    back.next()
    assert back.waits


def test_a_free_group_takes_at_once_what_a_lost_one_was_at() -> None:
    play = Play()
    lease, _ = at_work(play)
    free = play.worker(1)
    free.next()
    assert free.waits
    play.conductor.begin(0)
    assert free.assignment.job == lease.job


def test_the_old_processes_of_a_group_are_told_to_leave() -> None:
    play = Play()
    _, old = at_work(play)
    play.worker()
    assert old.report(1) is False
    assert old.leave() is True
    assert old.next() is None
    assert old.ask(Hello()) is None


def test_a_trial_whose_group_is_lost_too_often_fails_as_preempted() -> None:
    play = Play(max_losses=1)
    lease, _ = at_work(play)
    play.worker().next()
    play.worker()
    assert lease.end is not None
    assert lease.end.failure is not None
    assert lease.end.failure.cause is FailureCause.PREEMPTED
    assert "lost 2 times" in lease.end.failure.message


# -- failures ---------------------------------------------------------------------------------------------
def all_at_work(play: Play) -> tuple[Lease, list[Worker]]:
    workers, lease = play.group(), play.lease()
    for worker in workers:
        worker.next()
    assert [worker.assignment.job for worker in workers] == [lease.job] * play.world_size
    return lease, workers


def test_an_error_of_all_ranks_fails_the_trial_and_keeps_the_group() -> None:
    lease, ranks = all_at_work(Play(world_size=2))
    failure = Failure(message="ValueError: no")
    ranks[0].leave(failure)
    assert ranks[0].waits, "for the other one"
    assert ranks[1].leave(failure) is False
    assert ranks[0].answer is False
    assert lease.end == Ended(failure=failure)


def test_an_error_of_one_rank_fails_the_trial_and_renews_the_group_when_the_others_hang() -> None:
    play = Play(world_size=2)
    lease, ranks = all_at_work(play)
    failure = Failure(message="ValueError: no")
    ranks[1].leave(failure)
    play.pass_time(1.0)
    play.pass_time(4.9)
    assert ranks[1].waits
    play.pass_time(0.2)
    assert ranks[1].answer is True
    assert lease.end == Ended(failure=failure)
    assert ranks[0].report(1) is False, "it comes after all"
    assert ranks[0].leave() is True


def test_a_rank_that_comes_for_a_trial_that_the_others_have_given_up_goes_home() -> None:
    play = Play(world_size=2)
    first, second = play.group()
    lease = play.lease()
    first.next()
    first.leave(Failure(message="ValueError: no"))
    play.pass_time(1.0)
    play.pass_time(5.1)
    assert first.answer is True
    assert lease.end is not None
    play.conductor.cancel(lease.job)
    assert second.next() is None


def test_a_rank_that_has_returned_waits_for_the_others_as_long_as_they_train() -> None:
    play = Play(world_size=2)
    lease, ranks = all_at_work(play)
    ranks[0].leave()
    play.pass_time(1.0)
    play.pass_time(10_000.0)
    assert ranks[0].waits
    assert ranks[1].leave() is False
    assert ranks[0].answer is False
    assert lease.heard == [Ended()]


def test_a_lost_connection_alone_is_the_echo_of_a_lost_rank_and_fails_nothing() -> None:
    play = Play(world_size=2)
    lease, ranks = all_at_work(play)
    ranks[1].leave(Failure(message="gloo: connection reset by peer", collateral=True))
    play.pass_time(1.0)
    play.pass_time(5.1)
    assert ranks[1].answer is True
    assert lease.heard == []
    again = play.group()
    again[0].next()
    assert again[0].assignment.job == lease.job


def test_the_cause_is_not_the_echo() -> None:
    lease, ranks = all_at_work(Play(world_size=2))
    ranks[0].leave(Failure(message="gloo: connection reset by peer", collateral=True))
    ranks[1].leave(Failure(message="ValueError: no"))
    assert lease.end == Ended(failure=Failure(message="ValueError: no"))


def test_a_poisoned_process_is_renewed() -> None:
    _, worker = at_work(Play())
    failure = Failure(message="out of memory", cause=FailureCause.OUT_OF_MEMORY, poisons=True)
    assert worker.leave(failure) is True


# -- groups -----------------------------------------------------------------------------------------------
def test_all_ranks_of_a_group_take_the_same_trial_and_wait_for_the_same_decision() -> None:
    play = Play(world_size=2)
    first, second = play.group()
    second.next()
    lease = play.lease(7)
    assert second.waits, "for the first rank"
    first.next()
    assert first.assignment == second.assignment
    second.report(1)
    assert lease.heard == [], "only the first rank's report counts"
    first.report(1)
    assert first.waits
    assert second.waits
    lease.goes_on(1)
    assert (first.answer, second.answer) == (True, True)


def test_a_cancel_between_two_ranks_reports_of_a_step_stops_both_at_the_next_one() -> None:
    play = Play(world_size=2)
    lease, (first, second) = all_at_work(play)
    first.report(5)
    lease.goes_on(5)
    assert first.answer is True, "it is in step 6, and waits for the other in a collective operation"
    play.conductor.cancel(lease.job)
    assert second.report(5) is True
    assert second.report(6) is False
    assert first.report(6) is False


def test_a_cancelled_trial_that_trains_steps_again_after_a_loss_leaves_at_once() -> None:
    play = Play()
    lease, worker = at_work(play)
    worker.report(1)
    lease.goes_on(1)
    worker = play.worker()
    worker.next()
    play.conductor.cancel(lease.job)
    assert worker.report(1) is False


def test_the_next_trial_waits_until_all_ranks_have_left_the_last() -> None:
    play = Play(world_size=2)
    _, (first, second) = all_at_work(play)
    other = play.lease(1)
    first.leave()
    second.leave()
    second.next()
    assert second.waits
    first.next()
    assert (first.assignment.job, second.assignment.job) == (other.job, other.job)


def test_closing_sends_every_worker_home() -> None:
    play = Play()
    lease, worker = at_work(play)
    free = play.worker(1)
    free.next()
    worker.report(1)
    lease.heard.clear()
    lease.goes_on(0)
    play.conductor.close()
    assert lease.end == Ended()
    assert worker.answer is False
    assert worker.leave() is False
    assert worker.next() is None
    assert free.answer is None


@pytest.mark.parametrize("error", [None, "ModuleNotFoundError: no module named 'x'"])
def test_ready_groups_counts_the_hellos_and_passes_on_the_first_error(error: str | None) -> None:
    play = Play()
    play.conductor.begin(2)  # it has said nothing yet
    assert play.conductor.ready_groups() == (0, None)
    play.group(3, error)
    assert play.conductor.ready_groups() == (1, error)
