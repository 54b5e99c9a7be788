"""What runs in each process of a worker group: take a trial, train it, take the next one.

The process stays warm: it has imported the trainable and joined its process group once. Between trials it goes back
to a clean state: seeds, torch's defaults, memory, the scratch folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import ray.train

from hpo.engine.files import Address, address, open_storage
from hpo.engine.fresh import Process, loaded_torch
from hpo.engine.line import line
from hpo.engine.messages import Assignment, Failure, Hello, Left, Next, Reported, SavedCheckpoint
from hpo.engine.scratch import work_folder
from hpo.local import checked_report
from hpo.protocols import TrialStopped
from hpo.trainables import load
from hpo.trial import FailureCause, Metrics, trial_seed

T = TypeVar("T")

SAVE_RETRY_SECONDS = (0.2, 1.0, 3.0)
"""Pauses between the tries to write or to fetch a checkpoint."""
TRY_SECONDS = 60.0
"""After that long there is no further try: one at a server that doesn't answer takes most of a minute."""


class RenewGroup(Exception):
    """Ends this attempt on purpose: Ray Train starts the group again on new processes."""


def serve(config: Mapping[str, Any]) -> None:
    """The train loop of a group: serves trial after trial until the study is over. Ray ends it if its driver dies."""
    context = ray.train.get_context()
    try:
        _Worker(config, context.get_world_rank(), context.get_world_size()).serve()
    finally:
        line.close()


class _Worker:
    def __init__(self, config: Mapping[str, Any], rank: int, world_size: int) -> None:
        self.trainable: str = config["trainable"]
        self.seed: int = config["seed"]
        self.max_steps: int = config["max_steps"]
        self.trials_folder = address(config["trials_folder"])
        self.work_folder = work_folder(address(config["storage"]))
        self.rank, self.world_size = rank, world_size
        self.device = _device() if config["gpus"] else "cpu"
        self._process = Process(config["threads"])

    def serve(self) -> None:
        function = None
        error = None
        try:
            function = load(self.trainable)
        except Exception as cause:
            error = f"{type(cause).__name__}: {cause}"
        line.ask(Hello(error))
        self._process.freeze()
        if function is None:
            return  # the hello has told why
        turn = 0
        while True:
            assignment: Assignment | None = line.ask(Next(turn))
            if assignment is None:
                return
            turn = assignment.turn
            failure = self._train(function, assignment)
            if line.ask(Left(assignment.job, failure)):
                raise RenewGroup(failure.message if failure else "the group is renewed")

    def _train(self, function: Callable[..., None], assignment: Assignment) -> Failure | None:
        try:
            trial = _RemoteTrial(self, assignment)
        except StorageFailed as error:
            return _failure(error)
        self._process.begin(trial.seed)
        try:
            trial.fetch()
            function(dict(assignment.params), trial)
        except TrialStopped:
            return None
        except BaseException as error:  # also SystemExit: the process must outlive the user's code
            return _failure(error)
        finally:
            for folder in (trial.workdir, trial.fetched):
                shutil.rmtree(folder, ignore_errors=True)
            self._process.end()
        return None


