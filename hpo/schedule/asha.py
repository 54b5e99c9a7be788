"""ASHA: asynchronous successive halving, in its stopping variant."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence

from hpo.schedule.decision import NeverPauses, answer, at_last_step
from hpo.spec import AshaSchedule, StudySpec
from hpo.trial import Action, Decision, Measurement, Trial


def rungs(grace_steps: int, reduction_factor: int, max_steps: int) -> list[int]:
    """The steps at which trials are judged, rising: grace * factor^k, strictly below max_steps.

    None at max_steps: a trial that got there is complete, and stopping it would save nothing.
    """
    # Integers, not logs: log(243)/log(3) is 4.999... and would drop a rung.
    steps = []
    step = grace_steps
    while step < max_steps:
        steps.append(step)
        step *= reduction_factor
    return steps


def cutoff(rewards: Sequence[float], reduction_factor: int) -> float:
    """The (1 - 1/factor) quantile of rising rewards, with linear interpolation: what the best 1/factor have.

    The position (n - 1)(factor - 1)/factor is split in integers, so a quantile that falls on a value is that value.
    """
    below, rest = divmod((len(rewards) - 1) * (reduction_factor - 1), reduction_factor)
    if not rest:
        return rewards[below]
    share = rest / reduction_factor
    return rewards[below] * (1 - share) + rewards[below + 1] * share


class AshaScheduler(NeverPauses):
    """Stops a trial that is worse, at a rung, than the best 1/reduction_factor seen there before it.

    Li et al. 2020, "A system for massively parallel hyperparameter tuning" (arXiv:1810.05934), the stopping
    variant with one bracket, as in Ray Tune's AsyncHyperBandScheduler: no trial ever waits, and the first at a rung
    passes. A trial that skips steps is judged, at its next report, at the highest rung that it has passed.

    Deviations from Ray: rungs in integers; no rung at the last step; a lower rung that a trial skipped is
    not filled later with the value of a higher step; a value at the cutoff passes even where Ray's quantile
    rounds past it.
    """

    def __init__(self, spec: StudySpec, options: AshaSchedule) -> None:
        self._factor = options.reduction_factor
        self._steps_per_trial = spec.budget.steps_per_trial
        self._rungs = rungs(options.grace_steps, self._factor, self._steps_per_trial)
        # Rewards, rising: higher is better in both directions, so that minimising mirrors maximising exactly.
        self._rewards: list[list[float]] = [[] for _ in self._rungs]
        self._sign = 1.0 if spec.objective.direction == "maximize" else -1.0
        self._metric = spec.objective.metric
        self._passed: dict[int, int] = {}  # live trial -> how many rungs lie behind it

    def decide(self, measurement: Measurement) -> Decision:
        reached = bisect_right(self._rungs, measurement.step)
        if reached <= self._passed.get(measurement.trial, 0):
            return at_last_step(measurement, self._steps_per_trial) or answer(measurement)
        self._passed[measurement.trial] = reached
        reward = self._sign * measurement.metrics[self._metric]
        rewards = self._rewards[reached - 1]
        # At the last step a rung can only be new to a trial that skipped it: its value counts, but it isn't judged.
        decision = at_last_step(measurement, self._steps_per_trial) or self._judge(measurement, reached, reward)
        insort(rewards, reward)
        return decision

    def complete(self, trial: Trial) -> None:
        self._passed.pop(trial.number, None)

    def _judge(self, measurement: Measurement, reached: int, reward: float) -> Decision:
        rung, rewards = self._rungs[reached - 1], self._rewards[reached - 1]
        if not rewards:
            return answer(measurement, reason=f"rung {rung}: the first trial here", rung=rung)
        needed = cutoff(rewards, self._factor)
        is_worse = reward < needed
        value, limit = self._sign * reward, self._sign * needed
        verdict = "worse than" if is_worse else "no worse than"
        trials = "1 trial" if len(rewards) == 1 else f"{len(rewards)} trials"
        return answer(
            measurement,
            Action.STOP if is_worse else Action.CONTINUE,
            f"rung {rung}: {value:.6g} is {verdict} the cutoff {limit:.6g} (best 1/{self._factor} of {trials})",
            rung=rung,
            cutoff=limit,
        )
