"""What a configuration is expected to be worth at the top rung, learnt from all rungs together."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, Protocol, TypeVar

import numpy as np
from scipy.special import ndtri  # type: ignore[import-untyped]
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from hpo.genetic.archive import Archive
from hpo.genetic.selection import Floats, Ints, normal_scores

OPTIMISM = 3.0
"""The mean of kappa: with 1, long searches could stay in the first good place that they found."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Model(Protocol):
    """Scores by (point, rung)."""

    max_observations: int
    """More are not learnt from: see `subset`."""

    def fit(self, points: Floats, rungs: Ints, scores: Floats, rng: np.random.Generator) -> None:
        """Learn anew from n observations: points (n, d), rungs (n,), scores (n,)."""

    def update(self, points: Floats, rungs: Ints, scores: Floats) -> None:
        """Learn what can be learnt quickly from those observations and a few more."""

    def predict(self, points: Floats, rungs: Ints) -> Floats:
        """The expected scores; points (k, d), rungs (k,), result (k,)."""

    def spread(self, points: Floats, rungs: Ints, pending: Floats) -> tuple[Floats, Floats]:
        """The expected scores, and how far the true ones may be from them (a standard deviation) once the pending
        points (p, d) are observed too. Each (k,)."""


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _in_one_thread(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Matrices are small, so more threads don't help; and sums must not depend on how many cores the machine has, or
    another driver would propose otherwise."""

    @wraps(method)
    def limited(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with _threads().limit(limits=1):
            return method(*args, **kwargs)

    return limited


class Surrogate:
    """A model an objective, of the normal score of the cost among all that were seen.

    It is fitted anew when the observations have increased by a twelfth, and updated when they have by a 48th; between,
    new configurations are predicted by what is at hand. What it says is a function of the archive and the seed.
    """

    def __init__(self, archive: Archive, seed: int, new_model: Callable[[], Model]) -> None:
        self._archive, self._seed = archive, seed
        self._models = [new_model() for _ in range(archive.num_objectives)]
        self._num_fitted = self._num_learnt = 0
        """Observations at the last fit, and at the last fit or update."""
        self._sorted = np.empty((0, archive.num_objectives))
        self._predicted = np.empty((0, archive.num_objectives))
        """For the top rung, by row; NaN where it was not asked yet."""
        self._at_top = np.empty((0, archive.num_objectives))
        """The score of what was seen at the top rung, by row; NaN where nothing was."""

    @property
    def is_ready(self) -> bool:
        """Whether it has learnt anything."""
        return self._num_fitted > 0

    def observed(self, row: int, rung: int) -> None:
        """The archive has a new observation."""
        count = self._archive.num_observations
        if not self.is_ready or count - self._num_fitted >= max(2, count // 12):
            self._learn(fit=True)
        elif count - self._num_learnt >= max(1, count // 48):
            self._learn(fit=False)
        elif rung == self._archive.num_rungs - 1:
            self._extend()
            self._at_top[row] = self._scores(self._archive.costs(rung)[row])

    @_in_one_thread
    def predicted(self, rows: Ints) -> Floats:
        """The expected score at the top rung, lower is better; rows (n,), result (n, m)."""
        self._extend()
        missing = rows[np.isnan(self._predicted[rows, 0])]
        if len(missing):
            points = self._archive.points[missing]
            top = self._top(points)
            self._predicted[missing] = np.column_stack([model.predict(points, top) for model in self._models])
        return self._predicted[rows]

    def fitness(self, rows: Ints) -> Floats:
        """The prediction, and half of what was seen at the top rung where something was. (n, m)."""
        predicted = self.predicted(rows)
        seen = self._at_top[rows]
        return np.where(np.isnan(seen), predicted, (predicted + seen) / 2)

    @_in_one_thread
    def promise(self, points: Floats, rng: np.random.Generator) -> Floats:
        """How little is expected at best: mean - kappa sd at the top rung; points (k, d), result (k,).

        A lower confidence bound; kappa, exponential around OPTIMISM, is drawn anew, so that parallel children differ.
        Several objectives: the augmented Chebyshev norm with random weights (Knowles 2006, "ParEGO").
        """
        pending = self._archive.points[~self._archive.is_observed()]
        each = [model.spread(points, self._top(points), pending) for model in self._models]
        kappa = rng.exponential(OPTIMISM)
        bound = np.column_stack([mean - kappa * sd for mean, sd in each])
        if bound.shape[1] == 1:
            return bound[:, 0]
        weights = rng.dirichlet(np.ones(bound.shape[1]))
        weighted = weights * (bound - ndtri(0.5 / max(1, self._num_learnt)))
        best: Floats = weighted.max(axis=1) + 0.05 * weighted.sum(axis=1)
        return best

    # -- the models ---------------------------------------------------------------------------------------
    @_in_one_thread
    def _learn(self, *, fit: bool) -> None:
        rows, rungs, costs = self._archive.observations()
        rng = np.random.default_rng(np.random.SeedSequence((self._seed, len(rows), 1)))
        scores = normal_scores(costs)
        for model, score in zip(self._models, scores.T, strict=True):
            kept = subset(rungs, score, model.max_observations, rng)
            known = self._archive.points[rows[kept]], rungs[kept], score[kept]
            if fit:
                model.fit(*known, rng)
            else:
                model.update(*known)
        self._num_learnt = len(rows)
        if fit:
            self._num_fitted = len(rows)
        self._sorted = np.sort(costs, axis=0)
        shape = len(self._archive), costs.shape[1]
        self._predicted, self._at_top = np.full(shape, np.nan), np.full(shape, np.nan)
        at_top = rungs == self._archive.num_rungs - 1
        self._at_top[rows[at_top]] = scores[at_top]

    def _top(self, points: Floats) -> Ints:
        return np.full(len(points), self._archive.num_rungs - 1, dtype=np.intp)

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
