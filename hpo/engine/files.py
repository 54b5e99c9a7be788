"""Checkpoint folders on disk."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

ROOM = 2**20
"""With less than this many bytes free a disk counts as full."""
_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN)


def size_of(folder: Path) -> int | None:
    """The bytes of all files in a folder; None where there is none."""
    if not folder.is_dir():
        return None
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def storage_fault(folder: Path, error: Exception) -> str | None:
    """Why the storage, and not who wrote, is at fault for an error in writing to a folder; None if it isn't."""
    if isinstance(error, OSError) and error.errno in _FAULTS:
        return os.strerror(error.errno or 0)
    try:
        free = shutil.disk_usage(folder).free
    except OSError as cause:
        return f"the folder can't be read: {cause.strerror}"
    return f"only {free} bytes are free" if free < ROOM else None
