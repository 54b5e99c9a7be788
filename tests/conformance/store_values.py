"""Specifications and rows for the tests of stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpo.protocols import Page
from hpo.spec import StudySpec
from hpo.specfile import parse
from hpo.trial import (
    Action,
    Checkpoint,
    Decision,
    Event,
    Inheritance,
    Measurement,
    Trial,
)


def spec(name: str = "s", direction: str = "minimize") -> StudySpec:
    return parse(
        {
            "name": name,
            "trainable": "some.module:train",
            "parameters": {
                "lr": {"type": "float", "low": 0.001, "high": 1, "log": True},
                "size": {"type": "categorical", "choices": [1, 1.5, "1", True]},
            },
            "objective": {"metric": "loss", "direction": direction},
            "budget": {"trials": 100},
            "labels": {"谁": "我们"},
        }
    )


def trial(number: int, **changes: Any) -> Trial:
    return Trial(**({"study": "s", "number": number, "params": {"lr": 0.1}, "created_at": 100.0} | changes))


def measurement(step: int, trial: int = 0, **changes: Any) -> Measurement:
    values = {
        "study": "s",
        "trial": trial,
        "step": step,
        "metrics": {"loss": 1.0 / step},
        "recorded_at": 200.0 + step,
    }
    return Measurement(**(values | changes))


def decision(step: int, trial: int = 0, **changes: Any) -> Decision:
    values = {"study": "s", "trial": trial, "step": step, "action": Action.CONTINUE, "recorded_at": 200.0 + step}
    return Decision(**(values | changes))


def checkpoint(step: int, trial: int = 0, **changes: Any) -> Checkpoint:
    values = {"study": "s", "trial": trial, "step": step, "path": f"/c/{trial}/{step}", "size_bytes": 7}
    return Checkpoint(**(values | {"recorded_at": 200.0 + step} | changes))


def inheritance(step: int, trial: int = 0, **changes: Any) -> Inheritance:
    values = {"study": "s", "trial": trial, "generation": 1, "donor": trial + 1, "donor_generation": 0, "step": step}
    rest = {"params": {"lr": 0.2}, "path": f"/c/{trial + 1}/{step}", "recorded_at": 200.0 + step}
    return Inheritance(**(values | rest | changes))


def event(kind: str = "trial.reported", **changes: Any) -> Event:
    return Event(**({"study": "s", "kind": kind, "recorded_at": 300.0} | changes))


def walk(read: Callable[..., Page[Any]], page_size: int) -> list[Any]:
    """All items of a list, page by page."""
    items, token = [], None
    while True:
        page = read(page_size=page_size, page_token=token)
        items += page.items
        if page.next_page_token is None:
            return items
        assert len(page.items) == page_size
        token = page.next_page_token
