"""A space as arrays: whole sets of configurations on the unit cube at once."""

from __future__ import annotations

import math

import numpy as np

from hpo.genetic.selection import Floats
from hpo.genetic.variation import Genes
from hpo.parameters import BoolParameter, CategoricalParameter, IntParameter, Parameter, encode_value, num_values
from hpo.space import Space

INACTIVE = 0.5


class Encoding:
    """The unit cube of a space: coordinate j is that of `space.names[j]`, as in `Space.encode`."""

    def __init__(self, space: Space) -> None:
        self.space = space
        parameters = [space.parameters[name] for name in space.names]
        self.genes = Genes(
            np.array([_num_bins(parameter) for parameter in parameters], dtype=np.int64),
            np.array([isinstance(each, CategoricalParameter | BoolParameter) for each in parameters]),
        )
        self._log_integers = [
            (j, each.low, each.high) for j, each in enumerate(parameters) if isinstance(each, IntParameter) and each.log
        ]
        column = {name: j for j, name in enumerate(space.names)}
        self._conditions: list[tuple[int, list[tuple[int, Floats]]]] = []
        """Of each conditional coordinate: the coordinates that it hangs on, and where each of these must be."""
        for j, name in enumerate(space.names):
            needs = [
                (column[ancestor], np.array([encode_value(space.parameters[ancestor], value) for _, value in values]))
                for ancestor, values in space.needs[name].items()
            ]
            if needs:
                self._conditions.append((j, needs))

    def canonical(self, points: Floats) -> Floats:
        """The points that stand for the same configurations and nothing else: discrete values at the centres of their
        bins, inactive parameters at 0.5. Shape (n, d) in [0, 1], to (n, d)."""
        bins = self.genes.num_values
        count = np.maximum(bins, 1)
        centres = (np.minimum(np.floor(points * count), count - 1) + 0.5) / count
        found = np.where(bins > 0, centres, points)
        for j, low, high in self._log_integers:
            start, end = math.log(low - 0.5), math.log(high + 0.5)
            values = np.clip(np.rint(np.exp(start + (end - start) * points[:, j])), low, high)
            found[:, j] = (np.log(values) - start) / (end - start)
        snapped = found.copy()
        for j, needs in self._conditions:
            active = np.ones(len(points), dtype=bool)
            for ancestor, allowed in needs:
                active &= (np.abs(snapped[:, ancestor, None] - allowed) < 1e-9).any(axis=1)
            found[~active, j] = INACTIVE
        return found


def _num_bins(parameter: Parameter) -> int:
    """0 where the coordinate is a stretch of the number line."""
    if isinstance(parameter, IntParameter) and parameter.log:
        return 0
    return num_values(parameter) or 0
