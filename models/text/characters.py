"""A character tokenizer whose ids can also point at characters that only one article holds.

Ids below `size` are shared by all texts. In one article, a character outside the shared vocabulary
has the id `size + j`, j being its first position there: the copy gate can so write a name that the
vocabulary has never seen (the extended vocabulary of See et al. 2017, arXiv:1704.04368, section 2.2).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from models.errors import CheckpointError

PAD, BOS, END, UNK = 0, 1, 2, 3
SPECIAL = ("<pad>", "<bos>", "<end>", "<unk>")


@dataclass(frozen=True)
class CharacterTokenizer:
    """Characters by falling frequency, after the four special tokens."""

    characters: tuple[str, ...]

    @classmethod
    def build(cls, texts: Iterable[str], max_size: int, min_count: int = 2) -> CharacterTokenizer:
        """The most frequent characters of `texts`; at most `max_size` ids, special tokens included.

        A character seen fewer than `min_count` times is left out, so that `<unk>` is met in training.
        """
        counts = Counter(character for text in texts for character in text)
        # Ties are broken by code point: the same texts in any order give the same ids.
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [character for character, count in ranked if count >= min_count]
        return cls(tuple(kept[: max_size - len(SPECIAL)]))

    @property
    def size(self) -> int:
        """Number of shared ids, V."""
        return len(SPECIAL) + len(self.characters)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the vocabulary: a model's weights only mean something with this very tokenizer."""
        return hashlib.sha256("\n".join(self.characters).encode()).hexdigest()

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {character: i for i, character in enumerate(self.characters, start=len(SPECIAL))}

    def encode_article(self, article: str, length: int) -> list[int]:
        """Ids of the first `length` characters, padded to `length`; unknown ones get `size + j`."""
        text = article[:length]
        ids = [self._ids.get(character, self.size + text.index(character)) for character in text]
        return ids + [PAD] * (length - len(ids))

    def encode_headline(self, headline: str, article: str, article_length: int, length: int) -> list[int]:
        """Ids of the headline and `<end>`, padded to `length`; a longer headline is cut and has no `<end>`.

        A character that is unknown, but stands in the encoded part of the article, gets the article's id.
        """
        source = article[:article_length]
        ids = [self._headline_id(character, source) for character in headline]
        ids = [*ids, END][:length]
        return ids + [PAD] * (length - len(ids))

    def _headline_id(self, character: str, source: str) -> int:
        if character in self._ids:
            return self._ids[character]
        place = source.find(character)
        return UNK if place < 0 else self.size + place

    def decode(self, ids: Sequence[int], article: str = "") -> str:
        """The text of `ids` up to `<end>`; ids above the vocabulary are read from `article`."""
        written = []
        for i in ids:
            if i == END:
                break
            if i >= self.size:
                written.append(article[i - self.size])
            elif i >= len(SPECIAL):
                written.append(self.characters[i - len(SPECIAL)])
            elif i == UNK:
                written.append("\N{REPLACEMENT CHARACTER}")
        return "".join(written)

    def save(self, path: Path) -> None:
        """Write the vocabulary and its digest as JSON."""
        content = {"digest": self.digest, "characters": list(self.characters)}
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> CharacterTokenizer:
        """Read a saved tokenizer.

        Raises CheckpointError when the file is absent, is not such a file, or has another digest.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            tokenizer, digest = cls(tuple(content["characters"])), content["digest"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: no tokenizer can be read ({error}); use a whole checkpoint") from error
        if tokenizer.digest != digest:
            raise CheckpointError(
                f"{path}: its characters hash to {tokenizer.digest[:12]}, but it was saved as {digest[:12]}; "
                "the file was changed, take the checkpoint's own tokenizer.json"
            )
        return tokenizer
