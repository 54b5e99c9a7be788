"""Files of finished runs: one JSON object a line; those that end in `.gz` are compressed."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")
Fields = dict[str, Any]


def append(file: Path, fields: Mapping[str, Any]) -> None:
    """Add a line in one write, so that it is whole even where several processes append to the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "ab", buffering=0) as stream:
        stream.write(_line(fields))
        os.fsync(stream.fileno())


def write(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A compressed file of these rows only. The same rows give the same bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_bytes(gzip.compress(b"".join(map(_line, rows)), mtime=0))
    partial.replace(file)


def read(file: Path, parse: Callable[[Fields], R]) -> Iterator[R]:
    """What `parse` makes of each line; nothing where there is no file. Raises ValueError for a line that is no run, for
    which `parse` raises a ValueError, KeyError or TypeError."""
    if not file.is_file():
        return
    with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else open(file, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield parse(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{file}, line {number} is no finished run ({error}); remove the line, or name another --out"
                ) from error


def _line(fields: Mapping[str, Any]) -> bytes:
    return (json.dumps(fields) + "\n").encode()
