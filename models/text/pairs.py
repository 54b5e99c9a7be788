"""Headline/body pairs from JSON lines, CSV or Parquet, split into train, dev and test."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import DataError

SPLITS = ("train", "dev", "test")
MIN_TRAIN = 2


@dataclass(frozen=True)
class Pair:
    """An article's body and the headline that was printed over it."""

    title: str
    body: str


@dataclass(frozen=True)
class PairSplits:
    """One data set, split."""

    train: tuple[Pair, ...]
    dev: tuple[Pair, ...]
    test: tuple[Pair, ...]


def load_pairs(data: str, cache_dir: Path | None = None) -> PairSplits:
    """The pairs that `data` names: "peoples_daily", or a path to .jsonl, .jsonl.gz, .csv or .parquet.

    A file has the columns `title` and `body` and may have `split` (train, dev or test). Without it a
    pair's split hangs on its headline alone, so that no headline is in two splits.
    Raises DataError: missing, empty, malformed (with the line), a missing column, or too few pairs.
    """
    if data == "peoples_daily":
        # Imported here: peoples_daily is built on this file.
        from models.text.peoples_daily import peoples_daily_pairs

        pairs = peoples_daily_pairs(cache_dir)
        return split_pairs(((pair, None) for pair in pairs), source=data)
    path = Path(data).expanduser()
    if not path.is_file():
        raise DataError(f"data: {data!r} is not a file; give 'peoples_daily' or a path the workers can read")
    if path.stat().st_size == 0:
        raise DataError(f"data: {path} is empty; it needs headline/body pairs in the columns title and body")
    return split_pairs(read_pairs(path), source=str(path))


def split_pairs(rows: Iterable[tuple[Pair, str | None]], source: str) -> PairSplits:
    """Sort the pairs into splits; raises DataError if there are too few to train or to measure."""
    chosen: dict[str, list[Pair]] = {name: [] for name in SPLITS}
    for pair, split in rows:
        chosen[split or split_of(pair.title)].append(pair)
    if len(chosen["train"]) < MIN_TRAIN:
        raise DataError(
            f"data: {source} has {len(chosen['train'])} training pairs, but at least {MIN_TRAIN} are needed; "
            "add pairs, or mark them 'train' in the column split"
        )
    if not chosen["dev"]:
        raise DataError(
            f"data: {source} has no dev pairs, so the held-out perplexity cannot be measured; "
            "mark some pairs 'dev' in the column split"
        )
    return PairSplits(*(tuple(chosen[name]) for name in SPLITS))


def split_of(title: str) -> str:
    """A headline's split, by `sha1(headline) % 10`: 0 is test, 1 is dev, the rest is train."""
    bucket = int(hashlib.sha1(title.encode()).hexdigest(), 16) % 10
    return {0: "test", 1: "dev"}.get(bucket, "train")


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as gzipped JSON lines under a temporary name, then rename: readers see all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with gzip.open(temporary, "wt", encoding="utf-8") as file:
        for pair in pairs:
            file.write(json.dumps({"title": pair.title, "body": pair.body}, ensure_ascii=False) + "\n")
    temporary.replace(path)


def read_pairs(path: Path) -> Iterator[tuple[Pair, str | None]]:
    """The file's pairs with the split each row names, if any; raises DataError at the first bad row."""
    name = path.name.lower()
    if name.endswith((".jsonl", ".jsonl.gz")):
        rows = _read_json_lines(path)
    elif name.endswith((".csv", ".csv.gz")):
        rows = _read_csv(path)
    elif name.endswith(".parquet"):
        rows = _read_parquet(path)
    else:
        raise DataError(f"data: {path} has an unknown ending; give .jsonl, .jsonl.gz, .csv, .csv.gz or .parquet")
    for place, row in rows:
        yield _pair(place, row)


def _pair(place: str, row: Mapping[str, object]) -> tuple[Pair, str | None]:
    for column in ("title", "body"):
        if column not in row:
            found = ", ".join(map(str, row)) or "none"
            raise DataError(f"{place}: no column {column!r} (found: {found}); rename the column of that meaning")
        if not isinstance(row[column], str) or not str(row[column]).strip():
            raise DataError(f"{place}: {column} is {row[column]!r}, but must be a text that is not blank")
    split = row.get("split") or None
    if split is not None and split not in SPLITS:
        raise DataError(f"{place}: split is {split!r}, but must be one of train, dev, test, or left out")
    return Pair(str(row["title"]).strip(), str(row["body"]).strip()), None if split is None else str(split)


def _open_text(path: Path) -> io.TextIOBase:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    with _open_text(path) as file:
        lines = _decoded(path, file)
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{place}: not JSON ({error}); each line is one object with title and body") from error
            if not isinstance(row, dict):
                raise DataError(f"{place}: {type(row).__name__} instead of an object with title and body")
            yield place, row


def _read_csv(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
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
            raise DataError(f"{path}, line {reader.line_num + 1}: not CSV ({error}); quote the field") from error


def _read_parquet(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    # Imported here: only this format needs pyarrow, and importing it takes longer than a small file.
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not Parquet ({error}); write it again with pandas or pyarrow") from error
    wanted = [name for name in ("title", "body", "split") if name in table.column_names]
    if not {"title", "body"} <= set(wanted):
        _pair(str(path), dict.fromkeys(table.column_names, "-"))
    for number, row in enumerate(table.select(wanted).to_pylist(), start=1):
        yield f"{path}, row {number}", row


def _decoded(path: Path, file: io.TextIOBase) -> Iterator[str]:
    """The file's lines; a file that is no UTF-8 text, or no gzip, becomes a DataError with the line."""
    number = 0
    try:
        for line in file:
            number += 1
            yield line
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}, after line {number}: {error}; save the file as UTF-8 and whole") from error
