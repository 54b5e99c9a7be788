"""What the adapters rest on in Ray Tune's own objects, and what they do with them."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
from ray import tune
from ray.train._internal.storage import StorageContext
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial

from hpo.engine.adapters import _drop_ended
from hpo.engine.group import _Trainer


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
        controller._trial_metadata[each.trial_id] = "{}"
    controller._stopped_trials.add(ended)
    controller._failed_trials.add(failed)
    _drop_ended(controller)
    assert controller.get_trials() == [live]
    assert controller.get_live_trials() == {live}
    assert set(controller._trial_metadata) == {live.trial_id}
    kept = [name for name, value in vars(controller).items() if isinstance(value, set | list | dict) and ended in value]
    assert kept == []


def test_a_controller_without_ended_trials_is_left_alone() -> None:
    nothing = types.SimpleNamespace(get_trials=list)
    _drop_ended(nothing)


def test_a_group_starts_no_actor_for_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Ray Train's callbacks only that one is left out; both names are private."""
    kept = [types.SimpleNamespace(), types.SimpleNamespace()]
    made = [kept[0], object.__new__(DatasetsCallback), kept[1]]
    monkeypatch.setattr(
        "ray.train.v2.api.data_parallel_trainer.DataParallelTrainer._create_default_callbacks", lambda self: made
    )
    assert object.__new__(_Trainer)._create_default_callbacks() == kept
