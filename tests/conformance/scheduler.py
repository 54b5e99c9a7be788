"""What every scheduler keeps to: subclass, and say which one.

```python
class TestFifoScheduler(SchedulerConformance):
    scheduler = {"algorithm": "fifo"}
```
"""

from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from conformance.scheduler_play import Conditions, Play, begun, ended, replay, report

from hpo import registry, specfile
from hpo.protocols import Drop, Resume, Scheduler, Start
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.trial import Action

GROUPS = (1, 3, 10)
X = {"x": {"type": "float", "low": 0, "high": 1}}


def study(
    scheduler: dict[str, Any],
    *,
    steps: int,
    trials: int = 1000,
    direction: str = "minimize",
    parameters: dict[str, Any] = X,
    **more: Any,
) -> StudySpec:
    return specfile.parse(
        {
            "name": "conformance",
            "trainable": "tests.nothing:train",
            "parameters": parameters,
            "objective": {"metric": "score", "direction": direction},
            "budget": {"trials": trials, "steps_per_trial": steps},
            "scheduler": scheduler,
            **more,
        }
    )


class SchedulerConformance:
    scheduler: ClassVar[dict[str, Any]]
    steps_per_trial: ClassVar[int] = 9
    population: ClassVar[int | None] = None
    """The trials that may live at once, where the scheduler says so."""
    parameters: ClassVar[dict[str, Any]] = X
    bytes_per_ended_trial: ClassVar[int] = 0
    """What a trial that has ended may leave in memory, as pickled."""

    def spec(self, *, direction: str = "minimize") -> StudySpec:
        return study(self.scheduler, steps=self.steps_per_trial, direction=direction, parameters=self.parameters)

    def make(self, *, direction: str = "minimize") -> Scheduler:
        return registry.scheduler(self.spec(direction=direction))

    def conditions(self, **changes: Any) -> Conditions:
        fixed: dict[str, Any] = {
            "groups": 3,
            "steps_per_trial": self.steps_per_trial,
            "population": self.population,
            "contains": Space.of(self.spec()).contains,
        }
        return Conditions(**{**fixed, **changes})

    def many_conditions(self) -> Iterator[Conditions]:
        for groups, faults, ties, seed in itertools.product(GROUPS, (True, False), (True, False), range(5)):
            yield self.conditions(groups=groups, faults=faults, ties=ties, seed=seed, is_budget=seed % 2 == 0)

    def play(self, scheduler: Scheduler | None = None, **changes: Any) -> Play:
        return Play(scheduler or self.make(), self.conditions(**changes)).run()

    # -- who is next --------------------------------------------------------------------------------------
    def test_every_study_ends_with_all_of_its_trials(self) -> None:
        """Whatever fails, is ended or skips steps; `Play` refuses what breaks the contract on the way."""
        for conditions in self.many_conditions():
            assert Play(self.make(), conditions).run().num_created == conditions.num_trials

    @pytest.mark.parametrize("num_trials", [1, 2, 3, 5])
    def test_a_study_of_a_few_trials_ends(self, num_trials: int) -> None:
        for groups, seed in itertools.product(GROUPS, range(10)):
            play = self.play(groups=groups, seed=seed, num_trials=num_trials, is_budget=seed % 2 == 0)
            assert play.num_created == num_trials

    def test_the_first_group_starts_a_trial_unless_none_can_start(self) -> None:
        assert self.make().choose(can_start=True) == Start()
        assert self.make().choose(can_start=False) is None

    def test_a_start_changes_nothing_before_the_trial_is_created(self) -> None:
        asked_often = self.make()
        for _ in range(5):
            assert asked_often.choose(can_start=True) == Start()
        assert self.play(asked_often).calls == self.play().calls

    # -- a function of (seed, calls) ----------------------------------------------------------------------
    def test_the_same_calls_give_the_same_answers(self) -> None:
        """Also without the calls that were answered by None: they change nothing."""
        for conditions in self.many_conditions():
            calls = Play(self.make(), conditions).run().calls
            assert replay(self.make(), calls) == calls

    def test_the_global_random_state_is_neither_read_nor_changed(self) -> None:
        self.make()  # what is imported for it may draw
        random.seed(1)
        np.random.seed(1)
        before = random.getstate(), np.random.get_state()[1].tolist()
        first = self.play().calls
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before
        random.seed(2)
        np.random.seed(2)
        assert self.play().calls == first

    @pytest.mark.parametrize("ties", [False, True])
    @pytest.mark.parametrize("groups", GROUPS)
    def test_maximising_the_negated_metric_answers_the_same(self, groups: int, ties: bool) -> None:
        down = self.play(self.make(direction="minimize"), groups=groups, ties=ties)
        up = self.play(self.make(direction="maximize"), groups=groups, ties=ties, sign=-1.0)
        assert [(d.trial, d.step, d.action, d.rung) for d in down.decisions] == [
            (d.trial, d.step, d.action, d.rung) for d in up.decisions
        ]
        assert [d.cutoff for d in down.decisions] == [None if d.cutoff is None else -d.cutoff for d in up.decisions]
        assert [self._plain(c) for c in down.choices] == [self._plain(c) for c in up.choices]

    @staticmethod
    def _plain(choice: Any) -> Any:
        """Without the reason, which tells values."""
        match choice:
            case Resume():
                return "resume", choice.trial, choice.donor, choice.params
            case Drop():
                return "drop", choice.trial
        return choice

    # -- decisions ----------------------------------------------------------------------------------------
    def test_a_trial_is_complete_at_its_last_step_and_past_it_and_not_before(self) -> None:
        for step in range(1, self.steps_per_trial + 3):
            scheduler = self.make()
            scheduler.created(begun(0))
            decision = scheduler.decide(report(0, step, 1.0))
            assert (decision.action is Action.COMPLETE) == (step >= self.steps_per_trial)

    def test_a_decision_echoes_its_measurement(self) -> None:
        for step in (1, 2, self.steps_per_trial):
            scheduler = self.make()
            scheduler.created(begun(4))
            measurement = report(4, step, 1.0, generation=3)
            decision = scheduler.decide(measurement)
            assert (decision.study, decision.trial, decision.generation, decision.step, decision.recorded_at) == (
                measurement.study, 4, 3, step, measurement.recorded_at
            )  # fmt: skip

    def test_the_end_of_a_trial_that_never_reported_or_began_is_accepted(self) -> None:
        scheduler = self.make()
        scheduler.created(begun(1000))
        scheduler.complete(ended(1000))
        scheduler.complete(ended(1001))
        assert self.play(scheduler).num_created == 40

    def test_all_but_going_on_has_a_reason(self) -> None:
        play = self.play()
        assert all(d.reason for d in play.decisions if d.action is not Action.CONTINUE)
        assert all(c.reason for c in play.choices if isinstance(c, Resume | Drop))

    def test_ended_trials_leave_no_more_than_they_may(self) -> None:
        """The same trials twice: what the first 200 leave is in both."""
        few, many = self.make(), self.make()
        self.play(few, num_trials=200)
        self.play(many, num_trials=400)
        assert len(pickle.dumps(many)) - len(pickle.dumps(few)) <= 200 * self.bytes_per_ended_trial + 100
