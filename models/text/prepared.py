"""A data set made ready for training, out of the node's cache where a trial made it before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from models.text.cache import cached, file_digest
from models.text.click import ClickScaler
from models.text.columns import row_of
from models.text.encoded import EncodedPairs
from models.text.hot_words import HotWords
from models.text.pairs import PEOPLES_DAILY, SPLITS, PairSplits, load_pairs, read_pairs
from models.text.peoples_daily import find_corpus
from models.text.pieces import Tokenizer
from models.text.reader import Reader
from models.text.tokenizer import build_tokenizer, load_tokenizer


@dataclass(frozen=True)
class Prepared:
    """A data set's tensors, and the reader that encodes texts which come later in the same way."""

    reader: Reader
    train: EncodedPairs
    dev: EncodedPairs
    test: EncodedPairs
    splits: PairSplits


def prepare(
    data: str,
    *,
    tokenizer_kind: str = "characters",
    vocabulary: int,
    article_length: int,
    headline_length: int,
    hot_words: str = "none",
    num_hot_words: int = 2000,
    history_length: int = 0,
    clicks: bool = False,
    device: str = "cpu",
    reader: Reader | None = None,
    cache_dir: Path | None = None,
) -> Prepared:
    """Read, tokenize and encode the pairs that `data` names (see load_pairs).

    `vocabulary` is the most shared ids; lengths are in pieces, and `history_length` in ids (0: no history).
    `hot_words` is a method of HotWords.build; "none" leaves the reader's None. With `clicks`, records of
    clicks are read where there are any. All of it is built from the training split alone. A checkpoint's
    `reader` is used instead of a built one, and the parameters that it holds then count for nothing.
    Raises DataError for the pairs, an unknown kind of tokenizer or an unknown method.
    """
    source = {"data": _data_digest(data), "code": _code_digest()}
    splits = cached(
        "pairs", source, lambda: load_pairs(data), save=_save_splits, load=_load_splits, cache_dir=cache_dir
    )
    if reader is None:
        reader = Reader(
            _tokenizer(tokenizer_kind, vocabulary, splits, source, cache_dir),
            article_length,
            headline_length,
            history_length,
            None if hot_words == "none" else _hot_words(hot_words, num_hot_words, splits, source, cache_dir),
            ClickScaler.fit(splits.train) if clicks else None,
        )
    encoded = cached(
        "encoded",
        source
        | {
            "reader": reader.digests,
            "lengths": [reader.article_length, reader.headline_length, reader.history_length],
        },
        lambda: [reader.encode(pairs) for pairs in (splits.train, splits.dev, splits.test)],
        save=_save_encoded,
        load=_load_encoded,
        cache_dir=cache_dir,
    )
    train, dev, test = (pairs.to(device) for pairs in encoded)
    return Prepared(reader, train, dev, test, splits)


def _tokenizer(
    kind: str, vocabulary: int, splits: PairSplits, source: dict[str, str], cache_dir: Path | None
) -> Tokenizer:
    return cached(
        "tokenizer",
        source | {"kind": kind, "vocabulary": vocabulary},
        lambda: build_tokenizer(kind, (text for pair in splits.train for text in (pair.title, pair.body)), vocabulary),
        save=lambda folder, tokenizer: tokenizer.save(folder / "tokenizer.json"),
        load=lambda folder: load_tokenizer(folder / "tokenizer.json"),
        cache_dir=cache_dir,
    )


def _hot_words(method: str, size: int, splits: PairSplits, source: dict[str, str], cache_dir: Path | None) -> HotWords:
    return cached(
        "hot_words",
        source | {"method": method, "size": size},
        lambda: HotWords.build(splits.train, method, size),
        save=lambda folder, words: words.save(folder / "hot_words.json"),
        load=lambda folder: HotWords.load(folder / "hot_words.json"),
        cache_dir=cache_dir,
    )


def _data_digest(data: str) -> str:
    """A digest of the data set's content; of its name, if there is no such file: load_pairs then says so."""
    path = find_corpus() if data == PEOPLES_DAILY else Path(data).expanduser()
    return f"{path.suffix} {file_digest(path)}" if path.is_file() else data


@cache
def _code_digest() -> str:
    """A digest of this package's source: what other code has built is never read."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _save_splits(folder: Path, splits: PairSplits) -> None:
    for name in SPLITS:
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row_of(pair), ensure_ascii=False) + "\n" for pair in getattr(splits, name))


def _load_splits(folder: Path) -> PairSplits:
    return PairSplits(*(tuple(pair for pair, _ in read_pairs(folder / f"{name}.jsonl")) for name in SPLITS))


def _save_encoded(folder: Path, encoded: Sequence[EncodedPairs]) -> None:
    content = [(pairs.tensors(), pairs.vocabulary, pairs.num_hot_words) for pairs in encoded]
    torch.save(content, folder / "encoded.pt")


def _load_encoded(folder: Path) -> list[EncodedPairs]:
    content = torch.load(folder / "encoded.pt", weights_only=True)
    return [EncodedPairs(**tensors, vocabulary=size, num_hot_words=words) for tensors, size, words in content]
