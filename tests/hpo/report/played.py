"""A study that was played through, for the tests of what reads and writes whole studies."""

from __future__ import annotations

import random
from typing import Any

from hpo.space import Space
from hpo.spec import StudySpec
from hpo.trial import FailureCause, Measurement, Trial, TrialState

SPEC: dict[str, Any] = {
    "name": "mine",
    "trainable": "mine:train",
    "parameters": {
        "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
        "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
        "momentum": {"type": "float", "low": 0.0, "high": 0.95, "step": 0.1, "when": {"optimizer": ["sgd"]}},
        "units": {"type": "int", "low": 8, "high": 1000, "step": 3},
        "layers": {"type": "int", "low": 1, "high": 64, "log": True},
        "bias": {"type": "bool"},
        "odd": {"type": "categorical", "choices": [True, 1, 1.0, "1"]},
    },
    "objective": {"metric": "loss", "direction": "minimize"},
    "scheduler": {"algorithm": "asha"},
    "budget": {"trials": 1000, "steps_per_trial": 9},
}
AT = 1_764_000_000.25


def searched(spec: StudySpec, num_trials: int) -> tuple[list[Trial], list[Measurement]]:
    """A study as ASHA leaves one: two thirds were stopped, every fiftieth has failed. The best was stopped."""
    rng, space = random.Random(0), Space.of(spec)
    trials, reports = [], []
    for number in range(num_trials):
        state = TrialState.COMPLETED if number % 3 == 0 else TrialState.STOPPED
        state = TrialState.FAILED if number % 50 == 49 else state
        values = [rng.uniform(1, 2) for _ in range(9 if state is TrialState.COMPLETED else 3)]
        values[-1] = 0.5 if number == 7 else values[-1]
        reports += [
            Measurement(study="mine", trial=number, step=step, metrics={"loss": value}, recorded_at=AT)
            for step, value in enumerate(values, 1)
        ]
        trials.append(
            Trial(
                study="mine", number=number, params=space.sample(rng), state=state, step=len(values),
                value=min(values), value_step=values.index(min(values)) + 1, value_generation=0,
                cause=FailureCause.ERROR if state is TrialState.FAILED else None, message="said",
                created_at=AT, started_at=AT + number, ended_at=AT + number + 10,
            )
        )  # fmt: skip
    return trials, reports
