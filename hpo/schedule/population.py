"""What schedulers of a population share: members pause at boundaries, and the worst go on from weights of the best."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.protocols import Choice, Resume, Start
from hpo.schedule.decision import answer, at_last_step
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.trial import Action, Decision, Measurement, Params, Trial


def quantile_size(count: int, quantile: float) -> int:
    """How many of `count` members are the bottom, and how many the top; 0 for fewer than two.

    As Ray's: rounded up, but never more than half, so that no member is in both.
    """
    return 0 if count < 2 else min(math.ceil(count * quantile), count // 2)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a member was told to go on from, until its first report shows that it did."""

    params: Params
    step: int


@dataclass(slots=True)
class Member:
    """An unfinished trial of the population."""

    number: int
    params: Params
    due: int
    """The step of its next boundary."""
    step: int = 0
    generation: int = 0
    score: float | None = None
    """As of its last boundary; higher is better."""
    is_paused: bool = False
    offer: Offer | None = None
    num_offers: int = 0


Key = tuple[float, int]
"""(score, trial)"""


class Ranking:
    """The members that have a score, from the worst to the best; among equals the older trial is lower, as in Ray.

    A sorted list: a binary search and a shift of n pointers a change.
    """

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self.keys: list[Key] = []

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, number: int, score: float) -> None:
        insort(self.keys, (score, number))

    def remove(self, number: int, score: float) -> None:
        del self.keys[bisect_left(self.keys, (score, number))]

    def place(self, number: int, score: float) -> int:
        """1 for the best."""
        return len(self) - bisect_left(self.keys, (score, number))

    @property
    def size(self) -> int:
        """How many the bottom and the top hold."""
        return quantile_size(len(self), self._quantile)

    def is_bottom(self, number: int, score: float) -> bool:
        return self.size > 0 and (score, number) <= self.keys[self.size - 1]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a member is among those that it is compared with."""

    is_bottom: bool
    ranked: Sequence[Key]
    """All of them, from the worst."""
    size: int
    """How many the bottom and the top hold."""


class PopulationScheduler(ABC):
    """Lets the members of a population that do badly go on from those that do well. Asynchronous.

    A member is compared at its boundaries: its first report at or past each multiple of `interval_steps`. Its score
    there stays until its next boundary, also when it goes on from a donor. At a boundary a member pauses if it is in
    the bottom quantile, or if others wait for a worker group. A free group starts the members that don't exist yet,
    then takes the paused one with the lowest step, the worst of several. One that is in the bottom quantile by then
    goes on from a donor: a random one of the top quantile.

    A donor is unfinished, no further than the receiver (which would skip steps), and has reported since it went on from
    another: else its weights are not those of its score. Where a member ends, another trial takes its place while the
    budget has any. Draws are keyed by (seed, trial, how many donors it was given before).

    O(log n) and shifts of n pointers a report, O(n) a choice. What a score is, and how a child's parameters come to be,
    a subclass says.
    """

    _algorithm: str
    """Its name, which keys its draws."""

    def __init__(self, spec: StudySpec, *, population: int | None, interval_steps: int, quantile: float) -> None:
        self._space = Space.of(spec)
        self._interval = interval_steps
        self._steps_per_trial = spec.budget.steps_per_trial
        self._population = min(population or spec.budget.trials, spec.budget.trials)
        self._seed = spec.seed
        self._sign = 1.0 if spec.objective.direction == "maximize" else -1.0
        self._metric = spec.objective.metric
        self._members: dict[int, Member] = {}
        self._num_to_create = self._population  # before the population is whole for the first time
        self._ranking = Ranking(quantile)
        self._paused: list[tuple[int, int]] = []  # (step, number), rising

    @property
    def bottom(self) -> list[int]:
        """The trials of the bottom quantile, from the worst."""
        return [number for _, number in self._ranking.keys[: self._ranking.size]]

    @property
    def top(self) -> list[int]:
        """The trials of the top quantile, the best last."""
        return [number for _, number in self._ranking.keys[len(self._ranking) - self._ranking.size :]]

    # -- what a subclass says -----------------------------------------------------------------------------
    @abstractmethod
    def _score(self, member: Member, measurement: Measurement) -> float:
        """Of a member at its boundary; higher is better."""

    @abstractmethod
    def _child(self, receiver: Member, donor: Member, rng: random.Random) -> Params:
        """The parameters that the receiver goes on with."""

    def _reported(self, member: Member, measurement: Measurement, *, took_over: bool) -> None:  # noqa: B027
        """A report, before `_score`; `took_over` says that it is the first with a donor's weights."""

    def _pause(self, member: Member) -> str | None:
        """Why a member that is at its boundary pauses; None if it doesn't."""
        assert member.score is not None
        if self._ranking.is_bottom(member.number, member.score):
            return f"bottom {self._ranking.size} of {len(self._ranking)}"
        return "makes room for others" if self._paused or self._num_to_create else None

    def _next(self) -> int | None:
        """Who goes on; None if nobody does."""
        if not self._paused:
            return None
        step, number = self._paused[0]
        # The worst first: by the time that the best have gone on, nobody could inherit what they had at this step.
        for _, worst in self._ranking.keys[: self._ranking.size]:
            if self._members[worst].is_paused and self._members[worst].step == step:
                return worst
        return number

    def _standing(self, member: Member) -> Standing:
        is_bottom = member.score is not None and self._ranking.is_bottom(member.number, member.score)
        return Standing(is_bottom, self._ranking.keys, self._ranking.size)

    def _value(self, member: Member) -> str:
        """A member's score, for people."""
        return "no score" if member.score is None else f"{self._sign * member.score:.6g}"

    # -- the protocol -------------------------------------------------------------------------------------
    def created(self, trial: Trial) -> None:
        self._members[trial.number] = Member(trial.number, trial.params, due=self._interval)
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
        member.score = self._score(member, measurement)
        self._ranking.add(member.number, member.score)
        reason, place = self._pause(member), f"step {member.step}: {self._place(member)}"
        if reason is None:
            return answer(measurement, reason=place)
        member.is_paused = True
        insort(self._paused, (member.step, member.number))
        return answer(measurement, Action.PAUSE, f"{place}; {reason}")

    def choose(self, *, can_start: bool) -> Choice | None:
        if can_start and len(self._members) < self._population:
            return Start()
        number = self._next()
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

    # -- going on -----------------------------------------------------------------------------------------
    def _resume(self, member: Member) -> Resume:
        standing = self._standing(member)
        if not standing.is_bottom:
            return Resume(member.number, self._place(member))
        place = f"bottom {standing.size} of {len(standing.ranked)} ({self._value(member)})"
        rng = random.Random(f"{self._seed}/{self._algorithm}/{member.number}/{member.num_offers}")
        donor = self._donor(member, standing, rng)
        if donor is None:
            return Resume(member.number, f"{place}: goes on as it is, as nobody of the top can give its weights")
        member.offer = Offer(self._child(member, donor, rng), donor.step)
        member.num_offers += 1
        reason = f"{place}: goes on from trial {donor.number} ({self._value(donor)}) at step {donor.step}"
        return Resume(member.number, reason, donor.number, member.offer.params)

    def _donor(self, receiver: Member, standing: Standing, rng: random.Random) -> Member | None:
        """A random one of the top that can give its weights."""
        moved: dict[int, int] = {}  # a shuffle of their places, as far as it is needed
        ranked = standing.ranked
        first = len(ranked) - standing.size
        for last in range(len(ranked) - 1, first - 1, -1):
            index = rng.randint(first, last)
            donor = self._members.get(ranked[moved.get(index, index)][1])
            moved[index] = moved.get(last, last)
            if donor is not None and self._can_give(donor, receiver):
                return donor
        return None

    @staticmethod
    def _can_give(donor: Member, receiver: Member) -> bool:
        is_scored = donor is not receiver and donor.offer is None and donor.score is not None
        return is_scored and donor.step <= receiver.step

    # -- one member ---------------------------------------------------------------------------------------
    def _take_in(self, member: Member, measurement: Measurement) -> None:
        """Where the member is. Its first report after an offer shows whether it took it: its donor may have had no
        checkpoint, or an older one than its last report."""
        self._unpause(member)
        offer, member.offer = member.offer, None
        took_over = offer is not None and measurement.generation != member.generation
        if offer is not None and took_over:
            member.params = offer.params
            member.due = self._boundary_after(min(offer.step, measurement.step - 1))
        member.generation, member.step = measurement.generation, measurement.step
        self._reported(member, measurement, took_over=took_over)

    def _boundary_after(self, step: int) -> int:
        return (step // self._interval + 1) * self._interval

    def _unpause(self, member: Member) -> None:
        if member.is_paused:
            del self._paused[bisect_left(self._paused, (member.step, member.number))]
            member.is_paused = False

    def _unrank(self, member: Member) -> None:
        if member.score is not None:
            self._ranking.remove(member.number, member.score)
            member.score = None

    def _place(self, member: Member) -> str:
        if member.score is None:
            return "no score"
        place = self._ranking.place(member.number, member.score)
        return f"{self._value(member)} is number {place} of {len(self._ranking)}"
