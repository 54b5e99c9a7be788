"""The same searchers, schedulers and book-keeping on a simulated cluster: an event queue instead of Ray."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hpo import registry
from hpo.ledger import Ledger, Leg
from hpo.replay import Replay
from hpo.spec import StudySpec
from hpo.trial import Action, Checkpoint, FailureCause, Measurement, Metrics, Params, Row, Trial, TrialState

Evaluate = Callable[[Params, int, int, random.Random], tuple[Metrics, float]]
"""evaluate(params, from_step, to_step, rng) -> (the metrics at to_step, the seconds from from_step to to_step)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a simulated cluster differs from a perfect one. Times are simulated seconds."""

    duration_sigma: float = 0.0
    """Every step's duration is multiplied with a log-normal factor of this sigma (median 1)."""
    straggler_rate: float = 0.0
    """The share of steps that take `straggler_factor` times as long."""
    straggler_factor: float = 5.0
    loss_rate: float = 0.0
    """The share of steps during which the worker group is lost. Its trial goes on from its last checkpoint when the
    group is back, or fails if that happens more often than retry.lost_workers."""
    restart_seconds: float = 0.0
    """How long a lost group, or a dead driver, is away."""
    driver_deaths: tuple[float, ...] = ()
    """When the driver dies. A new one replays what is recorded and goes on."""
    deaths_lose_work: bool = True
    """Whether the groups die with their driver, so that steps under way are trained again. Otherwise their reports
    wait for the new driver, and the study goes on exactly as if it had not died."""


REALISTIC = Conditions(duration_sigma=0.25, straggler_rate=0.02)


@dataclass(frozen=True, slots=True)
class SimulatedTrial:
    """A trial as the simulation left it, with all that it reported. Times are simulated seconds from 0."""

    trial: Trial
    measurements: tuple[Measurement, ...]


def simulate(
    spec: StudySpec,
    evaluate: Evaluate,
    workers: int,
    horizon: float | None = None,
    seed: int = 0,
    *,
    conditions: Conditions = Conditions(),
) -> list[SimulatedTrial]:
    """Run a study with `workers` trials at once (fewer where spec.concurrency says so); trials by number.

    Every trial reports each step, with a checkpoint; a step takes the seconds that `evaluate` says, under the given
    conditions, and all else takes none. The study ends as on a cluster: when the budget or the space is used up, the
    goal is reached, the first trials all fail, or the clock passes budget.wall_seconds or `horizon` (simulated
    seconds). What runs then is left as RUNNING.

    Deterministic: the searcher and the scheduler draw by spec.seed; `evaluate` should draw from its rng only, which
    is keyed by (seed, trial, generation, to_step). O(log workers) an event beside what the searcher and the scheduler
    take.
    """
    cluster = SimulatedCluster(spec, evaluate, workers, horizon=horizon, seed=seed, conditions=conditions)
    cluster.run()
    return cluster.trials()


@dataclass(slots=True)
class _Work:
    """What a group is at: a leg, and the step that it trains."""

    leg: Leg
    step: int
    """The step that its weights are at."""
    began_at: float
    losses: int = 0
    tries: int = 0
    metrics: Metrics | None = None
    """What it will report; None while its group is lost."""
    busy: float = 0.0


