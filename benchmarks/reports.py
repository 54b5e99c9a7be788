"""Studies for benchmarks of the store: the rows that a driver's ledger writes of each report, without a trainable."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Collection, Iterator
from typing import Any

from hpo.spec import StudySpec
from hpo.specfile import parse
from hpo.trial import Action, Decision, Event, FailureCause, Measurement, Row, Trial, TrialState

ROWS_A_REPORT = 4


def specification(name: str, *, trials: int, steps: int) -> StudySpec:
    """A study of five parameters."""
    return parse({
        "name": name,
        "trainable": "some.module:train",
        "parameters": {
            "lr": {"type": "float", "low": 1e-5, "high": 1, "log": True},
            "dropout": {"type": "float", "low": 0, "high": 0.9},
            "units": {"type": "int", "low": 8, "high": 1024},
            "optimizer": {"type": "categorical", "choices": ["adam", "sgd", "lamb"]},
            "nesterov": {"type": "bool"},
        },
        "objective": {"metric": "loss", "direction": "minimize"},
        "scheduler": {"algorithm": "asha"},
        "budget": {"trials": trials, "steps_per_trial": steps},
    })  # fmt: skip


def parameters(number: int) -> dict[str, Any]:
    draw = random.Random(number)
    return {
        "lr": 10 ** draw.uniform(-5, 0), "dropout": draw.uniform(0, 0.9), "units": draw.randint(8, 1024),
        "optimizer": draw.choice(["adam", "sgd", "lamb"]), "nesterov": draw.random() < 0.5,
    }  # fmt: skip


def loss(number: int, step: int) -> float:
    """A curve that falls, a little noisy; the same whenever it is asked for."""
    draw = random.Random(number * 1_000_003 + step)
    return draw.gauss(1 / (1 + number % 97) + math.exp(-step / (10 + number % 31)), 0.01)


def report(study: str, trial: Trial, step: int, value: float, *, is_rung: bool = True) -> tuple[Trial, list[Row]]:
    """The trial after a report, and the rows of it: measurement, decision, event and the trial itself."""
    now = time.time()
    key: dict[str, Any] = {"study": study, "trial": trial.number, "step": step, "recorded_at": now}
    best = value if trial.value is None else min(value, trial.value)
    values = {
        "study": study, "number": trial.number, "params": trial.params, "state": TrialState.RUNNING, "step": step,
        "value": best, "value_step": step if best == value else trial.value_step, "value_generation": 0,
        "created_at": trial.created_at, "started_at": trial.started_at or now,
    }  # fmt: skip
    after = Trial(**values)
    return after, [
        Measurement(metrics={"loss": value, "accuracy": 1 - value / 3, "seconds": 0.5}, **key),
        Event(study=study, kind="trial.reported", trial=trial.number, recorded_at=now, data={
            "step": step, "value": value, "group": 0, "requeued": 0,
        }),
        Decision(
            action=Action.CONTINUE, reason=f"rung {step}: {value:.4g} is among the best third",
            rung=step if is_rung else None, **key,
        ),
        after,
    ]  # fmt: skip


def new(study: str, number: int) -> Trial:
    return Trial(study=study, number=number, params=parameters(number), created_at=time.time())


def whole(study: str, number: int, steps: int, *, rungs: Collection[int] | None = None) -> Iterator[Row]:
    """All rows of a trial that has ended: one in ten failed, and six in ten were stopped. Every step is a rung, unless
    it is said which are."""
    trial, best, now = new(study, number), math.inf, time.time()
    yield Event(study=study, kind="trial.created", trial=number, recorded_at=now, data={"params": dict(trial.params)})
    where = 0
    for step in range(1, steps + 1):
        value = loss(number, step)
        best, where = (value, step) if value < best else (best, where)
        yield from report(study, trial, step, value, is_rung=rungs is None or step in rungs)[1][:3]
    state = (TrialState.FAILED, *[TrialState.STOPPED] * 6, *[TrialState.COMPLETED] * 3)[number % 10]
    yield Trial(
        study=study, number=number, params=trial.params, state=state, step=steps, value=best, value_step=where,
        value_generation=0, cause=FailureCause.ERROR if state is TrialState.FAILED else None,
        created_at=trial.created_at, started_at=now, ended_at=now + number % 13,
    )  # fmt: skip
    yield Event(study=study, kind=f"trial.{state}", trial=number, recorded_at=now, data={"step": steps, "best": best})
