"""Tables as CSV, Parquet and JSON, written as their rows come by: the memory that is needed doesn't grow with them.

CSV and Parquet name their columns first, and which metrics were reported is known last: their rows wait in a temporary
file. So a study at work can't add a column after the header.
"""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import IO, Any

from hpo.namesakes import check_same
from hpo.protocols import MAX_PAGE_SIZE, Store
from hpo.report.tables import METRICS, Column, Kind, TableRow, What, columns, rows
from hpo.store.rows import name_of
from hpo.trial import Study

CHUNK_BYTES = 1 << 16
SPOOLED_ROWS = 1_000
ROW_GROUP = 20_000
"""Rows of Parquet that are in memory at a time."""


class Format(StrEnum):
    """How a table is written."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"
    """One array of objects."""
    JSONL = "jsonl"
    """One object a line."""


def export(store: Store, study: str, *, what: What, format: Format) -> Iterator[bytes]:
    """A study's table, in pieces. Raises StudyNotFoundError, also in their midst where it is deleted."""
    of = store.study(study)
    spec, found = of.spec, _of_one(store, of, rows(store, study, what))
    match format:
        case Format.JSONL:
            return _chunks(_line(row) + b"\n" for row in found)
        case Format.JSON:
            return _chunks(_array(found))
        case Format.CSV | Format.PARQUET:
            write = _csv if format is Format.CSV else _parquet
            return _named(found, lambda metrics: columns(spec, what, metrics), write)


def guarded(text: str) -> str:
    """A text as a cell of CSV that no spreadsheet runs as a formula: behind an apostrophe where it begins with one of
    = + - @, a tab, a return, or an apostrophe. So to drop a leading apostrophe gives the text back (OWASP, CSV
    injection)."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "'") else text


# -- JSON -------------------------------------------------------------------------------------------------
def _line(row: TableRow) -> bytes:
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    except ValueError:  # JSON has no such numbers: they become their names, as in all answers of the service
        text = json.dumps(finite(row), ensure_ascii=False)
    return text.encode("utf-8", "replace")


def _array(found: Iterable[TableRow]) -> Iterator[bytes]:
    between = b"[\n"
    for row in found:
        yield between + _line(row)
        between = b",\n"
    yield b"\n]\n" if between == b",\n" else b"[]\n"


def finite(value: Any) -> Any:
    """JSON data in which every number is finite; the others become their names."""
    if isinstance(value, float):
        return value if math.isfinite(value) else name_of(value)
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def _spelt(number: float) -> str:
    return repr(number) if math.isfinite(number) else name_of(number)


# -- CSV --------------------------------------------------------------------------------------------------
def _csv(named: list[Column], found: Iterable[TableRow]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in named])
    for row in found:
        writer.writerow([_cell(column.kind, row.get(column.name)) for column in named])
        if text.tell() >= CHUNK_BYTES:
            yield _taken(text)
    yield _taken(text)


def _taken(text: io.StringIO) -> bytes:
    taken = text.getvalue().encode("utf-8", "replace")
    text.seek(0)
    text.truncate()
    return taken


def _cell(kind: Kind, value: Any) -> str:
    if value is None:
        return ""
    match kind:
        case Kind.TEXT:
            return guarded(str(value))
        case Kind.FLOAT:
            return _spelt(float(value))
        case Kind.BOOL:
            return "true" if value else "false"
        case Kind.TIME:
            return datetime.fromtimestamp(value, UTC).isoformat(timespec="microseconds")
        case Kind.JSON:
            return guarded(json.dumps(finite(value), ensure_ascii=False))
    return str(value)


# -- Parquet ----------------------------------------------------------------------------------------------
def _parquet(named: list[Column], found: Iterable[TableRow]) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        Kind.INT: pa.int64(), Kind.FLOAT: pa.float64(), Kind.BOOL: pa.bool_(), Kind.TEXT: pa.string(),
        Kind.TIME: pa.timestamp("us", "UTC"), Kind.JSON: pa.string(),
    }  # fmt: skip
    schema = pa.schema([(column.name, types[column.kind]) for column in named])
    written = _Written()
    remaining = iter(found)
    with pq.ParquetWriter(pa.PythonFile(written, mode="w"), schema) as writer:
        while group := list(islice(remaining, ROW_GROUP)):
            arrays = [
                pa.array([_stored(column.kind, row.get(column.name)) for row in group], types[column.kind])
                for column in named
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            yield written.take()
    yield written.take()  # the footer


def _stored(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    match kind:
        case Kind.TIME:
            return round(value * 1e6)
        case Kind.JSON:
            return json.dumps(finite(value), ensure_ascii=False)
        case Kind.TEXT:
            return str(value).encode("utf-8", "replace").decode()
    return value


class _Written(io.RawIOBase):
    """A file that hands on what is written to it. Parquet is written from its beginning to its end."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _of_one(store: Store, study: Study, found: Iterator[TableRow]) -> Iterator[TableRow]:
    """The rows, as long as they are the study's: whoever reads slowly may read on when another one has its name."""
    while page := list(islice(found, MAX_PAGE_SIZE)):
        check_same(store, study)
        yield from page


# -- both -------------------------------------------------------------------------------------------------
def _named(
    found: Iterator[TableRow],
    name: Callable[[list[str]], list[Column]],
    write: Callable[[list[Column], Iterable[TableRow]], Iterator[bytes]],
) -> Iterator[bytes]:
    """Write a table whose columns are known once all of its rows were seen: `name` says them, given its metrics."""
    with _spooled(found) as (metrics, again):
        yield from write(name(metrics), again)


@contextmanager
def _spooled(found: Iterator[TableRow]) -> Iterator[tuple[list[str], Iterator[TableRow]]]:
    """The metrics that rows have, in the order in which they came up, and the rows once more."""
    metrics: list[str] = []
    seen: set[str] = set()
    with tempfile.TemporaryFile(prefix="hpo-export-") as file:
        while page := list(islice(found, SPOOLED_ROWS)):
            for row in page:
                if not row.keys() <= seen:
                    new = row.keys() - seen
                    seen |= new
                    metrics += [name.removeprefix(METRICS) for name in row if name in new and name.startswith(METRICS)]
            pickle.dump(page, file, pickle.HIGHEST_PROTOCOL)
        file.seek(0)
        yield metrics, _spooled_rows(file)


def _spooled_rows(file: IO[bytes]) -> Iterator[TableRow]:
    while True:
        try:
            yield from pickle.load(file)  # ours: nobody else can write to a file without a name
        except EOFError:
            return


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that are worth sending."""
    waiting, size = [], 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)
