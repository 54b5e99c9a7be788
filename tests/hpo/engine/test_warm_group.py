"""What a warm group rests on in Ray Train, whose worker group is internal to it."""

from __future__ import annotations

import inspect
import time
import types
from collections.abc import Sequence
from typing import Any
from unittest.mock import create_autospec

import pytest
import ray
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError
from ray.train.v2._internal.execution.checkpoint.sync_actor import SynchronizationActor
from ray.train.v2._internal.execution.worker_group import WorkerGroup, state, worker_group
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker

from hpo.engine.warm_group import Connecting, Workers, _Placement


def test_the_context_of_a_worker_is_what_ray_train_gives_it_but_for_the_controller() -> None:
    """Ours is a copy of its method: where that one changes, so must ours."""
    theirs = inspect.getsource(WorkerGroup._init_train_context_on_workers)
    ours = inspect.getsource(Workers._init_train_context_on_workers)
    given = [name for name in inspect.signature(RayTrainWorker.init_train_context).parameters if name != "self"]
    for name in [name for name in given if f"{name}=" in theirs]:
        assert f"{name}=" in ours, name
    assert "_decorate_worker_log_file_paths(workers)" in theirs
    assert theirs.count(".remote(") == 1


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


def test_a_group_of_one_meets_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Train's own has these methods with these arguments; it is made and ended by these names."""
    theirs = SynchronizationActor.__ray_metadata__.modified_class.broadcast_from_rank_zero
    assert "data" in inspect.signature(theirs).parameters
    monkeypatch.setattr("hpo.engine.warm_group.ray.put", lambda value: ("put", value))
    monkeypatch.setattr(
        "hpo.engine.warm_group.worker_group.SynchronizationActor._theirs", types.SimpleNamespace(options=dict)
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


class Led:
    """A leader that remembers."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.over = False

    def connect(self, actors: Sequence[Any]) -> None:
        self.heard.append(list(actors))

    def disconnect(self) -> None:
        self.heard.append("gone")

    def is_over(self) -> bool:
        return self.over


def test_a_leader_hears_when_workers_come_and_when_they_are_gone() -> None:
    led = Led()
    group = create_autospec(WorkerGroup, instance=True)
    group.get_workers.return_value = [types.SimpleNamespace(actor="first"), types.SimpleNamespace(actor="second")]
    told = Connecting(led)
    told.after_worker_group_training_start(group)
    told.after_worker_group_shutdown(None)
    told.after_worker_group_abort(None)
    assert led.heard == [["first", "second"], "gone", "gone"]
    for name in ("after_worker_group_training_start", "after_worker_group_shutdown", "after_worker_group_abort"):
        assert f"callback.{name}(" in inspect.getsource(WorkerGroup)


def test_a_start_that_fails_late_leaves_nothing_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Train cleans up after one that fails early only."""
    group = object.__new__(Workers)
    group._callbacks, group._worker_group_state = [], None
    group._world_rank_to_ongoing_poll = {}
    started = create_autospec(state.WorkerGroupState, instance=True)

    def fails(self: Any, builder: Any) -> None:
        self._worker_group_state = started
        raise ray.exceptions.RayActorError()

    monkeypatch.setattr(WorkerGroup, "_start_impl", fails)
    group._worker_group_context = types.SimpleNamespace(num_workers=2)
    with pytest.raises(WorkerGroupStartupFailedError):
        group._start()
    started.shutdown.assert_called_once_with()
    assert not group.has_started()


def test_a_group_that_is_needed_no_more_stops_waiting_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    led = Led()

    def wait(self: Any, timeout_seconds: float = 30) -> bool:
        waits.append(timeout_seconds)
        led.over = len(waits) == 3
        return False

    monkeypatch.setattr(DefaultPlacementGroupHandle, "wait", wait)
    assert _Placement(None, led.is_over).wait(60.0) is False  # type: ignore[arg-type]
    assert len(waits) == 3
    assert max(waits) <= 0.5
    led.over = False
    monkeypatch.setattr(DefaultPlacementGroupHandle, "wait", lambda self, timeout_seconds: True)
    began = time.monotonic()
    assert _Placement(None, led.is_over).wait(60.0) is True  # type: ignore[arg-type]
    assert time.monotonic() - began < 30
    assert "pg_handle.wait(self._worker_group_start_timeout_s)" in inspect.getsource(WorkerGroup._start_impl)
