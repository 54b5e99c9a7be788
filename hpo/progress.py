"""What a study has spent and reached so far, and whether it is over."""

from __future__ import annotations

from hpo.spec import StudySpec
from hpo.trial import Trial, TrialState

ALL_FAILED_LIMIT = 3
"""A study whose first trials all fail, this many of them, is failed: the rest would fail the same way."""


class Progress:
    """Counts against the budget and keeps the incumbent. Times are in the unit of the caller's clock, in seconds."""

    def __init__(self, spec: StudySpec, started_at: float) -> None:
        self._objective, self.budget = spec.objective, spec.budget
        self.started_at = started_at
        """Later by as long as the study was paused."""
        self._ended = self._failed = 0
        self.steps = 0
        """Measurements recorded: what the budget's total steps count."""
        self.incumbent: Trial | None = None
        self.finish_reason: str | None = None
        """Why no more is trained: the goal is met or the budget spent; None while there is more to do."""
        self.error: str | None = None
        """Why the study has failed, if it has."""

    @property
    def is_over(self) -> bool:
        """Whether all that is still at work should be ended."""
        return self.finish_reason is not None or self.error is not None

    def is_new_incumbent(self, trial: Trial) -> bool:
        """Whether the trial, whose value has just improved, is the best one now."""
        assert trial.value is not None
        best = self.incumbent
        if best is not None and best.value is not None and not self._objective.better(trial.value, best.value):
            return False
        self.incumbent = trial
        return True

    def fail_for_want_of_metric(self, trial: int, message: str) -> None:
        """The objective isn't among what was reported: a mistake in the specification that no other trial mends."""
        if self.incumbent is None and self.error is None:
            self.error = f"trial {trial}: {message}"

    def ended(self, trial: Trial) -> None:
        """A trial has ended."""
        self._ended += 1
        self._failed += trial.state is TrialState.FAILED
        if self._failed == self._ended >= ALL_FAILED_LIMIT and self.error is None:
            self.error = f"the first {self._ended} trials have all failed; the last one: {trial.message}"

    def check_budget(self) -> None:
        """Notice when the goal is met or the steps are spent."""
        best, total = self.incumbent, self.budget.total_steps
        if self.is_over:
            return
        if best is not None and best.value is not None and self._objective.reached(best.value):
            self.finish_reason = f"trial {best.number} has reached the goal: {best.value:g}"
        elif total is not None and self.steps >= total:
            self.finish_reason = f"the budget's {total} steps are spent"

    def check_clock(self, now: float) -> None:
        """Notice when the wall clock budget is spent."""
        limit = self.budget.wall_seconds
        if limit is not None and not self.is_over and now - self.started_at >= limit:
            self.finish_reason = f"the budget's {limit:g} seconds are spent"
