"""What workers, the Conductor and the leases say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.trial import FailureCause, Metrics, Params


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A trial for a group to train. `turn` counts the group's jobs, so that all ranks take the same one."""

    turn: int
    job: int
    trial: int
    params: Params
    generation: int
    checkpoint: str | None
    """The trial's own checkpoint to go on from."""
    inherit: str | None
    """Another trial's checkpoint to start from, where it has none of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCheckpoint:
    """A checkpoint that rank 0 has written whole."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a rank left the trainable, other than by returning."""

    message: str
    cause: FailureCause = FailureCause.ERROR
    poisons: bool = False
    """The process may be unusable (out of memory, a CUDA error): renew the group."""
    collateral: bool = False
    """A lost connection: the echo of another rank's end, not a cause by itself."""


# -- what a worker asks ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Hello:
    """A rank has started, maybe unable to train."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """The trial after the group's `turn`-th, please."""

    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The trainable has reported a step, and waits."""

    job: int
    step: int
    metrics: Metrics
    checkpoint: SavedCheckpoint | None


@dataclass(frozen=True, slots=True)
class Left:
    """The trainable has returned, or failed."""

    job: int
    failure: Failure | None


Request = Hello | Next | Reported | Left


# -- what a lease is told ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A worker's report, on its way to the lease."""

    step: int
    metrics: Metrics
    checkpoint: SavedCheckpoint | None
    group: int
    requeued: int
    """How often the trial had to go on from a checkpoint so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The trainable has returned (failure is None) or failed."""

    failure: Failure | None = None
