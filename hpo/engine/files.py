"""Where checkpoints are kept: below a folder, or below `s3://BUCKET[/PREFIX]` (`hpo.engine.s3`).

A checkpoint's address is that of its files: STORAGE/STUDY/trials-LEASE/TRIAL[/generation-G]/step-S. In a folder it is
whole or not there at all: it is written under a temporary name, then renamed. On S3 there is no such renaming, so each
upload has a name of its own, and counts only once a row names it: until then it is rubbish that a sweep removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from hpo.errors import HpoError

ROOM = 2**20
"""With less than this many bytes free a disk counts as full."""
S3 = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FAULTS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EROFS,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.EFBIG,
)

Write = Callable[[Path], None]
"""Writes a checkpoint into an empty folder."""


class StorageError(HpoError):
    """The storage of the checkpoints can't be used as it is: wrongly named, out of reach, or refusing."""


@dataclass(frozen=True, slots=True)
class S3Address:
    """A place on an S3-like storage. `/` goes down, as with a Path; `str` is the address in full."""

    bucket: str
    prefix: str = ""
    """Without slashes at its ends."""

    def __truediv__(self, name: str) -> S3Address:
        return S3Address(self.bucket, f"{self.prefix}/{name}" if self.prefix else name)

    def __str__(self) -> str:
        return f"{S3}{self.key}"

    @property
    def key(self) -> str:
        """BUCKET/PREFIX, as pyarrow names it."""
        return f"{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2]


Address = Path | S3Address


def address(text: str | Path) -> Address:
    """A folder's path, or the place that `s3://BUCKET[/PREFIX]` names. Raises StorageError for anything else."""
    if isinstance(text, Path) or "://" not in text:
        return Path(text)
    rule = "a storage is a folder or s3://BUCKET[/PREFIX]; correct HPO_STORAGE"
    if "@" in text or "?" in text:  # not repeated: what stands there may be a password
        raise StorageError(
            f"the storage's address holds '@' or '?', but {rule}: keys and endpoint go into AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
        )
    if not text.startswith(S3):
        raise StorageError(f"{text!r} is no storage; {rule}")
    bucket, _, prefix = text.removeprefix(S3).partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET.fullmatch(bucket) or "//" in prefix:
        raise StorageError(f"{text!r} names no bucket (3 to 63 of a-z, 0-9, . and -) or has an empty part; {rule}")
    return S3Address(bucket, prefix)


class Measured(NamedTuple):
    """What is known of a stored checkpoint."""

    size_bytes: int
    modified_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint, or what is left of one, that lies in a storage."""

    path: str
    measure: Callable[[], Measured | None]
    """None if it has gone since."""


class CheckpointStorage(Protocol):
    """Checkpoints below one address. Paths are those that `save` gave: whole addresses.

    What fails by the storage's fault is StorageError, or the system's OSError; `fault` knows both.
    """

    def save(self, step: int, write: Write, scratch: Path) -> tuple[str, int]:
        """Store what `write` writes as the checkpoint of a step; its path and its bytes. `scratch` is a local folder.

        Raises what `write` raises; nothing is stored then.
        """

    def fetch(self, path: str, into: Path) -> Path:
        """The local folder with a checkpoint's files: where it lies, or a copy in the new folder `into`.

        Raises FileNotFoundError if there is none to copy.
        """

    def remove(self, path: str) -> None:
        """Remove a checkpoint; none that is gone already."""

    def size_of(self, path: str) -> int | None:
        """The bytes of all files of a checkpoint; None where there is none."""

    def found(self) -> Iterator[Found]:
        """What lies below trials-LEASE here, whole or not: of the study that the address is of."""

    def studies(self) -> list[str]:
        """What lies directly below the address: one of the whole service."""

    def clear(self) -> None:
        """Remove everything below the address."""

    def fault(self, error: Exception, scratch: Path) -> str | None:
        """Why the storage, and not who wrote, is at fault for an error of `save` or `fetch`; None if it isn't."""


