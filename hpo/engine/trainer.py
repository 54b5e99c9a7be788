"""Ray Train's controller in a thread of the driver, with what a warm group needs of it and no more.

`TorchTrainer.fit()` starts five actors for a group of one worker: the controller, an actor that removes placement
groups if the controller dies, one that talks to the autoscaler, one for collectives, and the worker. Each is a process
that imports Ray Train, which takes seconds of a CPU, and a study has such a set for every group. Here the controller
is an object of the driver, and a group of one worker has nobody to wait for in a collective (see `warm_group.py`). So
the driver's job owns the workers and their placement groups: Ray removes them when the driver dies, in whatever way,
and pending placement groups are what the autoscaler sees.

Ray Train's controller and scaling policy are internal to it; a contract test pins what is used of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import ray
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.callbacks.state_manager import StateManagerCallback
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.failure_handling import FailureDecision, FailurePolicy
from ray.train.v2._internal.execution.scaling_policy.fixed import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.state.state_manager import TrainStateManager
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.api.result import Result

from hpo.engine.warm_group import Connecting, Leader, Workers

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
    """Its `fit` runs a group to its end in the thread that calls it.

    `leader` gives it its work.
    """

    def __init__(self, *given: Any, leader: Leader, **named: Any) -> None:
        super().__init__(*given, **named)
        self._leader = leader

    def _create_default_callbacks(self) -> list[Any]:
        made: list[Any] = [
            _Shown() if isinstance(each, StateManagerCallback) else each
            for each in super()._create_default_callbacks()
            if not isinstance(each, _NEEDLESS)
        ]
        return [*made, Connecting(self._leader)]

    def _initialize_and_run_controller(self, **given: Any) -> Result:
        given |= {
            "scaling_policy": _Size(self.scaling_config),
            "failure_policy": _UntilOver(given["failure_policy"], self._leader.is_over),
        }
        controller = _Controller(**given)
        asyncio.run(controller.run())
        return controller.get_result()


class _UntilOver(FailurePolicy):
    """As another policy says, as long as the group is needed. To find no room is no failure: it waits, however long."""

    def __init__(self, policy: FailurePolicy, is_over: Callable[[], bool]) -> None:
        super().__init__(policy.failure_config)
        self._policy, self._is_over = policy, is_over

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        if self._is_over():
            return FailureDecision.RAISE
        cause = getattr(training_failed_error, "controller_failure", None)
        if isinstance(cause, WorkerGroupStartupTimeoutError):
            return FailureDecision.RETRY
        return self._policy.make_decision(training_failed_error)


class _Controller(TrainController):
    worker_group_cls = Workers


class _Size(FixedScalingPolicy):
    """A group has the size that it has. It asks no autoscaler by an actor: its placement group does."""

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """Nothing."""

    def _maybe_send_resource_request(self) -> None:
        """Nothing."""


class _Shown(StateManagerCallback):
    """What Ray's dashboard shows of a run. It takes a run for aborted when the actor of its controller is dead; here
    that is the first worker, which dies with the driver."""

    def __init__(self) -> None:
        super().__init__(datasets={})

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """As in the base class, but for the actor and its log file."""
        self._state_manager = TrainStateManager()
        self._run_name, self._run_id = train_run_context.get_run_config().name, train_run_context.run_id
        self._job_id = ray.get_runtime_context().get_job_id()
        # As long as there is no worker: one that lives as long as the cluster does.
        self._nobody = self._controller_actor_id = self._state_manager._state_actor._actor_id.hex()
        self._state_manager.create_train_run(
            id=self._run_id,
            name=self._run_name,
            job_id=self._job_id,
            controller_actor_id=self._nobody,
            controller_log_file_path=None,
            run_config=train_run_context.run_config,
            train_loop_config=train_run_context.train_loop_config,
            scaling_config=train_run_context.scaling_config,
            backend_config=train_run_context.backend_config,
            datasets=self._datasets,
            dataset_config=train_run_context.dataset_config,
        )

    def after_worker_group_start(self, worker_group: WorkerGroup) -> None:
        self._lead(worker_group.get_workers()[0].actor._actor_id.hex())
        super().after_worker_group_start(worker_group)

    def before_worker_group_shutdown(self, worker_group: WorkerGroup) -> None:
        self._lead(self._nobody)
        super().before_worker_group_shutdown(worker_group)

    def _lead(self, actor_id: str) -> None:
        """To be told with what the base class tells next."""
        self._state_manager._runs[self._run_id].controller_actor_id = actor_id
