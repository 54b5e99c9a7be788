"""What a group's trainer rests on in Ray Train, whose controller and callbacks are internal to it."""

from __future__ import annotations

import inspect
import types
from unittest.mock import create_autospec

import pytest
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.callbacks.state_manager import StateManagerCallback
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.failure_handling import FailureDecision, create_failure_policy
from ray.train.v2._internal.execution.scaling_policy import ResizeDecision
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.state.state_manager import TrainStateManager
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from hpo.engine.trainer import GroupTrainer, _Controller, _Shown, _Size, _UntilOver
from hpo.engine.warm_group import Connecting, Leader, Workers


def a_trainer() -> GroupTrainer:
    return GroupTrainer(
        print,
        leader=create_autospec(Leader, instance=True),
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
    assert isinstance(connecting, Connecting)


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
    assert _Controller.worker_group_cls is Workers


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


def test_a_group_that_is_needed_no_more_does_not_come_back() -> None:
    over = [False]
    lost = WorkerGroupError("lost", {0: RuntimeError("killed")})
    policy = _UntilOver(create_failure_policy(FailureConfig(max_failures=1000)), lambda: over[0])
    assert policy.make_decision(lost) is FailureDecision.RETRY
    over[0] = True
    assert policy.make_decision(lost) is FailureDecision.RAISE


def test_a_group_waits_for_room_as_long_as_others_train() -> None:
    over = [False]
    config = FailureConfig(max_failures=1000, controller_failure_limit=3)
    policy = _UntilOver(create_failure_policy(config), lambda: over[0])
    no_room = ControllerError(WorkerGroupStartupTimeoutError(num_workers=1))
    assert {policy.make_decision(no_room) for _ in range(20)} == {FailureDecision.RETRY}
    broken = ControllerError(WorkerGroupStartupFailedError("no"))
    assert [policy.make_decision(broken) for _ in range(4)] == [FailureDecision.RETRY] * 3 + [FailureDecision.RAISE]
    over[0] = True
    assert policy.make_decision(no_room) is FailureDecision.RAISE
