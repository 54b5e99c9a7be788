"""A trial in a worker's hands: what a trainable gets, with a lease that renews itself."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from api.asking import ReferenceAnswer, SuggestedTrial, TellAnswer
from hpo.engine.files import Address, StorageError, open_storage
from hpo.errors import ServiceError
from hpo.local import checked_report
from hpo.protocols import TrialStopped
from hpo.spec import ParamValue
from hpo.trial import Action, FailureCause, Metrics

if TYPE_CHECKING:
    from api.client.asking import Asking

log = logging.getLogger(__name__)

RENEWALS = 3
"""How often a lease is renewed before it would lapse."""


class HeldTrial:
    """The TrialContext (`hpo.protocols`) of a worker of your own; use it as a context manager.

    Its end is told, whatever it is: returning completes the trial, an error fails it, and Ctrl-C gives it back. When
    the trial is stopped, or was lost to another worker, `report` raises TrialStopped, which ends the `with` in silence.
    """

    rank, world_size = 0, 1

    def __init__(
        self, client: Asking, study: str, trial: SuggestedTrial, *, storage: Address | None = None, device: str = "cpu"
    ) -> None:
        self._client, self._study, self._trial, self._storage = client, study, trial, storage
        self.number, self.generation = trial.number, trial.generation
        self.params: Mapping[str, ParamValue] = trial.params
        self.seed, self.max_steps, self.device = trial.seed, trial.max_steps, device
        self.resume: Path | None = None
        self.inherit: Path | None = None
        self.step = 0
        """The last one: what it goes on from, then what it has reported."""
        self._ended = False
        self._stop_renewing = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name=f"hpo-renew-{trial.number}", daemon=True)
        self._folder: Path | None = None

    # -- what a trainable uses ----------------------------------------------------------------------------
    @property
    def workdir(self) -> Path:
        """A scratch folder for this trial, gone after it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"hpo-{self.number:05d}-"))
        return self._folder

    def report(self, step: int, metrics: Metrics, checkpoint: Callable[[Path], None] | None = None) -> None:
        """As TrialContext says. Raises StorageError for a checkpoint if the worker has no storage."""
        plain = checked_report(step, metrics, after=self.step)
        saved, size_bytes = self._save(step, checkpoint) if checkpoint is not None else (None, 0)
        answer = self._tell(
            lambda: self._client.report(self._study, self._trial, step, plain, checkpoint=saved, size_bytes=size_bytes)
        )
        self.step = step
        for reference in filter(self._is_ours, answer.unneeded):
            open_storage(reference).remove(reference)
        self._leave_unless(answer)

    # -- its end ------------------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        self._renewer.start()
        try:
            self.resume, self.inherit = self._fetched(self._trial.resume), self._fetched(self._trial.inherit)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        begun_from = self._trial.resume or self._trial.inherit
        self.step = begun_from.step if begun_from else 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            if not self._ended:
                self._tell_end(error)
        finally:
            self._stop_renewing.set()
            self._renewer.join(timeout=1.0)
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
        return isinstance(error, TrialStopped)

    def _tell_end(self, error: BaseException | None) -> None:
        self._ended = True
        client, study, trial = self._client, self._study, self._trial
        try:
            match error:
                case None | TrialStopped():
                    client.complete(study, trial)
                case ServiceError():
                    pass  # there is nobody to tell
                case StorageError() | KeyboardInterrupt() | SystemExit() | GeneratorExit():
                    client.release(study, trial, message=str(error) or type(error).__name__)
                case _:
                    client.complete(study, trial, cause=_cause(error), message=_told(error))
        except ServiceError as refusal:
            if refusal.status != 409 and error is None:
                raise
            log.warning("trial %d: %s", self.number, refusal)

    # -- inside -------------------------------------------------------------------------------------------
    def _tell(self, how: Callable[[], TellAnswer]) -> TellAnswer:
        try:
            return how()
        except ServiceError as error:
            if error.status != 409:
                raise
            log.warning("trial %d is left: %s", self.number, error)
            self._ended = True
            raise TrialStopped from None

    def _leave_unless(self, answer: TellAnswer) -> None:
        if answer.action is not Action.CONTINUE:
            self._ended = True
            raise TrialStopped

    def _renew(self) -> None:
        """Says that the worker lives. What is answered, the next report hears too."""
        while not self._stop_renewing.wait(self._trial.lease_seconds / RENEWALS):
            try:
                self._client.renew(self._study, self._trial)
            except ServiceError as error:
                log.warning("trial %d can't be renewed: %s", self.number, error)

    def _save(self, step: int, write: Callable[[Path], None]) -> tuple[str, int]:
        if self._storage is None:
            raise StorageError(
                "a checkpoint is reported, but this worker has no storage; give it one that all workers share "
                "(--storage FOLDER or s3://BUCKET/PREFIX)"
            )
        # By the lease, too: whoever held the trial before may still be at its last step.
        folder = self._storage / self._study / f"trials-{self._trial.lease}" / f"{self.number:05d}"
        if self.generation:
            folder /= f"generation-{self.generation:03d}"
        return open_storage(folder).save(step, write, self.workdir)

    def _fetched(self, checkpoint: ReferenceAnswer | None) -> Path | None:
        if checkpoint is None:
            return None
        if not self._is_ours(checkpoint.reference):
            place = f"it is not below {self._storage / self._study}" if self._storage else "it has no storage"
            raise self._unreachable(checkpoint, place)
        try:
            found = open_storage(checkpoint.reference).fetch(checkpoint.reference, self.workdir / "from")
        except OSError as error:
            raise self._unreachable(checkpoint, str(error)) from None
        if not found.is_dir():
            raise self._unreachable(checkpoint, "there is no such folder")
        return found

    def _is_ours(self, reference: str) -> bool:
        """Whether it names something below the study's place in the storage. A reference is whatever another worker
        has reported: nothing elsewhere is read, let alone removed."""
        place = f"{self._storage / self._study}/" if self._storage else ""
        steps = reference.removeprefix(place).split("/")
        return bool(place) and reference.startswith(place) and not {"", ".", ".."}.intersection(steps)

    def _unreachable(self, checkpoint: ReferenceAnswer, why: str) -> StorageError:
        return StorageError(
            f"trial {self.number} goes on from {checkpoint.reference}, which this worker can't read ({why}); "
            "give all workers of a study the same storage"
        )


def _cause(error: BaseException | None) -> FailureCause:
    out_of_memory = isinstance(error, MemoryError) or "out of memory" in str(error)
    return FailureCause.OUT_OF_MEMORY if out_of_memory else FailureCause.ERROR


def _told(error: BaseException | None) -> str:
    """An error in a line, with its place."""
    trace = traceback.extract_tb(error.__traceback__)[-1:] if error is not None else []
    where = f" ({os.path.basename(trace[0].filename)}:{trace[0].lineno})" if trace else ""
    return f"{type(error).__name__}: {error}{where}"
