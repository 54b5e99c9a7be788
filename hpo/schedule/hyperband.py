"""HyperBand: brackets of synchronous successive halving, from many trials with few steps to few with all."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpo.protocols import Choice, Drop, Resume, Start
from hpo.schedule.decision import answer, at_last_step
from hpo.spec import HyperbandSchedule, StudySpec
from hpo.trial import Action, Decision, Measurement, Trial

Key = tuple[float, int]
"""(cost, trial): rising from the best; the cost is lower where a trial is better, and ties go to the older trial."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One bracket: `size` trials, halved at each of `rungs`; who is left has all of its steps."""

    s: int
    size: int
    rungs: tuple[int, ...]


def plans(grace_steps: int, reduction_factor: int, max_steps: int) -> list[Plan]:
    """The brackets of a round, from s = s_max, with the most trials, to s = 0, whose trials run through.

    s_max is the largest s with grace * eta^s <= max_steps. Bracket s has n = ceil((s_max + 1) / (s + 1) * eta^s)
    trials and s rungs, from grace * eta^(s_max - s) on.
    """
    # Integers, not logs: log(243)/log(3) is 4.999... and would drop a bracket.
    s_max = 0
    while grace_steps * reduction_factor ** (s_max + 1) <= max_steps:
        s_max += 1
    return [
        Plan(
            s=s,
            size=-(-(s_max + 1) * reduction_factor**s // (s + 1)),
            rungs=tuple(grace_steps * reduction_factor ** (s_max - s + i) for i in range(s)),
        )
        for s in range(s_max, -1, -1)
    ]


@dataclass(slots=True)
class _Bracket:
    """A bracket at work. All of its trials that still live train for, or wait at, the same rung."""

    plan: Plan
    entered: int = 0
    """How many trials were ever in it."""
    is_closed: bool = False
    """No more will enter."""
    rung: int = 0
    """The rung that is being filled, as an index of plan.rungs."""
    num_to_come: int = 0
    """Trials that are to come to this rung: in training, or about to be resumed."""
    waiting: list[Key] = field(default_factory=list)
    """Those that came, from the best."""
    cut: Key = (0.0, 0)
    """The last one that the latest halving kept."""


@dataclass(slots=True)
class _Member:
    bracket: _Bracket
    passed: int = 0
    """How many rungs it has come to."""
    key: Key | None = None
    """By what it was ranked at its rung, while it is paused."""


@dataclass(slots=True)
class _Halving:
    """A rung that is full: the worst are dropped, then the best are resumed. Some may have ended meanwhile."""

    ranked: deque[Key]
    num_kept: int
    where: str
    """For people: bracket and rung."""
    among: str
    """For people: `the best 3 of 9`."""


class HyperbandScheduler:
    """Keeps, at each rung of a bracket, the best 1/reduction_factor of the trials that the bracket began with.

    Li et al. 2018, "Hyperband: a novel bandit-based approach to hyperparameter optimization" (JMLR 18, 185),
    Algorithm 1, with R = steps_per_trial / grace_steps. New trials fill the brackets s_max ... 0 in their order of
    creation, then the next round of brackets. A trial pauses at its bracket's rungs; when all of the bracket's trials
    have come to a rung or ended, floor(n / eta^(i + 1)) of them are resumed, and the others are dropped. While a
    bracket waits for its last trials, free groups fill the next one.

    Deviations. Rungs count up from grace_steps, where the paper counts down from R: the same if R is a power of eta;
    else the last leg, to steps_per_trial, is longer. A bracket that can't be filled, as the budget's trials are used
    up, is halved with what it has, and keeps at least one. A trial that ended early counts as one of the worst. A
    trial that skips steps comes to its rung with its first report past it.

    O(log n) and a shift of n pointers a report for brackets of n trials, O(n) once a full rung.
    """

    def __init__(self, spec: StudySpec, options: HyperbandSchedule) -> None:
        self._factor = options.reduction_factor
        self._steps_per_trial = spec.budget.steps_per_trial
        self._plans: Sequence[Plan] = plans(options.grace_steps, self._factor, self._steps_per_trial)
        self._sign = 1.0 if spec.objective.direction == "minimize" else -1.0
        self._metric = spec.objective.metric
        self._num_brackets = 0
        self._filling: _Bracket | None = None
        self._members: dict[int, _Member] = {}
        self._halvings: deque[_Halving] = deque()

    def created(self, trial: Trial) -> None:
        if self._filling is None:
            self._filling = _Bracket(self._plans[self._num_brackets % len(self._plans)])
            self._num_brackets += 1
        bracket = self._filling
        bracket.entered += 1
        bracket.num_to_come += 1
        self._members[trial.number] = _Member(bracket)
        if bracket.entered == bracket.plan.size:
            bracket.is_closed = True
            self._filling = None

    def decide(self, measurement: Measurement) -> Decision:
        last = at_last_step(measurement, self._steps_per_trial)
        member = self._members.get(measurement.trial)
        if last is not None or member is None:
            return last or answer(measurement)
        bracket, steps = member.bracket, member.bracket.plan.rungs
        if member.passed == len(steps) or measurement.step < steps[member.passed]:
            return answer(measurement)
        rung = steps[member.passed]
        value = measurement.metrics[self._metric]
        member.key = self._sign * value, measurement.trial
        member.passed += 1
        bracket.num_to_come -= 1
        insort(bracket.waiting, member.key)
        here = len(bracket.waiting)
        to_come = bracket.num_to_come + (0 if bracket.is_closed else bracket.plan.size - bracket.entered)
        self._halve_if_full(bracket)
        return answer(
            measurement,
            Action.PAUSE,
            f"bracket {bracket.plan.s}, rung {rung}: {value:.6g}; {here} are here, {to_come} to come",
            rung=rung,
        )

    def choose(self, *, can_start: bool) -> Choice | None:
        choice = self._from_halvings()
        if choice is not None:
            return choice
        if can_start:
            return Start()
        if self._filling is not None and not self._filling.num_to_come and self._filling.waiting:
            self._filling.is_closed = True
            self._halve_if_full(self._filling)
            self._filling = None
        return self._from_halvings()

    def complete(self, trial: Trial) -> None:
        member = self._members.pop(trial.number, None)
        if member is None:
            return
        bracket = member.bracket
        if member.key is None:
            bracket.num_to_come -= 1
        elif member.passed > bracket.rung:  # it waits for the others
            del bracket.waiting[bisect_left(bracket.waiting, member.key)]
        elif member.key <= bracket.cut:  # it was about to be resumed
            bracket.num_to_come -= 1
        self._halve_if_full(bracket)

    def _halve_if_full(self, bracket: _Bracket) -> None:
        if not bracket.is_closed or bracket.num_to_come or not bracket.waiting:
            return
        ranked, plan = bracket.waiting, bracket.plan
        num_kept = max(1, bracket.entered // self._factor ** (bracket.rung + 1))
        num_kept = min(num_kept, len(ranked))
        where = f"bracket {plan.s}, rung {plan.rungs[bracket.rung]}"
        self._halvings.append(_Halving(deque(ranked), num_kept, where, f"the best {num_kept} of {len(ranked)}"))
        bracket.cut = ranked[num_kept - 1]
        bracket.waiting = []
        bracket.rung += 1
        bracket.num_to_come = num_kept

    def _from_halvings(self) -> Choice | None:
        while self._halvings:
            halving = self._halvings[0]
            while halving.ranked:
                is_dropped = len(halving.ranked) > halving.num_kept
                cost, number = halving.ranked.pop() if is_dropped else halving.ranked.popleft()
                member = self._members.get(number)
                if member is None:
                    continue
                value = f"{halving.where}: {self._sign * cost:.6g}"
                if is_dropped:
                    del self._members[number]
                    return Drop(number, f"{value} is not among {halving.among}")
                member.key = None
                return Resume(number, f"{value} is among {halving.among}")
            self._halvings.popleft()
        return None
