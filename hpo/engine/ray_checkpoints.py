"""Checkpoints that one of Ray Tune's schedulers may still ask for."""

from __future__ import annotations

from collections.abc import Callable, Container

from hpo.retention import Checkpoints
from hpo.trial import Checkpoint


class KeptCheckpoints(Checkpoints):
    """As Checkpoints, but what nobody needs any more is only dropped by `release`.

    Ray's population-based training lets a trial start from the checkpoint that its donor had at the donor's last
    comparison, however far the donor has come since.
    """

    def __init__(self, drop: Callable[[Checkpoint], None]) -> None:
        super().__init__(self._keep)
        self._let_go = drop
        self._kept: dict[str, Checkpoint] = {}

    def _keep(self, checkpoint: Checkpoint) -> None:
        self._kept[checkpoint.path] = checkpoint

    def find(self, path: str) -> Checkpoint | None:
        """The checkpoint at `path`, if it was not dropped."""
        return super().find(path) or self._kept.get(path)

    def release(self, named: Container[str]) -> None:
        """Drop those of nobody's that are not among the `named` paths."""
        for path in [path for path in self._kept if path not in named]:
            checkpoint = self._kept.pop(path)
            if super().find(path) is None:  # else somebody needs it again, and it comes back to `_keep`
                self._let_go(checkpoint)