class _RemoteTrial:
    """The TrialContext of a rank of a worker group."""

    def __init__(self, worker: _Worker, assignment: Assignment) -> None:
        self._worker, self._assignment = worker, assignment
        self._last_step = 0
        self.number = assignment.trial
        self.seed = trial_seed(worker.seed, assignment.trial)
        self.max_steps = worker.max_steps
        self.resume: Path | None = None
        self.inherit: Path | None = None
        self.rank, self.world_size = worker.rank, worker.world_size
        self.device = worker.device
        # By the job, too: a leg that was taken from its workers may still be at its last step when the next one begins.
        self.workdir = worker.work_folder / f"{assignment.trial:05d}-{assignment.job}-{worker.rank}"
        self.fetched = self.workdir.with_name(f"{self.workdir.name}-from")
        shutil.rmtree(self.workdir, ignore_errors=True)  # a killed process leaves its own
        _tried(
            lambda: self.workdir.mkdir(parents=True),
            lambda error: error.strerror if isinstance(error, OSError) else None,
            lambda why: StorageFailed(f"{self.workdir} can't be made: {why}; mend that, then resume the study"),
        )

    def fetch(self) -> None:
        """Have the checkpoint that it goes on from on this machine; each rank has its own copy of one on S3."""
        self.resume = self._fetched(self._assignment.checkpoint)
        self.inherit = self._fetched(self._assignment.inherit)

    def _fetched(self, path: str | None) -> Path | None:
        if path is None:
            return None
        storage = open_storage(path)

        def fetch() -> Path:
            shutil.rmtree(self.fetched, ignore_errors=True)  # of a try that broke off
            return storage.fetch(path, self.fetched)

        return _tried(
            fetch,
            lambda error: storage.fault(error, self.workdir.parent),
            lambda why: StorageFailed(f"the checkpoint {path} can't be read: {why}; mend that, then resume the study"),
        )

    def report(self, step: int, metrics: Metrics, checkpoint: Callable[[Path], None] | None = None) -> None:
        metrics = checked_report(step, metrics, after=self._last_step)
        self._last_step = step
        saved = None
        if checkpoint is not None and self.rank == 0:
            folder = self._worker.trials_folder / f"{self.number:05d}"
            if self._assignment.generation:
                folder /= f"generation-{self._assignment.generation:03d}"
            saved = self._save(folder, step, checkpoint)
        reported = Reported(job=self._assignment.job, step=step, metrics=metrics, checkpoint=saved)
        if not line.ask(reported):
            raise TrialStopped

    def _save(self, folder: Address, step: int, write: Callable[[Path], None]) -> SavedCheckpoint:
        """`save_checkpoint`, tried again for a while."""
        scratch = folder if isinstance(folder, Path) else self._worker.work_folder
        return _tried(
            lambda: save_checkpoint(folder, step, write, scratch),
            lambda error: open_storage(folder).fault(error, scratch),
            lambda why: CheckpointNotWritten(
                f"its checkpoint of step {step} can't be written to {folder}: {why}; mend that, then resume the study"
            ),
        )


class StorageFailed(Exception):
    """The storage, not the trial, is at fault."""


class CheckpointNotWritten(StorageFailed):
    """What the trial has reached is not stored."""


def _tried(
    action: Callable[[], T], fault: Callable[[Exception], str | None], given_up: Callable[[str], Exception]
) -> T:
    """What `action` returns, tried again for a while: a storage may answer errors and then be well.

    An error for which `fault` knows no reason is raised at once; the last one as `given_up` says, with its reason.
    """
    give_up = time.monotonic() + TRY_SECONDS
    for pause in (*SAVE_RETRY_SECONDS, None):
        try:
            return action()
        except Exception as error:  # torch.save says RuntimeError of a full disk
            if (why := fault(error)) is None:
                raise
            if pause is None or time.monotonic() > give_up:
                raise given_up(why) from error
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def save_checkpoint(
    folder: Address, step: int, write: Callable[[Path], None], scratch: Path | None = None
) -> SavedCheckpoint:
    """Write a checkpoint of a trial into its folder, whole or not at all. `scratch` is needed where that is on S3."""
    path, size_bytes = open_storage(folder).save(step, write, scratch or Path(tempfile.gettempdir()))
    return SavedCheckpoint(path=path, size_bytes=size_bytes)


def _device() -> str:
    """The GPU that Ray has given this rank, as torch names it."""
    import ray.train.torch

    return str(ray.train.torch.get_device())


def _failure(error: BaseException) -> Failure:
    torch = loaded_torch()
    text = str(error)
    no_memory = (MemoryError, torch.OutOfMemoryError) if torch else MemoryError
    out_of_memory = isinstance(error, no_memory) or "out of memory" in text
    trace = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({os.path.basename(trace[0].filename)}:{trace[0].lineno})" if trace else ""
    connection = any(word in text for word in ("gloo", "NCCL", "by peer", "Connection", "process group"))
    if isinstance(error, StorageFailed):
        return Failure(message=text[:2000], cause=FailureCause.STORAGE)
    return Failure(
        message=f"{type(error).__name__}: {text}{where}"[:2000],
        cause=FailureCause.OUT_OF_MEMORY if out_of_memory else FailureCause.ERROR,
        poisons=out_of_memory or "CUDA error" in text,
        collateral=isinstance(error, RuntimeError) and connection,
    )