def open_storage(place: str | Address) -> CheckpointStorage:
    """The storage at an address. Opening asks nothing of it."""
    place = address(place) if isinstance(place, str) else place
    if isinstance(place, Path):
        return FolderStorage(place)
    from hpo.engine.s3 import S3Storage  # pyarrow's S3 is loaded where it is used

    return S3Storage(place)


def size_of(folder: Path) -> int | None:
    """The bytes of all files in a folder; None where there is none."""
    if not folder.is_dir():
        return None
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def storage_fault(folder: Path, error: Exception) -> str | None:
    """Why the disk, and not who wrote, is at fault for an error in writing to a folder; None if it isn't."""
    if isinstance(error, OSError) and error.errno in _FAULTS:
        return os.strerror(error.errno or 0)
    try:
        free = shutil.disk_usage(folder).free
    except OSError as cause:
        return f"the folder can't be read: {cause.strerror}"
    return f"only {free} bytes are free" if free < ROOM else None


def write_into(folder: Path, write: Write) -> None:
    """`write`, of which a disk that is full or fails is told as StorageError. What it has written so far is looked at
    while it is there: once it is removed the disk isn't full any more, and torch.save doesn't say why it failed."""
    try:
        write(folder)
    except Exception as error:
        if (why := storage_fault(folder.parent, error)) is not None:
            _close_files_of(error)
            raise StorageError(why) from error
        raise


def _close_files_of(error: BaseException) -> None:
    """Forget what the functions that failed still hold: an open file of theirs keeps its room on the disk, removed or
    not, and the next try would find none."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__context__


def sweep(storage: CheckpointStorage, kept: Collection[str]) -> int:
    """Remove the checkpoints of a study that no row names; how many."""
    removed = 0
    for found in storage.found():
        if found.path not in kept:
            storage.remove(found.path)
            removed += 1
    return removed


def sizes(paths: Iterable[str], place: Address) -> dict[str, int | None]:
    """The bytes of checkpoints, by path. Most lie below `place`: on S3 one listing of it tells them all."""
    listed: dict[str, int | None] = {}
    if isinstance(place, S3Address):
        measured = ((found.path, found.measure()) for found in open_storage(place).found())
        listed = {path: seen.size_bytes if seen else None for path, seen in measured}
    return {path: listed[path] if path in listed else open_storage(path).size_of(path) for path in paths}


class FolderStorage:
    """Checkpoints below a folder, which is at the same path on all nodes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def save(self, step: int, write: Write, scratch: Path) -> tuple[str, int]:
        """Whole or not at all: under a temporary name first, then renamed.

        A step that was saved already, before a loss, is not written again.
        """
        target = self.root / f"step-{step:06d}"
        if not target.is_dir():
            self.root.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=self.root))
            try:
                write_into(temporary, write)
                temporary.chmod(0o755)
                temporary.rename(target)
            except BaseException as error:
                shutil.rmtree(temporary, ignore_errors=True)
                if not (isinstance(error, OSError) and target.is_dir()):  # else another leg of the trial was faster
                    raise
        return str(target), size_of(target) or 0

    def fetch(self, path: str, into: Path) -> Path:
        return Path(path)

    def remove(self, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)

    def size_of(self, path: str) -> int | None:
        return size_of(Path(path))

    def found(self) -> Iterator[Found]:
        for trials in sorted(self.root.glob("trials-*")):
            for folder, subfolders, _ in os.walk(trials):
                # With those that were being written when their driver ended: .step-S-XXXX.
                steps = [name for name in subfolders if name.startswith(("step-", ".step-"))]
                subfolders[:] = [name for name in subfolders if name not in steps]
                for name in steps:
                    path = Path(folder) / name
                    yield Found(str(path), partial(_measure, path))

    def studies(self) -> list[str]:
        return sorted({trials.parent.name for trials in self.root.glob("*/trials-*")})

    def clear(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def fault(self, error: Exception, scratch: Path) -> str | None:
        return str(error) if isinstance(error, StorageError) else storage_fault(self.root, error)


def _measure(folder: Path) -> Measured | None:
    """Files that go meanwhile don't count."""
    total = 0
    try:
        modified = folder.stat().st_mtime
    except OSError:
        return None
    for where, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += (Path(where) / name).stat().st_size
    return Measured(total, modified)
