"""What runs in each process of a worker group: take a trial, train it, take the next one.

The process stays warm: it has imported the trainable and joined its process group once. Between trials it goes back
to a clean state: seeds, torch's defaults, memory, the scratch folder.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.train.collective import broadcast_from_rank_zero

from hpo.engine.conductor import Assignment, Failure, SavedCheckpoint
from hpo.engine.files import size_of, storage_fault
from hpo.local import checked_report
from hpo.protocols import TrialStopped
from hpo.trainables import load
from hpo.trial import FailureCause, Metrics, trial_seed

SAVE_RETRY_SECONDS = (0.2, 1.0, 3.0)
"""Pauses between the tries to write a checkpoint."""


class RenewGroup(Exception):
    """Ends this attempt on purpose: Ray Train starts the group again on new processes."""


def serve(config: Mapping[str, Any]) -> None:
    """The train loop of a group: serves trial after trial until the study is over or its driver is gone."""
    import torch

    torch.set_num_threads(config["threads"])
    context = ray.train.get_context()
    worker = _Worker(config, context.get_world_rank(), context.get_world_size())
    try:
        worker.serve()
    except ray.exceptions.RayActorError:
        return  # the conductor has gone with its driver: the study is over


class _Worker:
    def __init__(self, config: Mapping[str, Any], rank: int, world_size: int) -> None:
        self.conductor = config["conductor"]
        self.group: int = config["group"]
        self.trainable: str = config["trainable"]
        self.seed: int = config["seed"]
        self.max_steps: int = config["max_steps"]
        self.trials_folder = Path(config["trials_folder"])
        self.work_folder = Path(config["storage"]) / "work"
        self.rank, self.world_size = rank, world_size
        self.attempt = 0

    def serve(self) -> None:
        function = None
        error = None
        try:
            function = load(self.trainable)
        except Exception as cause:
            error = f"{type(cause).__name__}: {cause}"
        attempt: int = ray.get(self.conductor.hello.remote(self.group, error)) if self.rank == 0 else 0
        self._freeze()
        self.attempt = broadcast_from_rank_zero(attempt) if self.world_size > 1 else attempt
        if function is None:
            return  # hello() has told why
        turn = 0
        while True:
            assignment: Assignment | None = ray.get(
                self.conductor.next_assignment.remote(self.group, self.attempt, self.rank, turn)
            )
            if assignment is None:
                return
            turn = assignment.turn
            failure = self._train(function, assignment)
            must_renew = ray.get(
                self.conductor.ended.remote(self.group, self.attempt, assignment.job, self.rank, failure)
            )
            if must_renew:
                raise RenewGroup(failure.message if failure else "the group is renewed")

    def _train(self, function: Callable[..., None], assignment: Assignment) -> Failure | None:
        trial = _RemoteTrial(self, assignment)
        _reset(trial.seed)
        try:
            function(dict(assignment.params), trial)
        except TrialStopped:
            return None
        except ray.exceptions.RayActorError:
            raise
        except BaseException as error:  # also SystemExit: the process must outlive the user's code
            return _failure(error)
        finally:
            shutil.rmtree(trial.workdir, ignore_errors=True)
            _free_memory()
            if len(sys.modules) > self._modules:
                self._freeze()
        return None

    def _freeze(self) -> None:
        """What is imported by now stays: collecting between trials need not look at it (70 ms a time, with torch)."""
        gc.freeze()
        self._modules = len(sys.modules)


class _RemoteTrial:
    """The TrialContext of a rank of a worker group."""

    def __init__(self, worker: _Worker, assignment: Assignment) -> None:
        self._worker, self._assignment = worker, assignment
        self._last_step = 0
        self.number = assignment.trial
        self.seed = trial_seed(worker.seed, assignment.trial)
        self.max_steps = worker.max_steps
        self.resume = Path(assignment.checkpoint) if assignment.checkpoint else None
        self.inherit = Path(assignment.inherit) if assignment.inherit else None
        self.rank, self.world_size = worker.rank, worker.world_size
        self.device = str(ray.train.torch.get_device())
        # By the job, too: a leg that was taken from its workers may still be at its last step when the next one begins.
        self.workdir = worker.work_folder / f"{assignment.trial:05d}-{assignment.job}-{worker.rank}"
        shutil.rmtree(self.workdir, ignore_errors=True)  # a killed process leaves its own
        self.workdir.mkdir(parents=True)

    def report(self, step: int, metrics: Metrics, checkpoint: Callable[[Path], None] | None = None) -> None:
        metrics = checked_report(step, metrics, after=self._last_step)
        self._last_step = step
        saved = None
        if checkpoint is not None and self.rank == 0:
            folder = self._worker.trials_folder / f"{self.number:05d}"
            if self._assignment.generation:
                folder /= f"generation-{self._assignment.generation:03d}"
            saved = self._save(folder, step, checkpoint)
        goes_on = ray.get(
            self._worker.conductor.report.remote(
                self._worker.group, self._worker.attempt, self._assignment.job, self.rank, step, metrics, saved
            )
        )
        if not goes_on:
            raise TrialStopped

    def _save(self, folder: Path, step: int, write: Callable[[Path], None]) -> SavedCheckpoint:
        """`save_checkpoint`, tried again for a while: a storage may answer errors and then be well."""
        for pause in (*SAVE_RETRY_SECONDS, None):
            try:
                return save_checkpoint(folder, step, write)
            except Exception as error:  # torch.save says RuntimeError of a full disk
                if (why := storage_fault(folder, error)) is None:
                    raise
                if pause is None:
                    raise CheckpointNotWritten(
                        f"its checkpoint of step {step} can't be written to {folder}: {why}; "
                        "mend that, then resume the study"
                    ) from error
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")


class CheckpointNotWritten(Exception):
    """The storage, not the trial, is at fault."""


def save_checkpoint(folder: Path, step: int, write: Callable[[Path], None]) -> SavedCheckpoint:
    """Write a checkpoint whole or not at all: under a temporary name first, then renamed.

    A step that was saved already, before a loss, is not written again.
    """
    target = folder / f"step-{step:06d}"
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=folder))
        try:
            write(temporary)
            temporary.chmod(0o755)
            temporary.rename(target)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if not (isinstance(error, OSError) and target.is_dir()):  # else another leg of the trial was faster
                raise
    return SavedCheckpoint(path=str(target), size_bytes=size_of(target) or 0)


def _reset(seed: int) -> None:
    """The state that every trial starts from, whatever the last one left."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    if torch.are_deterministic_algorithms_enabled():  # asked first: to turn it off imports torch's compiler, 1.5 s
        torch.use_deterministic_algorithms(False)


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _failure(error: BaseException) -> Failure:
    import torch

    text = str(error)
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "out of memory" in text
    trace = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({os.path.basename(trace[0].filename)}:{trace[0].lineno})" if trace else ""
    connection = any(word in text for word in ("gloo", "NCCL", "by peer", "Connection", "process group"))
    if isinstance(error, CheckpointNotWritten):
        return Failure(message=text[:2000], cause=FailureCause.STORAGE)
    return Failure(
        message=f"{type(error).__name__}: {text}{where}"[:2000],
        cause=FailureCause.OUT_OF_MEMORY if out_of_memory else FailureCause.ERROR,
        poisons=out_of_memory or "CUDA error" in text,
        collateral=isinstance(error, torch.distributed.DistError | RuntimeError) and connection,
    )
