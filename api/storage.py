"""Whether checkpoints can be written."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from hpo.engine.files import Address, S3Address, StorageError

MIN_FREE_BYTES = 500_000_000
"""With less the service is not ready: a checkpoint of some size would fill the disk, and with it the database."""


@dataclass(frozen=True, slots=True)
class StorageHealth:
    """What was found of a storage, as this machine sees it."""

    ok: bool
    detail: str
    """For people; without the storage's address, since /readyz is open to all."""
    free_bytes: int | None = None


def look(folder: Address, *, min_free_bytes: int = MIN_FREE_BYTES) -> StorageHealth:
    """Whether the folder, or the one in which it will be made, may be written and has space; or whether S3 answers and
    has the bucket. Nothing is written."""
    if isinstance(folder, S3Address):
        return _look_at_s3(folder)
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            return StorageHealth(False, "the storage folder is a file, or is to be made in one; correct HPO_STORAGE")
        free = shutil.disk_usage(there).free
    except OSError as error:  # such as a network file system whose server is away
        return StorageHealth(False, f"the storage folder can't be read: {error.strerror}; mount it, or let hpo read it")
    if not os.access(there, os.W_OK | os.X_OK):
        return StorageHealth(
            False, "the storage folder can't be written by the service's user; change its mode or owner"
        )
    if free < min_free_bytes:
        return StorageHealth(
            False, f"{free / 1e9:.2f} GB free, under {min_free_bytes / 1e9:g} GB; free some space (`hpo doctor`)", free
        )
    return StorageHealth(True, f"{free / 1e9:.1f} GB free", free)


def _look_at_s3(place: S3Address) -> StorageHealth:
    from hpo.engine.s3 import S3Storage

    try:
        S3Storage(place, quick=True).ping()
    except StorageError as error:
        return StorageHealth(False, str(error))
    return StorageHealth(True, "S3 answers, and the bucket is there")
