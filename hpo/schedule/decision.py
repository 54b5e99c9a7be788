"""What every scheduler's answers have in common."""

from __future__ import annotations

from hpo.protocols import Choice, Start
from hpo.trial import Action, Decision, Measurement, Trial


def answer(
    measurement: Measurement,
    action: Action = Action.CONTINUE,
    reason: str = "",
    *,
    rung: int | None = None,
    cutoff: float | None = None,
) -> Decision:
    """The decision on a measurement: its (study, trial, generation, step) and its time are echoed.

    The time is the measurement's, never the clock's, so that a replay gives the same rows.
    """
    return Decision(
        study=measurement.study,
        trial=measurement.trial,
        generation=measurement.generation,
        step=measurement.step,
        action=action,
        reason=reason,
        rung=rung,
        cutoff=cutoff,
        recorded_at=measurement.recorded_at,
    )


def at_last_step(measurement: Measurement, steps_per_trial: int) -> Decision | None:
    """COMPLETE for a trial that has had all the steps of its budget, else None."""
    if measurement.step < steps_per_trial:
        return None
    return answer(measurement, Action.COMPLETE, f"has had all of its {steps_per_trial} steps")


class NeverPauses:
    """The half of a scheduler that says who is next, where no trial ever waits: a new one, while one may start."""

    def created(self, trial: Trial) -> None:
        pass

    def choose(self, *, can_start: bool) -> Choice | None:
        return Start() if can_start else None
