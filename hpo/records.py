"""What the ledger writes, made from what happened. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo.protocols import Resume
from hpo.retention import LiveTrial
from hpo.spec import Objective
from hpo.trial import FailureCause, Inheritance, Metrics


def problem(objectives: Sequence[Objective], step: int, metrics: Metrics) -> tuple[FailureCause, str] | None:
    """Why a report is no answer: an objective is missing, or not finite. None if it is one."""
    for objective in objectives:
        value = metrics.get(objective.metric)
        if value is None:
            return FailureCause.NO_METRIC, missing(objective.metric, metrics)
        if not math.isfinite(value):
            return (
                FailureCause.NON_FINITE,
                f"step {step}: {objective.metric} is {value}, but the objective must be finite",
            )
    return None


def missing(metric: str, metrics: Metrics) -> str:
    """For people: the objective isn't among what was reported."""
    had = f"it reported {', '.join(sorted(metrics))}" if metrics else "it ended without a report"
    return f"objective.metric is {metric!r}, but {had}; name a metric that the trainable reports"


def inheritance(choice: Resume, receiver: LiveTrial, donor: LiveTrial | None, now: float) -> Inheritance | None:
    """The edge of the family tree; None where there is no donor, or the donor has no checkpoint."""
    if donor is None or donor.source is None:
        return None
    trial = receiver.trial
    return Inheritance(
        study=trial.study,
        trial=trial.number,
        generation=trial.generation + 1,
        donor=donor.trial.number,
        donor_generation=donor.trial.generation,
        step=donor.source.step,
        params=dict(trial.params if choice.params is None else choice.params),
        path=donor.source.path,
        reason=choice.reason,
        recorded_at=now,
    )


def inherited(edge: Inheritance) -> dict[str, object]:
    """The data of the event trial.inherited."""
    return {
        "generation": edge.generation,
        "donor": edge.donor,
        "donor_generation": edge.donor_generation,
        "step": edge.step,
        "params": dict(edge.params),
        "reason": edge.reason,
    }


def plain(value: float | None) -> float | str | None:
    """A number as JSON can say it: NaN and the infinities become strings."""
    return value if value is None or math.isfinite(value) else str(value)
