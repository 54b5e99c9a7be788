"""The Tune trainable: it holds one trial's lease on a worker group, and trains nothing itself.

Tune reuses the actor for trial after trial. It may also kill it: then the Conductor keeps the job, and the lease
that Tune starts in its place adopts it.
"""

from __future__ import annotations

import time
from typing import Any

import ray
from ray import tune

from hpo.engine.conductor import Ended, Report
from hpo.trial import FailureCause


class TrialLease(tune.Trainable):
    """One step of it is one report of the trial. Config: {"trial": number, "params": {...}, "leg": number}, and what
    else the Conductor's `assign` takes."""

    def setup(self, config: dict[str, Any], conductor: Any = None) -> None:
        self._conductor = conductor
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._leave()
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._leg = dict(config)
        self._job: int | None = None
        self._step = 0
        self._began_at = time.time()

    def _leave(self) -> None:
        if self._job is not None:
            ray.get(self._conductor.cancel.remote(self._job))
            self._job = None

    def step(self) -> dict[str, Any]:
        # Never raise here: Tune would kill this actor. What went wrong is a result like any other.
        if self._job is None:
            self._job = ray.get(self._conductor.assign.remote(**self._leg))
        event: Report | Ended = ray.get(self._conductor.advance.remote(self._job, self._step))
        result: dict[str, Any] = {"job": self._job, "began_at": self._began_at}
        if isinstance(event, Report):
            self._step = event.step
            return {**result, "report": event}
        failure = event.failure
        result |= {"done": True, "cause": None, "message": None}
        if failure is not None:
            result |= {"cause": FailureCause(failure.cause).value, "message": failure.message}
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the Conductor and the store know all that there is to know."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, see save_checkpoint."""

    def cleanup(self) -> None:
        self._leave()
