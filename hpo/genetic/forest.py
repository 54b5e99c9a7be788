"""Screening: a forest that predicts how good a configuration is at a rung."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.tree import ExtraTreeRegressor  # type: ignore[import-untyped]

from hpo.genetic.selection import Floats, Ints

NUM_TREES = 24
MAX_SAMPLES = 1000
"""Observations a tree is grown on: what keeps a fit of ten thousand as fast as of one thousand."""


class Forest:
    """Extremely randomised trees on bootstrap samples (Geurts et al. 2006; the bootstrap gives them their spread).

    Grown at once. Predictions go through the trees' own arrays: scikit-learn's check their input for ten times as long.
    """

    def __init__(
        self, features: Floats, scores: Floats, rng: np.random.Generator, *, max_features: float = 0.8
    ) -> None:
        """features (n, f), scores (n,)."""
        count = len(features)
        inputs = features.astype(np.float32)
        self._trees: list[Any] = []
        for seed in rng.integers(2**31, size=NUM_TREES):
            sample = rng.integers(count, size=min(count, MAX_SAMPLES))
            rows, weights = np.unique(sample, return_counts=True)
            tree = ExtraTreeRegressor(
                min_samples_leaf=2 if count > 60 else 1, max_features=max_features, random_state=int(seed)
            )
            tree.fit(inputs[rows], scores[rows], sample_weight=weights.astype(np.float64), check_input=False)
            self._trees.append(tree.tree_)

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation over the trees; features (n, f), each result (n,)."""
        inputs = np.ascontiguousarray(features, dtype=np.float32)
        each = np.array([tree.predict(inputs)[:, 0] for tree in self._trees])
        return each.mean(axis=0), each.std(axis=0)


def subset(rungs: Ints, costs: Floats, size: int, rng: np.random.Generator) -> Ints:
    """Which of n observations to learn from, at most `size`: a third the best of the highest rung, the rest random.

    rungs (n,), costs (n,) (the lower the better); returns rising indices.
    """
    count = len(rungs)
    if count <= size:
        return np.arange(count)
    best_first = np.lexsort((costs, -rungs))
    kept = best_first[: size // 3]
    others = rng.choice(best_first[size // 3 :], size=size - len(kept), replace=False)
    return np.sort(np.concatenate([kept, others])).astype(np.intp)
