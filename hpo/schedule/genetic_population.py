"""Our genetic scheduler with inheritance: losers go on from the weights of winners, with parameters of two parents."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hpo.encoding import Encoding
from hpo.genetic.variation import Genes, crossover, mutate
from hpo.parameters import decode_value, encode_value
from hpo.schedule.explore import mutable_names, varied
from hpo.schedule.population import Member, PopulationScheduler, quantile_size
from hpo.schedule.population_trend import Report, forecast
from hpo.spec import GeneticSchedule, StudySpec
from hpo.table import ParamValue
from hpo.trial import Measurement, Params, Trial

QUANTILE = 0.375
"""The share of the population that is replaced, and the share that it is replaced by."""
MATES = 0.5
"""The share of the population that gives genes."""
CROSSOVER, MUTATION, RESAMPLE = 0.5, 1.0, 0.1
"""How often a child has two parents; how often a gene moves; how often it is drawn anew."""
FIRST_SIGMA, MIN_SIGMA, MAX_SIGMA = 0.1, 0.01, 0.3
"""The step size of mutation, as a share of a parameter's range (in logarithms, where it is log-scaled)."""
SIGMA_RATE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheriting:
    """What takes part; for ablations."""

    crossover: bool = True
    trend: bool = True
    """Whether members are ranked by their forecast, not by their last value."""


ALL_OF_IT = Inheriting()


@dataclass(slots=True)
class _Line:
    """What a member's weights have gone through, in whatever trial, and how its parameters change."""

    reports: list[Report] = field(default_factory=list)
    sigma: float = FIRST_SIGMA


class GeneticPopulationScheduler(PopulationScheduler):
    """Population-based training whose members are ranked by where they lead, and whose children have two parents.

    After Jaderberg et al. 2017, "Population based training of neural networks" (arXiv:1711.09846), Algorithm 1. Who
    pauses, goes on and gives weights is as PopulationScheduler says. What differs from PBT:

    - A member's score is its `forecast`: its smoothed value carried on along its slope, not its last value. The curve
      is that of its weights, and passes on with them.
    - The bottom is QUANTILE of the population, and so is the top, not a quarter.
    - A child has its donor's configuration, changed where parameters are mutable. With probability CROSSOVER they are
      crossed with those of a mate: a random one of the best share MATES (uniform and BLX crossover). Then each number
      takes a Gaussian step on the unit cube, or one of one or two values where it has few; and each parameter, choices
      as well, is drawn anew with probability RESAMPLE.
    - The step size is the child's own: the donor's times exp(SIGMA_RATE · N(0, 1)), within bounds, as in the
      self-adaptation of evolution strategies (Beyer & Schwefel 2002). PBT multiplies values by 0.8 or 1.2.

    What is not mutable always comes with the weights, never from a mate.
    """

    _algorithm = "genetic"

    def __init__(self, spec: StudySpec, options: GeneticSchedule, parts: Inheriting = ALL_OF_IT) -> None:
        super().__init__(spec, population=options.population, interval_steps=options.interval_steps, quantile=QUANTILE)
        self._parts = parts
        self._genes = Encoding(self._space).genes
        self._lines: dict[int, _Line] = {}
        self._offered: dict[int, _Line] = {}

    def created(self, trial: Trial) -> None:
        super().created(trial)
        self._lines[trial.number] = _Line()

    def complete(self, trial: Trial) -> None:
        super().complete(trial)
        self._lines.pop(trial.number, None)
        self._offered.pop(trial.number, None)

    def _reported(self, member: Member, measurement: Measurement, *, took_over: bool) -> None:
        offered = self._offered.pop(member.number, None)
        if took_over and offered is not None:
            self._lines[member.number] = offered
        line, step = self._lines[member.number], measurement.step
        kept = [report for report in line.reports if step - 4 * self._interval < report[0] < step]
        line.reports = [*kept, (step, self._sign * measurement.metrics[self._metric])]

    def _score(self, member: Member, measurement: Measurement) -> float:
        reports = self._lines[member.number].reports
        if not self._parts.trend:
            return reports[-1][1]
        return forecast(reports, interval=self._interval, steps_left=self._steps_per_trial - member.step)

    def _child(self, receiver: Member, donor: Member, rng: random.Random) -> Params:
        line = self._lines[donor.number]
        sigma = min(max(line.sigma * math.exp(SIGMA_RATE * rng.gauss(0.0, 1.0)), MIN_SIGMA), MAX_SIGMA)
        self._offered[receiver.number] = _Line(list(line.reports), sigma)
        mate = self._mate(receiver, donor, rng) if self._parts.crossover and rng.random() < CROSSOVER else None
        return self._varied(donor.params, None if mate is None else mate.params, sigma, rng)

    def _mate(self, receiver: Member, donor: Member, rng: random.Random) -> Member | None:
        ranked = self._ranking.keys
        size = max(quantile_size(len(ranked), MATES), 1)
        others = [n for _, n in ranked[len(ranked) - size :] if n not in (receiver.number, donor.number)]
        return self._members[rng.choice(others)] if others else None

    def _varied(self, mother: Params, father: Params | None, sigma: float, rng: random.Random) -> Params:
        names = mutable_names(self._space, mother)
        if not names:  # each is conditional, and inactive here
            return dict(mother)
        genes = self._genes_of(names)
        start = np.array([[encode_value(self._space.parameters[name], mother[name]) for name in names]])
        other = start.copy()
        if father is not None:
            for j, name in enumerate(names):
                if name in father:
                    other[0, j] = encode_value(self._space.parameters[name], father[name])
        draws = np.random.default_rng(rng.getrandbits(64))

        def draw() -> dict[str, ParamValue]:
            point = start if father is None else crossover(draws, genes, start, other)
            moved = mutate(draws, genes, point, probability=MUTATION, sigma=np.array([sigma]))
            moved = np.where(genes.is_categorical, point, moved)
            moved = np.where(draws.random(moved.shape) < RESAMPLE, draws.random(moved.shape), moved)
            return {
                name: mother[name] if u == v else decode_value(self._space.parameters[name], float(u))
                for name, u, v in zip(names, moved[0], start[0], strict=True)
            }

        return varied(self._space, mother, rng, draw)

    def _genes_of(self, names: Sequence[str]) -> Genes:
        columns = [self._space.names.index(name) for name in names]
        return Genes(self._genes.num_values[columns], self._genes.is_categorical[columns])
