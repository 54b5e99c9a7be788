"""Headline/body pairs from a file, split into train, dev and test."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from models.errors import DataError
from models.text.columns import COLUMNS, SPLITS, ClickRecord, Pair, pair_of, row_of
from models.text.reading import read_rows

__all__ = [
    "SPLITS",
    "ClickRecord",
    "Pair",
    "PairSplits",
    "load_pairs",
    "read_pairs",
    "split_of",
    "split_pairs",
    "write_pairs",
]

PEOPLES_DAILY = "peoples_daily"
MIN_TRAIN = 2


@dataclass(frozen=True)
class PairSplits:
    """One data set, split."""

    train: tuple[Pair, ...]
    dev: tuple[Pair, ...]
    test: tuple[Pair, ...]


def load_pairs(data: str, cache_dir: Path | None = None) -> PairSplits:
    """The pairs that `data` names: "peoples_daily", or a path to .jsonl, .jsonl.gz, .csv or .parquet.

    A file has the columns `title` and `body`. It may have `split` (train, dev or test); without it a
    pair's split hangs on its headline alone, so that no headline is in two splits.
    Optional as well, and empty where unknown: `keywords` and `history` (a list, or a text with | or ;
    between them), `impressions` with `clicks` (counts), `dwell` (seconds), `recency` (hours),
    `popularity`, `group` (an A/B test: its variants' clicks are compared with each other; `test_id` with
    `image` serves too). With a column `keywords`, `body` may be left out: the keywords stand for it, and
    where there are none either, it is empty.
    Raises DataError: missing, empty, malformed (with the line), a missing column, or too few pairs.
    """
    if data == PEOPLES_DAILY:
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


def read_pairs(path: Path) -> Iterator[tuple[Pair, str | None]]:
    """The file's pairs with the split each row names, if any; raises DataError at the first bad row."""
    return (pair_of(place, row) for place, row in read_rows(path, COLUMNS))


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as gzipped JSON lines under a temporary name, then rename: readers see all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with gzip.open(temporary, "wt", encoding="utf-8") as file:
        for pair in pairs:
            file.write(json.dumps(row_of(pair), ensure_ascii=False) + "\n")
    temporary.replace(path)