class SimulatedCluster:
    """See `simulate`. `run` once, then read."""

    def __init__(
        self,
        spec: StudySpec,
        evaluate: Evaluate,
        workers: int,
        *,
        horizon: float | None = None,
        seed: int = 0,
        conditions: Conditions = Conditions(),
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}, but a simulation needs at least 1")
        self.spec, self.conditions = spec, conditions
        self.now = 0.0
        self.busy_seconds = 0.0
        """Seconds of groups at steps, lost ones included."""
        self.workers = min(workers, spec.concurrency or workers)
        self.replays: list[Replay] = []
        """One a driver death."""
        self._evaluate, self._seed = evaluate, seed
        self._end_at = min(math.inf if horizon is None else horizon, spec.budget.wall_seconds or math.inf)
        self._free = self.workers
        self._deaths = sorted(conditions.driver_deaths, reverse=True)
        self._recorded = _Recorded(keep_history=bool(self._deaths))
        self.ledger = self._new_ledger()
        # Ties in time are broken by the order of start: work is never compared.
        self._queue: list[tuple[float, int, _Work]] = []
        self._starts = 0

    @property
    def history(self) -> Sequence[Row]:
        """What is recorded, if the driver dies (else nothing is kept)."""
        return [row for row in self._recorded.rows if row is not None]

    def run(self) -> None:
        """Until the study is over."""
        while True:
            self._hand_out()
            due = self._queue[0][0] if self._queue else math.inf
            if self._deaths and self._deaths[-1] < due and not self.ledger.is_done:
                if self._deaths[-1] > self._end_at:
                    break
                self._die(self._deaths.pop())
                continue
            if not self._queue or due > self._end_at:
                break
            self.now, _, work = heapq.heappop(self._queue)
            self._happen(work)
            if self.ledger.progress.is_over:
                break

    def trials(self) -> list[SimulatedTrial]:
        """All trials by number."""
        done = []
        for number, trial in sorted(self._recorded.trials.items()):
            if trial.state is TrialState.PENDING:
                trial = replace(trial, state=TrialState.RUNNING, started_at=trial.created_at)
            done.append(SimulatedTrial(trial, tuple(self._recorded.measurements.get(number, ()))))
        return done

    def evaluate(self, leg: Leg, from_step: int, to_step: int, rng: random.Random) -> tuple[Metrics, float]:
        """The metrics at `to_step` and the seconds it takes; a subclass may really train. The weights at a step are
        those of the checkpoint `checkpoint_path`, or before the leg's first step of `leg.resume` or `leg.inherit`."""
        return self._evaluate({**self.spec.fixed, **leg.params}, from_step, to_step, rng)

    @staticmethod
    def checkpoint_path(leg: Leg, step: int) -> str:
        """What the checkpoint is called that comes with the report of a step."""
        return f"{leg.trial}/{leg.generation}/{step}"

    def _new_ledger(self) -> Ledger:
        return Ledger(
            self.spec,
            *registry.pair(self.spec),
            write=self._recorded.write,
            drop_checkpoint=self._recorded.drop,
            clock=lambda: self.now,
            started_at=0.0,
        )

    def _hand_out(self) -> None:
        while self._free:
            leg = self.ledger.next()
            if leg is None:
                return
            self._free -= 1
            self._train(_Work(leg, self._weights_at(leg), self.now))

    def _weights_at(self, leg: Leg) -> int:
        """The step of the checkpoint that the leg starts from."""
        source = self.ledger.trials[leg.trial].source
        return source.step if source is not None else 0

    def _train(self, work: _Work) -> None:
        """Begin with the next step."""
        leg, at = work.leg, work.step + 1
        key = f"{self._seed}/{leg.trial}/{leg.generation}/{at}"
        work.metrics, seconds = self.evaluate(leg, work.step, at, random.Random(key))
        conditions = self.conditions
        if conditions.duration_sigma or conditions.straggler_rate or conditions.loss_rate:
            rng = random.Random(f"{key}/{work.tries}")
            seconds *= rng.lognormvariate(0.0, conditions.duration_sigma)
            if rng.random() < conditions.straggler_rate:
                seconds *= conditions.straggler_factor
            if rng.random() < conditions.loss_rate:
                work.metrics = None
                seconds *= rng.random()
        work.busy = seconds
        self._schedule(work, seconds + (conditions.restart_seconds if work.metrics is None else 0.0))

    def _schedule(self, work: _Work, seconds: float) -> None:
        heapq.heappush(self._queue, (self.now + seconds, self._starts, work))
        self._starts += 1

    def _happen(self, work: _Work) -> None:
        """A step has ended: with a report, or with the loss of the group."""
        self.busy_seconds += work.busy
        leg = work.leg
        if work.metrics is None:
            work.losses += 1
            work.tries += 1
            if work.losses > self.spec.retry.lost_workers:
                self.ledger.failed(leg.trial, FailureCause.PREEMPTED, f"its group was lost {work.losses} times")
                self._free += 1
                return
            work.step = self._weights_at(leg)
            self._train(work)
            return
        work.step += 1
        action = self.ledger.report(
            leg.trial,
            work.step,
            work.metrics,
            generation=leg.generation,
            checkpoint=(self.checkpoint_path(leg, work.step), 1),
            began_at=work.began_at,
        )
        if action is Action.CONTINUE:
            self._train(work)
        else:
            self._free += 1

    def _die(self, at: float) -> None:
        """The driver dies: all that it knew is what is recorded."""
        self.now = at
        self.ledger = self._new_ledger()
        replay = Replay(self.ledger)
        replay.run(self.history)
        self.replays.append(replay)
        if not self.conditions.deaths_lose_work:
            self.ledger.adopt()
            return
        self.now += self.conditions.restart_seconds
        self._queue.clear()
        self._free = self.workers
        self.ledger.requeue()


class _Recorded:
    """What a store would hold."""

    def __init__(self, *, keep_history: bool) -> None:
        self.trials: dict[int, Trial] = {}
        self.measurements: dict[int, list[Measurement]] = {}
        self.rows: list[Row | None] = []
        self._keep_history = keep_history
        self._places: dict[str, int] = {}

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if isinstance(row, Trial):
                self.trials[row.number] = row
                continue
            if isinstance(row, Measurement):
                self.measurements.setdefault(row.trial, []).append(row)
            if self._keep_history:
                if isinstance(row, Checkpoint):
                    self._places[row.path] = len(self.rows)
                self.rows.append(row)

    def drop(self, checkpoint: Checkpoint) -> None:
        """As in a store, the row of a checkpoint that nobody needs goes."""
        if self._keep_history and (place := self._places.pop(checkpoint.path, None)) is not None:
            self.rows[place] = None
