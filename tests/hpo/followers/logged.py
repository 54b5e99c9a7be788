"""A study that is logged, as its driver writes it, for the tests of followers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo import specfile
from hpo.store.memory import MemoryStore
from hpo.trial import Event, FailureCause, Inheritance, Lease, Measurement, Row, Study, Trial

SPEC: dict[str, Any] = {
    "name": "mine",
    "trainable": "mine:train",
    "parameters": {
        "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
        "lr": {"type": "float", "low": 1e-5, "high": 1.0, "mutable": True},
        "units": {"type": "int", "low": 1, "high": 64},
        "bias": {"type": "bool"},
    },
    "objective": {"metric": "loss", "direction": "minimize"},
    "budget": {"trials": 8, "steps_per_trial": 9},
}
AT = 1_764_000_000.5
FIRST = {"optimizer": "adam", "lr": 0.25, "units": 3, "bias": True}
LATER = {**FIRST, "lr": 0.5}


def event(kind: str, trial: int | None = None, **data: Any) -> Event:
    return Event(study="mine", kind=kind, trial=trial, data=data, recorded_at=AT)


def report(trial: int, step: int, generation: int = 0, **metrics: float) -> Measurement:
    at = AT + step
    return Measurement(study="mine", trial=trial, generation=generation, step=step, metrics=metrics, recorded_at=at)


HISTORY: list[Row] = [
    event("trial.created", 0, params=FIRST),
    event("trial.created", 1, params=LATER),
    report(0, 1, loss=3.0, acc=0.25),
    report(1, 1, loss=4.0),
    report(0, 2, loss=2.0, acc=0.5),
    report(0, 3, loss=float("nan")),
    event("trial.completed", 0, step=3, best=2.0),
    report(1, 2, loss=float("inf")),
    Inheritance(
        study="mine", trial=1, generation=1, donor=0, donor_generation=0, step=1, params=FIRST, path="/0",
        reason="worse", recorded_at=AT,
    ),
    report(1, 2, generation=1, loss=1.5),
    report(1, 3, generation=1, loss=1.25),
    event("trial.failed", 1, step=3, best=1.25, cause=FailureCause.ERROR.value, message="boom"),
    event("trial.created", 2, params=LATER),
    report(2, 1, loss=9.0),
    event("trial.stopped", 2, step=1, best=9.0, message="rung 1"),
]  # fmt: skip
POINTS = {
    ("trial-00000", "loss"): [(1, 3.0), (2, 2.0), (3, "nan")],
    ("trial-00000", "acc"): [(1, 0.25), (2, 0.5)],
    ("trial-00001", "loss"): [(1, 4.0), (2, "inf")],
    ("trial-00001.1", "loss"): [(2, 1.5), (3, 1.25)],
    ("trial-00002", "loss"): [(1, 9.0)],
}
"""What is there when all is told; numbers that aren't finite by their names."""


def running(folder: Path, **logging: str) -> tuple[MemoryStore, Study, Lease]:
    """A study that its driver has just begun."""
    store = MemoryStore()
    study = store.create_study(specfile.parse({**SPEC, "logging": logging}))
    lease = store.claim("mine", holder="test", lease_seconds=60)
    # How they stand in the end: all that a follower looks up.
    store.write(lease, [
        Trial(study="mine", number=number, params=FIRST, generation=number % 2, created_at=AT) for number in range(3)
    ])  # fmt: skip
    return store, study, lease


def plain(value: float) -> float | str:
    return value if abs(value) < 1e300 else "nan" if value != value else "inf"
