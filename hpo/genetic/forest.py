"""Screening by a forest, for an ablation: what the Gaussian process replaced."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.tree import ExtraTreeRegressor  # type: ignore[import-untyped]

from hpo.genetic.selection import Floats, Ints

NUM_TREES = 24
MAX_SAMPLES = 1000
"""Observations a tree is grown on: what keeps a fit of ten thousand as fast as of one thousand."""
MAX_FEATURES = 0.8


class Forest:
    """Extremely randomised trees on bootstrap samples (Geurts et al. 2006; the bootstrap gives them their spread).

    Grown at once. Predictions go through the trees' own arrays: scikit-learn's check their input for ten times as long.
    """

    max_observations = 1200

    def __init__(self) -> None:
        self._trees: list[Any] = []

    def fit(self, points: Floats, rungs: Ints, scores: Floats, rng: np.random.Generator) -> None:
        """See Model."""
        count = len(points)
        inputs = _inputs(points, rungs)
        self._trees = []
        for seed in rng.integers(2**31, size=NUM_TREES):
            sample = rng.integers(count, size=min(count, MAX_SAMPLES))
            rows, weights = np.unique(sample, return_counts=True)
            tree = ExtraTreeRegressor(
                min_samples_leaf=2 if count > 60 else 1, max_features=MAX_FEATURES, random_state=int(seed)
            )
            tree.fit(inputs[rows], scores[rows], sample_weight=weights.astype(np.float64), check_input=False)
            self._trees.append(tree.tree_)

    def update(self, points: Floats, rungs: Ints, scores: Floats) -> None:
        """A tree can't be corrected: it is as it was."""

    def predict(self, points: Floats, rungs: Ints) -> Floats:
        """The mean over the trees."""
        mean: Floats = self._each(points, rungs).mean(axis=0)
        return mean

    def spread(self, points: Floats, rungs: Ints, pending: Floats) -> tuple[Floats, Floats]:
        """The mean and the standard deviation over the trees, which the pending don't change."""
        each = self._each(points, rungs)
        return each.mean(axis=0), each.std(axis=0)

    def _each(self, points: Floats, rungs: Ints) -> Floats:
        inputs = _inputs(points, rungs)
        return np.array([tree.predict(inputs)[:, 0] for tree in self._trees])


def _inputs(points: Floats, rungs: Ints) -> Any:
    return np.ascontiguousarray(np.column_stack([points, rungs]), dtype=np.float32)
