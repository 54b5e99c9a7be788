"""A node's cache of what is made from a data set, shared by all trials that run there.

An entry is a folder, named after a digest of everything it was made from. It is built under a file lock,
so that trials which start together wait for one builder, under a temporary name, and then renamed. The
cache never stops a trial: where it cannot be read or written, the trial builds for itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")

MAX_BYTES = 4 << 30
_log = logging.getLogger(__name__)


def cached(
    name: str,
    key: Mapping[str, object],
    build: Callable[[], Value],
    *,
    save: Callable[[Path, Value], None],
    load: Callable[[Path], Value],
    cache_dir: Path | None = None,
) -> Value:
    """The value that `build` makes, from the cache if an entry with this name and key is there.

    `key` holds all that the value hangs on, as JSON takes it. `save(folder, value)` writes into an empty
    folder, and `load(folder)` reads it back; whatever it raises, the entry counts as damaged and is built
    again. An error of `build` passes through. Entries used longest ago go once all exceed MAX_BYTES.
    """
    folder = cache_dir if cache_dir is not None else default_cache_dir()
    digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
    entry = folder / f"{name}-{digest[:32]}"
    # First without the lock: an entry is whole from the moment it has its name.
    for value in _read(entry, load):
        return value
    with _locked(entry.with_suffix(".lock")) as locked:
        for value in _read(entry, load):
            return value
        value = build()
        if locked:
            _write(entry, value, save)
        return value


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/hpo`, by default `~/.cache/hpo`; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpo"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(entry: Path, load: Callable[[Path], Value]) -> list[Value]:
    """The entry's value; an empty list if there is none that can be read."""
    if not entry.is_dir():
        return []
    try:
        value = load(entry)
    except Exception as error:
        _log.warning("cache: %s is damaged (%r) and will be built again", entry, error)
        return []
    # The time of the last use, which decides what is dropped.
    with contextlib.suppress(OSError):
        os.utime(entry)
    return [value]


def _write(entry: Path, value: Value, save: Callable[[Path, Value], None]) -> None:
    temporary = entry.with_suffix(".tmp")
    try:
        # Left by a builder that was killed, or damaged: the lock is ours.
        for stale in (temporary, entry):
            shutil.rmtree(stale, ignore_errors=True)
        temporary.mkdir()
        save(temporary, value)
        temporary.rename(entry)
        _drop_oldest(entry.parent, keep=entry)
    except OSError as error:
        _log.warning("cache: %s cannot be written (%s); the next trial builds it again", entry, error)
        shutil.rmtree(temporary, ignore_errors=True)


def _drop_oldest(folder: Path, keep: Path) -> None:
    entries = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.suffix and entry != keep]
    entries.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    total = 0
    for entry in [keep, *entries]:
        total += sum(file.stat().st_size for file in entry.iterdir())
        if total > MAX_BYTES and entry != keep:
            shutil.rmtree(entry, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the lock `path`, waiting for it; yields False where there can be none, such as a read-only folder."""
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("w"))
            # The kernel lets go of it when the holder dies.
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            _log.warning("cache: no lock %s (%s); this trial builds for itself", path, error)
            yield False
            return
        yield True
