"""Pairs as tensors of ids. Suffixes: N pairs, B of them, S article positions, T headline positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.text.characters import PAD, CharacterTokenizer
from models.text.pairs import Pair


@dataclass(frozen=True)
class EncodedPairs:
    """Articles and headlines over the extended vocabulary, int64, padded to fixed lengths."""

    articles_NS: Tensor
    headlines_NT: Tensor

    @classmethod
    def encode(
        cls,
        pairs: Sequence[Pair],
        tokenizer: CharacterTokenizer,
        article_length: int,
        headline_length: int,
        device: str = "cpu",
    ) -> EncodedPairs:
        """Encode pairs; article and headline are cut at their lengths."""
        articles = [tokenizer.encode_article(pair.body, article_length) for pair in pairs]
        headlines = [
            tokenizer.encode_headline(pair.title, pair.body, article_length, headline_length) for pair in pairs
        ]
        return cls(torch.tensor(articles, device=device), torch.tensor(headlines, device=device))

    def __len__(self) -> int:
        return self.articles_NS.shape[0]

    def select(self, rows: Tensor) -> EncodedPairs:
        """Some of the pairs, with the headlines' common padding cut off."""
        headlines_BT = self.headlines_NT[rows]
        longest = int(headlines_BT.ne(PAD).sum(1).max()) if len(headlines_BT) else 1
        return EncodedPairs(self.articles_NS[rows], headlines_BT[:, :longest])

    def batches(self, batch_size: int) -> Iterator[EncodedPairs]:
        """All pairs in their order."""
        for start in range(0, len(self), batch_size):
            rows = torch.arange(start, min(start + batch_size, len(self)), device=self.articles_NS.device)
            yield self.select(rows)
