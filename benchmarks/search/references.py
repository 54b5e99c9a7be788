"""What regret is measured by on each task, kept in `references.json`.

The rule: `best` is the task's least loss where that is known. Else it is the best of all that was looked at: 2 ×
num_reference_draws random configurations, and a local search of 60 rounds from the 30 best of them, in which each makes
40 children (each coordinate of the unit cube is moved with probability .4 by a normal step of .25 × .93^round, or drawn
anew with probability .02) and the 30 best of all go on. Where a task has few draws, children are fewer in proportion.
`random_median` is the median true loss of num_reference_draws random configurations, and `full_seconds` the mean cost
of 500 at the full fidelity, or three times its median if that is less. Seed 123.

`python -m benchmarks.search.references NAMES` makes them anew.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.search.tasks import make
from benchmarks.search.tasks.protocol import Task, space_of

FILE = Path(__file__).with_name("references.json")
SEED, ROUNDS, ELITES, CHILDREN, COST_DRAWS = 123, 60, 30, 40, 500


@dataclass(frozen=True, slots=True)
class Reference:
    """Losses are true losses."""

    best: float
    random_median: float
    full_seconds: float
    """The mean simulated seconds of a full training."""

    def regret(self, loss: float) -> float:
        """0 for the best, 1 for the median of random search; may be above 1."""
        return (loss - self.best) / (self.random_median - self.best)


def reference(task: Task) -> Reference:
    """From the file; made and kept there where it has none."""
    known = _read()
    if task.name not in known:
        made = asdict(_made(task))
        known = {**_read(), task.name: made}
        text = json.dumps(known, indent=1, sort_keys=True) + "\n"
        partial = FILE.with_suffix(f".{os.getpid()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(FILE)
    return Reference(**known[task.name])


def _read() -> dict[str, dict[str, float]]:
    if not FILE.is_file():
        return {}
    known: dict[str, dict[str, float]] = json.loads(FILE.read_text(encoding="utf-8"))
    return known


def _made(task: Task) -> Reference:
    """See the rule above."""
    rng, space = np.random.default_rng(SEED), space_of(task)
    draws = [space.sample(rng) for _ in range(task.num_reference_draws)]
    losses = np.array([task.true_loss(params) for params in draws])
    seconds = [task.evaluate(params, task.num_rungs - 1, rng)[1] for params in draws[:COST_DRAWS]]
    full_seconds = min(float(np.mean(seconds)), 3 * float(np.median(seconds)))
    best = task.best_loss
    if best is None:
        best = min(float(losses.min()), _searched(task, rng))
    return Reference(best=best, random_median=float(np.median(losses)), full_seconds=full_seconds)


def _searched(task: Task, rng: np.random.Generator) -> float:
    """The best true loss that the local search finds."""
    space = space_of(task)

    def losses_of(points: np.ndarray) -> np.ndarray:
        return np.array([task.true_loss(space.decode(point)) for point in points])

    points = rng.random((task.num_reference_draws, len(space.names)))
    losses = losses_of(points)
    order = np.argsort(losses)[:ELITES]
    points, losses = points[order], losses[order]
    children = max(1, CHILDREN * task.num_reference_draws // 20_000)
    for round_ in range(ROUNDS):
        offspring = np.repeat(points, children, axis=0)
        steps = 0.25 * 0.93**round_ * rng.normal(size=offspring.shape)
        offspring = np.where(rng.random(offspring.shape) < 0.4, np.clip(offspring + steps, 0, 1), offspring)
        offspring = np.where(rng.random(offspring.shape) < 0.02, rng.random(offspring.shape), offspring)
        points = np.concatenate([points, offspring])
        losses = np.concatenate([losses, losses_of(offspring)])
        order = np.argsort(losses)[:ELITES]
        points, losses = points[order], losses[order]
    return float(losses[0])


def main(names: Sequence[str]) -> None:
    """Make the references of these tasks anew."""
    kept = {name: each for name, each in _read().items() if name not in names}
    FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for name in names:
        print(name, reference(make(name)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
