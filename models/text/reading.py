"""Rows of JSON lines, CSV and Parquet, each with the place it stands at."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from models.errors import DataError

Row = Mapping[str, object]


def read_rows(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, Row]]:
    """The file's rows with their places, such as "pairs.csv, line 7"; raises DataError at the first bad one.

    Columns that are not `wanted` may be left out.
    """
    name = path.name.lower()
    if name.endswith((".jsonl", ".jsonl.gz")):
        return _read_json_lines(path)
    if name.endswith((".csv", ".csv.gz")):
        return _read_csv(path)
    if name.endswith(".parquet"):
        return _read_parquet(path, wanted)
    raise DataError(f"data: {path} has an unknown ending; give .jsonl, .jsonl.gz, .csv, .csv.gz or .parquet")


def _open_text(path: Path) -> io.TextIOBase:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_json_lines(path: Path) -> Iterator[tuple[str, Row]]:
    with _open_text(path) as file:
        lines = _decoded(path, file)
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{place}: not JSON ({error}); each line is one object with title and body") from error
            if not isinstance(row, dict):
                raise DataError(f"{place}: {type(row).__name__} instead of an object with title and body")
            yield place, row


def _read_csv(path: Path) -> Iterator[tuple[str, Row]]:
    with _open_text(path) as file:
        reader = csv.DictReader(_decoded(path, file), strict=True)
        try:
            for row in reader:
                place = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    columns = len(reader.fieldnames or ())
                    raise DataError(f"{place}: not the header's {columns} columns; quote a field that has commas")
                yield place, row
        except csv.Error as error:
            raise DataError(
                f"{path}, line {reader.line_num + 1}: not CSV ({error}); quote the field, or give JSON lines"
            ) from error


def _read_parquet(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, Row]]:
    # Imported here: only this format needs pyarrow, and importing it takes longer than a small file.
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not Parquet ({error}); write it again with pandas or pyarrow") from error
    number = 0
    with file:
        names = file.schema_arrow.names
        # All columns only if one is missing: the error then names those that are there.
        columns = [name for name in names if name in wanted] if {"title", "body"} <= set(names) else None
        try:
            for batch in file.iter_batches(batch_size=4096, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{path}, after row {number}: {error}; write it again with pandas or pyarrow") from error


def _decoded(path: Path, file: io.TextIOBase) -> Iterator[str]:
    """The file's lines; a file that is no UTF-8 text, or no gzip, becomes a DataError with the line."""
    number = 0
    try:
        for line in file:
            number += 1
            yield line
    except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}, after line {number}: {error}; save the file as UTF-8 and whole") from error
