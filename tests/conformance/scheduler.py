"""What every scheduler keeps to: subclass, and say which one.

```python
class TestFifoScheduler(SchedulerConformance):
    scheduler = {"algorithm": "fifo"}
```
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

import numpy as np

from hpo import registry, specfile
from hpo.protocols import Scheduler
from hpo.trial import Action, Decision, Measurement, Trial, TrialState


class SchedulerConformance:
    scheduler: ClassVar[dict[str, Any]]
    steps_per_trial: ClassVar[int] = 9

    def make(self, *, direction: str = "minimize", seed: int = 0) -> Scheduler:
        return registry.scheduler(
            specfile.parse(
                {
                    "name": "conformance",
                    "trainable": "tests.nothing:train",
                    "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
                    "objective": {"metric": "score", "direction": direction},
                    "budget": {"trials": 100, "steps_per_trial": self.steps_per_trial},
                    "scheduler": self.scheduler,
                    "seed": seed,
                }
            )
        )

    def drive(self, scheduler: Scheduler, *, sign: float = 1.0, num_trials: int = 40) -> list[Decision]:
        """Trials in a seeded, interleaved order; some skip steps, some end early on their own."""
        rng = random.Random(5)
        steps = dict.fromkeys(range(num_trials), 0)
        decisions = []
        while steps:
            number = rng.choice(sorted(steps))
            steps[number] += rng.choice((1, 1, 1, 2, 4))
            measurement = report(number, steps[number], sign * rng.gauss(number / 10, 1.0))
            decisions.append(scheduler.decide(measurement))
            if decisions[-1].action is not Action.CONTINUE or rng.random() < 0.02:
                scheduler.complete(ended(number, steps.pop(number)))
        return decisions

    def test_the_same_calls_give_the_same_decisions(self) -> None:
        assert self.drive(self.make()) == self.drive(self.make())

    def test_the_global_random_state_is_neither_read_nor_changed(self) -> None:
        random.seed(1)
        np.random.seed(1)
        before = random.getstate(), np.random.get_state()[1].tolist()
        first = self.drive(self.make())
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before
        random.seed(2)
        np.random.seed(2)
        assert self.drive(self.make()) == first

    def test_maximising_the_negated_metric_decides_the_same(self) -> None:
        down = self.drive(self.make(direction="minimize"))
        up = self.drive(self.make(direction="maximize"), sign=-1.0)
        assert [(d.trial, d.step, d.action, d.rung) for d in down] == [(d.trial, d.step, d.action, d.rung) for d in up]
        assert [d.cutoff for d in down] == [None if d.cutoff is None else -d.cutoff for d in up]

    def test_a_trial_is_complete_at_its_last_step_and_past_it_and_not_before(self) -> None:
        for step in range(1, self.steps_per_trial + 3):
            decision = self.make().decide(report(0, step, 1.0))
            assert (decision.action is Action.COMPLETE) == (step >= self.steps_per_trial)

    def test_a_decision_echoes_its_measurement(self) -> None:
        for step in (1, 2, self.steps_per_trial):
            measurement = report(4, step, 1.0, generation=3)
            decision = self.make().decide(measurement)
            assert (decision.study, decision.trial, decision.generation, decision.step, decision.recorded_at) == (
                measurement.study, 4, 3, step, measurement.recorded_at
            )  # fmt: skip

    def test_the_end_of_a_trial_that_never_reported_is_accepted(self) -> None:
        scheduler = self.make()
        scheduler.complete(ended(17, 0))
        assert scheduler.decide(report(0, 1, 1.0)).action is Action.CONTINUE

    def test_stops_and_completions_have_a_reason(self) -> None:
        assert all(d.reason for d in self.drive(self.make()) if d.action is not Action.CONTINUE)


def report(number: int, step: int, score: float, *, generation: int = 0) -> Measurement:
    return Measurement(
        study="conformance", trial=number, generation=generation, step=step, metrics={"score": score},
        recorded_at=1000.0 + step,
    )  # fmt: skip


def ended(number: int, step: int) -> Trial:
    return Trial(
        study="conformance", number=number, params={"x": 0.5}, state=TrialState.FAILED, step=step, created_at=0.0
    )
