"""How children are made: differential evolution, crossover, mutation. All act on the unit cube [0, 1)^d."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.genetic.selection import Floats

Bools = NDArray[np.bool_]

MAX_ORDINAL = 20
"""Up to so many values a number moves by whole values: a Gaussian step would be lost in its bin."""
BELOW_ONE = 1 - 1e-9


@dataclass(frozen=True, slots=True)
class Genes:
    """What the d coordinates stand for; all arrays (d,)."""

    num_values: NDArray[np.int64]
    """0 for a number of infinitely (or very) many values."""
    is_categorical: Bools
    """A value is a bin, and neighbours mean nothing."""

    @property
    def is_ordinal(self) -> Bools:
        """A number of few values."""
        return ~self.is_categorical & (self.num_values > 0) & (self.num_values <= MAX_ORDINAL)


def differential_evolution(
    rng: np.random.Generator,
    genes: Genes,
    base: Floats,
    best: Floats,
    other: Floats,
    another: Floats,
    scale: Floats,
    rate: Floats,
) -> Floats:
    """base + F (best - base) + F (other - another), and each gene of it with probability CR, else the base's.

    Current-to-pbest/1 with binomial crossover: Zhang & Sanderson 2009, "JADE". All parents are (k, d), F = `scale`
    and CR = `rate` are (k,), the result (k, d). At least one gene comes from the mutant. Unlike JADE: what leaves the
    cube is drawn between the base and the border, and a category is a vote (best 1/2, other 1/4, another 1/4).
    """
    count, num_genes = base.shape
    step = scale[:, None]
    mutant = base + step * (best - base) + step * (other - another)
    mutant = np.where(mutant < 0, base * rng.random(base.shape), mutant)
    mutant = np.where(mutant >= 1, base + (1 - base) * rng.random(base.shape), mutant)
    vote = rng.random(base.shape)
    voted = np.where(vote < 0.5, best, np.where(vote < 0.75, other, another))
    mutant = np.where(genes.is_categorical, voted, mutant)
    taken = rng.random(base.shape) < rate[:, None]
    taken[np.arange(count), rng.integers(num_genes, size=count)] = True
    return np.clip(np.where(taken, mutant, base), 0.0, BELOW_ONE)


def crossover(rng: np.random.Generator, genes: Genes, mother: Floats, father: Floats) -> Floats:
    """Each gene from either parent, or, for half of the numbers, from the line through both: all (k, d).

    Uniform crossover (Syswerda 1989) mixed with BLX-0.25 (Eshelman & Schaffer 1993: a quarter beyond either parent).
    """
    share = rng.uniform(-0.25, 1.25, mother.shape)
    blended = np.clip(mother + share * (father - mother), 0.0, BELOW_ONE)
    either = np.where(rng.random(mother.shape) < 0.5, mother, father)
    return np.where(genes.is_categorical | (rng.random(mother.shape) < 0.5), either, blended)


def mutate(rng: np.random.Generator, genes: Genes, points: Floats, *, probability: float, sigma: Floats) -> Floats:
    """Each gene changed with `probability`, at least one of each point; points (k, d), sigma (k,), result (k, d).

    A number takes a Gaussian step of sd sigma, reflected at the borders; one of few values one or (a quarter) two
    values up or down; a category is drawn anew.
    """
    count, num_genes = points.shape
    changed = rng.random(points.shape) < probability
    changed[np.arange(count), rng.integers(num_genes, size=count)] = True
    moved = np.abs(points + sigma[:, None] * rng.standard_normal(points.shape))
    moved = np.where(moved >= 1, 2 - moved - 1e-9, moved) % 1.0
    values = np.maximum(genes.num_values, 1)
    steps = np.where(rng.random(points.shape) < 0.5, -1, 1) * np.where(rng.random(points.shape) < 0.75, 1, 2)
    moved = np.where(genes.is_ordinal, np.clip(points + steps / values, 0.0, BELOW_ONE), moved)
    moved = np.where(genes.is_categorical, rng.random(points.shape), moved)
    return np.where(changed, moved, points)
