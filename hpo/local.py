"""Run a trainable alone, in this process, without Ray: for debugging and for tests.

```python
if __name__ == "__main__":
    from hpo.local import run_alone
    run_alone(train, {"lr": 0.1}, steps=5)
```
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from hpo.protocols import Trainable, TrialStopped
from hpo.spec import ParamValue
from hpo.trial import Metrics, trial_seed


def checked_report(step: int, metrics: Metrics, *, after: int) -> dict[str, float]:
    """The metrics as plain floats. Raises ValueError or TypeError, to the trainable, for what can't be a report."""
    if isinstance(step, bool) or not isinstance(step, int) or step <= after:
        raise ValueError(
            f"report(step={step!r}) after step {after}: steps are integers from 1 that rise; "
            "when you go on from trial.resume, start after the step that the checkpoint was saved at"
        )
    if not isinstance(metrics, Mapping):
        raise TypeError(f'metrics is {metrics!r}, but must be a dict of numbers, such as {{"loss": 0.5}}')
    plain = {}
    for name, value in metrics.items():
        try:
            plain[str(name)] = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metric {name!r} is {value!r}, but must be a number; drop or convert it") from None
    return plain


class LocalTrial:
    """A TrialContext in one process. It keeps what was reported in `reports` and checkpoints under `folder`."""

    def __init__(
        self, *, steps: int, folder: Path, seed: int = 0, resume: Path | None = None, device: str = "cpu"
    ) -> None:
        self.number = 0
        self.seed = trial_seed(seed, 0)
        self.max_steps = steps
        self.resume, self.inherit = resume, None
        self.rank, self.world_size = 0, 1
        self.device = device
        self.workdir = folder
        self.reports: list[tuple[int, dict[str, float]]] = []

    def report(self, step: int, metrics: Metrics, checkpoint: Callable[[Path], None] | None = None) -> None:
        plain = checked_report(step, metrics, after=self.reports[-1][0] if self.reports else 0)
        if checkpoint is not None:
            folder = self.workdir / f"step-{step:06d}"
            folder.mkdir(parents=True, exist_ok=True)
            checkpoint(folder)
        self.reports.append((step, plain))
        if step >= self.max_steps:
            raise TrialStopped


def run_alone(
    train: Trainable, params: Mapping[str, ParamValue], *, steps: int, seed: int = 0, show: bool = True
) -> list[tuple[int, dict[str, float]]]:
    """Train once for at most `steps` steps and return the reports; prints a line a step unless `show` is false."""
    with tempfile.TemporaryDirectory(prefix="hpo-alone-") as folder:
        kind = _Printing if show else LocalTrial
        trial = kind(steps=steps, folder=Path(folder), seed=seed)
        with contextlib.suppress(TrialStopped):
            train(params, trial)
        return trial.reports


class _Printing(LocalTrial):
    def report(self, step: int, metrics: Metrics, checkpoint: Callable[[Path], None] | None = None) -> None:
        print(f"step {step}: " + "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()), flush=True)
        super().report(step, metrics, checkpoint)
