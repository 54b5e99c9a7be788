"""Population-based training beside Ray Tune's own: the same bottom and top, at the same boundaries.

Ray's class runs without a cluster; its trials and its controller are fakes, and instead of exchanging checkpoints it
notes whom it would have exchanged.

Left out are these of Ray 2.60:
- asynchronous, it pauses a trial whenever any other is pending or paused: compared is who is in the bottom and in the
  top, with a group for each member;
- it clones donors that are at their last step: the trace ends before the last step;
- boundaries count from a trial's last one, so that a skipped step shifts all later ones: every step is reported;
- donors are drawn from the global generator: it is told of our draws, as `_exploit` would record them.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from conformance.scheduler import study
from conformance.scheduler_play import begun, report

from hpo import registry
from hpo.protocols import Resume
from hpo.schedule.pbt import PbtScheduler
from hpo.trial import Action

STEPS = 200


class FakeTrial:
    """What Ray's scheduler reads of a trial."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.trial_id = self.experiment_tag = str(number)
        self.config: dict[str, Any] = {"x": 0.5}
        self.status = "RUNNING"
        self.run_metadata = self.checkpoint_manager = self.checkpoint_config = self
        self.num_to_keep = None

    def is_finished(self) -> bool:
        return False


class FakeController:
    search_alg = None

    def __init__(self, trials: list[FakeTrial]) -> None:
        self._trials = trials

    def get_trials(self) -> list[FakeTrial]:
        return self._trials

    get_live_trials = get_trials


class Pair:
    """Ours and Ray's, told of the same reports."""

    def __init__(self, *, members: int, quantile: float, interval: int, direction: str, synchronous: bool) -> None:
        ray_pbt = pytest.importorskip("ray.tune.schedulers.pbt")
        self.exchanges: list[tuple[int, list[int], list[int]]] = []
        noted = self.exchanges

        class Noting(ray_pbt.PopulationBasedTraining):  # type: ignore[misc,name-defined]
            def _checkpoint_or_exploit(
                self, trial: FakeTrial, controller: object, upper: list[FakeTrial], lower: list[FakeTrial]
            ) -> None:
                noted.append((trial.number, [t.number for t in lower], [t.number for t in upper]))

        self.theirs = Noting(
            time_attr="step", metric="score", mode=direction[:3], perturbation_interval=interval,
            quantile_fraction=quantile, hyperparam_mutations={"x": [0.0, 1.0]}, synch=synchronous,
        )  # fmt: skip
        options = {"algorithm": "pbt", "quantile": quantile, "interval_steps": interval, "synchronous": synchronous}
        ours = registry.scheduler(
            study(
                options, steps=STEPS, trials=members, direction=direction,
                parameters={"x": {"type": "float", "low": 0, "high": 1, "mutable": True}},
            )
        )  # fmt: skip
        assert isinstance(ours, PbtScheduler)
        self.ours = ours
        self.trials = [FakeTrial(number) for number in range(members)]
        self.controller = FakeController(self.trials)
        for trial in self.trials:
            self.theirs.on_trial_add(self.controller, trial)
            ours.created(begun(trial.number))

    def report(self, number: int, step: int, score: float, generation: int) -> Action:
        action = self.ours.decide(report(number, step, score, generation=generation)).action
        self.theirs.on_trial_result(self.controller, self.trials[number], {"step": step, "score": score})
        return action

    def exploited(self, receiver: int, donor: int) -> None:
        """What `_exploit` takes over of the donor's record."""
        states = self.theirs._trial_state
        mine, other = states[self.trials[receiver]], states[self.trials[donor]]
        mine.last_perturbation_time, mine.last_train_time = other.last_perturbation_time, other.last_train_time


CASES = [(2, 0.25, 1), (3, 0.5, 2), (5, 0.25, 3), (8, 0.25, 1), (10, 0.4, 4), (12, 0.1, 2)]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(("members", "quantile", "interval"), CASES)
def test_asynchronous_members_see_the_bottom_and_the_top_that_rays_see(
    members: int, quantile: float, interval: int, direction: str
) -> None:
    pair = Pair(members=members, quantile=quantile, interval=interval, direction=direction, synchronous=False)
    rng = random.Random(members)
    at = dict.fromkeys(range(members), (0, 0))  # generation, step
    num_exploited = 0
    for _ in range(300):
        number = rng.choice([n for n, (_, step) in at.items() if step < STEPS - 1] or [0])
        generation, step = at[number][0], at[number][1] + 1
        if step >= STEPS:
            break
        at[number] = generation, step
        before = len(pair.exchanges)
        action = pair.report(number, step, round(rng.gauss(0.0, 1.0), 1), generation)  # some are equal
        at_boundary = len(pair.exchanges) > before
        assert at_boundary == (step % interval == 0)
        if not at_boundary:
            assert action is Action.CONTINUE
            continue
        _, lower, upper = pair.exchanges[-1]
        assert (pair.ours.bottom, pair.ours.top) == (lower, upper)
        assert (action is Action.PAUSE) == (number in lower)
        choice = pair.ours.choose(can_start=False)
        if action is Action.PAUSE:
            assert isinstance(choice, Resume)
            assert choice.trial == number
            if choice.donor is not None:
                num_exploited += 1
                assert choice.donor in upper
                pair.exploited(number, choice.donor)
                at[number] = generation + 1, at[choice.donor][1]
    assert len(pair.exchanges) > 300 / interval / 2
    assert num_exploited > 5


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(("members", "quantile", "interval"), CASES)
def test_synchronous_rounds_replace_those_that_rays_replace(
    members: int, quantile: float, interval: int, direction: str
) -> None:
    pair = Pair(members=members, quantile=quantile, interval=interval, direction=direction, synchronous=True)
    rng = random.Random(members)
    at = dict.fromkeys(range(members), 0)
    generation = dict.fromkeys(range(members), 0)
    for _ in range((STEPS - 1) // interval):
        training = list(range(members))
        while training:
            number = rng.choice(training)
            at[number] += 1
            action = pair.report(number, at[number], round(rng.gauss(0.0, 1.0), 1), generation[number])
            if action is Action.PAUSE:
                training.remove(number)
            else:
                assert not pair.exchanges
        assert {number for number, _, _ in pair.exchanges} == set(range(members))
        lower, upper = pair.exchanges[0][1:]
        assert all(exchange[1:] == (lower, upper) for exchange in pair.exchanges)
        pair.exchanges.clear()
        choices = [pair.ours.choose(can_start=False) for _ in range(members)]
        assert all(isinstance(choice, Resume) for choice in choices)
        receivers = [choice for choice in choices if isinstance(choice, Resume) and choice.donor is not None]
        assert {choice.trial for choice in receivers} == set(lower)
        for choice in receivers:
            assert choice.donor in upper
            pair.exploited(choice.trial, choice.donor)
            generation[choice.trial] += 1
