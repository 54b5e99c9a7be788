"""The exchange between the Conductor and the workers: real threads, and Ray's calls played by threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from hpo.engine.exchange import Exchange
from hpo.engine.line import Line
from hpo.engine.messages import Assignment, Ended, Hello, Left, Next, Report, Reported, Request


class Actor:
    """A worker's actor: `exchange.remote(*answer)` gives something whose `future()` is what Ray's would be."""

    def __init__(self) -> None:
        self.line, self.is_lost = Line(), False
        self.exchange = self

    def remote(self, *answer: object) -> Actor._Call:
        future: Future[Request | None] = Future()

        def call() -> None:
            asked = self.line.answer(*answer) if answer else self.line.next_request()
            if self.is_lost:
                future.set_exception(ConnectionError("the actor has died"))
            else:
                future.set_result(asked)

        started(call)
        return Actor._Call(future)

    class _Call:
        def __init__(self, future: Future[Any]) -> None:
            self._future = future

        def future(self) -> Future[Any]:
            return self._future


def started(function: Callable[..., None], *given: Any) -> threading.Thread:
    """Of a daemon: a test that fails must not wait for it."""
    thread = threading.Thread(target=function, args=given, daemon=True)
    thread.start()
    return thread


def train(line: Line, steps: int, done: list[int]) -> None:
    """What a worker's thread does: one trial after the other, until it may go home."""
    try:
        assert line.ask(Hello()) is None
        turn = 0
        while (assignment := line.ask(Next(turn))) is not None:
            assert isinstance(assignment, Assignment)
            turn = assignment.turn
            for step in range(1, steps + 1):
                if not line.ask(Reported(job=assignment.job, step=step, metrics={}, checkpoint=None)):
                    break
            done.append(assignment.trial)
            if line.ask(Left(assignment.job, None)):
                return
    finally:
        line.close()


@pytest.fixture(autouse=True)
def killed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The actors that were ended."""
    actors: list[Any] = []
    monkeypatch.setattr("hpo.engine.exchange.ray.kill", actors.append)
    return actors


def turn_until(exchange: Exchange, condition: Any) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        exchange.turn(time.monotonic(), timeout=0.05)


def test_two_groups_train_all_trials_and_go_home() -> None:
    exchange = Exchange(world_size=1, max_losses=0)
    done: list[int] = []
    actors = [Actor(), Actor()]
    threads = [started(train, actor.line, 3, done) for actor in actors]
    for group, actor in enumerate(actors):
        exchange.connect(group, [actor])
    reports: dict[int, list[int]] = {trial: [] for trial in range(10)}
    ends: list[int] = []

    def start(trial: int) -> None:
        job = exchange.conductor.assign(trial, {})

        def hear(event: Report | Ended) -> None:
            if isinstance(event, Report):
                reports[trial].append(event.step)
                exchange.conductor.advance(job, event.step, hear)
            else:
                ends.append(trial)

        exchange.conductor.advance(job, 0, hear)

    for trial in reports:
        start(trial)
    turn_until(exchange, lambda: len(ends) == 10)
    assert exchange.conductor.ready_groups() == (2, None)
    exchange.conductor.close()
    turn_until(exchange, lambda: not any(thread.is_alive() for thread in threads))
    assert sorted(done) == sorted(ends) == list(range(10))
    assert set(map(tuple, reports.values())) == {(1, 2, 3)}


def test_a_group_that_is_lost_comes_back_and_goes_on() -> None:
    exchange = Exchange(world_size=1, max_losses=1)
    heard: list[Report | Ended] = []
    job = exchange.conductor.assign(0, {})
    exchange.conductor.advance(job, 0, heard.append)
    first = Actor()
    exchange.connect(0, [first])

    def dies() -> None:
        first.line.ask(Hello())
        first.line.ask(Next(0))
        first.is_lost = True
        first.line.close()

    thread = started(dies)
    turn_until(exchange, lambda: not thread.is_alive() and not exchange._actors)
    assert heard == [], "nothing is over: the group comes back"
    second, done = Actor(), []
    started(train, second.line, 1, done)
    exchange.connect(0, [second])
    turn_until(exchange, lambda: heard)
    [report] = heard
    assert isinstance(report, Report)
    assert report.requeued == 1
    exchange.conductor.close()
    turn_until(exchange, lambda: done == [0] and not exchange._actors)


def test_a_worker_that_lives_and_can_not_be_reached_is_ended(killed: list[Any]) -> None:
    """Ray Train would find it well, and its training would wait for ever."""
    exchange = Exchange(world_size=1, max_losses=1)
    actor = Actor()
    exchange.connect(0, [actor])
    started(train, actor.line, 1, [])
    turn_until(exchange, lambda: exchange.conductor.ready_groups() == (1, None))
    actor.is_lost = True  # its next call fails
    job = exchange.conductor.assign(0, {})
    exchange.conductor.advance(job, 0, print)
    turn_until(exchange, lambda: killed)
    assert killed == [actor]
    assert exchange._actors == {}


def test_a_group_that_has_ended_for_good_gives_its_trial_away() -> None:
    exchange = Exchange(world_size=1, max_losses=0)
    heard: list[Report | Ended] = []
    job = exchange.conductor.assign(0, {})
    exchange.conductor.advance(job, 0, heard.append)
    actor, done = Actor(), []
    started(train, actor.line, 1, done)
    exchange.connect(0, [actor])
    turn_until(exchange, lambda: heard)
    exchange.group_ended(0)
    exchange.conductor.advance(job, 1, heard.append)
    turn_until(exchange, lambda: len(heard) == 2)
    end = heard[-1]
    assert isinstance(end, Ended)
    assert end.failure is not None
    assert "lost 1 times" in end.failure.message
    turn_until(exchange, lambda: not exchange._actors)


def test_nothing_arrives_and_the_turn_is_over_in_time() -> None:
    began = time.monotonic()
    Exchange(world_size=1, max_losses=0).turn(began, timeout=0.05)
    assert 0.04 < time.monotonic() - began < 5.0
