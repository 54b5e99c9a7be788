"""What a follower tells, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hpo.trial import Measurement, Params


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """A trial from its start, or from taking over other weights, until the next such time or its end: one
    configuration, and steps that rise."""

    trial: int
    generation: int

    @property
    def name(self) -> str:
        """`trial-00007`, and `trial-00007.1` from other weights."""
        return f"trial-{self.trial:05}" + (f".{self.generation}" if self.generation else "")


class Sink(Protocol):
    """Takes a study's runs in the order of its history.

    A new one, after an error or in another driver, goes on where the last `commit` was: what was told after it is told
    again, and must not be there twice.
    """

    def begin(self) -> int:
        """The id of the row up to which all is kept; 0 for none."""

    def started(self, run: Run, params: Params, *, parent: int | None, at: float) -> None: ...

    def reported(self, run: Run, measurement: Measurement) -> None: ...

    def ended(self, run: Run, state: str, *, message: str | None, at: float) -> None:
        """`state` is completed, stopped, failed, or inherited where the trial goes on from other weights."""

    def commit(self, last_id: int) -> None:
        """Keep all that was told; the row `last_id` was the last."""

    def close(self) -> None: ...
