"""Pairs as tensors of ids.

Suffixes: N pairs, B of them, S article positions, T headline positions, L history positions, F click
features, K hot words of a headline, W all hot words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from models.text.click import ClickScaler
from models.text.columns import Pair
from models.text.hot_words import HotWords
from models.text.pieces import END, PAD, UNK, Tokenizer

NO_WORD = -1


@dataclass(frozen=True)
class EncodedPairs:
    """Articles and headlines over the extended vocabulary, padded to fixed lengths, with the priors.

    Ids are int32 here, to save memory, and int64 in what `select` returns.
    """

    articles_NS: Tensor
    headlines_NT: Tensor
    characters_N: Tensor = None  # type: ignore[assignment]
    """What perplexity a character is divided by: the characters that the headline's kept pieces stand for,
    and one for a kept `<end>`. Left out, it is the number of tokens, as for a tokenizer of characters."""
    unknown_N: Tensor = None  # type: ignore[assignment]
    """Characters of the headline's kept pieces that are `<unk>`: what they cost to spell counts to perplexity."""
    hot_NS: Tensor | None = None
    """bool: the article's pieces that a hot word or keyword covers."""
    history_NL: Tensor | None = None
    """Shared ids of what the reader read, each text followed by `<end>`, the latest last; padded at the end."""
    click_NF: Tensor | None = None
    """float32: see ClickScaler.features."""
    hot_targets_NK: Tensor | None = None
    """Ids of the hot words that the headline holds, ascending, padded with NO_WORD (see `hot_targets_NW`)."""
    vocabulary: int | None = None
    """Number of shared ids, V; the ids from there on point into the article."""
    num_hot_words: int | None = None
    """Number of hot words, W."""

    def __post_init__(self) -> None:
        if self.characters_N is None:
            object.__setattr__(self, "characters_N", self.headlines_NT.ne(PAD).sum(1))
        if self.unknown_N is None:
            object.__setattr__(self, "unknown_N", self.headlines_NT.eq(UNK).sum(1))

    @classmethod
    def encode(
        cls,
        pairs: Sequence[Pair],
        tokenizer: Tokenizer,
        article_length: int,
        headline_length: int,
        device: str = "cpu",
        *,
        hot_words: HotWords | None = None,
        click_scaler: ClickScaler | None = None,
        history_length: int = 0,
    ) -> EncodedPairs:
        """Encode pairs; article and headline are cut at their lengths, in pieces, and history to its last ids.

        What is not given, or 0, leaves its tensor None.
        """
        articles = tokenizer.split_batch([pair.body for pair in pairs], article_length)
        titles = tokenizer.split_batch([pair.title for pair in pairs], headline_length)
        ids = [tokenizer.headline_ids(title, article) for title, article in zip(titles, articles, strict=True)]
        headlines = [[*row, END][:headline_length] for row in ids]
        unknown = [
            sum(len(piece) for piece, i in zip(title, row, strict=True) if i == UNK)
            for title, row in zip(titles, ids, strict=True)
        ]
        characters = [sum(map(len, title)) + (len(title) < headline_length) for title in titles]
        encoded = cls(
            _tensor(map(tokenizer.article_ids, articles), article_length),
            _tensor(headlines, headline_length),
            torch.tensor(characters, dtype=torch.int32),
            torch.tensor(unknown, dtype=torch.int32),
            vocabulary=tokenizer.size,
        )
        if hot_words is not None:
            masks = [hot_words.mask(pieces, pair.keywords) for pieces, pair in zip(articles, pairs, strict=True)]
            targets = [hot_words.ids_in(pair.title) for pair in pairs]
            encoded = replace(
                encoded,
                hot_NS=_tensor(masks, article_length).bool(),
                hot_targets_NK=_tensor(targets, max([1, *map(len, targets)]), NO_WORD),
                num_hot_words=len(hot_words.words),
            )
        if history_length:
            histories = _histories(pairs, tokenizer, history_length)
            encoded = replace(encoded, history_NL=_tensor(histories, history_length))
        if click_scaler is not None:
            encoded = replace(encoded, click_NF=click_scaler.features(pairs))
        return encoded.to(device)

    def __len__(self) -> int:
        return self.articles_NS.shape[0]

    @property
    def hot_targets_NW(self) -> Tensor | None:
        """float32, 1 for the hot words that the headline holds: made anew at each call, for batches."""
        if self.hot_targets_NK is None or self.num_hot_words is None:
            return None
        words = self.num_hot_words
        hot_NW = torch.zeros(len(self), words + 1, device=self.hot_targets_NK.device)
        # NO_WORD, which is -1, goes to one more column, which is then cut off.
        return hot_NW.scatter_(1, self.hot_targets_NK.long().remainder(words + 1), 1.0)[:, :words]

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are there, by field."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def _with(self, tensors: dict[str, Tensor]) -> EncodedPairs:
        return replace(self, **tensors)  # type: ignore[arg-type]

    def to(self, device: str) -> EncodedPairs:
        """The same pairs on another device."""
        return self._with({name: tensor.to(device) for name, tensor in self.tensors().items()})

    def select(self, rows: Tensor) -> EncodedPairs:
        """Some of the pairs, ids as int64, with the common padding of each kind of text cut off."""
        chosen = {name: _widened(tensor[rows]) for name, tensor in self.tensors().items()}
        longest = _longest(chosen["headlines_NT"])
        chosen["headlines_NT"] = chosen["headlines_NT"][:, :longest]
        longest = _longest(chosen["articles_NS"])
        for name in ("articles_NS", "hot_NS"):
            if name in chosen:
                chosen[name] = chosen[name][:, :longest]
        if "history_NL" in chosen:
            chosen["history_NL"] = chosen["history_NL"][:, : _longest(chosen["history_NL"])]
        return self._with(chosen)

    def batches(self, batch_size: int) -> Iterator[EncodedPairs]:
        """All pairs in their order."""
        for start in range(0, len(self), batch_size):
            rows = torch.arange(start, min(start + batch_size, len(self)), device=self.articles_NS.device)
            yield self.select(rows)

    def shuffled_articles(self, rng: torch.Generator) -> EncodedPairs:
        """Each headline over the article, and the priors, of another pair: none keeps its own.

        What a headline copied from its article is `<unk>` over another one, if `vocabulary` is known.
        """
        order = torch.randperm(len(self), generator=rng, device=rng.device).to(self.articles_NS.device)
        source = torch.empty_like(order)
        # One cycle through all pairs.
        source[order] = order.roll(1)
        moved = ("articles_NS", "hot_NS", "history_NL", "click_NF")
        chosen = {name: tensor[source] for name, tensor in self.tensors().items() if name in moved}
        if self.vocabulary is not None:
            copied_NT = self.headlines_NT >= self.vocabulary
            chosen["headlines_NT"] = self.headlines_NT.masked_fill(copied_NT, UNK)
        return self._with(chosen)


def _tensor(rows: Iterable[Sequence[int]], length: int, fill: int = PAD) -> Tensor:
    """(N, length), int32, from rows of at most `length`."""
    return torch.tensor([[*row, *[fill] * (length - len(row))] for row in rows], dtype=torch.int32).reshape(-1, length)


def _histories(pairs: Sequence[Pair], tokenizer: Tokenizer, length: int) -> list[list[int]]:
    read = list(dict.fromkeys(text for pair in pairs for text in pair.history))
    ids = {
        text: [*tokenizer.headline_ids(pieces, ()), END]
        for text, pieces in zip(read, tokenizer.split_batch(read), strict=True)
    }
    return [[i for text in pair.history for i in ids[text]][-length:] for pair in pairs]


def _widened(tensor: Tensor) -> Tensor:
    return tensor.long() if tensor.dtype == torch.int32 else tensor


def _longest(ids_BS: Tensor) -> int:
    """The longest row without its padding; at least 1, so that no tensor is left without a position."""
    return max(1, int(ids_BS.ne(PAD).sum(1).max())) if len(ids_BS) else 1
