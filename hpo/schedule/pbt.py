"""Population-based training: the worst go on from the weights of the best, with changed parameters."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpo.protocols import Choice, Resume, Start
from hpo.schedule.decision import answer, at_last_step
from hpo.schedule.explore import explore
from hpo.space import Space
from hpo.spec import PbtSchedule, StudySpec
from hpo.trial import Action, Decision, Measurement, Params, Trial


def quantile_size(count: int, quantile: float) -> int:
    """How many of `count` members are the bottom, and how many the top; 0 for fewer than two.

    As Ray's: rounded up, but never more than half, so that no member is in both.
    """
    return 0 if count < 2 else min(math.ceil(count * quantile), count // 2)


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a member was told to go on from, until its first report shows that it did."""

    params: Params
    step: int


@dataclass(slots=True)
class _Member:
    """An unfinished trial of the population."""

    number: int
    params: Params
    due: int
    """The step of its next boundary."""
    step: int = 0
    generation: int = 0
    reward: float | None = None
    """The objective at its last boundary; higher is better."""
    is_paused: bool = False
    offer: _Offer | None = None
    num_offers: int = 0


Key = tuple[float, int]
"""(reward, trial)"""


class Ranking:
    """The members that have a score, from the worst to the best; among equals the older trial is lower, as in Ray.

    A sorted list: a binary search and a shift of n pointers a change.
    """

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self.keys: list[Key] = []

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, number: int, reward: float) -> None:
        insort(self.keys, (reward, number))

    def remove(self, number: int, reward: float) -> None:
        del self.keys[bisect_left(self.keys, (reward, number))]

    def place(self, number: int, reward: float) -> int:
        """1 for the best."""
        return len(self) - bisect_left(self.keys, (reward, number))

    @property
    def size(self) -> int:
        """How many the bottom and the top hold."""
        return quantile_size(len(self), self._quantile)

    def is_bottom(self, number: int, reward: float) -> bool:
        return self.size > 0 and (reward, number) <= self.keys[self.size - 1]


@dataclass(slots=True)
class _Round:
    """One comparison of all members, of the synchronous variant. Nothing that happens later changes its ranking."""

    to_go: deque[int] = field(default_factory=deque)
    """Who is still to be resumed."""
    bottom: frozenset[int] = frozenset()
    ranked: Sequence[Key] = ()
    size: int = 0
    """How many the bottom and the top hold."""


