"""A tokenizer whose pieces are characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from models.text.pieces import BOS, END, PAD, SPECIAL, UNK, Tokenizer, most_frequent

__all__ = ["BOS", "END", "PAD", "SPECIAL", "UNK", "CharacterTokenizer"]


@dataclass(frozen=True)
class CharacterTokenizer(Tokenizer):
    """Characters by falling frequency."""

    kind: ClassVar[str] = "characters"

    @classmethod
    def build(cls, texts: Iterable[str], max_size: int, min_count: int = 2) -> Self:
        """The most frequent characters of `texts`; at most `max_size` ids, SPECIAL included.

        A character seen fewer than `min_count` times is left out, so that `<unk>` is met in training.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        return cls(most_frequent(counts, max_size, min_count))

    def split(self, text: str) -> list[str]:
        """The text's characters."""
        return list(text)

    def split_batch(self, texts: Sequence[str], length: int | None = None) -> list[list[str]]:
        """Each text's first `length` characters, or all."""
        return [list(text[:length]) for text in texts]
