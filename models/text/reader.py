"""Everything that turns texts into a model's input, as one value that travels with its checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import CheckpointError
from models.text.click import ClickScaler
from models.text.encoded import EncodedPairs
from models.text.hot_words import HotWords
from models.text.pairs import Pair
from models.text.tokenizer import Tokenizer, load_tokenizer

TOKENIZER, HOT_WORDS, CLICKS = "tokenizer.json", "hot_words.json", "clicks.json"


@dataclass(frozen=True)
class Reader:
    """A tokenizer, and what reads the priors where a model has them. Lengths are in pieces."""

    tokenizer: Tokenizer
    article_length: int
    headline_length: int
    history_length: int = 0
    hot_words: HotWords | None = None
    click_scaler: ClickScaler | None = None

    def encode(self, pairs: Sequence[Pair], device: str = "cpu") -> EncodedPairs:
        """Pairs as tensors; what a pair lacks counts as absent."""
        return EncodedPairs.encode(
            pairs,
            self.tokenizer,
            self.article_length,
            self.headline_length,
            device,
            hot_words=self.hot_words,
            click_scaler=self.click_scaler,
            history_length=self.history_length,
        )

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each of its files' meaning, by file name."""
        digests = {TOKENIZER: self.tokenizer.digest}
        if self.hot_words is not None:
            digests[HOT_WORDS] = self.hot_words.digest
        if self.click_scaler is not None:
            digests[CLICKS] = hashlib.sha256(self.click_scaler.to_json().encode()).hexdigest()
        return digests

    def save(self, folder: Path) -> None:
        """Write its files into a folder that exists."""
        self.tokenizer.save(folder / TOKENIZER)
        if self.hot_words is not None:
            self.hot_words.save(folder / HOT_WORDS)
        if self.click_scaler is not None:
            (folder / CLICKS).write_text(self.click_scaler.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, article_length: int, headline_length: int, history_length: int = 0) -> Reader:
        """Read the files of a folder; raises CheckpointError when one is absent or damaged."""
        hot_words = folder / HOT_WORDS
        clicks = folder / CLICKS
        try:
            scaler = ClickScaler.from_json(clicks.read_text(encoding="utf-8")) if clicks.exists() else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{clicks}: no click scale can be read ({error!r}); use a whole checkpoint"
            ) from error
        return cls(
            load_tokenizer(folder / TOKENIZER),
            article_length,
            headline_length,
            history_length,
            HotWords.load(hot_words) if hot_words.exists() else None,
            scaler,
        )
