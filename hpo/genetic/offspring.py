"""Children of a ranked population, by the operators that pay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.genetic.credit import Credit, Operator, Origin
from hpo.genetic.selection import Floats, num_elites, parents
from hpo.genetic.variation import Genes, crossover, differential_evolution, mutate

MIN_SIGMA, MAX_SIGMA = 0.01, 0.4
FIRST_SIGMA = 0.2


@dataclass(frozen=True, slots=True)
class Offspring:
    """k children."""

    points: Floats
    """(k, d)"""
    operators: NDArray[np.intp]
    sigma: Floats
    scale: Floats
    rate: Floats
    """(k,): see Origin"""

    def origin(self, k: int) -> Origin:
        """How child k was made."""
        return Origin(Operator(int(self.operators[k])), float(self.sigma[k]), float(self.scale[k]), float(self.rate[k]))


def offspring(
    rng: np.random.Generator, genes: Genes, ranked: Floats, sigmas: Floats, credit: Credit, count: int
) -> Offspring:
    """`count` children of a population, the best first: ranked (n, d), sigmas (n,) are the step sizes of its members.

    Two parents are elites, one is of the best 3 x elites, one is anybody. Step sizes are inherited and change by
    exp(.4 N) (self-adaptation: Beyer & Schwefel 2002).
    """
    size, num_genes = ranked.shape
    elites = num_elites(size)
    first, second = parents(rng, count, elites), parents(rng, count, elites)
    mother, father = ranked[first], ranked[second]
    other = ranked[rng.integers(min(size, 3 * elites), size=count)]
    another = ranked[rng.integers(size, size=count)]
    operators, scale, rate = credit.draw(rng, count)
    sigma = np.clip(sigmas[first] * np.exp(0.4 * rng.standard_normal(count)), MIN_SIGMA, MAX_SIGMA)
    light = np.full(count, 0.1)
    made = {
        Operator.DIFFERENTIAL_EVOLUTION: differential_evolution(
            rng, genes, mother, father, other, another, scale, rate
        ),
        Operator.CROSSOVER: mutate(
            rng, genes, crossover(rng, genes, mother, father), probability=0.5 / num_genes, sigma=light
        ),
        Operator.LOCAL: mutate(rng, genes, mother, probability=max(1.5 / num_genes, 0.15), sigma=sigma),
        Operator.UNIFORM: rng.random(mother.shape),
    }
    points = np.select([(operators == operator)[:, None] for operator in made], list(made.values()))
    return Offspring(points, operators, sigma, scale, rate)
