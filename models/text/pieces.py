"""Pieces of text and their ids: what every tokenizer of headlines shares.

A tokenizer cuts a text into pieces that join to the text again. Ids below `size` are shared by all
texts. In one article, a piece outside the shared vocabulary has the id `size + j`, j being its first
position among the article's pieces: the copy gate can so write a name that the vocabulary has never
seen (the extended vocabulary of See et al. 2017, arXiv:1704.04368, section 2.2).
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

from models.errors import CheckpointError

PAD, BOS, END, UNK = 0, 1, 2, 3
SPECIAL = ("<pad>", "<bos>", "<end>", "<unk>")

# Han, with the radicals, iteration marks and kana that stand inside its words.
CJK = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# A run's length is bounded because the longest match in it takes quadratic time.
MAX_RUN = 64
# Chinese, a word of letters with the space before it, digits, or any one character (line ends as well).
# A number leaves its space outside, so that it is the same piece wherever it stands.
RUNS = re.compile(
    rf"[{CJK}]{{1,{MAX_RUN}}}| ?(?:(?![{CJK}])[^\W\d_]){{1,{MAX_RUN}}}|\d{{1,{MAX_RUN}}}|.",
    re.DOTALL,
)


@dataclass(frozen=True)
class Tokenizer(ABC):
    """A vocabulary and the rule that cuts texts; `pieces` are the shared ones, after the four SPECIAL.

    Lengths of articles and headlines are in pieces.
    """

    pieces: tuple[str, ...]
    kind: ClassVar[str]

    @classmethod
    @abstractmethod
    def build(cls, texts: Iterable[str], max_size: int, min_count: int = 2) -> Self:
        """A tokenizer for `texts` with at most `max_size` ids, SPECIAL included.

        What is seen fewer than `min_count` times is left out, so that unknown pieces are met in training.
        """

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """The text's pieces; they join to the text."""

    def split_batch(self, texts: Sequence[str], length: int | None = None) -> list[list[str]]:
        """Each text's pieces, or its first `length` ones: the same as from `split`, but faster for many texts."""
        return [self.split(text)[:length] for text in texts]

    @property
    def size(self) -> int:
        """Number of shared ids, V."""
        return len(SPECIAL) + len(self.pieces)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of kind and vocabulary: a model's weights only mean something with this very tokenizer."""
        content = json.dumps([self.kind, *self.pieces], ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """The shared ids of the pieces."""
        return {piece: i for i, piece in enumerate(self.pieces, start=len(SPECIAL))}

    def encode_article(self, article: str, length: int) -> list[int]:
        """Ids of the first `length` pieces, padded to `length`; unknown ones get `size + j`."""
        (pieces,) = self.split_batch([article], length)
        return padded(self.article_ids(pieces), length)

    def encode_headline(self, headline: str, article: str, article_length: int, length: int) -> list[int]:
        """Ids of the headline and `<end>`, padded to `length`; a longer headline is cut and has no `<end>`.

        A piece that is unknown, but stands in the encoded part of the article, gets the article's id.
        """
        (source,) = self.split_batch([article], article_length)
        return padded([*self.headline_ids(self.split(headline), source), END][:length], length)

    def article_ids(self, pieces: Sequence[str]) -> list[int]:
        """Ids of an article's pieces over the extended vocabulary."""
        known = self.ids
        return [known[piece] if piece in known else self.size + pieces.index(piece) for piece in pieces]

    def headline_ids(self, pieces: Sequence[str], source: Sequence[str]) -> list[int]:
        """Ids of a headline's pieces; `source` are the pieces of the article that are encoded."""
        known = self.ids
        if all(piece in known for piece in pieces):
            return [known[piece] for piece in pieces]
        # Backwards, so that a piece's first position stays.
        places = {piece: j for j, piece in reversed(list(enumerate(source)))}
        return [
            known[piece] if piece in known else self.size + places[piece] if piece in places else UNK
            for piece in pieces
        ]

    def decode(self, ids: Sequence[int], article: str = "") -> str:
        """The text of `ids` up to `<end>`; ids above the vocabulary are read from `article`."""
        source = self.split(article) if any(i >= self.size for i in ids) else []
        written = []
        for i in ids:
            if i == END:
                break
            if i >= self.size:
                written.append(source[i - self.size])
            elif i >= len(SPECIAL):
                written.append(self.pieces[i - len(SPECIAL)])
            elif i == UNK:
                written.append("\N{REPLACEMENT CHARACTER}")
        return "".join(written)

    def save(self, path: Path) -> None:
        """Write kind, vocabulary and digest as JSON."""
        content = {"kind": self.kind, "digest": self.digest, "pieces": list(self.pieces)}
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved tokenizer of this kind; errors as `models.text.tokenizer.load_tokenizer`."""
        kind, pieces, digest = read_vocabulary(path)
        if kind != cls.kind:
            raise CheckpointError(f"{path}: a tokenizer of kind {kind!r}, but {cls.kind!r} is read; use load_tokenizer")
        tokenizer = cls(pieces)
        if tokenizer.digest != digest:
            raise CheckpointError(
                f"{path}: its pieces hash to {tokenizer.digest[:12]}, but it was saved as {digest[:12]}; "
                "the file was changed, take the checkpoint's own tokenizer.json"
            )
        return tokenizer


def read_vocabulary(path: Path) -> tuple[str, tuple[str, ...], str]:
    """Kind, pieces and digest of a saved tokenizer, unchecked; raises CheckpointError if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind, pieces, digest = content["kind"], content["pieces"], content["digest"]
        if not isinstance(kind, str) or not isinstance(digest, str) or not all(isinstance(p, str) for p in pieces):
            raise TypeError("kind, digest or pieces are no texts")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: no tokenizer can be read ({error!r}); use a whole checkpoint") from error
    return kind, tuple(pieces), digest


def padded(ids: list[int], length: int) -> list[int]:
    """`ids`, filled up to `length` with PAD."""
    return ids + [PAD] * (length - len(ids))


def most_frequent(counts: Counter[str], max_size: int, min_count: int) -> tuple[str, ...]:
    """Pieces by falling frequency; with SPECIAL they fill at most `max_size` ids."""
    # Ties are broken by code point: the same texts in any order give the same ids.
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(piece for piece, count in ranked[: max(0, max_size - len(SPECIAL))] if count >= min_count)
