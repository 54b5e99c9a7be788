"""What a group's trainer rests on in Ray Train, whose controller, worker group and callbacks are internal to it."""

from __future__ import annotations

import inspect
import types
from unittest.mock import create_autospec

import pytest
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.callbacks.state_manager import StateManagerCallback
from ray.train.v2._internal.execution.checkpoint.sync_actor import SynchronizationActor
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.failure_handling import FailureDecision, create_failure_policy
from ray.train.v2._internal.execution.scaling_policy import ResizeDecision
from ray.train.v2._internal.execution.worker_group import WorkerGroup, state, worker_group
from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker
from ray.train.v2._internal.state.state_manager import TrainStateManager
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.exceptions import WorkerGroupError

from hpo.engine.trainer import (
    GroupTrainer,
    _Connecting,
    _Controller,
    _Shown,
    _Size,
    _UntilOver,
    _Workers,
)


def a_trainer() -> GroupTrainer:
    return GroupTrainer(
        print,
        connect=print,
        is_over=lambda: False,
        scaling_config=ScalingConfig(num_workers=1),
        run_config=RunConfig(name="x"),
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
    *left, connecting = a_trainer()._create_default_callbacks()
    assert left == kept
    assert isinstance(connecting, _Connecting)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own data sets
def test_ray_train_makes_these_callbacks_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")
    trainer = a_trainer()
    made = {type(each) for each in DataParallelTrainer._create_default_callbacks(trainer)}
    assert {DatasetsCallback, PlacementGroupCleanerCallback, StateManagerCallback} < made
    shown = [each for each in trainer._create_default_callbacks() if isinstance(each, StateManagerCallback)]
    assert [type(each) for each in shown] == [_Shown]


class Named:
    """An actor's handle, as much as is asked of it."""

    def __init__(self, name: bytes) -> None:
        self._actor_id = types.SimpleNamespace(hex=name.hex)
        self.actor = self


def test_the_dashboard_is_told_whose_life_the_run_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else is what Ray Train tells it of any run: a change of its arguments fails here."""
    told: dict[str, object] = {}
    manager = create_autospec(TrainStateManager, instance=True)
    manager.create_train_run.side_effect = lambda **given: told.update(given)
    manager._state_actor = Named(b"everlasting")
    monkeypatch.setattr("hpo.engine.trainer.TrainStateManager", lambda: manager)
    monkeypatch.setattr("hpo.engine.trainer.ray.get_runtime_context", lambda: types.SimpleNamespace(get_job_id=str))
    shown = _Shown()
    context = a_trainer().train_run_context
    shown.after_controller_start(context)
    assert told["controller_actor_id"] == b"everlasting".hex()
    theirs = inspect.getsource(StateManagerCallback.after_controller_start)
    assert {name for name in told if f"            {name}=" in theirs} == set(told)
    run = types.SimpleNamespace(controller_actor_id=None)
    manager._runs = {context.run_id: run}
    group = create_autospec(WorkerGroup, instance=True)
    group.get_workers.return_value = [Named(b"first"), Named(b"second")]
    shown.after_worker_group_start(group)
    assert run.controller_actor_id == b"first".hex()
    shown.before_worker_group_shutdown(group)
    assert run.controller_actor_id == b"everlasting".hex()


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


def test_workers_are_made_as_ray_train_makes_them_but_take_several_calls() -> None:
    """Ours is a copy of its method: where that one changes, so must ours."""
    theirs = inspect.getsource(WorkerGroup._create_workers)
    made = theirs[theirs.index("runtime_env = self") :]
    for part in (
        "self._get_worker_runtime_env(",
        "custom_runtime_env=self._train_run_context.run_config.worker_runtime_env",
        "**bundle_to_remote_args(resources_per_worker)",
        ")(self._worker_cls)",
        "placement_group=placement_group, placement_group_bundle_index=i",
        "actor.get_metadata.remote() for actor in actors",
        "WorkerGroup._assign_worker_ranks(",
        "Worker(actor, meta, resources_per_worker, placement_group_bundle_index=idx)",
    ):
        assert part in made, part
    assert made.count(".remote(") == 3, "one of them is ray.remote"
    assert "replica_group_size=1 if self._manages_replica_groups else None" in inspect.getsource(
        WorkerGroup._start_impl
    )


def test_a_group_that_is_needed_no_more_does_not_come_back() -> None:
    over = [False]
    lost = WorkerGroupError("lost", {0: RuntimeError("killed")})
    policy = _UntilOver(create_failure_policy(FailureConfig(max_failures=1000)), lambda: over[0])
    assert policy.make_decision(lost) is FailureDecision.RETRY
    over[0] = True
    assert policy.make_decision(lost) is FailureDecision.RAISE


def test_a_group_of_one_meets_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Train's own has these methods with these arguments; it is made and ended by these names."""
    theirs = SynchronizationActor.__ray_metadata__.modified_class.broadcast_from_rank_zero
    assert "data" in inspect.signature(theirs).parameters
    monkeypatch.setattr("hpo.engine.trainer.ray.put", lambda value: ("put", value))
    monkeypatch.setattr(
        "hpo.engine.trainer.worker_group.SynchronizationActor._theirs", types.SimpleNamespace(options=dict)
    )
    assert "sync_actor = SynchronizationActor.options(" in inspect.getsource(WorkerGroup._start_impl)
    worker_group.SynchronizationActor.needed_by(1)
    alone = worker_group.SynchronizationActor.options(label_selector={}).remote(timeout_s=1.0)
    brought = alone.broadcast_from_rank_zero.remote(world_rank=0, world_size=1, data="mine", relaxable=True)
    assert brought == ("put", "mine")
    assert "_shutdown_sync_actor(self.sync_actor)" in inspect.getsource(state.WorkerGroupState.shutdown)
    state._shutdown_sync_actor(alone)
    worker_group.SynchronizationActor.needed_by(2)
    assert worker_group.SynchronizationActor.options(label_selector={}) == {"label_selector": {}}, "Ray Train's own"
