"""Population-based training: the worst go on from the weights of the best, with changed parameters."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpo.schedule.explore import explore
from hpo.schedule.population import Key, Member, PopulationScheduler, Standing
from hpo.spec import PbtSchedule, StudySpec
from hpo.trial import Measurement, Params


@dataclass(slots=True)
class _Round:
    """One comparison of all members, of the synchronous variant. Nothing that happens later changes its ranking."""

    to_go: deque[int] = field(default_factory=deque)
    """Who is still to be resumed."""
    bottom: frozenset[int] = frozenset()
    ranked: Sequence[Key] = ()
    size: int = 0
    """How many the bottom and the top hold."""


class PbtScheduler(PopulationScheduler):
    """Population-based training.

    Jaderberg et al. 2017, "Population based training of neural networks" (arXiv:1711.09846), Algorithm 1, with
    truncation selection; the changes are those of `explore`. A score is the objective at the boundary.

    Asynchronous as PopulationScheduler says. Synchronous: all pause at each boundary; when all are there, those in the
    bottom quantile go on from donors, before the donors go on.

    As Ray Tune's PopulationBasedTraining, but it takes any searcher, never clones a donor that is finished or further
    on, and counts boundaries from multiples of the interval, not from a member's last one.
    """

    _algorithm = "pbt"

    def __init__(self, spec: StudySpec, options: PbtSchedule) -> None:
        super().__init__(
            spec,
            population=options.population,
            interval_steps=options.interval_steps,
            quantile=options.quantile,
        )
        self._options = options
        self._round = _Round()  # synchronous only

    def _score(self, member: Member, measurement: Measurement) -> float:
        return self._sign * measurement.metrics[self._metric]

    def _child(self, receiver: Member, donor: Member, rng: random.Random) -> Params:
        return explore(
            self._space,
            donor.params,
            rng,
            resample_probability=self._options.resample_probability,
            factors=self._options.factors,
        )

    # -- rounds -------------------------------------------------------------------------------------------
    def _pause(self, member: Member) -> str | None:
        return "waits for the others" if self._options.synchronous else super()._pause(member)

    def _next(self) -> int | None:
        if not self._options.synchronous:
            return super()._next()
        to_go = self._round.to_go
        while to_go and not self._is_waiting(to_go[0]):
            to_go.popleft()  # it has ended
        if not to_go:
            if not self._paused or len(self._paused) < len(self._members):
                return None
            ranking, bottom = self._ranking, frozenset(self.bottom)
            # Those who take over weights first: a donor that went on would have others by then.
            to_go = deque(sorted((number for _, number in self._paused), key=lambda number: number not in bottom))
            self._round = _Round(to_go, bottom, tuple(ranking.keys), ranking.size)
        return to_go.popleft()

    def _is_waiting(self, number: int) -> bool:
        member = self._members.get(number)
        return member is not None and member.is_paused

    def _standing(self, member: Member) -> Standing:
        if not self._options.synchronous:
            return super()._standing(member)
        return Standing(member.number in self._round.bottom, self._round.ranked, self._round.size)
