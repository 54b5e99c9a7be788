"""Ray Tune's controller in the driver, whose trials' actors are objects of the driver too.

`tune.run` starts a process for each trial at a time, with a placement group of its own. Our trials are trained by warm
worker groups, so such a process would only hold a lease: it costs seconds to start, and two more hops a report. Here
Tune's controller is what it always is, with our searcher and scheduler or its own schedulers; in the place of its
manager of actors it has `Leases`, whose trials start at once.

Tune writes nothing of its own state: it is never restored, the store is the truth.

Tune's controller and the interface of its manager are internal to it; a contract test pins what is used of them.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.tune
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.train import Checkpoint as TuneCheckpoint
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Experiment
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.search_generator import SearchGenerator

from hpo.engine.conductor import Conductor
from hpo.engine.lease import TrialLease
from hpo.engine.messages import Ended, Report


@dataclass(slots=True, eq=False)
class _Held:
    """An actor, to Tune."""

    lease: TrialLease
    folder: Path
    """Where Tune would have its checkpoints."""
    is_started: bool = False
    on_result: Callable[[TrackedActor, dict[str, Any]], None] | None = None
    """Whom Tune wants to be told of the next report."""


class Leases:
    """What Tune's controller uses of its RayActorManager, over leases. One event a call of `next`, as there.

    `wait` lets the Conductor hear its workers; it is given how many seconds it may wait for them.
    """

    def __init__(self, conductor: Conductor, wait: Callable[[float], None], make: Callable[..., TrialLease]) -> None:
        self._conductor, self._wait, self._make = conductor, wait, make
        self._ids, self._saves = itertools.count(), itertools.count()
        self._held: dict[TrackedActor, _Held] = {}
        self._due: deque[tuple[TrackedActor, Callable[[], None]]] = deque()

    @property
    def _live_actors_to_ray_actors_resources(self) -> dict[TrackedActor, tuple[None, None]]:
        return {tracked: (None, None) for tracked, held in self._held.items() if held.is_started}

    @property
    def num_live_actors(self) -> int:
        return sum(held.is_started for held in self._held.values())

    @property
    def num_total_actors(self) -> int:
        return len(self._held)

    @property
    def num_pending_actors(self) -> int:
        return self.num_total_actors - self.num_live_actors

    @property
    def num_actor_tasks(self) -> int:
        return sum(held.on_result is not None for held in self._held.values())

    def get_live_actors_resources(self) -> dict[str, float]:
        """Nothing: the workers have the resources."""
        return {}

    def is_actor_started(self, tracked_actor: TrackedActor) -> bool:
        held = self._held.get(tracked_actor)
        return held is not None and held.is_started

    def is_actor_failed(self, tracked_actor: TrackedActor) -> bool:
        return False

    def add_actor(
        self,
        cls: Any,
        resource_request: Any,
        kwargs: dict[str, Any],
        on_start: Callable[[TrackedActor], None],
        on_stop: Callable[[TrackedActor], None],
        on_error: Callable[[TrackedActor, Exception], None],
    ) -> TrackedActor:
        tracked = TrackedActor(next(self._ids), on_start=on_start, on_stop=on_stop, on_error=on_error)
        held = _Held(self._make(kwargs["config"]), Path(kwargs["storage"].trial_fs_path))
        self._held[tracked] = held

        def start() -> None:
            held.is_started = True
            on_start(tracked)

        self._due.append((tracked, start))
        return tracked

    def schedule_actor_task(
        self,
        tracked_actor: TrackedActor,
        method_name: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        on_result: Callable[..., None] | None = None,
        on_error: Callable[..., None] | None = None,
        _return_future: bool = False,
    ) -> Any:
        held, value, future = self._held[tracked_actor], None, None
        if method_name == "train":
            self._train(tracked_actor, held, on_result)
            return None
        if method_name == "save":
            value = self._save(held)
            future = ray.put(value) if _return_future else None
        if on_result is not None:
            self._due.append((tracked_actor, lambda: on_result(tracked_actor, value)))
        return future

    def _train(self, tracked: TrackedActor, held: _Held, on_result: Callable[..., None] | None) -> None:
        lease = held.lease
        held.on_result = on_result

        def hear(event: Report | Ended) -> None:
            result = lease.result(event)
            if (then := held.on_result) is not None:
                held.on_result = None
                self._due.append((tracked, lambda: then(tracked, result)))

        if lease.job is None:
            lease.job = self._conductor.assign(**lease.wanted)
        self._conductor.advance(lease.job, lease.step, hear)

    def _save(self, held: _Held) -> _TrainingResult:
        folder = held.folder / f"save-{next(self._saves):06d}"
        folder.mkdir(parents=True)
        held.lease.save(folder)
        return _TrainingResult(TuneCheckpoint.from_directory(folder), {})

    def clear_actor_task_futures(self, tracked_actor: TrackedActor) -> None:
        """Nothing that it was asked for matters any more."""
        if (held := self._held.get(tracked_actor)) is not None:
            held.on_result = None
        self._due = deque(entry for entry in self._due if entry[0] != tracked_actor)

    def remove_actor(self, tracked_actor: TrackedActor, kill: bool = False, stop_future: Any = None) -> bool:
        """Whether there was one that had started."""
        held = self._held.get(tracked_actor)
        if held is None:
            return False
        self.clear_actor_task_futures(tracked_actor)
        del self._held[tracked_actor]
        if held.lease.job is not None:
            self._conductor.cancel(held.lease.job)

        def stop() -> None:
            if tracked_actor._on_stop:
                tracked_actor._on_stop(tracked_actor)

        self._due.append((tracked_actor, stop))
        return held.is_started

    def next(self, timeout: float | None = None) -> bool:
        """One event; False if there is none within `timeout` s."""
        if not self._due:
            self._wait(timeout or 0.0)
        if not self._due:
            return False
        self._due.popleft()[1]()
        return True

    def cleanup(self) -> None:
        for tracked in list(self._held):
            self.remove_actor(tracked)
        self._due.clear()


class _NeverShort:
    """In the place of what warns of trials that find no resources: leases need none."""

    def on_no_available_trials(self, trials: list[Any]) -> None:
        """Nothing."""


class _Controller(TuneController):
    def __init__(self, leases: Leases, **given: Any) -> None:
        super().__init__(**given)
        self._actor_manager = leases
        self._insufficient_resources_manager = _NeverShort()

    def _update_trial_queue(self, blocking: bool = False, timeout: int = 600) -> bool:
        """It never blocks. By itself it asks for a trial every second where there is none, and does nothing else for
        ten minutes: nobody would hear the workers, or what is asked of the study."""
        added: bool = super()._update_trial_queue(blocking=False)
        return added

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Nothing: it is never restored."""

    def _mark_trial_to_checkpoint(self, trial: Any) -> None:
        """Nothing, likewise."""


