"""A tokenizer of frequent strings of characters, trained on the data: WordPiece without the `##` prefix.

Wu et al. 2016 (arXiv:1609.08144), section 4.1, by the library tokenizers. Unlike there, a piece looks the
same inside a word and at its start, so that a piece of the article keeps its one id when it is copied; in
English the space before a word belongs to its first piece, which tells word starts apart. No piece spans
punctuation or a line end, and digits stay among themselves.

A run of Chinese is cut by the longest match from its left: the same name may be cut differently after
another word. Where that hides a known piece, copying still reaches the name, but not in one step.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

from models.text.pieces import MAX_RUN, RUNS, SPECIAL, UNK, Tokenizer, most_frequent

if TYPE_CHECKING:
    import tokenizers

# Stands for a character outside the alphabet; RUNS isolates it, and so only that character is unknown.
_UNKNOWN = "\ufffe"
_BREAK = "\x00"
_BATCH = 1000


class _Alphabet(dict[int, str]):
    """A table for str.translate that replaces what is outside the alphabet, one character by one."""

    def __init__(self, characters: Iterable[str]) -> None:
        super().__init__((ord(character), character) for character in characters)

    def __missing__(self, code: int) -> str:
        return _UNKNOWN


@dataclass(frozen=True)
class WordPieceTokenizer(Tokenizer):
    """Pieces in the order of training: the alphabet first."""

    kind: ClassVar[str] = "wordpiece"

    @classmethod
    def build(cls, texts: Iterable[str], max_size: int, min_count: int = 2) -> Self:
        """Train on `texts`; at most `max_size` ids, SPECIAL included.

        Characters seen fewer than `min_count` times stay out of the alphabet, and so out of every piece.
        """
        from tokenizers import pre_tokenizers, trainers

        kept = list(texts)
        counts: Counter[str] = Counter()
        for text in kept:
            counts.update(text)
        del counts[_UNKNOWN], counts[_BREAK]
        # The trainer is given the whole alphabet: left to choose among equally frequent characters, it
        # would choose others in each process, and two workers would not share their ids.
        alphabet = most_frequent(counts, max_size, min_count)
        trainer = trainers.WordPieceTrainer(
            vocab_size=max_size - len(SPECIAL),
            min_frequency=min_count,
            limit_alphabet=len(alphabet),
            initial_alphabet=list(alphabet),
            continuing_subword_prefix="",
            show_progress=False,
        )
        model = _model({})
        model.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(_BREAK)
        table = _Alphabet(alphabet)
        # An unknown character becomes a break: it is in no piece.
        runs = (_BREAK.join(RUNS.findall(text.translate(table))).replace(_UNKNOWN, _BREAK) for text in kept)
        model.train_from_iterator(runs, trainer)
        vocabulary = model.get_vocab(with_added_tokens=False)
        return cls(tuple(sorted(vocabulary, key=vocabulary.__getitem__)))

    def split(self, text: str) -> list[str]:
        """The text's pieces; a character outside the alphabet is a piece of its own."""
        return self.split_batch([text])[0]

    def split_batch(self, texts: Sequence[str], length: int | None = None) -> list[list[str]]:
        """Each text's first `length` pieces, or all."""
        if length is not None:
            # The longest pieces, and one run more: only the last run can be cut by this.
            texts = [text[: length * self._longest + MAX_RUN + 1] for text in texts]
        split: list[list[str]] = []
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            runs = [RUNS.findall(text.translate(self._alphabet)) for text in batch]
            encodings = self._encoder.encode_batch(runs, is_pretokenized=True, add_special_tokens=False)
            split += [
                _restored(text, encoding.tokens)[:length] for text, encoding in zip(batch, encodings, strict=True)
            ]
        return split

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.pieces), default=1)

    @cached_property
    def _alphabet(self) -> _Alphabet:
        return _Alphabet(piece for piece in self.pieces if len(piece) == 1)

    @cached_property
    def _encoder(self) -> tokenizers.Tokenizer:
        return _model({SPECIAL[UNK]: UNK, **self.ids})


def _restored(text: str, pieces: list[str]) -> list[str]:
    """`pieces` of `text`, with the unknown ones as they stand in the text; each is one character."""
    if SPECIAL[UNK] not in pieces:
        return pieces
    restored, start = [], 0
    for piece in pieces:
        written = text[start] if piece == SPECIAL[UNK] else piece
        restored.append(written)
        start += len(written)
    return restored


def _model(vocabulary: dict[str, int]) -> tokenizers.Tokenizer:
    # Before the first import: trials share a node's cores, and a fork after its threads ran warns on stderr.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer, models

    # One unknown character, or more than max_input_chars_per_word, would make a whole run unknown.
    model = models.WordPiece(
        vocabulary, unk_token=SPECIAL[UNK], max_input_chars_per_word=2 * MAX_RUN, continuing_subword_prefix=""
    )
    return Tokenizer(model)
