"""What a trainable is given by whoever runs it, and a local stand-in that needs no cluster."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class TrialContext(Protocol):
    """One trial, as its trainable sees it. Steps are 1-based; for these models a step is an epoch."""

    number: int
    seed: int
    max_steps: int | None
    rank: int
    world_size: int
    device: str
    workdir: Path
    resume: Path | None
    inherit: Path | None

    def report(
        self,
        step: int,
        metrics: Mapping[str, float],
        checkpoint: Callable[[Path], None] | None = None,
    ) -> None:
        """Report the metrics of a finished step; called by every rank, and rank 0's metrics count.

        `checkpoint(folder)` is called on rank 0 only, to write the trial's files into an empty folder.
        May raise a BaseException to end the trial: let it pass through.
        """


@dataclass
class LocalTrial:
    """A trial in this very process: prints a line a step and keeps the latest checkpoint.

    The checkpoint lies in `workdir/checkpoint`. It is written beside it and renamed, so that a
    process killed while writing leaves the former one whole.
    """

    workdir: Path
    seed: int = 0
    max_steps: int | None = None
    device: str = "cpu"
    number: int = 0
    rank: int = 0
    world_size: int = 1
    resume: Path | None = None
    inherit: Path | None = None
    quiet: bool = False
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def checkpoint(self) -> Path:
        """The folder of the latest checkpoint; it exists after the first report that had one."""
        return self.workdir / "checkpoint"

    def report(
        self,
        step: int,
        metrics: Mapping[str, float],
        checkpoint: Callable[[Path], None] | None = None,
    ) -> None:
        """Keep the metrics in `history`; on rank 0, print them and write the checkpoint."""
        self.history.append({"step": step, **metrics})
        if self.rank != 0:
            return
        if not self.quiet:
            print(f"epoch {step:3d}  " + "  ".join(f"{k} {v:.4g}" for k, v in metrics.items()), flush=True)
        if checkpoint is not None:
            self._write(checkpoint)

    def _write(self, checkpoint: Callable[[Path], None]) -> None:
        fresh, former = self.workdir / "checkpoint.new", self.workdir / "checkpoint.old"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
        fresh.mkdir(parents=True)
        checkpoint(fresh)
        # A folder cannot be renamed over one that holds files, so the former one steps aside first.
        if self.checkpoint.exists():
            self.checkpoint.rename(former)
        fresh.rename(self.checkpoint)
        shutil.rmtree(former, ignore_errors=True)
