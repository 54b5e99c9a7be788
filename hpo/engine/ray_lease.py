"""The lease of a trial under one of Ray Tune's own schedulers: what Tune may save, restore and hand to another trial.

Tune's checkpoint of a trial is a Pointer, a small file that names the trial's own last checkpoint. Its scheduler may
let another trial start from it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hpo.engine.lease import TrialLease
from hpo.engine.messages import Ended, Report
from hpo.trial import Params

LEG = "leg"
"""The key of a Tune trial's configuration under which its RayLeg stands; parameters have a prefix."""
_FILE = "pointer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Where a trial can be gone on from, as it stood when Tune saved it."""

    trial: int
    """The one that was saved. `path` may be the checkpoint of its donor, as long as it has none of its own."""
    generation: int
    params: Params
    step: int = 0
    """The checkpoint's."""
    path: str | None = None
    """None as long as there is no checkpoint."""

    def write(self, folder: Path) -> None:
        """Write it into a folder, which becomes a checkpoint of Tune's."""
        (folder / _FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Pointer:
        """The pointer that `write` has left there. Raises OSError."""
        return cls(**json.loads((folder / _FILE).read_text()))


@dataclass(frozen=True, slots=True, kw_only=True)
class RayLeg:
    """What a lease trains next. It is no dictionary, since Tune's schedulers change those of a configuration."""

    number: int
    """Unique in the study."""
    params: Params
    """With the constants under [fixed]."""
    start: Pointer
    """What Tune's checkpoint says until the trial has a new one."""
    checkpoint: str | None = None
    """The trial's own checkpoint to go on from."""
    inherit: str | None = None
    """Another trial's checkpoint to start from."""


class RayLease(TrialLease):
    """As a TrialLease, but of all legs of a trial, and with Pointers for checkpoints."""

    def __init__(self, config: dict[str, Any]) -> None:
        leg: RayLeg = config[LEG]
        self._pointer = leg.start
        super().__init__(
            {
                "trial": leg.start.trial,
                "params": leg.params,
                "leg": leg.number,
                "generation": leg.start.generation,
                "checkpoint": leg.checkpoint,
                "inherit": leg.inherit,
            }
        )

    def result(self, event: Report | Ended) -> dict[str, Any]:
        if isinstance(event, Report) and event.checkpoint is not None:
            self._pointer = replace(self._pointer, step=event.step, path=event.checkpoint.path)
        return super().result(event)

    def save(self, folder: Path) -> None:
        self._pointer.write(folder)
