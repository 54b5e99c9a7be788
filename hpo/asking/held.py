"""The lease of a study that this process keeps."""

from __future__ import annotations

import time

from hpo.protocols import Store
from hpo.trial import Lease


class HeldStudy:
    """Claims the study. Raises LeaseHeldError."""

    def __init__(self, store: Store, study: str, *, holder: str, lease_seconds: float) -> None:
        self._store, self._lease_seconds = store, lease_seconds
        self._renewed_at = time.monotonic()
        self.lease = store.claim(study, holder=holder, lease_seconds=lease_seconds)

    @property
    def is_due(self) -> bool:
        """Whether it is time to renew it."""
        return self._age > self._lease_seconds / 3

    @property
    def has_run_out(self) -> bool:
        return self._age > self._lease_seconds

    @property
    def _age(self) -> float:
        return time.monotonic() - self._renewed_at

    def renew(self) -> None:
        """Raises LeaseLostError."""
        asked_at = time.monotonic()
        self.renewed(self._store.renew(self.lease, lease_seconds=self._lease_seconds), asked_at)

    def renewed(self, lease: Lease, asked_at: float) -> None:
        """It was renewed, which was asked for at this time of the monotonic clock."""
        self.lease, self._renewed_at = lease, asked_at

    def release(self) -> None:
        self._store.release(self.lease)
