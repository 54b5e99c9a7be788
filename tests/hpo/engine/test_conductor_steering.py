"""The conductor when a study is steered: legs that are over, and fewer groups."""

from __future__ import annotations

from hpo.engine.messages import Assignment, Ended
from tests.hpo.engine.conductor_play import Play, Worker


def free(play: Play, group: int) -> Worker:
    """The worker of a new group, which has nothing to do."""
    worker = play.worker(group)
    worker.next()
    assert worker.waits
    return worker


# -- a leg is over ----------------------------------------------------------------------------------------
def test_workers_leave_a_leg_that_is_over_at_their_next_report_and_take_the_next_one() -> None:
    play = Play()
    worker, lease = play.worker(), play.lease()
    worker.next()
    play.conductor.cancel(lease.job)
    assert lease.end == Ended()
    again = play.lease(checkpoint="/0/1")
    assert worker.report(1) is False
    assert worker.leave() is False
    worker.next()
    assert (worker.assignment.job, worker.assignment.checkpoint) == (again.job, "/0/1")


def test_a_lease_that_goes_on_with_a_leg_that_is_over_hears_so() -> None:
    play = Play()
    lease = play.lease()
    play.conductor.cancel(lease.job)
    lease.heard.clear()
    assert lease.goes_on(0).end == Ended()


def test_a_lost_group_does_not_take_up_a_leg_that_is_over() -> None:
    play = Play()
    worker, lease = play.worker(), play.lease()
    worker.next()
    play.conductor.cancel(lease.job)
    worker = play.worker()
    worker.next()
    assert worker.waits


# -- fewer groups -----------------------------------------------------------------------------------------
def test_free_groups_go_home_at_once_and_no_more_than_were_asked_to() -> None:
    play = Play()
    workers = [free(play, group) for group in range(3)]
    assert play.conductor.retire(2) == 0
    [left] = [worker for worker in workers if worker.waits]
    assert [worker.answer for worker in workers if worker is not left] == [None, None]
    play.lease()
    assert isinstance(left.answer, Assignment)


def test_a_busy_group_goes_home_when_it_is_free_before_it_takes_another_trial() -> None:
    play = Play()
    worker, lease = play.worker(), play.lease()
    worker.next()
    waits = play.lease(1)
    play.conductor.retire(1)
    play.conductor.cancel(lease.job)
    assert worker.report(1) is False
    worker.leave()
    assert worker.next() is None
    play.conductor.group_ended(0)
    other = play.worker(1)
    other.next()
    assert other.assignment.job == waits.job


def test_a_group_that_ends_for_good_is_one_of_those_that_were_to_go_home() -> None:
    play = Play()
    worker = play.worker()
    other = play.worker(1)
    first, second = play.lease(0), play.lease(1)
    worker.next()
    other.next()
    play.conductor.retire(1)
    play.conductor.group_ended(1)
    play.conductor.cancel(first.job)
    worker.report(1)
    worker.leave()
    worker.next()
    assert worker.assignment.job == second.job, "it is the only one left"


def test_a_group_that_never_started_is_one_of_those_that_were_to_go_home_too() -> None:
    play = Play()
    play.conductor.retire(1)
    play.conductor.group_ended(1)
    assert free(play, 0).waits


def test_all_ranks_of_a_group_go_home_together() -> None:
    play = Play(world_size=2)
    first, second = play.group()
    second.next()
    first.next()
    play.conductor.retire(1)
    assert (first.answer, second.answer) == (None, None)


def test_groups_that_were_about_to_go_home_stay_before_new_ones_are_asked_for() -> None:
    play = Play()
    worker, lease = play.worker(), play.lease()
    worker.next()
    assert play.conductor.retire(3) == 0
    assert play.conductor.retire(-2) == 0, "two that have not gone stay"
    assert play.conductor.retire(-3) == 2, "one more stays, and two must come anew"
    play.conductor.cancel(lease.job)
    worker.report(1)
    worker.leave()
    other = play.lease(1)
    worker.next()
    assert worker.assignment.job == other.job
