"""What one of Ray Tune's schedulers sees of Tune when we ask it."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler


class AskedScheduler:
    """Ray's scheduler, shown Tune's controller and its trials as it knows them.

    To Ray's schedulers a trial is PENDING while it has had no worker and RUNNING from then on. To our Tune a trial that
    waits for its first turn is PAUSED, since Tune starts whatever is PENDING, and one that has had its turn is PENDING
    until its lease has begun.
    """

    def __init__(self, scheduler: TrialScheduler, waiting: Set[TuneTrial]) -> None:
        """`waiting` are those that have not begun: the caller's own set, as it changes."""
        self._scheduler, self._waiting = scheduler, waiting
        self._disguised: dict[TuneTrial, tuple[str, str]] = {}
        """The status that each trial has, and the one that it is shown with."""
        self._depth = 0

    def ask(self, controller: Any, method: str, *arguments: Any) -> Any:
        """Call a method of Ray's scheduler, which may call the controller's and so come back here. Raises what it
        raises."""
        with self._disguise(controller):
            return getattr(self._scheduler, method)(_Controller(controller, self), *arguments)

    @contextmanager
    def _disguise(self, controller: Any) -> Iterator[None]:
        if self._depth == 0:
            for trial in controller.get_live_trials():
                shown = TuneTrial.PENDING if trial in self._waiting else TuneTrial.RUNNING
                if trial in self._waiting or trial.status == TuneTrial.PENDING:
                    self._disguised[trial] = trial.status, shown
                    trial.status = shown  # not set_status(): it never was that
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                for trial in list(self._disguised):
                    self.unmask(trial)

    def unmask(self, trial: TuneTrial) -> None:
        """Give the trial its own status back."""
        real, shown = self._disguised.pop(trial, (trial.status, trial.status))
        if trial.status == shown:
            trial.status = real


class _Controller:
    """Tune's controller, except that it has no searcher (population-based training refuses one; ours heeds it), and
    that it knows a trial's own status when it is told to end it."""

    search_alg = None

    def __init__(self, controller: Any, asked: AskedScheduler) -> None:
        self._controller, self._asked = controller, asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    def stop_trial(self, trial: TuneTrial) -> None:
        self._asked.unmask(trial)
        self._controller.stop_trial(trial)

    def pause_trial(self, trial: TuneTrial, should_checkpoint: bool = True) -> None:
        self._asked.unmask(trial)
        self._controller.pause_trial(trial, should_checkpoint=should_checkpoint)
