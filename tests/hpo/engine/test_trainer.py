"""What a group's trainer rests on in Ray Train, whose controller, worker group and callbacks are internal to it."""

from __future__ import annotations

import inspect
import types
from unittest.mock import create_autospec

import pytest
from ray.train import RunConfig, ScalingConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.callbacks.state_manager import StateManagerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import ResizeDecision
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker
from ray.train.v2._internal.state.state_manager import TrainStateManager
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from hpo.engine.trainer import GroupTrainer, _Controller, _Shown, _Size, _Workers


def a_trainer() -> GroupTrainer:
    return GroupTrainer(
        print, leader="an actor", scaling_config=ScalingConfig(num_workers=1), run_config=RunConfig(name="x")
    )


def test_a_group_starts_neither_of_two_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Ray Train's callbacks only these are left out."""
    kept = [types.SimpleNamespace(), types.SimpleNamespace()]
    made = [
        kept[0],
        object.__new__(DatasetsCallback),
        object.__new__(PlacementGroupCleanerCallback),
        kept[1],
    ]
    monkeypatch.setattr(DataParallelTrainer, "_create_default_callbacks", lambda self: made)
    assert a_trainer()._create_default_callbacks() == kept


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own data sets
def test_ray_train_makes_these_callbacks_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")
    trainer = a_trainer()
    made = {type(each) for each in DataParallelTrainer._create_default_callbacks(trainer)}
    assert {DatasetsCallback, PlacementGroupCleanerCallback, StateManagerCallback} < made
    shown = [each for each in trainer._create_default_callbacks() if isinstance(each, StateManagerCallback)]
    assert [type(each) for each in shown] == [_Shown]


def test_the_dashboard_is_told_of_the_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else is what Ray Train tells it of any run: a change of its arguments fails here."""
    told: dict[str, object] = {}
    manager = create_autospec(TrainStateManager, instance=True)
    manager.create_train_run.side_effect = lambda **given: told.update(given)
    monkeypatch.setattr("hpo.engine.trainer.TrainStateManager", lambda: manager)
    monkeypatch.setattr("hpo.engine.trainer.ray.get_runtime_context", lambda: types.SimpleNamespace(get_job_id=str))
    _Shown("an actor").after_controller_start(a_trainer().train_run_context)
    assert told["controller_actor_id"] == "an actor"
    theirs = inspect.getsource(StateManagerCallback.after_controller_start)
    assert {name for name in told if f"            {name}=" in theirs} == set(told)


def test_the_controller_makes_our_worker_group() -> None:
    assert "self.worker_group_cls.create(" in inspect.getsource(TrainController._start_worker_group)
    assert _Controller.worker_group_cls is _Workers


def test_the_context_of_a_worker_is_what_ray_train_gives_it_but_for_the_controller() -> None:
    """Ours is a copy of its method: where that one changes, so must ours."""
    theirs = inspect.getsource(WorkerGroup._init_train_context_on_workers)
    ours = inspect.getsource(_Workers._init_train_context_on_workers)
    given = [name for name in inspect.signature(RayTrainWorker.init_train_context).parameters if name != "self"]
    for name in [name for name in given if f"{name}=" in theirs]:
        assert f"{name}=" in ours, name
    assert "_decorate_worker_log_file_paths(workers)" in theirs
    assert theirs.count(".remote(") == 1


def test_a_fixed_size_asks_no_actor_for_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError("it asked")

    monkeypatch.setattr(
        "ray.train.v2._internal.execution.scaling_policy.scaling_policy.TrainAutoscalingCoordinatorClient", refuse
    )
    size = _Size(ScalingConfig(num_workers=3, resources_per_worker={"CPU": 2}))
    size.after_controller_start(None)  # type: ignore[arg-type]
    decision = size.make_decision_for_non_running_worker_group()
    assert isinstance(decision, ResizeDecision)
    assert (decision.num_workers, decision.resources_per_worker) == (3, {"CPU": 2})
    size.before_controller_abort()
