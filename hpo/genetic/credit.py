"""Which operators pay: their shares, and the parameters of differential evolution, adapted by success."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from hpo.genetic.selection import Floats


class Operator(IntEnum):
    """What made a child."""

    DIFFERENTIAL_EVOLUTION = 0
    CROSSOVER = 1
    LOCAL = 2
    UNIFORM = 3


@dataclass(frozen=True, slots=True)
class Origin:
    """How a child was made."""

    operator: Operator
    sigma: float
    scale: float
    rate: float


class Credit:
    """Moving averages of each operator's success, with a floor so that none dies out.

    As adaptive operator selection by probability matching (Thierens 2005); F and CR of differential evolution follow
    the successful ones (Zhang & Sanderson 2009, "JADE", with plain means). A child is a success where it is among the
    best third of its rung.
    """

    MEMORY, FLOOR, UNIFORM_SHARE = 0.07, 0.15, 0.08

    def __init__(self, operators: frozenset[Operator]) -> None:
        self._is_used = np.array([operator in operators for operator in Operator])
        self._weights = np.ones(len(Operator))
        self.scale, self.rate = 0.6, 0.7
        """The centres of F and CR."""

    def shares(self) -> Floats:
        """The probability of each operator, shape (4,): UNIFORM_SHARE for uniform ones, the rest by credit."""
        weights = np.where(self._is_used, self._weights, 0.0)
        weights[Operator.UNIFORM] = 0.0
        total = weights.sum()
        if total == 0:
            return np.asarray(np.eye(len(Operator))[Operator.UNIFORM])
        shares: Floats = weights / total * (1 - self.UNIFORM_SHARE)
        shares[Operator.UNIFORM] = self.UNIFORM_SHARE
        return shares

    def draw(self, rng: np.random.Generator, count: int) -> tuple[NDArray[np.intp], Floats, Floats]:
        """Operators, F (Cauchy around its centre, in [.05, 1.2]) and CR (normal, in [.05, 1]); each (count,)."""
        operators = rng.choice(len(Operator), size=count, p=self.shares()).astype(np.intp)
        scale = np.clip(self.scale + 0.15 * rng.standard_cauchy(count), 0.05, 1.2)
        rate = np.clip(self.rate + 0.15 * rng.standard_normal(count), 0.05, 1.0)
        return operators, scale, rate

    def tell(self, origin: Origin, *, success: bool) -> None:
        """What became of a child."""
        kept = (1 - self.MEMORY) * self._weights[origin.operator]
        self._weights[origin.operator] = max(self.FLOOR, kept + self.MEMORY * 3 * success)
        if success:
            self.scale = 0.9 * self.scale + 0.1 * origin.scale
            self.rate = 0.9 * self.rate + 0.1 * origin.rate
