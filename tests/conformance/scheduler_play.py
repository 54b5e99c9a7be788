"""A pretended cluster that plays the whole contract of a scheduler, and refuses what the contract refuses."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.protocols import Drop, Resume, Scheduler, Start
from hpo.trial import Action, Decision, Measurement, Params, Trial, TrialState

MAX_CALLS = 50_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a scheduler. Answers of None to `choose` are no calls: they must change nothing."""

    method: str
    argument: Any
    answer: Any


@dataclass(slots=True)
class Live:
    """A trial that has begun and not ended."""

    number: int
    params: Params
    generation: int = 0
    step: int = 0
    saved: int = 0
    """The step of its last checkpoint; 0 without one."""
    is_paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    groups: int
    num_trials: int = 40
    is_budget: bool = False
    """Whether num_trials is the budget, whose end is known. Else the space has no more: nobody knows before one is
    asked for that isn't there."""
    steps_per_trial: int = 9
    faults: bool = True
    """Trials fail, return or are ended from outside at any time, skip steps, and save no checkpoint."""
    ties: bool = False
    """Scores are whole numbers."""
    seed: int = 5
    sign: float = 1.0
    population: int | None = None
    contains: Callable[[Params], bool] = lambda params: True


class Play:
    """Runs a study to its end: `calls` says what was asked and answered."""

    def __init__(self, scheduler: Scheduler, conditions: Conditions) -> None:
        self.calls: list[Call] = []
        self.num_created = 0
        self._scheduler, self._conditions = scheduler, conditions
        self._rng = random.Random(conditions.seed)
        self._live: dict[int, Live] = {}
        self._can_start = True

    def run(self) -> Play:
        while True:
            while len(self._training()) < self._conditions.groups and self._hand_out():
                pass
            if not self._live:
                assert not self._can_start, "trials could start, but none does"
                return self
            assert self._training(), f"{len(self._live)} trials wait for ever"
            self._event()

    def _training(self) -> Sequence[Live]:
        return [live for live in self._live.values() if not live.is_paused]

    # -- who is next --------------------------------------------------------------------------------------
    def _hand_out(self) -> bool:
        """Whether the group got an answer other than to wait."""
        choice = self._scheduler.choose(can_start=self._can_start)
        if choice is None:
            assert self._scheduler.choose(can_start=self._can_start) is None, "None has changed the state"
            return False
        self._record(Call("choose", self._can_start, choice))
        match choice:
            case Start():
                self._start()
            case Resume():
                self._resume(choice)
            case Drop():
                assert choice.reason
                assert self._live[choice.trial].is_paused
                self._end(self._live[choice.trial], TrialState.STOPPED)
        return True

    def _start(self) -> None:
        assert self._can_start, "a trial is started that can't"
        if self.num_created == self._conditions.num_trials:
            self._can_start = False
            return
        live = self._live[self.num_created] = Live(self.num_created, {"x": self._rng.random()})
        self.num_created += 1
        self._can_start = not self._conditions.is_budget or self.num_created < self._conditions.num_trials
        self._call("created", a_trial(live))
        population = self._conditions.population
        assert population is None or len(self._live) <= population, f"{len(self._live)} trials live at once"

    def _resume(self, resume: Resume) -> None:
        live = self._live[resume.trial]
        assert live.is_paused, f"trial {resume.trial} is resumed, but it is being trained"
        live.is_paused = False
        if resume.donor is None:
            assert resume.params is None
            return
        donor = self._live[resume.donor]
        assert donor is not live
        assert 0 < donor.step < self._conditions.steps_per_trial
        assert resume.params is not None
        assert self._conditions.contains(resume.params), resume.params
        if donor.saved:
            live.params, live.generation = resume.params, live.generation + 1
            live.step = live.saved = donor.saved

    # -- what happens to those that are trained ----------------------------------------------------------
    def _event(self) -> None:
        live = self._rng.choice(self._training())
        paused = [other for other in self._live.values() if other.is_paused]
        fate = self._rng.random() if self._conditions.faults else 1.0
        if fate < 0.02:
            self._end(live, TrialState.FAILED)
        elif fate < 0.04:
            self._end(live, TrialState.COMPLETED)
        elif fate < 0.06 and paused:
            self._end(self._rng.choice(paused), TrialState.STOPPED)
        else:
            self._report(live)

    def _report(self, live: Live) -> None:
        conditions = self._conditions
        jump = self._rng.choice((1, 1, 1, 2, 4)) if conditions.faults else 1
        live.step = min(live.step + jump, conditions.steps_per_trial)
        if not conditions.faults or self._rng.random() < 0.8:
            live.saved = live.step
        # Keyed, so that it doesn't depend on the order of events.
        rng = random.Random(f"{conditions.seed}/{live.number}/{live.generation}/{live.step}")
        score = rng.gauss(live.number / 10, 1.0)
        score = conditions.sign * (round(score) if conditions.ties else score)
        decision = self._call("decide", report(live.number, live.step, score, generation=live.generation))
        assert (decision.action is Action.COMPLETE) == (live.step == conditions.steps_per_trial)
        match decision.action:
            case Action.PAUSE:
                live.is_paused = True
            case Action.STOP:
                self._end(live, TrialState.STOPPED)
            case Action.COMPLETE:
                self._end(live, TrialState.COMPLETED)

    def _end(self, live: Live, state: TrialState) -> None:
        del self._live[live.number]
        self._call("complete", a_trial(live, state))

    def _call(self, method: str, argument: object) -> Any:
        answer = getattr(self._scheduler, method)(argument)
        self._record(Call(method, argument, answer))
        return answer

    def _record(self, call: Call) -> None:
        self.calls.append(call)
        assert len(self.calls) < MAX_CALLS, f"the study goes on after {MAX_CALLS} calls"

    # -- reading ------------------------------------------------------------------------------------------
    @property
    def decisions(self) -> list[Decision]:
        return [call.answer for call in self.calls if call.method == "decide"]

    @property
    def choices(self) -> list[Any]:
        return [call.answer for call in self.calls if call.method == "choose"]


def replay(scheduler: Scheduler, calls: Sequence[Call]) -> list[Call]:
    """The same calls to another scheduler, with its own answers."""
    answers = []
    for call in calls:
        if call.method == "choose":
            answer = scheduler.choose(can_start=call.argument)
        else:
            answer = getattr(scheduler, call.method)(call.argument)
        answers.append(Call(call.method, call.argument, answer))
    return answers


def report(number: int, step: int, score: float, *, generation: int = 0) -> Measurement:
    return Measurement(
        study="conformance", trial=number, generation=generation, step=step, metrics={"score": score},
        recorded_at=1000.0 + step,
    )  # fmt: skip


def begun(number: int, params: Params | None = None) -> Trial:
    return a_trial(Live(number, {"x": 0.5} if params is None else params))


def ended(number: int, step: int = 0) -> Trial:
    return a_trial(Live(number, {"x": 0.5}, step=step), TrialState.FAILED)


def a_trial(live: Live, state: TrialState = TrialState.PENDING) -> Trial:
    return Trial(
        study="conformance", number=live.number, params=live.params, state=state, generation=live.generation,
        step=live.step, created_at=0.0,
    )  # fmt: skip
