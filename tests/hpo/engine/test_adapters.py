"""What the adapters rest on in Ray Tune's own objects, and what they do with them."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
from ray import tune
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.train._internal.storage import StorageContext
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial

from hpo.engine.adapters import ScheduleAdapter, _drop_ended, _next_leg


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


def a_controller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TuneController:
    """A real one, whose private fields these tests pin; only what asks a cluster for its resources is left out."""
    monkeypatch.setattr("ray.tune.execution.tune_controller._ResourceUpdater", lambda seconds: None)
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "1000000")
    tune.register_trainable("lease", type("Lease", (tune.Trainable,), {}))
    return TuneController(
        reuse_actors=True, storage=StorageContext(storage_path=str(folder), experiment_dir_name="study")
    )


def test_a_free_actor_goes_to_a_leg_that_has_asked_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = a_controller(tmp_path, monkeypatch)
    storage = StorageContext(storage_path=str(tmp_path), experiment_dir_name="study")
    assert _next_leg(controller) is None
    running, starting, new = (
        trial(storage, status) for status in (TuneTrial.RUNNING, TuneTrial.PENDING, TuneTrial.PENDING)
    )
    controller.get_live_trials().add(running)
    controller.get_live_trials().add(starting)
    controller._trial_to_actor[starting] = TrackedActor(1)
    assert _next_leg(controller) is starting
    controller.get_live_trials().add(new)
    assert _next_leg(controller) is new


def test_tune_keeps_an_actor_for_each_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = a_controller(tmp_path, monkeypatch)
    leg = trial(StorageContext(storage_path=str(tmp_path), experiment_dir_name="study"), TuneTrial.PENDING)
    groups = 3
    adapter = ScheduleAdapter(None, print, print, num_groups=lambda: groups)  # type: ignore[arg-type]
    adapter._keep_leases(controller, leg)
    adapter._keep_leases(controller, leg)
    kept = [controller._actor_cache.cache_object(leg.placement_group_factory, number) for number in range(4)]
    assert kept == [True, True, True, False]
    groups = 4
    adapter._keep_leases(controller, leg)
    assert controller._actor_cache.cache_object(leg.placement_group_factory, 4)


def test_tune_asks_for_as_many_legs_as_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself it asks for the next one when the last one's actor is up."""
    assert a_controller(tmp_path, monkeypatch)._max_pending_trials == 1000000
