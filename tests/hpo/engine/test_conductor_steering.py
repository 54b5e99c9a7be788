"""The conductor when a study is steered: legs that are over before or after they have workers, and fewer groups."""

from __future__ import annotations

import asyncio

from hpo.engine.conductor import Assignment, Conductor, Ended
from tests.hpo.engine.test_conductor import conductor, report, run, settle, started


async def waiting(c: Conductor, group: int, turn: int = 0) -> asyncio.Task[Assignment | None]:
    """A new group of one worker that is free."""
    attempt = await c.hello(group)
    task = asyncio.ensure_future(c.next_assignment(group, attempt, 0, turn))
    await settle()
    return task


# -- a leg is over ----------------------------------------------------------------------------------------
def test_a_leg_that_is_over_before_its_lease_asks_for_workers_never_gets_any():
    async def scenario() -> None:
        c = conductor()
        free = await waiting(c, 0)
        await c.cancel_leg(0, 5)
        job = await c.assign(0, {}, leg=5)
        assert await c.advance(job, 0) == Ended()
        await settle()
        assert not free.done()
        other = await c.assign(0, {}, leg=6)
        taken = await free
        assert taken is not None
        assert (taken.trial, taken.job) == (0, other)
        assert other != job, "a job's number is its own"

    run(scenario)


def test_a_leg_that_is_over_in_the_queue_is_never_handed_out():
    async def scenario() -> None:
        c = conductor()
        job = await c.assign(0, {}, leg=1)
        second = await c.assign(1, {}, leg=2)
        await c.cancel_leg(0, 1)
        assert await c.advance(job, 0) == Ended()
        taken = await (await waiting(c, 0))
        assert taken is not None
        assert taken.job == second

    run(scenario)


def test_workers_leave_a_leg_that_is_over_at_their_next_report_and_take_the_next_one():
    async def scenario() -> None:
        c = conductor()
        job, attempt, _ = await started(c)
        lease = asyncio.ensure_future(c.advance(job, 0))
        await settle()
        await c.cancel_leg(0, 0)
        assert await lease == Ended()
        again = await c.assign(0, {"x": 1}, leg=1, checkpoint="/0/1")
        assert await report(c, attempt, job, 1) is False
        assert await c.ended(0, attempt, job, 0, None) is False
        taken = await c.next_assignment(0, attempt, 0, 1)
        assert taken is not None
        assert (taken.job, taken.checkpoint) == (again, "/0/1")

    run(scenario)


def test_a_lease_that_comes_back_for_a_leg_that_is_over_gets_no_workers():
    async def scenario() -> None:
        c = conductor()
        job, _, _ = await started(c)
        await c.cancel_leg(0, 0)
        again = await c.assign(0, {"x": 1}, leg=0)
        assert again != job
        assert await c.advance(again, 0) == Ended()
        free = await waiting(c, 1)
        assert not free.done()
        await c.close()
        assert await free is None

    run(scenario)


def test_a_lost_group_does_not_take_up_a_leg_that_is_over():
    async def scenario() -> None:
        c = conductor()
        _, attempt, _ = await started(c)
        await c.cancel_leg(0, 0)
        again = await c.hello(0)
        assert again == attempt + 1
        free = asyncio.ensure_future(c.next_assignment(0, again, 0, 0))
        await settle()
        assert not free.done()
        await c.close()
        assert await free is None

    run(scenario)


# -- fewer groups -----------------------------------------------------------------------------------------
def test_free_groups_go_home_at_once_and_no_more_than_were_asked_to():
    async def scenario() -> None:
        c = conductor()
        groups = [await waiting(c, group) for group in range(3)]
        assert await c.retire(2) == 0
        await settle()
        assert sum(group.done() and group.result() is None for group in groups) == 2
        [left] = [group for group in groups if not group.done()]
        await c.assign(0, {})
        assert isinstance(await left, Assignment)

    run(scenario)


def test_a_busy_group_goes_home_when_it_is_free_before_it_takes_another_trial():
    async def scenario() -> None:
        c = conductor()
        job, attempt, _ = await started(c)
        waits = await c.assign(1, {})
        await c.retire(1)
        await c.cancel(job)
        assert await report(c, attempt, job, 1) is False
        await c.ended(0, attempt, job, 0, None)
        assert await c.next_assignment(0, attempt, 0, 1) is None
        await c.group_ended(0)
        taken = await (await waiting(c, 1))
        assert taken is not None
        assert taken.job == waits

    run(scenario)


def test_all_ranks_of_a_group_go_home_together():
    async def scenario() -> None:
        c = conductor(world_size=2)
        attempt = await c.hello(0)
        ranks = [asyncio.ensure_future(c.next_assignment(0, attempt, rank, 0)) for rank in (1, 0)]
        await settle()
        await c.retire(1)
        assert await asyncio.gather(*ranks) == [None, None]

    run(scenario)


def test_groups_that_were_about_to_go_home_stay_before_new_ones_are_asked_for():
    async def scenario() -> None:
        c = conductor()
        job, attempt, _ = await started(c)
        assert await c.retire(3) == 0
        assert await c.retire(-2) == 0, "two that have not gone stay"
        assert await c.retire(-3) == 2, "one more stays, and two must come anew"
        await c.cancel(job)
        await report(c, attempt, job, 1)
        await c.ended(0, attempt, job, 0, None)
        other = await c.assign(1, {})
        taken = await c.next_assignment(0, attempt, 0, 1)
        assert taken is not None
        assert taken.job == other

    run(scenario)
