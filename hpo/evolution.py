"""What the genetic searcher and the genetic scheduler know together: what was tried, what it is worth, who is next."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc  # type: ignore[import-untyped]

from hpo.encoding import Encoding
from hpo.genetic.archive import Archive
from hpo.genetic.credit import Credit, Operator, Origin
from hpo.genetic.gaussian_process import GaussianProcess, Inputs
from hpo.genetic.offspring import FIRST_SIGMA, offspring
from hpo.genetic.selection import Floats, Ints, order, places
from hpo.genetic.surrogate import Model, Surrogate
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.trial import Metrics, Params

UNSCREENED = 0.07
"""The share of children that the model has no say in, so that it is corrected where it is wrong."""
MIN_PARENTS = 4
MIN_AT_RUNG = 6
"""Fewer at a rung say too little: they are ranked by what was seen alone."""
NUM_DRAWS = 64


@dataclass(frozen=True, slots=True)
class Parts:
    """What takes part; for ablations."""

    screening: bool = True
    crossover: bool = True
    differential_evolution: bool = True
    forest: bool = False
    """Whether a forest screens, in the place of the Gaussian process."""
    num_candidates: int = 64
    """Children that are made for one that is tried."""

    def operators(self) -> frozenset[Operator]:
        used = {Operator.LOCAL, Operator.UNIFORM}
        if self.crossover:
            used.add(Operator.CROSSOVER)
        if self.differential_evolution:
            used.add(Operator.DIFFERENTIAL_EVOLUTION)
        return frozenset(used)


ALL_PARTS = Parts()


class Evolution:
    """The state of a genetic search: a function of the seed and of what it was told, in its order.

    A rung is an index: those of `rungs` (steps, rising), then the top, which is a trial's last step. Told twice, an
    observation counts once, so that a searcher and a scheduler may both pass on what they hear.
    """

    def __init__(self, spec: StudySpec, rungs: Sequence[int], parts: Parts = ALL_PARTS) -> None:
        self.space = Space.of(spec)
        self.encoding = Encoding(self.space)
        self.rungs = tuple(rungs)
        self.top = len(self.rungs)
        self.parts = parts
        self._seed = spec.seed
        self._last_step = spec.budget.steps_per_trial
        self._objectives = [(each.metric, 1.0 if each.direction == "minimize" else -1.0) for each in spec.objectives]
        num_genes = len(self.space.names)
        self.archive = Archive(num_genes, self.top + 1, len(self._objectives))
        self._surrogate = Surrogate(self.archive, spec.seed, self._new_model) if parts.screening else None
        self._credit = Credit(parts.operators())
        self._num_first = max(8, min(2 * num_genes, 20))
        self._sobol = qmc.Sobol(d=num_genes, scramble=True, seed=spec.seed)
        self._known: set[bytes] = set()
        self._origins: dict[int, Origin] = {}
        self._sigmas: dict[int, float] = {}  # by row
        self._promotion: dict[int, tuple[int, Ints]] = {}
        self._agreement: dict[int, tuple[int, float]] = {}

    def _new_model(self) -> Model:
        if self.parts.forest:
            from hpo.genetic.forest import Forest

            return Forest()
        return GaussianProcess(Inputs.of(self.encoding.genes, self.top + 1))

    # -- what happened ------------------------------------------------------------------------------------
    def add(self, number: int, params: Params) -> bool:
        """A configuration is tried; False, and nothing is learnt, for one that the space doesn't contain."""
        if not self.space.contains(params):
            return False
        point = np.array(self.space.encode(params))
        self.archive.add(number, point)
        self._known.add(_key(point))
        return True

    def rung_of(self, step: int) -> int | None:
        """The rung that a report at this step belongs to: the highest that it has passed; None below the first."""
        if step >= self._last_step:
            return self.top
        passed = bisect_right(self.rungs, step)
        return passed - 1 if passed else None

    def costs_of(self, metrics: Metrics) -> list[float] | None:
        """The objectives, lower is better; None unless all are there and finite."""
        found = [sign * float(metrics[name]) for name, sign in self._objectives if name in metrics]
        return found if len(found) == len(self._objectives) and np.isfinite(found).all() else None

    def cost_of(self, value: float) -> list[float] | None:
        """The same of a trial's value, which is its first objective's; None where there are several."""
        return [self._objectives[0][1] * value] if len(self._objectives) == 1 and np.isfinite(value) else None

    def record(self, number: int, rung: int, costs: list[float]) -> None:
        """What a trial reached at a rung."""
        if not self.archive.record(number, rung, costs):
            return
        origin = self._origins.get(number)
        if origin is not None and self.archive.num_at(rung) > 5:
            self._reward(number, rung, origin)
        if self._surrogate is not None and self.archive.num_observations >= self._num_first:
            self._surrogate.observed(self.archive.row(number), rung)

    def fail(self, number: int) -> None:
        """A trial failed by its configuration's fault: as if it were the worst at the first rung it didn't reach."""
        if number not in self.archive:
            return
        row = self.archive.row(number)
        missing = [rung for rung in range(self.top + 1) if np.isnan(self.archive.costs(rung)[row, 0])]
        if missing:
            self.record(number, missing[0], [np.inf] * len(self._objectives))

    def _reward(self, number: int, rung: int, origin: Origin) -> None:
        row = self.archive.row(number)
        costs = self.archive.costs(rung)[self.archive.rows(rung)]
        place = places(costs)[-1]
        self._credit.tell(origin, success=bool(place < len(costs) // 3 + 1))
        self._sigmas[row] = origin.sigma
        if rung > 0:
            del self._origins[number]

    # -- who is next --------------------------------------------------------------------------------------
    def promotion_order(self, rung: int) -> Ints:
        """The rows at a rung, the most promising first: by the place of what was seen there, and of what the model
        predicts for the top, which knows it too. The better a rung told so far what the next would
        say, the more it counts for itself, up to about a half."""
        rows = self.archive.rows(rung)
        version = self.archive.num_observations
        cached = self._promotion.get(rung)
        if cached is not None and cached[0] == version:
            return cached[1]
        costs = self.archive.costs(rung)[rows]
        if self._surrogate is None or not self._surrogate.is_ready or len(rows) < MIN_AT_RUNG:
            found = rows[order(costs)]
        else:
            weight = self.agreement(rung) / 2
            seen, predicted = places(costs), places(self._surrogate.predicted(rows))
            found = rows[np.argsort(weight * seen + (1 - weight) * predicted, kind="stable")]
        self._promotion[rung] = version, found
        return found

    def agreement(self, rung: int) -> float:
        """How far the places at a rung foretell those at the next, in [.25, .95]: the square root of the rank
        correlation of those that were at both, shrunk towards .75 as by eight observations."""
        version = self.archive.num_observations
        cached = self._agreement.get(rung)
        if cached is None or cached[0] != version:
            cached = self._agreement[rung] = version, self._agreement_now(rung)
        return cached[1]

    def _agreement_now(self, rung: int) -> float:
        rows = self.archive.rows(rung + 1)
        rows = rows[~np.isnan(self.archive.costs(rung)[rows, 0])]
        if len(rows) < 5:
            return 0.75
        below, above = (places(self.archive.costs(k)[rows]) for k in (rung, rung + 1))
        if not below.std() or not above.std():
            return 0.75
        correlation = max(float(np.corrcoef(below, above)[0, 1]), 0.0)
        shrunk = (len(rows) * np.sqrt(correlation) + 8 * 0.75) / (len(rows) + 8)
        return float(np.clip(shrunk, 0.25, 0.95))

    def propose(self, number: int) -> Params | None:
        """The configuration of trial `number`; None when the space has no other one."""
        rng = np.random.default_rng(np.random.SeedSequence((self._seed, number)))
        point = self._first(rng) if len(self.archive) < self._num_first else self._child(number, rng)
        params = self.space.decode(point.tolist()) if point is not None else self._other(rng)
        if params is not None:
            self.add(number, params)
        return params

    def _first(self, rng: np.random.Generator) -> Floats | None:
        for _ in range(NUM_DRAWS):
            point: Floats = self.encoding.canonical(self._sobol.random(1))[0]
            if self._is_new(point):
                return point
        return None

    def _child(self, number: int, rng: np.random.Generator) -> Floats | None:
        ranked = self._ranked()
        if len(ranked) < MIN_PARENTS:
            return None
        screened = self._surrogate is not None and self._surrogate.is_ready
        sigmas = np.array([self._sigmas.get(int(row), FIRST_SIGMA) for row in ranked])
        count = self.parts.num_candidates if screened else 4
        children = offspring(rng, self.encoding.genes, self.archive.points[ranked], sigmas, self._credit, count)
        points = self.encoding.canonical(children.points)
        for k in self._by_promise(rng, points, screened=screened):
            if self._is_new(points[k]):
                self._origins[number] = children.origin(int(k))
                chosen: Floats = points[k]
                return chosen
        return None

    def _by_promise(self, rng: np.random.Generator, points: Floats, *, screened: bool) -> Ints:
        if self._surrogate is None or not screened or rng.random() < UNSCREENED:
            return np.arange(len(points))
        return np.argsort(self._surrogate.promise(points, rng), kind="stable")

    def _ranked(self) -> Ints:
        """The rows that were seen, the best first: by what the model predicts for the top, and half by what was seen
        there. Without a model, those of the highest rung that has enough of them."""
        if self._surrogate is not None and self._surrogate.is_ready:
            rows = np.flatnonzero(self.archive.is_observed())
            return rows[order(self._surrogate.fitness(rows))]
        rungs = range(self.top, -1, -1)
        enough = [rung for rung in rungs if self.archive.num_at(rung) >= MIN_AT_RUNG]
        rung = enough[0] if enough else max(rungs, key=self.archive.num_at)
        rows = self.archive.rows(rung)
        return rows[order(self.archive.costs(rung)[rows])]

    def _is_new(self, point: Floats) -> bool:
        return _key(point) not in self._known and not (
            self.space.rules and self.space.is_forbidden(self.space.decode(point.tolist()))
        )

    def _other(self, rng: np.random.Generator) -> Params | None:
        """A random configuration that was not tried; where there are few left, the first of the grid."""
        for _ in range(NUM_DRAWS):
            params = self.space.sample(rng)
            if _key(np.array(self.space.encode(params))) not in self._known:
                return params
        if self.space.size() is None:
            return params
        untried = (each for each in self.space.grid() if _key(np.array(self.space.encode(each))) not in self._known)
        return next(untried, None)


def _key(point: Floats) -> bytes:
    return np.round(point, 9).tobytes()
