"""A dictionary of hot words: those that make headlines, and where an article holds them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from models.errors import CheckpointError, DataError
from models.text.columns import Pair
from models.text.jieba_words import ENGLISH_STOP_WORDS, chinese_words, idf
from models.text.pieces import CJK

METHODS = ("none", "keywords", "tfidf", "jieba")
# A word in more of the headlines than this tells nothing about any of them.
MAX_SHARE = 0.05
MIN_COUNT = 2

_RUN = re.compile(rf"[{CJK}]+|(?:(?![{CJK}])[^\W\d_])+")
_CJK = re.compile(f"[{CJK}]")


@dataclass(frozen=True)
class HotWords:
    """Words, the hottest first, in lower case; a word's id is its place."""

    words: tuple[str, ...] = ()

    @classmethod
    def build(cls, pairs: Sequence[Pair], method: str = "tfidf", size: int = 2000) -> HotWords:
        """The `size` hottest words of the headlines of `pairs`.

        A word's weight is its count in the headlines times its inverse document frequency: that of the
        headlines ("tfidf"), or jieba's general one ("jieba": words that are rare elsewhere). "none" and
        "keywords" have no words: with the latter only the pairs' own keywords count. Left out are single
        letters and characters, words in one headline only, and those in more than MAX_SHARE of them. Raises
        DataError for another method.
        """
        if method not in METHODS:
            raise DataError(f"hot_words: {method!r} is no method; choose one of {', '.join(METHODS)}")
        if method in ("none", "keywords"):
            return cls()
        counts: Counter[str] = Counter()
        documents: Counter[str] = Counter()
        for pair in pairs:
            words = list(_title_words(pair.title))
            counts.update(words)
            documents.update(set(words))
        most = max(MIN_COUNT, MAX_SHARE * len(pairs))
        kept = [word for word, count in documents.items() if MIN_COUNT <= count <= most]
        if method == "jieba":
            general, median = idf()
            weights = {word: counts[word] * general.get(word, median) for word in kept}
        else:
            weights = {word: counts[word] * math.log((1 + len(pairs)) / documents[word]) for word in kept}
        return cls(tuple(sorted(kept, key=lambda word: (-weights[word], word))[:size]))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the words in their order."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()

    def mask(self, pieces: Sequence[str], keywords: Sequence[str] = ()) -> list[bool]:
        """For each piece of an article, whether a hot word or one of the pair's keywords covers some of it."""
        text = _lower("".join(pieces))
        covered = [(start, end) for start, end, _ in self._occurrences(text)]
        for keyword in {_lower(keyword) for keyword in keywords if keyword}:
            start = text.find(keyword)
            while start >= 0:
                covered.append((start, start + len(keyword)))
                start = text.find(keyword, start + len(keyword))
        marked = bytearray(len(text))
        for start, end in covered:
            marked[start:end] = b"\x01" * (end - start)
        mask, start = [], 0
        for piece in pieces:
            end = start + len(piece)
            mask.append(1 in marked[start:end])
            start = end
        return mask

    def ids_in(self, title: str) -> list[int]:
        """The hot words that a headline holds, ascending and each once."""
        return sorted({word for _, _, word in self._occurrences(_lower(title))})

    def _occurrences(self, text: str) -> Iterator[tuple[int, int, int]]:
        """(start, end, id) of the hot words from left to right, the longest at each place, not overlapping."""
        ids, lengths, position = self._ids, self._lengths, 0
        for match in self._starts.finditer(text):
            start = match.start()
            if start < position:
                continue
            for length in lengths[text[start]]:
                word = ids.get(text[start : start + length])
                if word is not None and _stands_alone(text, start, start + length):
                    position = start + length
                    yield start, position, word
                    break

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def _lengths(self) -> dict[str, list[int]]:
        """For each first character, the lengths of its words, longest first."""
        lengths: dict[str, set[int]] = {}
        for word in self.words:
            lengths.setdefault(word[0], set()).add(len(word))
        return {first: sorted(found, reverse=True) for first, found in lengths.items()}

    @cached_property
    def _starts(self) -> re.Pattern[str]:
        firsts = "".join(map(re.escape, self._lengths))
        return re.compile(f"[{firsts}]" if firsts else "(?!)")

    def save(self, path: Path) -> None:
        """Write the words and their digest as JSON."""
        content = {"digest": self.digest, "words": list(self.words)}
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> HotWords:
        """Read saved words; raises CheckpointError when they cannot be read or were changed."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            words, digest = cls(tuple(content["words"])), content["digest"]
            whole = words.digest == digest
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: no hot words can be read ({error!r}); use a whole checkpoint") from error
        if not whole:
            raise CheckpointError(f"{path}: its words are not those that were saved; take the checkpoint's own file")
        return words


def _title_words(title: str) -> Iterator[str]:
    """Words of at least two characters; those of letters in lower case, and no stop words."""
    for match in _RUN.finditer(_lower(title)):
        run = match.group()
        words = chinese_words(run) if _CJK.match(run) else [run]
        yield from (word for word in words if len(word) > 1 and word not in ENGLISH_STOP_WORDS)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a word of letters is not part of a longer one; Chinese has no such borders."""
    if _CJK.match(text, start):
        return True
    before, after = text[start - 1 : start] if start else "", text[end : end + 1]
    return not any(_is_letter(neighbour) for neighbour in (before, after))


def _is_letter(character: str) -> bool:
    return character.isalnum() and not _CJK.match(character)


def _lower(text: str) -> str:
    """Lower case of the same length, so that positions stay; "İ" alone would become two characters."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c if len(c.lower()) > 1 else c.lower() for c in text)
