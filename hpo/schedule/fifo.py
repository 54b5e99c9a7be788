"""First in, first out: every trial has all of its steps."""

from __future__ import annotations

from hpo.schedule.decision import NeverPauses, answer, at_last_step
from hpo.spec import StudySpec
from hpo.trial import Decision, Measurement, Trial


class FifoScheduler(NeverPauses):
    """Stops nothing; the baseline of early stopping."""

    def __init__(self, spec: StudySpec) -> None:
        self._steps_per_trial = spec.budget.steps_per_trial

    def decide(self, measurement: Measurement) -> Decision:
        return at_last_step(measurement, self._steps_per_trial) or answer(measurement)

    def complete(self, trial: Trial) -> None:
        pass
