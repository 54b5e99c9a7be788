"""The place of a scheduler that lives elsewhere: one of Ray Tune's own, which the engine asks."""

from __future__ import annotations

from hpo.protocols import Choice, Start
from hpo.schedule.decision import answer, at_last_step
from hpo.spec import StudySpec
from hpo.trial import Action, Decision, Measurement, Trial


class ForeignScheduler:
    """Passes on what it is told: `answer` is the action on the report that comes next.

    It remembers nothing, and can't be replayed: after a restart of the driver the other scheduler starts anew.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._name = spec.scheduler.algorithm
        self._steps_per_trial = spec.budget.steps_per_trial
        self.answer = Action.CONTINUE

    def created(self, trial: Trial) -> None:
        pass

    def decide(self, measurement: Measurement) -> Decision:
        reason = "" if self.answer is Action.CONTINUE else f"{self._name} says so"
        return at_last_step(measurement, self._steps_per_trial) or answer(measurement, self.answer, reason)

    def choose(self, *, can_start: bool) -> Choice | None:
        return Start() if can_start else None

    def complete(self, trial: Trial) -> None:
        pass