class PbtScheduler:
    """Lets the members of a population that do badly go on from those that do well.

    Jaderberg et al. 2017, "Population based training of neural networks" (arXiv:1711.09846), Algorithm 1, with
    truncation selection; the changes are those of `explore`. A member is compared at its boundaries: its first report
    at or past each multiple of interval_steps. Its score is the objective there, and stays until its next boundary,
    also when it goes on from a donor.

    Asynchronous: at a boundary a member pauses if it is in the bottom quantile, or if others wait for a worker group.
    A free group starts the members that don't exist yet, then takes the paused one with the lowest step, the worst of
    several. One that is in the bottom quantile by then goes on from a donor: a random one of the top quantile.
    Synchronous: all pause at each boundary; when all are there, those in the bottom quantile go on from donors, before
    the donors go on.

    A donor is unfinished, no further than the receiver (which would skip steps), and has reported since it went on from
    another: else its weights are not those of its score. Where a member ends, another trial takes its place while the
    budget has any. Draws are keyed by (seed, trial, how many donors it was given before).

    As Ray Tune's PopulationBasedTraining, but it takes any searcher, never clones a donor that is finished or further
    on, and counts boundaries from multiples of the interval, not from a member's last one. O(log n) and shifts of n
    pointers a report, O(n) a choice.
    """

    def __init__(self, spec: StudySpec, options: PbtSchedule) -> None:
        self._space = Space.of(spec)
        self._options = options
        self._interval = options.interval_steps
        self._steps_per_trial = spec.budget.steps_per_trial
        self._population = min(options.population or spec.budget.trials, spec.budget.trials)
        self._seed = spec.seed
        self._sign = 1.0 if spec.objective.direction == "maximize" else -1.0
        self._metric = spec.objective.metric
        self._members: dict[int, _Member] = {}
        self._num_to_create = self._population  # before the population is whole for the first time
        self._ranking = Ranking(options.quantile)
        self._paused: list[tuple[int, int]] = []  # (step, number), rising
        self._round = _Round()  # synchronous only

    @property
    def bottom(self) -> list[int]:
        """The trials of the bottom quantile, from the worst."""
        return [number for _, number in self._ranking.keys[: self._ranking.size]]

    @property
    def top(self) -> list[int]:
        """The trials of the top quantile, the best last."""
        return [number for _, number in self._ranking.keys[len(self._ranking) - self._ranking.size :]]

    # -- the protocol -------------------------------------------------------------------------------------
    def created(self, trial: Trial) -> None:
        self._members[trial.number] = _Member(trial.number, trial.params, due=self._interval)
        self._num_to_create = max(0, self._num_to_create - 1)

    def decide(self, measurement: Measurement) -> Decision:
        last = at_last_step(measurement, self._steps_per_trial)
        member = self._members.get(measurement.trial)
        if member is None:
            return last or answer(measurement)
        self._take_in(member, measurement)
        if last is not None:
            self._unrank(member)
            return last
        if member.step < member.due:
            return answer(measurement)
        member.due = self._boundary_after(member.step)
        self._unrank(member)
        member.reward = self._sign * measurement.metrics[self._metric]
        self._ranking.add(member.number, member.reward)
        if self._options.synchronous:
            reason = "waits for the others"
        elif self._ranking.is_bottom(member.number, member.reward):
            reason = f"bottom {self._ranking.size} of {len(self._ranking)}"
        elif self._paused or self._num_to_create:
            reason = "makes room for others"
        else:
            return answer(measurement, reason=f"step {member.step}: {self._standing(member)}")
        member.is_paused = True
        insort(self._paused, (member.step, member.number))
        return answer(measurement, Action.PAUSE, f"step {member.step}: {self._standing(member)}; {reason}")

    def choose(self, *, can_start: bool) -> Choice | None:
        if can_start and len(self._members) < self._population:
            return Start()
        number = self._next_of_round() if self._options.synchronous else self._next()
        if number is None:
            return None
        if not can_start:
            self._num_to_create = 0  # the space has fewer configurations than the population members
        member = self._members[number]
        self._unpause(member)
        return self._resume(member)

    def complete(self, trial: Trial) -> None:
        member = self._members.pop(trial.number, None)
        if member is not None:
            self._unpause(member)
            self._unrank(member)

    # -- who is next --------------------------------------------------------------------------------------
    def _next(self) -> int | None:
        if not self._paused:
            return None
        step, number = self._paused[0]
        # The worst first: by the time that the best have gone on, nobody could inherit what they had at this step.
        for _, worst in self._ranking.keys[: self._ranking.size]:
            if self._members[worst].is_paused and self._members[worst].step == step:
                return worst
        return number

    def _next_of_round(self) -> int | None:
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

    def _resume(self, member: _Member) -> Resume:
        if self._options.synchronous:
            is_bottom, ranked, size = member.number in self._round.bottom, self._round.ranked, self._round.size
        else:
            is_bottom = member.reward is not None and self._ranking.is_bottom(member.number, member.reward)
            ranked, size = self._ranking.keys, self._ranking.size
        if not is_bottom:
            return Resume(member.number, self._standing(member))
        place = f"bottom {size} of {len(ranked)} ({self._value(member)})"
        rng = random.Random(f"{self._seed}/pbt/{member.number}/{member.num_offers}")
        donor = self._donor(member, ranked, size, rng)
        if donor is None:
            return Resume(member.number, f"{place}: goes on as it is, as nobody of the top can give its weights")
        params = explore(
            self._space,
            donor.params,
            rng,
            resample_probability=self._options.resample_probability,
            factors=self._options.factors,
        )
        member.offer = _Offer(params, donor.step)
        member.num_offers += 1
        reason = f"{place}: goes on from trial {donor.number} ({self._value(donor)}) at step {donor.step}"
        return Resume(member.number, reason, donor.number, params)

    def _donor(self, receiver: _Member, ranked: Sequence[Key], size: int, rng: random.Random) -> _Member | None:
        """A random one of the last `size` that can give its weights."""
        moved: dict[int, int] = {}  # a shuffle of their places, as far as it is needed
        first = len(ranked) - size
        for last in range(len(ranked) - 1, first - 1, -1):
            index = rng.randint(first, last)
            donor = self._members.get(ranked[moved.get(index, index)][1])
            moved[index] = moved.get(last, last)
            if donor is None or donor is receiver or donor.offer is not None or donor.reward is None:
                continue
            if donor.step <= receiver.step:
                return donor
        return None

    # -- one member ---------------------------------------------------------------------------------------
    def _take_in(self, member: _Member, measurement: Measurement) -> None:
        """Where the member is. Its first report after an offer shows whether it took it: its donor may have had no
        checkpoint, or an older one than its last report."""
        self._unpause(member)
        offer, member.offer = member.offer, None
        if offer is not None and measurement.generation != member.generation:
            member.params = offer.params
            member.due = self._boundary_after(min(offer.step, measurement.step - 1))
        member.generation, member.step = measurement.generation, measurement.step

    def _boundary_after(self, step: int) -> int:
        return (step // self._interval + 1) * self._interval

    def _unpause(self, member: _Member) -> None:
        if member.is_paused:
            del self._paused[bisect_left(self._paused, (member.step, member.number))]
            member.is_paused = False

    def _unrank(self, member: _Member) -> None:
        if member.reward is not None:
            self._ranking.remove(member.number, member.reward)
            member.reward = None

    def _value(self, member: _Member) -> str:
        return "no score" if member.reward is None else f"{self._sign * member.reward:.6g}"

    def _standing(self, member: _Member) -> str:
        if member.reward is None:
            return "no score"
        place = self._ranking.place(member.number, member.reward)
        return f"{self._value(member)} is number {place} of {len(self._ranking)}"
