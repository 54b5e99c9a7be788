"""What a configuration is expected to be worth at the top rung, learnt from all rungs together."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri  # type: ignore[import-untyped]

from hpo.genetic.archive import Archive
from hpo.genetic.forest import Forest, subset
from hpo.genetic.selection import Floats, Ints, normal_scores

MAX_OBSERVATIONS = 1200


class Surrogate:
    """A forest an objective on (point, rung), towards the normal score of the cost among all that were seen.

    It is grown anew when the observations have increased by a twelfth; between, new configurations are predicted by
    the forests at hand. What it says is a function of the archive and the seed.
    """

    def __init__(self, archive: Archive, seed: int) -> None:
        self._archive, self._seed = archive, seed
        self._forests: list[Forest] = []
        self._num_seen = 0
        self._sorted = np.empty((0, archive.num_objectives))
        self._predicted = np.empty((0, archive.num_objectives))
        """For the top rung, by row; NaN where it was not asked yet."""
        self._at_top = np.empty((0, archive.num_objectives))
        """The score of what was seen at the top rung, by row; NaN where nothing was."""

    @property
    def is_ready(self) -> bool:
        """Whether there is a forest."""
        return bool(self._forests)

    def observed(self, row: int, rung: int) -> None:
        """The archive has a new observation."""
        count = self._archive.num_observations
        if not self._forests or count - self._num_seen >= max(2, count // 12):
            self._fit()
        elif rung == self._archive.num_rungs - 1:
            self._extend()
            self._at_top[row] = self._scores(self._archive.costs(rung)[row])

    def predicted(self, rows: Ints) -> Floats:
        """The expected score at the top rung, lower is better; rows (n,), result (n, m)."""
        self._extend()
        missing = rows[np.isnan(self._predicted[rows, 0])]
        if len(missing):
            self._predicted[missing] = self._predict(self._archive.points[missing])[0]
        return self._predicted[rows]

    def fitness(self, rows: Ints) -> Floats:
        """The prediction, and half of what was seen at the top rung where something was. (n, m)."""
        predicted = self.predicted(rows)
        seen = self._at_top[rows]
        return np.where(np.isnan(seen), predicted, (predicted + seen) / 2)

    def promise(self, points: Floats, rng: np.random.Generator) -> Floats:
        """How little is expected at best: mean - kappa sd at the top rung with kappa ~ Exp(1); points (k, d), (k,).

        A lower confidence bound whose optimism is drawn anew for each child, so that parallel ones differ. Several
        objectives: the augmented Chebyshev norm with random weights (Knowles 2006, "ParEGO").
        """
        mean, sd = self._predict(points)
        bound = mean - rng.exponential() * sd
        if bound.shape[1] == 1:
            return bound[:, 0]
        weights = rng.dirichlet(np.ones(bound.shape[1]))
        weighted = weights * (bound - ndtri(0.5 / max(1, self._num_seen)))
        best: Floats = weighted.max(axis=1) + 0.05 * weighted.sum(axis=1)
        return best

    # -- the forests --------------------------------------------------------------------------------------
    def _fit(self) -> None:
        rows, rungs, costs = self._archive.observations()
        self._num_seen = len(rows)
        rng = np.random.default_rng(np.random.SeedSequence((self._seed, self._num_seen, 1)))
        scores = normal_scores(costs)
        features = np.column_stack([self._archive.points[rows], rungs])
        self._forests = []
        for objective in range(costs.shape[1]):
            kept = subset(rungs, scores[:, objective], MAX_OBSERVATIONS, rng)
            self._forests.append(Forest(features[kept], scores[kept, objective], rng))
        self._sorted = np.sort(costs, axis=0)
        shape = len(self._archive), costs.shape[1]
        self._predicted, self._at_top = np.full(shape, np.nan), np.full(shape, np.nan)
        at_top = rungs == self._archive.num_rungs - 1
        self._at_top[rows[at_top]] = scores[at_top]

    def _predict(self, points: Floats) -> tuple[Floats, Floats]:
        features = np.column_stack([points, np.full(len(points), self._archive.num_rungs - 1)])
        each = [forest.predict(features) for forest in self._forests]
        return np.column_stack([mean for mean, _ in each]), np.column_stack([sd for _, sd in each])

    def _scores(self, costs: Floats) -> Floats:
        count = len(self._sorted)
        below = np.array([np.searchsorted(self._sorted[:, j], cost) for j, cost in enumerate(costs)])
        found: Floats = ndtri((below + 0.5) / (count + 1))
        return found

    def _extend(self) -> None:
        missing = len(self._archive) - len(self._predicted)
        if missing > 0:
            blank = np.full((missing, self._predicted.shape[1]), np.nan)
            self._predicted = np.vstack([self._predicted, blank])
            self._at_top = np.vstack([self._at_top, blank])
