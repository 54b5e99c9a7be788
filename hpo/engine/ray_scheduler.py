"""Ray Tune's own schedulers on our engine: `[scheduler] algorithm = "ray:PB2"`.

Under our schedulers Tune sees each leg of a trial as a trial of its own. Here a Tune trial is the trial, and Ray's
scheduler pauses it, resumes it and lets it start from another's checkpoint by Tune's own means. What it decides is
told to the Ledger, as the answer of a ForeignScheduler or as a choice; so the store, the budget and the retry of lost
workers are as ever. As in Tune itself, the scheduler is not asked about a trial's last step.

Recovery is weaker than with our schedulers, since Ray's can't be restored: after a restart of the driver it begins
with no memory, and takes the trials that go on for new ones. Measurements, the budget and the searcher are exact all
the same, and trials go on from their last checkpoints.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher as TuneSearcher

from hpo.engine.adapters import ScheduleAdapter, SearchAdapter
from hpo.engine.messages import Report
from hpo.engine.ray_checkpoints import KeptCheckpoints
from hpo.engine.ray_controller import AskedScheduler
from hpo.engine.ray_lease import RayLease
from hpo.engine.ray_legs import RayLegs
from hpo.engine.ray_options import TIME, build, to_config
from hpo.ledger import Ledger
from hpo.protocols import Drop, Start
from hpo.ray_names import KNOWN, PREFIX
from hpo.schedule.foreign import ForeignScheduler
from hpo.spec import StudySpec
from hpo.trial import Action, Checkpoint, FailureCause

log = logging.getLogger(__name__)


class RayEscape:
    """Runs a study under one of Ray Tune's schedulers. Raises InvalidSpecError where Ray can't make it."""

    lease = RayLease

    def __init__(self, spec: StudySpec) -> None:
        self.scheduler = build(spec)
        self.seat = ForeignScheduler(spec)
        """The scheduler that the study's Ledger must have."""
        self._known = KNOWN[spec.scheduler.algorithm.removeprefix(PREFIX)]

    def join(self, ledger: Ledger, drop_checkpoint: Callable[[Checkpoint], None]) -> None:
        """To be called before anything is told to the Ledger, also before a replay."""
        if self._known.mutations is not None:
            ledger.checkpoints = KeptCheckpoints(drop_checkpoint)

    def adapters(
        self, ledger: Ledger, cancel: Callable[[int], None], poll: Callable[[], None], groups: int
    ) -> tuple[SearchAdapter, ScheduleAdapter]:
        """What Tune gets for its searcher and its scheduler."""
        schedule = RayScheduleAdapter(
            ledger, self.seat, self.scheduler, cancel, poll, groups=groups, num_ahead=self._known.num_ahead
        )
        return RaySearchAdapter(ledger, schedule), schedule

    def leave(self, ledger: Ledger) -> None:
        """To be called when the study's trials have ended: what only Ray's scheduler may have asked for is dropped."""
        if isinstance(ledger.checkpoints, KeptCheckpoints):
            ledger.checkpoints.release(())


class RaySearchAdapter(SearchAdapter):
    """Hands the Ledger's trials to Tune, as many as Ray's scheduler should know of."""

    def __init__(self, ledger: Ledger, schedule: RayScheduleAdapter) -> None:
        super().__init__(ledger, {}, lambda: 0)
        self._schedule = schedule

    def suggest(self, trial_id: str) -> Any:
        return TuneSearcher.FINISHED if self._ledger.is_done else self._schedule.next_config(trial_id)


