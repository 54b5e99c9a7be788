"""The discriminator: does this headline, over this article, come from a newsroom?

Suffixes as in generator.py; C the headline's features (filter maps of all widths together).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.seqgan.config import SeqGANConfig
from models.seqgan.fused import conv_max
from models.text.pieces import PAD, UNK

WIDTHS = (1, 2, 3, 4, 5)


class Discriminator(nn.Module):
    """CNN and highway on the headline, joined to the pooled article by an inner product: one logit.

    Zhang & LeCun 2015 and Yu et al. 2017 (arXiv:1609.05473, appendix "The Discriminative Model"); the
    projection on the condition is that of Miyato & Koyama 2018 (arXiv:1802.05637, eq. 4).
    Unlike the paper, it sees the article, and its filters are at most 5 wide: headlines are short.
    """

    def __init__(self, config: SeqGANConfig, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.length = max(config.headline_length, max(WIDTHS))
        features = len(WIDTHS) * config.d_channels
        self.embed = nn.Embedding(vocabulary, config.embedding, padding_idx=PAD)
        filters = [nn.Linear(width * config.embedding, config.d_channels) for width in WIDTHS]
        self.weights = nn.ParameterList(conv.weight for conv in filters)
        self.biases = nn.ParameterList(conv.bias for conv in filters)
        self.transform = nn.Linear(features, features)
        self.carry = nn.Linear(features, features)
        self.article = nn.Linear(config.embedding, features)
        self.dropout = nn.Dropout(config.d_dropout)
        self.out = nn.Linear(features, 1)
        # A highway that starts almost as the identity trains from the first update (Srivastava et al. 2015).
        nn.init.constant_(self.carry.bias, -2.0)

    def forward(self, articles_BS: Tensor, headlines_BT: Tensor) -> Tensor:
        """Log-odds of "real", one a headline. At most `headline_length` tokens, and only `<pad>` after `<end>`.

        There may be several times as many headlines as articles: first one for each article, then another.
        """
        article_BC = self.article_features(articles_BS)
        return self.judge(article_BC.repeat(len(headlines_BT) // len(articles_BS), 1), headlines_BT)

    def article_features(self, articles_BS: Tensor) -> Tensor:
        """(B, C): the pooled article, projected; an article without text is 0 before its projection."""
        mask_BS1 = articles_BS.ne(PAD).unsqueeze(-1)
        pooled_BE = (self.embed(self._shared(articles_BS)) * mask_BS1).sum(1) / mask_BS1.sum(1).clamp_min(1)
        return torch.as_tensor(self.article(pooled_BE))

    def judge(self, article_BC: Tensor, headlines_BT: Tensor) -> Tensor:
        """Log-odds of "real", (B,), in fp32, from the articles' features."""
        features_BC = self.dropout(self.headline_features(headlines_BT))
        projection_B = (features_BC * article_BC).mean(-1)
        return torch.as_tensor(self.out(features_BC).squeeze(-1) + projection_B).float()

    def headline_features(self, headlines_BT: Tensor) -> Tensor:
        """(B, C): each filter's largest answer anywhere in the headline, through the highway."""
        # One length for all batches: otherwise the padding would tell how a batch was cut.
        padded_BT = functional.pad(headlines_BT, (0, self.length - headlines_BT.shape[1]), value=PAD)
        embedded_BTE = self.embed(self._shared(padded_BT))
        largest = [
            conv_max(embedded_BTE, weight, width) + bias
            for width, weight, bias in zip(WIDTHS, self.weights, self.biases, strict=True)
        ]
        plain_BC = torch.relu(torch.cat(largest, dim=-1))
        carry_BC = torch.sigmoid(self.carry(plain_BC))
        return carry_BC * torch.relu(self.transform(plain_BC)) + (1 - carry_BC) * plain_BC

    def _shared(self, ids: Tensor) -> Tensor:
        return ids.masked_fill(ids.ge(self.vocabulary), UNK)