class _Storage(StorageContext):
    """Tune's files lie in one folder; by itself it also has one for each trial among Ray's own."""

    def _get_session_path(self) -> str:
        return str(self.experiment_fs_path)


class _Experiment(Experiment):
    _storage_context_cls = _Storage


class _Trained(ray.tune.Trainable):
    """Tune asks for the class of a trial's actor, and for what it needs. Nobody makes one."""


def tune(searcher: Searcher, scheduler: TrialScheduler, leases: Leases, folder: Path) -> None:
    """Run Tune's loop until the searcher has finished and no trial is left. `folder` is for what Tune writes."""
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it would complain that it finds no files
    experiment = _Experiment(
        folder.name,
        run=_Trained,
        num_samples=sys.maxsize,  # legs: the searcher says when it is over
        storage_path=str(folder.parent),
        checkpoint_config=ray.tune.CheckpointConfig(checkpoint_at_end=False),
    )
    source = SearchGenerator(searcher)
    controller = _Controller(
        leases,
        search_alg=source,
        scheduler=scheduler,
        storage=experiment.storage,
        trial_checkpoint_config=experiment.checkpoint_config,
    )
    source.add_configurations([experiment])
    controller.update_max_pending_trials()
    controller.setup_experiments([experiment], total_num_samples=source.total_samples)
    try:
        while not controller.is_finished():
            controller.step()
    finally:
        controller.cleanup()
