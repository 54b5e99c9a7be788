"""A tokenizer of words: Chinese by jieba's dictionary, the rest as it is written.

English words keep the space before them; digits, punctuation and other spaces stand alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Self

from models.text.jieba_words import chinese_words
from models.text.pieces import CJK, RUNS, Tokenizer, most_frequent

_CJK = re.compile(f"[{CJK}]")


@dataclass(frozen=True)
class WordTokenizer(Tokenizer):
    """Words by falling frequency."""

    kind: ClassVar[str] = "words"

    @classmethod
    def build(cls, texts: Iterable[str], max_size: int, min_count: int = 2) -> Self:
        """The most frequent words of `texts`; at most `max_size` ids, SPECIAL included.

        A word seen fewer than `min_count` times is left out.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_words(text))
        return cls(most_frequent(counts, max_size, min_count))

    def split(self, text: str) -> list[str]:
        """The text's words."""
        return list(_words(text))

    def split_batch(self, texts: Sequence[str], length: int | None = None) -> list[list[str]]:
        """Each text's first `length` words, or all; what follows them is not read."""
        return [list(islice(_words(text), length)) for text in texts]


def _words(text: str) -> Iterator[str]:
    for match in RUNS.finditer(text):
        run = match.group()
        if len(run) > 1 and _CJK.match(run):
            yield from chinese_words(run)
        else:
            yield run
