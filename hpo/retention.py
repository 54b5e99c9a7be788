"""The checkpoints of the trials at work, and which of all are still needed.

A trial keeps its last checkpoint, to go on from, and its best one, to be served; a trial that took over another's
weights needs the donor's until it has one of its own. A checkpoint is dropped with the last of these references.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from hpo.trial import Action, Checkpoint, Trial, TrialState


@dataclass(slots=True)
class LiveTrial:
    """A trial that has not ended."""

    trial: Trial
    action: Action = Action.CONTINUE
    """The decision on its last report."""
    best: Checkpoint | None = None
    last: Checkpoint | None = None
    """Of this generation."""
    origin: Checkpoint | None = None
    """The donor's checkpoint that this generation began with, until it has one of its own."""
    errors: int = 0
    """How often it has failed and gone on."""

    @property
    def is_paused(self) -> bool:
        return self.trial.state is TrialState.PAUSED

    @property
    def source(self) -> Checkpoint | None:
        """What it goes on from, and what another trial can inherit from it."""
        return self.last or self.origin


@dataclass(slots=True)
class _Held:
    checkpoint: Checkpoint
    count: int = 0
    kept: bool = False
    """Its trial has ended and keeps it: it stays on disk when nobody needs it any more."""


class Checkpoints:
    """Counts the references to checkpoints; `drop` is told of those that nobody needs any more.

    Holds only what a trial at work needs, so its memory doesn't grow with the trials that have ended: the best and
    the last checkpoint of those stay on disk.
    """

    def __init__(self, drop: Callable[[Checkpoint], None], limit_bytes: float = math.inf) -> None:
        """`limit_bytes` is what all checkpoints together may have on the disk."""
        self._drop = drop
        self._held: dict[str, _Held] = {}
        self._limit = limit_bytes
        self._bytes = 0
        self._order = itertools.count()
        self._left: list[tuple[float, int, Checkpoint]] = []
        """Those of trials that have ended, where there is a limit: a heap, the worst trial's first."""

    def saved(self, live: LiveTrial, checkpoint: Checkpoint, *, improved: bool) -> None:
        """A trial has a new checkpoint; `improved` if its value is the trial's best so far."""
        self._bytes += checkpoint.size_bytes
        former, live.last = live.last, self._hold(checkpoint)
        self._release(former)
        origin, live.origin = live.origin, None
        self._release(origin)
        if improved or live.best is None:
            best, live.best = live.best, self._hold(checkpoint)
            self._release(best)

    def inherited(self, live: LiveTrial, source: Checkpoint | None) -> None:
        """A trial goes on from another's checkpoint (None, in a replay, if it is gone by now)."""
        former = live.origin, live.last
        live.origin, live.last = (self._hold(source) if source is not None else None), None
        for checkpoint in former:
            self._release(checkpoint)

    def ended(self, live: LiveTrial, badness: float = 0.0) -> None:
        """A trial has ended; it keeps its best and its last checkpoint, until the disk's budget wants them: those of
        the highest `badness` go first."""
        if self._limit < math.inf:
            for kept in {each.path: each for each in (live.best, live.last) if each}.values():
                heapq.heappush(self._left, (-badness, next(self._order), kept))
        for own in (live.best, live.last):
            self._release(own, keep=True)
        self._release(live.origin)

    def evict(self, spared: int | None) -> list[Checkpoint]:
        """Drop checkpoints of trials that have ended, the worst trial's first, until all fit; but not those of the
        trial `spared`, nor what a trial at work needs."""
        evicted: list[Checkpoint] = []
        put_back = []
        while self._bytes > self._limit and self._left:
            entry = heapq.heappop(self._left)
            checkpoint = entry[2]
            if checkpoint.trial == spared or checkpoint.path in self._held:
                put_back.append(entry)
                continue
            self._gone(checkpoint)
            evicted.append(checkpoint)
        for entry in put_back:
            heapq.heappush(self._left, entry)
        return evicted

    def _gone(self, checkpoint: Checkpoint) -> None:
        self._bytes -= checkpoint.size_bytes
        self._drop(checkpoint)

    def damaged(self, live: LiveTrial, checkpoint: Checkpoint) -> None:
        """A checkpoint of a trial's can't be used. For the last one the best stands in, where it is of this generation:
        no other is kept."""
        was_last = live.last == checkpoint
        for name in ("best", "last", "origin"):
            if getattr(live, name) == checkpoint:
                setattr(live, name, None)
                self._release(checkpoint)
        if was_last and live.best is not None and live.best.generation == live.trial.generation:
            live.last = self._hold(live.best)

    def find(self, path: str) -> Checkpoint | None:
        """The checkpoint at `path`, if anyone needs it."""
        held = self._held.get(path)
        return held.checkpoint if held else None

    def _hold(self, checkpoint: Checkpoint) -> Checkpoint:
        self._held.setdefault(checkpoint.path, _Held(checkpoint)).count += 1
        return checkpoint

    def _release(self, checkpoint: Checkpoint | None, *, keep: bool = False) -> None:
        if checkpoint is None:
            return
        held = self._held[checkpoint.path]
        held.count -= 1
        held.kept = held.kept or keep
        if held.count == 0:
            del self._held[checkpoint.path]
            if not held.kept:
                self._gone(held.checkpoint)
