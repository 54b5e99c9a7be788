"""Ray Train's controller in a thread of the driver, with what a warm group needs of it and no more.

`TorchTrainer.fit()` starts five actors for a group of one worker: the controller, an actor that removes placement
groups if the controller dies, one that talks to the autoscaler, one for collectives, and the worker. Each is a process
that imports Ray Train, which takes seconds of a CPU, and a study has such a set for every group. Here the controller
is an object of the driver. So the driver's job owns the workers and their placement groups: Ray removes them when the
driver dies, in whatever way, and pending placement groups are what the autoscaler sees.

Ray Train's controller, worker group and scaling policy are internal to it; a contract test pins what is used of them.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import ray
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.callbacks.state_manager import StateManagerCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy.fixed import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.state.state_manager import TrainStateManager
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.result import Result

_NEEDLESS = (DatasetsCallback, PlacementGroupCleanerCallback)
"""The actor that serves Ray's data sets, which nobody asks; and the one that watches a controller in an actor."""


def quieten() -> None:
    """Settings that Ray Train reads from the environment; to be called before the first group starts."""
    # A process a group that takes seconds of a CPU to start. What is lost is found without it.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    # It would turn the driver's own log into files of Ray's.
    os.environ.setdefault("RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING", "0")
    # How often a controller looks at its workers, in s: by default 2, which a study would wait at its end.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
    # The loop of a controller waits for nobody but its group.
    os.environ.setdefault("RAY_WARN_BLOCKING_GET_INSIDE_ASYNC", "0")


class GroupTrainer(DataParallelTrainer):
    """Its `fit` runs a group to its end in the thread that calls it. `leader` is the id of an actor that lives as long
    as the group's driver, for those who ask whether the run still has somebody."""

    def __init__(self, *given: Any, leader: str, **named: Any) -> None:
        super().__init__(*given, **named)
        self._leader = leader

    def _create_default_callbacks(self) -> list[Any]:
        return [
            _Shown(self._leader) if isinstance(each, StateManagerCallback) else each
            for each in super()._create_default_callbacks()
            if not isinstance(each, _NEEDLESS)
        ]

    def _initialize_and_run_controller(self, **given: Any) -> Result:
        controller = _Controller(**{**given, "scaling_policy": _Size(self.scaling_config)})
        asyncio.run(controller.run())
        return controller.get_result()


class _Workers(WorkerGroup):
    def _init_train_context_on_workers(
        self, workers: list[Any], sync_actor: Any, arguments: dict[str, list[Any]]
    ) -> None:
        """As in the base class, but for the handle of the controller's actor, which there is none of. Workers would
        ask it for the checkpoints that were reported to Ray Train; ours report to the Conductor."""
        ray.get(
            [
                each.actor.init_train_context.remote(
                    train_run_context=self._train_run_context,
                    distributed_context=each.distributed_context,
                    synchronization_actor=sync_actor,
                    storage_context=self._storage_context,
                    worker_callbacks=self._worker_callbacks_to_propagate,
                    controller_actor=None,
                    **{name: values[rank] for name, values in arguments.items()},
                )
                for rank, each in enumerate(workers)
            ]
        )
        self._decorate_worker_log_file_paths(workers)


class _Controller(TrainController):
    worker_group_cls = _Workers


class _Size(FixedScalingPolicy):
    """A group has the size that it has. It asks no autoscaler by an actor: its placement group does."""

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """Nothing."""

    def _maybe_send_resource_request(self) -> None:
        """Nothing."""


class _Shown(StateManagerCallback):
    """What Ray's dashboard shows of a run. It takes the run for aborted when the actor of its controller is dead."""

    def __init__(self, leader: str) -> None:
        super().__init__(datasets={})
        self._leader = leader

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """As in the base class, but for the actor and its log file."""
        self._state_manager = TrainStateManager()
        self._run_name, self._run_id = train_run_context.get_run_config().name, train_run_context.run_id
        self._job_id = ray.get_runtime_context().get_job_id()
        self._controller_actor_id = self._leader
        self._state_manager.create_train_run(
            id=self._run_id,
            name=self._run_name,
            job_id=self._job_id,
            controller_actor_id=self._leader,
            controller_log_file_path=None,
            run_config=train_run_context.run_config,
            train_loop_config=train_run_context.train_loop_config,
            scaling_config=train_run_context.scaling_config,
            backend_config=train_run_context.backend_config,
            datasets=self._datasets,
            dataset_config=train_run_context.dataset_config,
        )
