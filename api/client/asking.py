"""Workers of your own, in Python: three calls (`suggest`, `report`, `complete`), or a loop over them.

```python
with Client(url, token) as client:
    for trial in client.ask("mine"):
        with trial:                                   # renews its lease; ends the trial however this ends
            model = build(**trial.params)
            for step in range(trial.step + 1, trial.max_steps + 1):
                trial.report(step, {"loss": one_epoch(model)})
```
"""

from __future__ import annotations

import json
import logging
import math
import os
import random
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from api.asking import SuggestAnswer, SuggestedTrial, TellAnswer
from api.client.connection import A, Connection, at
from api.client.held import HeldTrial
from hpo.engine.files import Address, StorageError
from hpo.errors import ServiceError
from hpo.protocols import Trainable
from hpo.trial import FailureCause, Metrics

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.2, 5.0


class Asking(Connection):
    """What was sent to a service that is away, or is taking the study over, is sent again, and counts once."""

    patience_seconds = 120.0
    """For how long."""

    # -- calls --------------------------------------------------------------------------------------------
    def suggest(self, study: str, *, client_id: str, count: int = 1, lease_seconds: float = 60.0) -> SuggestAnswer:
        """At most `count` trials to train: first those that this client holds already."""
        body = {"client_id": client_id, "count": count, "lease_seconds": lease_seconds}
        return self._patiently(SuggestAnswer, at(study, "trials:suggest"), body)

    def report(
        self,
        study: str,
        trial: SuggestedTrial,
        step: int,
        metrics: Metrics,
        *,
        checkpoint: str | None = None,
        size_bytes: int = 0,
    ) -> TellAnswer:
        """What the trial has reached at a step, and whether it goes on. `checkpoint` is where it can go on from."""
        body: dict[str, Any] = {
            "step": step,
            "metrics": {name: _sayable(float(value)) for name, value in metrics.items()},
        }
        if checkpoint is not None:
            body["checkpoint"] = {"reference": checkpoint, "size_bytes": size_bytes}
        return self._tell(study, trial, "report", body)

    def renew(self, study: str, trial: SuggestedTrial) -> TellAnswer:
        """Say that the worker lives. Sent once: the next renewal comes soon."""
        return self._tell(study, trial, "renew", {}, patience_seconds=0)

    def complete(
        self, study: str, trial: SuggestedTrial, *, cause: FailureCause | None = None, message: str = ""
    ) -> TellAnswer:
        """Say that the worker has done with the trial before its last step; with a `cause`, that it has failed."""
        failed = {"state": "failed", "cause": cause.value, "message": message[:4000]} if cause else {}
        return self._tell(study, trial, "complete", failed)

    def release(self, study: str, trial: SuggestedTrial, *, message: str = "") -> TellAnswer:
        """Give the trial back: the next that asks goes on with it."""
        return self._tell(study, trial, "release", {"message": message[:4000]})

    # -- loops --------------------------------------------------------------------------------------------
    def ask(
        self,
        study: str,
        *,
        client_id: str | None = None,
        lease_seconds: float = 60.0,
        storage: Address | None = None,
        device: str = "cpu",
    ) -> Iterator[HeldTrial]:
        """Trial after trial, until the study has ended. Waits while the search has nothing, or the study is paused.

        With a `client_id` of its own a worker that was killed gets its trial back at once. `storage` is where
        checkpoints go: a folder that all workers share, or a place on S3.
        """
        client_id = client_id or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        while True:
            found = self.suggest(study, client_id=client_id, lease_seconds=lease_seconds)
            if found.done:
                return
            for trial in found.trials:
                yield HeldTrial(self, study, trial, storage=storage, device=device)
            if not found.trials:
                time.sleep(found.retry_after_seconds or 1.0)

    def work(self, study: str, train: Trainable, *, trials: int | None = None, **options: Any) -> int:
        """Train what is suggested until the study has ended, or `trials` were trained; how many were. `train` is what
        would run on Ray; `options` are those of `ask`. A trial that raises has failed, and the next one comes.

        Raises ServiceError where the service stays away, and StorageError where checkpoints can't be had.
        """
        count = 0
        for trial in self.ask(study, **options) if trials != 0 else ():
            try:
                with trial:
                    train(dict(trial.params), trial)
            except (ServiceError, StorageError):
                raise
            except Exception:
                log.exception("trial %d has failed", trial.number)
            count += 1
            if count == trials:
                break
        return count

    # -- inside -------------------------------------------------------------------------------------------
    def _tell(
        self, study: str, trial: SuggestedTrial, verb: str, body: Mapping[str, Any], **patience: float
    ) -> TellAnswer:
        path = f"{at(study, 'trials', trial.number)}:{verb}"
        return self._patiently(TellAnswer, path, {"lease": trial.lease, **body}, **patience)

    def _patiently(
        self, kind: type[A], path: str, body: Mapping[str, Any], *, patience_seconds: float | None = None
    ) -> A:
        """The answer to a POST that may be sent again."""
        patience = self.patience_seconds if patience_seconds is None else patience_seconds
        give_up, pause = time.monotonic() + patience, FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._parse(kind, self._send("POST", path, json=body))
            except ServiceError as error:
                is_over = time.monotonic() + pause > give_up or self._is_stranger(error)
                if error.status not in (None, 429, 502, 503, 504) or is_over:
                    raise
                # Not all workers at the same moment.
                time.sleep(max(error.retry_after or 0.0, pause) * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LAST_PAUSE_SECONDS)


def _sayable(number: float) -> float | str:
    """As a request can say it: a number that isn't finite by its name."""
    return number if math.isfinite(number) else json.dumps(number)
