"""Warm worker groups: Ray Train runs that serve trial after trial, owned by the driver.

Ray's documented way starts a new TorchTrainer in every trial, which costs its start each time. Here K threads of
the driver run one `fit()` each for the length of the study. Their owner is the driver's process: if it dies in
whatever way, Ray ends them.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.backend import BackendConfig

from hpo.engine import worker
from hpo.engine.exchange import Exchange
from hpo.engine.files import Address
from hpo.engine.scratch import scratch_folder
from hpo.engine.trainer import GroupTrainer, quieten
from hpo.errors import ClusterError, TrainableNotFoundError
from hpo.spec import Resources, StudySpec

log = logging.getLogger(__name__)

MAX_RENEWALS = 1000
"""How often a group may come back in a study. Finite, so that a group that dies at every start ends some day."""
STRAGGLER_SECONDS = 60.0
"""How long the study waits for the other groups once the first is ready."""
START_TIMEOUT_SECONDS = 600.0
LOOK_SECONDS = 5.0
"""How often a study whose workers don't start looks whether the cluster is full."""
LEAVE_SECONDS = 30.0
KILL_SECONDS = 2.0
"""How long it waits for workers that it has ended."""


class WorkerGroups:
    """K groups of `spec.resources.workers` workers, and the exchange through which they get their work. Use as a
    context manager, in the thread that turns the exchange."""

    def __init__(self, spec: StudySpec, *, groups: int, storage: Address, run: str) -> None:
        self.spec, self.size = spec, groups
        self._storage, self._run = storage, run
        self.exchange = Exchange(world_size=spec.resources.workers, max_losses=spec.retry.lost_workers)
        self.conductor = self.exchange.conductor
        self.leave_seconds = LEAVE_SECONDS
        """How long the workers may take to come to their next report, and to go home, when the study is over."""
        self.fault: Exception | None = None
        """Why the cluster can't be reached, if it can't."""
        self.is_closed = False
        self._errors: list[str] = []
        self._threads: list[threading.Thread] = []
        self._groups = groups
        self._crowded, self._looked_at = False, time.monotonic()

    def __enter__(self) -> WorkerGroups:
        quieten()
        self._start(self._groups)
        return self

    def _start(self, count: int) -> None:
        for group in range(len(self._threads), len(self._threads) + count):
            thread = threading.Thread(target=self._fit, args=(group,), name=f"hpo-group-{group}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def resize(self, groups: int) -> None:
        """Have so many groups from now on: new ones start, or some go home as soon as they are free."""
        self._start(self.conductor.retire(self.size - groups))
        self.size = groups

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_closed = True
        try:
            self.conductor.close()
            self._wait_for_ends(self.leave_seconds)
        finally:
            self.exchange.kill()  # workers that are still at a step
        self._wait_for_ends(KILL_SECONDS)

    def _wait_for_ends(self, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < give_up:
            self.exchange.turn(time.monotonic(), timeout=0.02)

    def wait_ready(self) -> int:
        """Wait for the groups' workers to have started and imported the trainable; how many groups are ready.

        Raises TrainableNotFoundError if they can't import it, ClusterError if no group starts.
        """
        first: float | None = None
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            ready, error = self.conductor.ready_groups()
            if error is not None:
                raise TrainableNotFoundError(f"the workers can't load {self.spec.trainable!r}: {error}")
            now = time.monotonic()
            first = first or (now if ready else None)
            if self.is_closed:
                return ready
            if not self.size:  # it may have none for the time being
                deadline = now + START_TIMEOUT_SECONDS
                time.sleep(0.2)
                continue
            if ready >= self.size or (first and now - first > STRAGGLER_SECONDS):
                return ready
            if self._is_crowded(now):
                deadline = now + START_TIMEOUT_SECONDS
            if (lost := self.all_lost) or now > deadline:
                why = lost or f"not within {START_TIMEOUT_SECONDS:g} s"
                raise ClusterError(f"no worker group could be started: {why}")
            time.sleep(0.05)

    def _is_crowded(self, now: float) -> bool:
        """Whether others hold what a group needs: then it waits, for as long as they train."""
        if now - self._looked_at > LOOK_SECONDS:
            free, resources = ray.available_resources(), self.spec.resources
            need = {"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker}
            self._crowded = any(free.get(kind, 0.0) < each * resources.workers - 1e-6 for kind, each in need.items())
            self._looked_at = now
        return self._crowded

    def check(self) -> None:
        """Notice when all groups have ended since the cluster is gone: then the study hasn't failed."""
        if self.all_lost and not self.fault:
            try:
                ray.cluster_resources()
            except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
                self.fault = error

    @property
    def all_lost(self) -> str | None:
        """Why no group is left, if none is."""
        if not self.size or any(thread.is_alive() for thread in self._threads):
            return None
        return "; ".join(self._errors) or "all worker groups have ended"

    def _fit(self, group: int) -> None:
        resources = self.spec.resources
        per_worker = {"CPU": resources.cpus_per_worker}
        if resources.gpus_per_worker:
            per_worker["GPU"] = resources.gpus_per_worker
        trainer = GroupTrainer(
            worker.serve,
            train_loop_config={
                "trainable": self.spec.trainable,
                "seed": self.spec.seed,
                "max_steps": self.spec.budget.steps_per_trial,
                "threads": max(1, int(resources.cpus_per_worker)),
                "gpus": resources.gpus_per_worker,
                "storage": str(self._storage),
                "trials_folder": str(self._storage / f"trials-{self._run}"),
            },
            leader=_Leader(self, group),
            backend_config=_backend(resources),
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=resources.gpus_per_worker > 0,
                resources_per_worker=per_worker,
            ),
            run_config=RunConfig(
                # A name that was used before would bring back that run's old state.
                name=f"{self.spec.name}-group-{group}-{uuid.uuid4().hex[:8]}",
                storage_path=str(scratch_folder(self._storage) / "train"),
                failure_config=FailureConfig(max_failures=MAX_RENEWALS, controller_failure_limit=3),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:
            self._errors.append(f"group {group}: {type(error).__name__}: {str(error)[:500]}")
            if not self.is_closed:
                log.error("worker group %d has ended: %s", group, error)
        finally:
            self.exchange.group_ended(group)


@dataclass(frozen=True, slots=True)
class _Leader:
    """Of one of the groups: their exchange."""

    groups: WorkerGroups
    group: int

    def connect(self, actors: Sequence[Any]) -> None:
        if not self.groups.is_closed:
            self.groups.exchange.connect(self.group, actors)
            return
        for actor in actors:  # they have started too late
            ray.kill(actor)

    def disconnect(self) -> None:
        self.groups.exchange.disconnect(self.group)

    def is_over(self) -> bool:
        return self.groups.is_closed


def _backend(resources: Resources) -> BackendConfig:
    """Several workers join a process group of torch's. One alone has no one to join, with `hpo local` neither, and a
    trainable that doesn't use torch need not wait until it is imported."""
    if resources.workers == 1:
        return BackendConfig()
    from ray.train.torch import TorchConfig

    return TorchConfig()
