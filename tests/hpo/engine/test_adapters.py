"""What the adapters rest on in Ray Tune's own objects, and what they do with them."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
from ray import tune
from ray.train._internal.storage import StorageContext
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler

from hpo.engine.adapters import ScheduleAdapter, _drop_ended
from hpo.engine.messages import Report, SavedCheckpoint
from hpo.trial import Action


def trial(storage: StorageContext, status: str) -> TuneTrial:
    made = TuneTrial("lease", stub=True, storage=storage)
    made.set_status(status)
    return made


def test_tune_forgets_the_trials_that_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real controller, whose private fields this pins; only what asks a cluster for its resources is left out."""
    monkeypatch.setattr("ray.tune.execution.tune_controller._ResourceUpdater", lambda seconds: None)
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "1")
    tune.register_trainable("lease", type("Lease", (tune.Trainable,), {}))
    storage = StorageContext(storage_path=str(tmp_path), experiment_dir_name="study")
    controller = TuneController(reuse_actors=True, storage=storage)
    live, ended, failed = (
        trial(storage, status) for status in (TuneTrial.RUNNING, TuneTrial.TERMINATED, TuneTrial.ERROR)
    )
    for each in (live, ended, failed):
        controller.get_trials().append(each)
        controller.get_live_trials().add(each)
    controller._staged_trials.add(ended)
    controller._stopped_trials.add(ended)
    controller._failed_trials.add(failed)
    _drop_ended(controller)
    assert controller.get_trials() == [live]
    assert controller.get_live_trials() == {live}
    kept = [name for name, value in vars(controller).items() if isinstance(value, set | list | dict) and ended in value]
    assert kept == []


def test_a_controller_without_ended_trials_is_left_alone() -> None:
    nothing = types.SimpleNamespace(get_trials=list)
    _drop_ended(nothing)


class Book:
    """As much of a Ledger as the adapters ask."""

    def __init__(self, *at_work: int) -> None:
        self.at_work = frozenset(at_work)
        self.is_done = False
        self.preempted: list[int] = []

    def next(self) -> None:
        return None

    def report(self, number: int, step: int, metrics: object, **more: object) -> Action:
        return Action.CONTINUE

    def preempt(self, number: int, **data: object) -> None:
        self.preempted.append(number)


@pytest.mark.parametrize(
    ("groups", "saves", "gives_up"), [(2, True, False), (1, True, True), (1, False, False), (0, True, True)]
)
def test_above_its_share_a_study_gives_up_a_trial_that_has_just_saved(groups: int, saves: bool, gives_up: bool) -> None:
    cancelled: list[int] = []
    book = Book(0, 1)
    adapter = ScheduleAdapter(book, cancelled.append, print, num_groups=lambda: groups)  # type: ignore[arg-type]
    leg = types.SimpleNamespace(config={"trial": 1, "leg": 1, "generation": 0})
    adapter.on_trial_add(None, leg)  # type: ignore[arg-type]
    saved = SavedCheckpoint(path="1/4", size_bytes=1) if saves else None
    report = Report(step=4, metrics={}, checkpoint=saved, group=0, requeued=0)
    answer = adapter.on_trial_result(None, leg, {"report": report, "job": 7, "began_at": 0.0})  # type: ignore[arg-type]
    assert answer == (TrialScheduler.STOP if gives_up else TrialScheduler.CONTINUE)
    assert (book.preempted, cancelled) == (([1], [7]) if gives_up else ([], []))
