"""The lease of a trial on a worker group: what Ray Tune sees of a trial that runs.

It is an object of the driver. What it reports comes from the Conductor; it trains nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hpo.engine.messages import Ended, Report
from hpo.trial import FailureCause

_WANTED = ("trial", "params", "generation", "checkpoint", "inherit")


class TrialLease:
    """`config` is that of the Tune trial: what the Conductor's `assign` takes, among other things."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.wanted = {name: config[name] for name in _WANTED}
        self.job: int | None = None
        """Its number with the Conductor, once it has asked for workers."""
        self.step = 0
        """The last one reported."""
        self._began_at = time.time()

    def result(self, event: Report | Ended) -> dict[str, Any]:
        """What Tune gets: "job", "began_at" (s since 1970), and either "report", or "done" with the "cause" and the
        "message" of a failure."""
        result: dict[str, Any] = {"job": self.job, "began_at": self._began_at}
        if isinstance(event, Report):
            self.step = event.step
            return {**result, "report": event}
        failure = event.failure
        result |= {"done": True, "cause": None, "message": None}
        if failure is not None:
            result |= {"cause": FailureCause(failure.cause).value, "message": failure.message}
        return result

    def save(self, folder: Path) -> None:
        """Nothing: the store knows all that there is to know."""