class RayScheduleAdapter(ScheduleAdapter):
    """Brings every report to Ray's scheduler and to the Ledger, and starts what Ray's scheduler chooses."""

    def __init__(
        self,
        ledger: Ledger,
        seat: ForeignScheduler,
        scheduler: TrialScheduler,
        cancel: Callable[[int], None],
        poll: Callable[[], None],
        *,
        groups: int,
        num_ahead: int,
    ) -> None:
        super().__init__(ledger, cancel, poll)
        self._seat, self._groups, self._num_ahead = seat, groups, num_ahead
        self._name = ledger.spec.scheduler.algorithm
        self._ray_legs = RayLegs(ledger)
        self._recovered = deque(ledger.trials)
        """Those that an earlier driver has begun and Tune doesn't know yet."""
        self._numbers: dict[str, int] = {}
        """Our numbers, by Tune's."""
        self._waiting: set[TuneTrial] = set()
        """Those that have not begun."""
        self._told: dict[int, dict[str, Any]] = {}
        """The last result of each trial, as Ray's scheduler sees it."""
        self._asked = AskedScheduler(scheduler, self._waiting)

    # -- new trials ---------------------------------------------------------------------------------------
    def next_config(self, trial_id: str) -> dict[str, Any] | None:
        """The configuration of the next trial, which Tune calls `trial_id`; None while there need be none."""
        number = self._next_number()
        if number is None:
            return None
        self._numbers[trial_id] = number
        return to_config(self._ledger.trials[number].trial.params)

    def _next_number(self) -> int | None:
        while self._recovered:
            if (number := self._recovered.popleft()) in self._ledger.trials:
                return number
        if not self._ledger.can_start or len(self._waiting) >= max(self._num_ahead, self._groups - self._busy):
            return None
        leg = self._ledger.apply(Start())
        return leg.trial if leg else None

    @property
    def _busy(self) -> int:
        """How many trials have a lease, or are about to."""
        return sum(trial.status in (TuneTrial.RUNNING, TuneTrial.PENDING) for trial in self._legs.values())

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        number = self._numbers[trial.trial_id]
        if number in self._legs:
            return  # its lease was lost and begins again: nothing that a scheduler need know
        self._legs[number] = trial
        self._waiting.add(trial)
        trial.set_status(TuneTrial.PAUSED)  # Tune would start it at once
        self._ask(tune_controller, "on_trial_add", trial)

    # -- reports ------------------------------------------------------------------------------------------
    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> Any:
        report: Report = result["report"]
        number = self._numbers[trial.trial_id]
        live = self._ledger.trials.get(number)
        if live is None:
            return TrialScheduler.STOP
        generation = self._ray_legs.generation(number)
        self._jobs[number] = result["job"]
        if report.step > live.trial.step:  # else it was counted, and was trained again after a loss
            self._seat.answer = self._answer(tune_controller, trial, report)
        saved = report.checkpoint
        action = self._ledger.report(
            number,
            report.step,
            report.metrics,
            generation=generation,
            checkpoint=(saved.path, saved.size_bytes) if saved else None,
            began_at=result["began_at"],
            group=report.group,
            requeued=report.requeued,
        )
        self._ray_legs.release(self._legs)
        if action is Action.CONTINUE:
            return TrialScheduler.CONTINUE
        self._cancel(result["job"])  # at once: Tune's own stop reaches the worker only with the next trial
        if action is not Action.PAUSE:
            return TrialScheduler.STOP
        return TrialScheduler.NOOP if trial.status == TuneTrial.PAUSED else TrialScheduler.PAUSE

    def _answer(self, controller: Any, trial: TuneTrial, report: Report) -> Action:
        """What Ray's scheduler says to a report that counts. It may exploit, pause or stop other trials, too."""
        self._told[self._numbers[trial.trial_id]] = told = {**report.metrics, TIME: report.step}
        spec = self._ledger.spec
        if report.step >= spec.budget.steps_per_trial or not _has_objectives(spec, report.metrics):
            return Action.CONTINUE  # the Ledger ends it
        said = self._ask(controller, "on_trial_result", trial, told)
        if said == TrialScheduler.PAUSE or trial.status == TuneTrial.PAUSED:
            return Action.PAUSE
        return Action.STOP if said == TrialScheduler.STOP else Action.CONTINUE

    # -- who is next --------------------------------------------------------------------------------------
    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        # Tune calls this on each turn of its loop, also when no report comes: the place to end what is over.
        self._poll()
        if self._ledger.progress.is_over:
            for number in list(self._ledger.trials):
                self._end(tune_controller, number)
            return None
        busy = self._busy
        if busy >= self._groups:
            return None
        trial: TuneTrial | None = self._ask(tune_controller, "choose_trial_to_run")
        if trial is None and not busy:
            trial = self._stuck()
        if trial is None or trial.status != TuneTrial.PAUSED or self._ledger.progress.is_over:
            return None
        number = self._numbers[trial.trial_id]
        if number in self._jobs:
            self._cancel(self._jobs.pop(number))  # in case that Ray's scheduler paused it without being asked
        self._ray_legs.begin(number, trial)
        self._waiting.discard(trial)
        return trial

    def _stuck(self) -> TuneTrial | None:
        """Nothing runs, and Ray's scheduler lets nothing run, though there is something to train: population-based
        training and HyperBand wait for ever for a trial that has failed. The one that is least far goes on."""
        if self._ledger.can_start and not self._waiting:
            return None  # a new trial comes
        paused = {number: trial for number, trial in self._legs.items() if trial.status == TuneTrial.PAUSED}
        number = min(paused, key=lambda number: (self._ledger.trials[number].trial.step, number), default=None)
        return None if number is None else paused[number]

    # -- ends ---------------------------------------------------------------------------------------------
    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        number = self._numbers[trial.trial_id]
        cause = result.get("cause")
        if cause == FailureCause.STORAGE:
            if number in self._ledger.trials:
                self._ledger.orders.await_storage(number, str(result.get("message")))
        elif cause is not None:
            self._ledger.failed(number, FailureCause(cause), result.get("message") or "")
        elif "cause" in result:
            self._ledger.returned(number)
        self._drop(number, f"{self._name} says so")
        told = self._told.get(number)
        if cause is not None:
            self._ask(tune_controller, "on_trial_error", trial)
        elif told is None:
            self._ask(tune_controller, "on_trial_remove", trial)
        else:
            self._ask(tune_controller, "on_trial_complete", trial, told)
        self._forget(trial)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Never: a lease is no process that could be lost, and what goes wrong with a trial is a result."""

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._drop(self._numbers[trial.trial_id], f"{self._name} says so")
        self._ask(tune_controller, "on_trial_remove", trial)
        self._forget(trial)

    def _end(self, tune_controller: Any, number: int) -> None:
        job, trial = self._jobs.get(number), self._legs.get(number)
        if not self._ledger.orders.keeps_trials:
            self._ledger.stop(number)  # first: Tune tells of its own stop as if the scheduler had asked for it
        if trial is not None:
            tune_controller.stop_trial(trial)
        if job is not None:
            self._cancel(job)

    def _drop(self, number: int, reason: str) -> None:
        """End a trial that the Ledger has not seen the end of."""
        if number in self._ledger.trials and not self._ledger.orders.keeps_trials:
            self._ledger.apply(Drop(number, reason))
            if number in self._jobs:
                self._cancel(self._jobs[number])

    def _forget(self, trial: TuneTrial) -> None:
        number = self._numbers[trial.trial_id]
        self._waiting.discard(trial)
        self._ray_legs.forget(number)
        for known in (self._legs, self._jobs, self._told):
            known.pop(number, None)

    def _ask(self, controller: Any, method: str, *arguments: Any) -> Any:
        """Ray's scheduler's answer; None when the study is over, or is from now on because of an error of it."""
        progress = self._ledger.progress
        if progress.is_over:
            return None
        try:
            return self._asked.ask(controller, method, *arguments)
        except Exception as error:
            log.exception("%s has failed", self._name)
            progress.error = progress.error or f"{self._name} has failed in {method}: {type(error).__name__}: {error}"
            return None


def _has_objectives(spec: StudySpec, metrics: Mapping[str, float]) -> bool:
    return all(math.isfinite(metrics.get(objective.metric, math.nan)) for objective in spec.objectives)
