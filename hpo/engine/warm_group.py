"""Ray Train's worker group, with what a warm group needs of it.

Its workers take several calls at a time, one of which waits for what their training asks; whoever leads them hears when
they have come and when they are gone; and a group of one worker starts no actor for collectives.

Ray Train's worker group is internal to it; a contract test pins what is used of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import ray
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.worker_group import Worker, WorkerGroup, state, worker_group
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker
from ray.train.v2._internal.util import bundle_to_remote_args
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from hpo.engine.line import line
from hpo.engine.messages import Request


class Leader(Protocol):
    """Whoever gives a group its work. All methods are called in the group's own thread."""

    def connect(self, actors: Sequence[Any]) -> None:
        """The group's workers are there: WarmWorkers, by rank."""

    def disconnect(self) -> None:
        """They are gone, all of them."""

    def is_over(self) -> bool:
        """Whether a group that has no workers needs none any more."""


class WarmWorker(RayTrainWorker):
    """The actor of a worker."""

    def exchange(self, *answer: object) -> Request | None:
        """What its thread that trains asks next, once it has its answer to what it asked last; see `line.py`."""
        return line.answer(*answer) if answer else line.next_request()


class Connecting(WorkerGroupCallback):
    """Tells a group's leader."""

    def __init__(self, leader: Leader) -> None:
        self.leader = leader

    def after_worker_group_training_start(self, worker_group: WorkerGroup) -> None:
        self.leader.connect([worker.actor for worker in worker_group.get_workers()])

    def after_worker_group_shutdown(self, worker_group_context: Any) -> None:
        self.leader.disconnect()

    def after_worker_group_abort(self, worker_group_context: Any) -> None:
        self.leader.disconnect()


LOOK_SECONDS = 0.5
"""How often a group that waits for resources looks whether it is still needed."""
CALLS = 4
"""Calls that a worker takes at a time: one waits for what its training asks, while Ray Train looks whether it lives."""


class _Placement(DefaultPlacementGroupHandle):
    """Doesn't wait for resources any more when the study is over."""

    def __init__(self, pg: PlacementGroup, is_over: Callable[[], bool]) -> None:
        super().__init__(pg)
        self._is_over = is_over

    def wait(self, timeout_seconds: float = 30) -> bool:
        give_up = time.monotonic() + timeout_seconds
        while not self._is_over() and (left := give_up - time.monotonic()) > 0:
            if super().wait(min(left, LOOK_SECONDS)):
                return True
        return False


class Workers(WorkerGroup):
    """A group with a Connecting among its callbacks."""

    _worker_cls = WarmWorker

    def _start(self) -> None:
        """As in the base class, but nothing is left of a start that fails late: the next one needs its place."""
        try:
            super()._start()
        except Exception as error:
            if self.has_started():
                self._worker_group_state.shutdown()
                self._clear_state()
            if isinstance(error, ray.exceptions.RayActorError):  # which would not be tried again
                raise WorkerGroupStartupFailedError("a worker was lost while its group started") from error
            raise

    def _create_placement_group(self, *given: Any) -> Any:
        handle = super()._create_placement_group(*given)
        [leader] = [each.leader for each in self._callbacks if isinstance(each, Connecting)]
        return _Placement(handle.placement_group, leader.is_over)

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
            raise WorkerGroupStartupFailedError("a worker's process has not come up") from error
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
        return _Alone if getattr(self._group, "num_workers", None) == 1 else self._theirs.options(**given)

    def needed_by(self, num_workers: int) -> None:
        """This thread is about to start a group."""
        self._group.num_workers = num_workers


def _end_meeting_place(theirs: Callable[[Any], None], meeting_place: Any) -> None:
    if not isinstance(meeting_place, _Alone):
        theirs(meeting_place)


_meeting_places = _MeetingPlaces(worker_group.SynchronizationActor)
worker_group.SynchronizationActor = _meeting_places
state._shutdown_sync_actor = partial(_end_meeting_place, state._shutdown_sync_actor)
