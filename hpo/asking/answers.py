"""What workers are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.spec import Params
from hpo.trial import Action, Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What a worker should train, and what it goes on from."""

    trial: int
    generation: int
    params: Params
    """The study's constants among them."""
    seed: int
    step: int
    """The last step that counts; 0 at the beginning. Earlier ones may come again, and don't count twice."""
    max_steps: int
    resume: Checkpoint | None
    """The trial's own checkpoint to go on from."""
    inherit: Checkpoint | None
    """Another trial's checkpoint to begin from."""
    lease: str
    lease_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker does after it has told something."""

    action: Action
    reason: str = ""
    unneeded: Sequence[str] = ()
    """Checkpoints that the study needs no more."""
