"""Writes a study's rows in batches, under the driver's lease, from a thread of its own.

Tune's loop never waits for the database. Rows are visible within FLUSH_SECONDS; a database that doesn't answer is
tried again, and the rows wait in memory. The lease is renewed here too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from hpo.engine.files import FolderStorage, StorageError, open_storage
from hpo.errors import LeaseLostError, StoreError
from hpo.protocols import Store
from hpo.steering import Command
from hpo.trial import Checkpoint, Lease, Row

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.2
LISTEN_SECONDS = 0.5
"""How often it looks for commands."""
CLOSE_SECONDS = 60.0
"""How long `close` goes on trying to write what is left."""


REMOVERS = 4
"""Checkpoints on S3 that are removed at a time."""


class Recorder:
    """Use as a context manager; `close` writes what is left. `lost` turns true when another driver took over."""

    def __init__(self, store: Store, lease: Lease, *, lease_seconds: float = 30.0) -> None:
        self._store, self._lease, self._lease_seconds = store, lease, lease_seconds
        self._rows: list[Row] = []
        self._dropped: list[Checkpoint] = []
        self._remover = ThreadPoolExecutor(max_workers=REMOVERS, thread_name_prefix="hpo-remover")
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._renewed_at = time.monotonic()
        self.lost = False
        self.error: str | None = None
        """Why rows can't be written, if it is not the database's absence."""
        self._commands: deque[Command] = deque()
        self._last_command = 0
        self._listened_at = 0.0
        self.share: int | None = None
        """How many trials the study may train at once, by the store."""
        self._thread = threading.Thread(target=self._run, name="hpo-recorder", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def lease(self) -> Lease:
        return self._lease

    def write(self, rows: Sequence[Row]) -> None:
        """Take the rows; they are written in order, each call's rows in one transaction."""
        with self._lock:
            self._rows.extend(rows)

    def command(self) -> Command | None:
        """The next one that people have given and nobody has done."""
        return self._commands.popleft() if self._commands else None

    def drop(self, checkpoint: Checkpoint) -> None:
        """Remove a checkpoint, once all rows taken so far are written: one of them names its successor."""
        with self._lock:
            self._dropped.append(checkpoint)

    def close(self) -> None:
        """Write what is left and end the thread. Raises StoreError if the database stayed away.

        On S3 what is dropped and not yet removed stays: no row names it, so a sweep removes it.
        """
        self._closing.set()
        self._thread.join()
        self._remover.shutdown(wait=True, cancel_futures=True)
        if self._rows and not self.lost:
            raise StoreError(f"{len(self._rows)} rows could not be written within {CLOSE_SECONDS:g} s of the end")

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self._tick()
        give_up = time.monotonic() + CLOSE_SECONDS
        while not self._tick() and not (self.lost or self.error) and time.monotonic() < give_up:
            time.sleep(FLUSH_SECONDS)

    def _tick(self) -> bool:
        """Renew and flush; whether nothing is left to do."""
        try:
            if time.monotonic() - self._renewed_at > self._lease_seconds / 3:
                self._lease = self._store.renew(self._lease, lease_seconds=self._lease_seconds)
                self._renewed_at = time.monotonic()
            self._flush()
            self._listen()
        except LeaseLostError as error:
            self.lost = True
            log.error("another driver has taken over: %s", error)
        except StoreError as error:
            log.warning("the store does not answer, %d rows wait: %s", len(self._rows), error)
            return False
        except Exception as error:  # a defect of ours: never go on training what isn't recorded
            log.exception("rows can't be written")
            self.error = f"rows can't be written: {error}"
            return False
        return True

    def _listen(self) -> None:
        now = time.monotonic()
        if now - self._listened_at < LISTEN_SECONDS or self._closing.is_set():
            return
        self._listened_at = now
        self.share = self._store.study(self._lease.study).share
        for command in self._store.commands(self._lease.study):
            if command.id > self._last_command:
                self._commands.append(command)
                self._last_command = command.id

    def _flush(self) -> None:
        with self._lock:
            rows, dropped = list(self._rows), list(self._dropped)
        if rows:
            self._store.write(self._lease, rows)
        with self._lock:
            del self._rows[: len(rows)]
        if dropped:  # the row first: a row never names a folder that is gone
            self._store.forget_checkpoints(self._lease, [checkpoint.path for checkpoint in dropped])
            for checkpoint in dropped:
                self._remove(checkpoint.path)
        with self._lock:
            del self._dropped[: len(dropped)]

    def _remove(self, path: str) -> None:
        storage = open_storage(path)
        if isinstance(storage, FolderStorage):
            storage.remove(path)
            return

        def remove() -> None:
            try:
                storage.remove(path)
            except StorageError as error:
                log.warning("%s stays until the study is swept: %s", path, error)

        self._remover.submit(remove)  # a slow server must not keep the lease from being renewed
