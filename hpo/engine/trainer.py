"""Ray Train's controller in a thread of the driver, with what a warm group needs of it and no more.

`TorchTrainer.fit()` starts five actors for a group of one worker: the controller, an actor that removes placement
groups if the controller dies, one that talks to the autoscaler, one for collectives, and the worker. Each is a process
that imports Ray Train, which takes seconds of a CPU, and a study has such a set for every group. Here the controller
is an object of the driver, and a group of one worker has nobody to wait for in a collective. So the driver's job owns
the workers and their placement groups: Ray removes them when the driver dies, in whatever way, and pending placement
groups are what the autoscaler sees.

Ray Train's controller, worker group and scaling policy are internal to it; a contract test pins what is used of them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ray
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.callbacks.state_manager import StateManagerCallback
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.failure_handling import FailureDecision, FailurePolicy
from ray.train.v2._internal.execution.scaling_policy.fixed import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import Worker, WorkerGroup, state, worker_group
from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker
from ray.train.v2._internal.state.state_manager import TrainStateManager
from ray.train.v2._internal.util import bundle_to_remote_args
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.api.result import Result
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from hpo.engine.line import line
from hpo.engine.messages import Request

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

    `connect` is called with the actors of the workers, by rank, whenever they have (re)started: WarmWorkers. `is_over`
    says whether a group that has lost its workers is needed no more.
    """

    def __init__(
        self, *given: Any, connect: Callable[[Sequence[Any]], None], is_over: Callable[[], bool], **named: Any
    ) -> None:
        super().__init__(*given, **named)
        self._connect, self._is_over = connect, is_over

    def _create_default_callbacks(self) -> list[Any]:
        made: list[Any] = [
            _Shown() if isinstance(each, StateManagerCallback) else each
            for each in super()._create_default_callbacks()
            if not isinstance(each, _NEEDLESS)
        ]
        return [*made, _Connecting(self._connect)]

    def _initialize_and_run_controller(self, **given: Any) -> Result:
        given |= {
            "scaling_policy": _Size(self.scaling_config),
            "failure_policy": _UntilOver(given["failure_policy"], self._is_over),
        }
        controller = _Controller(**given)
        asyncio.run(controller.run())
        return controller.get_result()


class WarmWorker(RayTrainWorker):
    """The actor of a worker."""

    def exchange(self, *answer: object) -> Request | None:
        """What its thread that trains asks next, once it has its answer to what it asked last; see `line.py`."""
        return line.answer(*answer) if answer else line.next_request()


class _Connecting(WorkerGroupCallback):
    def __init__(self, connect: Callable[[Sequence[Any]], None]) -> None:
        self._connect = connect

    def after_worker_group_training_start(self, worker_group: WorkerGroup) -> None:
        self._connect([worker.actor for worker in worker_group.get_workers()])


class _UntilOver(FailurePolicy):
    """As another policy says, as long as the group is needed."""

    def __init__(self, policy: FailurePolicy, is_over: Callable[[], bool]) -> None:
        super().__init__(policy.failure_config)
        self._policy, self._is_over = policy, is_over

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        return FailureDecision.RAISE if self._is_over() else self._policy.make_decision(training_failed_error)


CALLS = 4
"""Calls that a worker takes at a time: one waits for what its training asks, while Ray Train looks whether it lives."""


class _Workers(WorkerGroup):
    _worker_cls = WarmWorker

    def _start_impl(self, worker_group_state_builder: Any) -> None:
        _meeting_places.needed_by(self._worker_group_context.num_workers)
        super()._start_impl(worker_group_state_builder)

    def _create_workers(
        self, num_workers: int, placement_group: PlacementGroup, resources_per_worker: dict[str, float], **given: Any
    ) -> list[Worker]:
        """As in the base class for a group as a whole, but for `max_concurrency`."""
        run_config = self._train_run_context.run_config
        made = ray.remote(
            runtime_env=self._get_worker_runtime_env(custom_runtime_env=run_config.worker_runtime_env),
            max_concurrency=CALLS,
            **bundle_to_remote_args(resources_per_worker),
        )(self._worker_cls)
        actors = [
            made.options(
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    placement_group=placement_group, placement_group_bundle_index=place
                )
            ).remote()
            for place in range(num_workers)
        ]
        try:
            known = ray.get([actor.get_metadata.remote() for actor in actors])
        except ray.exceptions.RayActorError as error:
            for actor in actors:
                ray.kill(actor)
            raise worker_group.WorkerGroupStartupFailedError("a worker's process has not come up") from error
        workers = [
            Worker(actor, its, resources_per_worker, placement_group_bundle_index=place)
            for place, (actor, its) in enumerate(zip(actors, known, strict=True))
        ]
        ranked: list[Worker] = WorkerGroup._assign_worker_ranks(workers, 0, None, given.get("replica_group_size"))
        return ranked

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


# -- groups of one ----------------------------------------------------------------------------------------
class _Call:
    def remote(self, data: Any = None, **given: Any) -> Any:
        return ray.put(data)


class _Alone:
    """In the place of Ray Train's SynchronizationActor, a process in which the ranks of a group meet in a collective:
    the rank of a group of one has what it brings."""

    broadcast_from_rank_zero = _Call()

    @classmethod
    def remote(cls, **given: Any) -> _Alone:
        return cls()


class _MeetingPlaces:
    """Makes SynchronizationActors where a group needs one. Ray Train has no setting for it."""

    def __init__(self, theirs: Any) -> None:
        self._theirs = theirs
        self._group = threading.local()
        """Each group is started by a thread of its own."""

    def options(self, **given: Any) -> Any:
        return _Alone if self._group.num_workers == 1 else self._theirs.options(**given)

    def needed_by(self, num_workers: int) -> None:
        """This thread is about to start a group."""
        self._group.num_workers = num_workers


def _end_meeting_place(theirs: Callable[[Any], None], meeting_place: Any) -> None:
    if not isinstance(meeting_place, _Alone):
        theirs(meeting_place)


_meeting_places = _MeetingPlaces(worker_group.SynchronizationActor)
worker_group.SynchronizationActor = _meeting_places
state._shutdown_sync_actor = partial(_end_meeting_place, state._shutdown_sync_actor)
