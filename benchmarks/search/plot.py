"""Regret against time, one panel a number of workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.search.analysis import GRID, HIGH, LOW, Comparison, bootstrap, mean
from benchmarks.search.policies import OURS

REPLICATES, STRIDE = 500, 5


def draw(comparisons: Sequence[Comparison], file: Path) -> None:
    """An SVG: geometric means over tasks and seeds, with 95 % bootstrap bands, both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "search"  # so that the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(comparisons), figsize=(6 * len(comparisons), 4.5), sharey=True, squeeze=False)
    policies = list(dict.fromkeys(policy for each in comparisons for policy in each.policies))
    colours = {policy: f"C{k}" for k, policy in enumerate(policies)}
    for axis, comparison in zip(axes[0], comparisons, strict=True):
        curves = [each[:, :, STRIDE - 1 :: STRIDE] for each in comparison.log_curves]
        shares, values = GRID[STRIDE - 1 :: STRIDE], np.exp(mean(curves))
        low, high = np.exp(np.percentile(bootstrap(curves, replicates=REPLICATES), [LOW, HIGH], axis=0))
        for p, policy in enumerate(comparison.policies):
            axis.plot(shares, values[p], color=colours[policy], label=policy, linewidth=2.5 if policy == OURS else 1.2)
            axis.fill_between(shares, low[p], high[p], color=colours[policy], alpha=0.08, linewidth=0)
        axis.set(xscale="log", yscale="log", xlim=(0.02, 1.0), xlabel="share of the horizon")
        axis.set_title(f"{comparison.workers} workers, {len(comparison.tasks)} tasks")
        axis.grid(visible=True, which="both", alpha=0.2)
    axes[0][0].set_ylabel("regret, geometric mean")
    axes[0][-1].legend()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
