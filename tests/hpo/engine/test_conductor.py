"""The conductor, driven by plain coroutines: no cluster needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hpo.engine.conductor import Assignment, Conductor, Ended, Failure, Report, SavedCheckpoint
from hpo.trial import FailureCause


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(scenario(), timeout=10)

    asyncio.run(limited())


def conductor(world_size: int = 1, max_losses: int = 2, grace: float = 0.05) -> Conductor:
    return Conductor(world_size=world_size, max_losses=max_losses, error_grace_seconds=grace)


async def started(c: Conductor, trial: int = 0) -> tuple[int, int, Assignment]:
    """A group of one worker that has taken a trial: its job, the group's attempt and the assignment."""
    attempt = await c.hello(0)
    job = await c.assign(trial, {"x": 1})
    assignment = await c.next_assignment(0, attempt, 0, 0)
    assert assignment is not None
    return job, attempt, assignment


def report(c: Conductor, attempt: int, job: int, step: int, path: str | None = None, rank: int = 0) -> Any:
    saved = SavedCheckpoint(path=path, size_bytes=1) if path else None
    return asyncio.ensure_future(c.report(0, attempt, job, rank, step, {"loss": float(step)}, saved))


async def settle() -> None:
    """Let every coroutine run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_worker_waits_in_its_report_until_the_lease_lets_it_go_on():
    async def scenario() -> None:
        c = conductor()
        job, attempt, _ = await started(c)
        waiting = report(c, attempt, job, 1)
        event = await c.advance(job, 0)
        assert isinstance(event, Report)
        assert (event.step, event.metrics) == (1, {"loss": 1.0})
        await settle()
        assert not waiting.done()
        following = asyncio.ensure_future(c.advance(job, 1))
        assert await waiting is True
        following.cancel()

    run(scenario)


def test_a_cancelled_trial_leaves_at_the_report_that_it_waits_in():
    async def scenario() -> None:
        c = conductor()
        job, attempt, _ = await started(c)
        waiting = report(c, attempt, job, 1)
        await c.advance(job, 0)
        await c.cancel(job)
        assert await waiting is False
        assert await c.ended(0, attempt, job, 0, None) is False
        other = await c.assign(1, {})
        taken = await c.next_assignment(0, attempt, 0, 1)
        assert taken is not None
        assert taken.job == other

    run(scenario)


def test_a_trial_cancelled_in_the_queue_is_never_handed_out():
    async def scenario() -> None:
        c = conductor()
        attempt = await c.hello(0)
        first, second = await c.assign(0, {}), await c.assign(1, {})
        await c.cancel(first)
        taken = await c.next_assignment(0, attempt, 0, 0)
        assert taken is not None
        assert taken.job == second

    run(scenario)


def test_a_report_that_no_lease_has_answered_is_given_to_the_next_lease():
    async def scenario() -> None:
        c = conductor()
        job, attempt, _ = await started(c)
        report(c, attempt, job, 1)
        await c.advance(job, 0)  # this lease dies before it answers
        assert await c.assign(0, {"x": 1}) == job
        again = await c.advance(job, 0)
        assert isinstance(again, Report)
        assert again.step == 1
        await c.close()

    run(scenario)


def test_a_lost_group_takes_its_trial_up_again_from_the_last_checkpoint_and_reports_each_step_once():
    async def scenario() -> None:
        c = conductor()
        job, attempt, _ = await started(c)
        first = report(c, attempt, job, 1, path="/step-1")
        await c.advance(job, 0)
        second_event = asyncio.ensure_future(c.advance(job, 1))
        assert await first is True
        report(c, attempt, job, 2)  # delivered, but without a checkpoint
        assert isinstance(await second_event, Report)
        third_event = asyncio.ensure_future(c.advance(job, 2))

        attempt = await c.hello(0)  # the group was killed and is back
        taken = await c.next_assignment(0, attempt, 0, 0)
        assert taken is not None
        assert (taken.job, taken.checkpoint) == (job, "/step-1")
        assert await report(c, attempt, job, 2) is True  # trained again, decided already, not reported again
        assert not third_event.done()
        report(c, attempt, job, 3)
        event = await third_event
        assert isinstance(event, Report)
        assert (event.step, event.requeued) == (3, 1)
        await c.close()

    run(scenario)


def test_the_trial_of_a_group_that_has_ended_for_good_goes_on_in_another():
    async def scenario() -> None:
        c = conductor()
        job, _, _ = await started(c)
        await c.group_ended(0)
        await c.group_ended(7)  # one that never started: nothing to do
        other = await c.hello(1)
        taken = await c.next_assignment(1, other, 0, 0)
        assert taken is not None
        assert taken.job == job

    run(scenario)


def test_the_old_processes_of_a_group_are_told_to_leave():
    async def scenario() -> None:
        c = conductor()
        job, old, _ = await started(c)
        await c.hello(0)
        assert await report(c, old, job, 1) is False
        assert await c.ended(0, old, job, 0, None) is True
        assert await c.next_assignment(0, old, 0, 0) is None

    run(scenario)


def test_a_trial_whose_group_is_lost_too_often_fails_as_preempted():
    async def scenario() -> None:
        c = conductor(max_losses=1)
        job, attempt, _ = await started(c)
        attempt = await c.hello(0)
        await c.next_assignment(0, attempt, 0, 0)
        await c.hello(0)
        event = await c.advance(job, 0)
        assert isinstance(event, Ended)
        assert event.failure is not None
        assert event.failure.cause is FailureCause.PREEMPTED
        assert "lost 2 times" in event.failure.message

    run(scenario)


def test_an_error_of_all_ranks_fails_the_trial_and_keeps_the_group():
    async def scenario() -> None:
        c = conductor(world_size=2)
        job, attempt, _ = await started(c)
        failure = Failure(message="ValueError: no")
        renews = await asyncio.gather(*(c.ended(0, attempt, job, rank, failure) for rank in (0, 1)))
        assert renews == [False, False]
        event = await c.advance(job, 0)
        assert isinstance(event, Ended)
        assert event.failure == failure

    run(scenario)


def test_an_error_of_one_rank_fails_the_trial_and_renews_the_group_when_the_others_hang():
    async def scenario() -> None:
        c = conductor(world_size=2)
        job, attempt, _ = await started(c)
        assert await c.ended(0, attempt, job, 1, Failure(message="ValueError: no")) is True
        event = await c.advance(job, 0)
        assert isinstance(event, Ended)
        assert event.failure is not None

    run(scenario)


def test_a_lost_connection_alone_is_the_echo_of_a_lost_rank_and_fails_nothing():
    async def scenario() -> None:
        c = conductor(world_size=2)
        job, attempt, _ = await started(c)
        echo = Failure(message="gloo: connection reset by peer", collateral=True)
        assert await c.ended(0, attempt, job, 1, echo) is True
        attempt = await c.hello(0)
        taken = await c.next_assignment(0, attempt, 0, 0)
        assert taken is not None
        assert taken.job == job

    run(scenario)


def test_a_poisoned_process_is_renewed():
    async def scenario() -> None:
        c = conductor()
        job, attempt, _ = await started(c)
        failure = Failure(message="out of memory", cause=FailureCause.OUT_OF_MEMORY, poisons=True)
        assert await c.ended(0, attempt, job, 0, failure) is True

    run(scenario)


def test_all_ranks_of_a_group_take_the_same_trial_and_wait_for_the_same_decision():
    async def scenario() -> None:
        c = conductor(world_size=2)
        attempt = await c.hello(0)
        second = asyncio.ensure_future(c.next_assignment(0, attempt, 1, 0))
        await settle()
        assert not second.done()
        job = await c.assign(7, {})
        first = await c.next_assignment(0, attempt, 0, 0)
        assert first == await second
        ranks = [report(c, attempt, job, 1, rank=rank) for rank in (1, 0)]
        event = await c.advance(job, 0)
        assert isinstance(event, Report)
        proceed = asyncio.ensure_future(c.advance(job, 1))
        assert await asyncio.gather(*ranks) == [True, True]
        proceed.cancel()

    run(scenario)


def test_closing_sends_every_worker_home():
    async def scenario() -> None:
        c = conductor()
        job, attempt, _ = await started(c)
        waiting = report(c, attempt, job, 1)
        await settle()
        await c.close()
        assert await waiting is False
        assert await c.next_assignment(0, attempt, 0, 1) is None

    run(scenario)


@pytest.mark.parametrize("error", [None, "ModuleNotFoundError: no module named 'x'"])
def test_ready_groups_counts_the_hellos_and_passes_on_the_first_error(error: str | None):
    async def scenario() -> None:
        c = conductor()
        assert await c.ready_groups() == (0, None)
        await c.hello(3, error)
        assert await c.ready_groups() == (1, error)

    run(scenario)
