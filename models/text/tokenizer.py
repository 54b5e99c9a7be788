"""The three tokenizers by name: how one is built for a data set, and read from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from models.errors import CheckpointError, DataError
from models.text.characters import CharacterTokenizer
from models.text.pieces import BOS, END, PAD, SPECIAL, UNK, Tokenizer, read_vocabulary
from models.text.wordpiece import WordPieceTokenizer
from models.text.words import WordTokenizer

__all__ = ["BOS", "END", "KINDS", "PAD", "SPECIAL", "UNK", "Tokenizer", "build_tokenizer", "load_tokenizer"]

KINDS: dict[str, type[Tokenizer]] = {
    tokenizer.kind: tokenizer for tokenizer in (CharacterTokenizer, WordPieceTokenizer, WordTokenizer)
}


def build_tokenizer(kind: str, texts: Iterable[str], max_size: int, min_count: int = 2) -> Tokenizer:
    """A tokenizer of `texts` with at most `max_size` ids, SPECIAL included.

    What is seen fewer than `min_count` times is left out. Raises DataError for a kind that is not in KINDS.
    """
    if kind not in KINDS:
        raise DataError(f"tokenizer: {kind!r} is no kind of tokenizer; choose one of {', '.join(KINDS)}")
    return KINDS[kind].build(texts, max_size, min_count)


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a saved tokenizer of any kind.

    Raises CheckpointError when the file is absent, is not such a file, or has another digest.
    """
    kind, _, _ = read_vocabulary(path)
    if kind not in KINDS:
        raise CheckpointError(
            f"{path}: a tokenizer of kind {kind!r}, but this version knows {', '.join(KINDS)}; "
            "use the version that wrote it"
        )
    return KINDS[kind].load(path)
