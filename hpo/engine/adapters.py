"""Our searcher and scheduler as Ray Tune sees them: two thin adapters over one Ledger.

Ray's searcher and scheduler interfaces are DeveloperAPIs; a contract test pins what is used of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher as TuneSearcher

from hpo.engine.messages import Report
from hpo.ledger import Ledger
from hpo.spec import ParamValue
from hpo.trial import Action, FailureCause


def _drop_ended(tune_controller: Any) -> None:
    """Let Tune forget the trials that have ended.

    By itself it keeps each to the end, with statistics of all that it reported. A contract test holds the private
    fields.
    """
    trials: list[TuneTrial] = tune_controller.get_trials()
    ended = [trial for trial in trials if trial.is_finished()]
    if ended:
        trials[:] = [trial for trial in trials if not trial.is_finished()]
        tune_controller.get_live_trials().difference_update(ended)
        for trials_of_a_kind in ("_stopped_trials", "_failed_trials", "_staged_trials"):
            getattr(tune_controller, trials_of_a_kind).difference_update(ended)


class SearchAdapter(TuneSearcher):
    """Hands the Ledger's next leg to Tune.

    To Tune every leg is a trial of its own: a trial that pauses ends there, and comes back as another. So Tune needs
    neither checkpoints nor a restore to pause, to swap, or to go on after a driver's death.
    """

    def __init__(
        self,
        ledger: Ledger,
        fixed: dict[str, ParamValue],
        num_groups: Callable[[], int],
    ) -> None:
        super().__init__()
        self._ledger, self._fixed, self._num_groups = ledger, fixed, num_groups
        self._legs = itertools.count()

    def suggest(self, trial_id: str) -> Any:
        is_free = len(self._ledger.at_work) < self._num_groups()
        leg = self._ledger.next() if is_free else None
        if leg is None:
            return TuneSearcher.FINISHED if self._ledger.is_done else None
        return {
            "trial": leg.trial,
            "leg": next(self._legs),
            "generation": leg.generation,
            "params": {**self._fixed, **leg.params},
            "checkpoint": leg.resume,
            "inherit": leg.inherit,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the Ledger has told the searcher."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: Tune is never restored."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: Tune is never restored."""


class ScheduleAdapter(TrialScheduler):
    """Brings every report to the Ledger and its decision to Tune and to the workers."""

    def __init__(
        self,
        ledger: Ledger,
        cancel: Callable[[int], None],
        poll: Callable[[], None],
        num_groups: Callable[[], int] = lambda: 1,
    ) -> None:
        super().__init__()
        self._ledger, self._cancel, self._poll, self._num_groups = ledger, cancel, poll, num_groups
        self._controller: Any = None
        self._legs: dict[int, TuneTrial] = {}
        """The leg that each trial is at: Tune's trials, by our numbers."""
        self._jobs: dict[int, int] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._legs[trial.config["trial"]] = trial

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> Any:
        report: Report = result["report"]
        leg: dict[str, Any] = trial.config
        number = leg["trial"]
        if self._legs.get(number) is not trial:
            return TrialScheduler.STOP  # a late report of a leg that is over
        self._jobs[number] = result["job"]
        saved = report.checkpoint
        action = self._ledger.report(
            number,
            report.step,
            report.metrics,
            generation=leg["generation"],
            checkpoint=(saved.path, saved.size_bytes) if saved else None,
            began_at=result["began_at"],
            group=report.group,
            requeued=report.requeued,
        )
        if action is Action.CONTINUE:
            if saved is None or len(self._ledger.at_work) <= self._num_groups():
                return TrialScheduler.CONTINUE
            # The study has had to give a group away. What is saved loses nothing; what saves nothing trains to its end.
            self._ledger.preempt(number, reason="its workers are for other studies")
        self._cancel(result["job"])  # at once: Tune's own stop reaches the worker only with the next trial
        self._forget(trial)
        return TrialScheduler.STOP

    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        # Tune calls this on each turn of its loop, also when no report comes: the place to end what is over.
        self._controller = tune_controller
        self._poll()
        _drop_ended(tune_controller)
        if self._ledger.progress.is_over:
            for number in list(self._ledger.trials):
                self.leave(number)
                if not self._ledger.orders.keeps_trials:
                    self._ledger.stop(number)
            return None
        return next((leg for leg in tune_controller.get_live_trials() if leg.status == TuneTrial.PENDING), None)

    def leave(self, number: int) -> None:
        """The leg that a trial is at, if any, is over: its workers leave it at their next report."""
        trial = self._legs.get(number)
        if trial is None or trial.is_finished():
            return
        self._forget(trial)  # first: Tune tells of its own stop as if the trainable had returned
        self._controller.stop_trial(trial)

    def preempt(self, num_groups: int) -> None:
        """Take those that began last from their workers, so that at most so many are at work."""
        began_last = sorted(self._legs, key=lambda number: self._legs[number].config["leg"], reverse=True)
        surplus = len(self._ledger.at_work) - num_groups
        for number in [each for each in began_last if each in self._ledger.at_work][: max(0, surplus)]:
            self.leave(number)
            self._ledger.preempt(number)

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        number = trial.config["trial"]
        if self._legs.get(number) is not trial:
            return  # a leg that was ended by our own answer
        cause = result.get("cause")
        if cause == FailureCause.STORAGE:
            self._ledger.orders.await_storage(number, str(result.get("message")))
        elif cause is not None:
            self._ledger.failed(number, FailureCause(cause), result.get("message") or "")
        else:
            self._ledger.returned(number)
        self._forget(trial)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Never: a lease is no process that could be lost, and what goes wrong with a trial is a result."""

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._forget(trial)

    def _forget(self, trial: TuneTrial) -> None:
        number = trial.config["trial"]
        if self._legs.get(number) is trial:
            del self._legs[number]
            self._jobs.pop(number, None)

    def debug_string(self) -> str:
        return "hpo"
