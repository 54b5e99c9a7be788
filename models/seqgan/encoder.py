"""The article encoder and its priors: what the generator knows before it writes.

Suffixes: B articles, S article positions, L history positions, F click features (values and presence),
E embedding, H hidden, K recurrent states (2 for LSTM, else 1), V shared vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from models.seqgan.config import SeqGANConfig
from models.text import click
from models.text.encoded import EncodedPairs
from models.text.pieces import BOS, PAD, UNK

_HISTORY_WIDTH, _CLICK_WIDTH = 32, 16


class Memory(NamedTuple):
    """An encoded batch of articles.

    `before_BS` and `second_BS` are the pieces one and two places before each position: copying goes on
    where the last pieces written stand.
    """

    states_BSH: Tensor
    source_BS: Tensor
    before_BS: Tensor
    second_BS: Tensor
    pooled_BH: Tensor
    initial_KBH: Tensor

    def select(self, rows: Tensor) -> Memory:
        """The memory of some articles, in the order of `rows`."""
        return Memory(
            self.states_BSH[rows],
            self.source_BS[rows],
            self.before_BS[rows],
            self.second_BS[rows],
            self.pooled_BH[rows],
            self.initial_KBH[:, rows],
        )

    def repeat(self, times: int) -> Memory:
        """The whole batch `times` over."""
        rows = torch.arange(len(self.source_BS), device=self.source_BS.device).repeat(times)
        return self if times == 1 else self.select(rows)


def shifted(tokens: Tensor, first: int = BOS) -> Tensor:
    """The tokens one position later, after `first`: what precedes each of them. (…, L) → (…, L)"""
    return torch.cat([torch.full_like(tokens[..., :1], first), tokens[..., :-1]], dim=-1)


def recur(layer: nn.RNNBase, input_BTE: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """A recurrent layer over whole sequences, always in fp32.

    Most CPUs have none in bfloat16, and on GPUs autocast would take float16, whose gradients underflow.
    """
    kind = input_BTE.device.type
    if not torch.is_autocast_enabled(kind):
        return layer(input_BTE, state)  # type: ignore[no-any-return]
    with torch.autocast(kind, enabled=False):
        return layer(input_BTE.float(), state)  # type: ignore[no-any-return]


class LockedDropout(nn.Module):
    """Dropout with one mask for all positions of a sequence, (…, L, width).

    Gal & Ghahramani 2016 (arXiv:1512.05287): for recurrent networks better than a mask a position, and cheaper.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, states: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return states
        mask = torch.empty_like(states[..., :1, :]).bernoulli_(1 - self.p)
        return states * (mask / (1 - self.p))


class MaskedNorm(nn.Module):
    """Layer or batch normalisation of the positions that hold text; padding stays 0.

    Batch normalisation takes its statistics over the text alone (Ioffe & Szegedy 2015, with a mask). With
    several workers each takes its own.
    """

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.frozen = False
        self.norm = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d, "none": nn.Identity}[kind](width)

    def forward(self, states_BSH: Tensor, mask_BS: Tensor) -> Tensor:
        if not isinstance(self.norm, nn.BatchNorm1d):
            return torch.as_tensor(self.norm(states_BSH)) * mask_BS.unsqueeze(-1)
        normed_BSH = torch.zeros_like(states_BSH)
        text_NH = states_BSH[mask_BS]
        # One position has no variance: it is normed as in evaluation.
        mean, variance = (self.norm.running_mean, self.norm.running_var) if len(text_NH) < 2 else (None, None)
        if mean is None:
            normed_BSH[mask_BS] = self.norm(text_NH)
        else:
            normed_BSH[mask_BS] = batch_norm(text_NH, mean, variance, self.norm.weight, self.norm.bias)
        return normed_BSH

    def train(self, mode: bool = True) -> MaskedNorm:
        super().train(mode)
        # Rollouts and policy gradients see the statistics of teacher forcing, not those of their own drafts.
        if self.frozen:
            self.norm.eval()
        return self


class ArticleEncoder(nn.Module):
    """A bidirectional LSTM (context, H for both directions) beside a convolution of width 3 (local), fused by a
    hidden layer.

    The bridge turns the pooled memory and the priors into the decoder's first state. Priors: the mean
    vector of the article's hot words, a GRU over the reader's history, an MLP over click behaviour; each is
    left out with probability `prior_dropout` in training, and counts 0 where the data lacks it.
    """

    def __init__(self, config: SeqGANConfig, vocabulary: int, states: int) -> None:
        super().__init__()
        embedding, hidden = config.embedding, config.hidden
        self.vocabulary, self.states, self.prior_dropout = vocabulary, states, config.prior_dropout
        self.embed = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.ahead = nn.LSTM(embedding, hidden // 2, batch_first=True)
        self.back = nn.LSTM(embedding, hidden - hidden // 2, batch_first=True)
        self.local = nn.Conv1d(embedding, hidden, kernel_size=3, padding=1)
        self.fuse = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.GELU(), LockedDropout(config.dropout))
        self.norm = MaskedNorm(config.norm, hidden)
        self.dropout = LockedDropout(config.dropout)
        self.hot_mark = nn.Parameter(torch.zeros(embedding)) if config.hot_words != "none" else None
        self.history = nn.GRU(embedding, _HISTORY_WIDTH, batch_first=True) if config.history_length else None
        self.click = (
            nn.Sequential(nn.Linear(click.WIDTH, _CLICK_WIDTH), nn.GELU(), nn.Linear(_CLICK_WIDTH, _CLICK_WIDTH))
            if config.clicks
            else None
        )
        widths = (
            embedding * (self.hot_mark is not None)
            + _HISTORY_WIDTH * (self.history is not None)
            + _CLICK_WIDTH * (self.click is not None)
        )
        self.prior = nn.Linear(widths, hidden) if widths else None
        pooled = hidden * (2 if widths else 1)
        self.bridge = nn.Sequential(nn.Linear(pooled, hidden), nn.GELU(), nn.Linear(hidden, states * hidden))
        nn.init.normal_(self.embed.weight, std=embedding**-0.5)
        with torch.no_grad():
            self.embed.weight[PAD].zero_()

    def forward(self, batch: EncodedPairs) -> Memory:
        """Read a batch's articles and priors."""
        articles_BS = batch.articles_NS
        mask_BS = articles_BS.ne(PAD)
        embedded_BSE = self.embed(self.shared(articles_BS))
        hot_BS1 = self._hot(batch)
        if self.hot_mark is not None:
            embedded_BSE = embedded_BSE + self.hot_mark * hot_BS1
        return self.read(embedded_BSE, batch, mask_BS, hot_BS1)

    def read(
        self,
        embedded_BSE: Tensor,
        batch: EncodedPairs,
        mask_BS: Tensor,
        hot_BS1: Tensor,
        history_BW: Tensor | None = None,
    ) -> Memory:
        """The memory of embedded articles; apart from `forward` so that attributions can start here.

        `history_BW` stands for what `read_history` makes of the batch.
        """
        embedded_BSE = self.dropout(embedded_BSE)
        # Backwards from the article's own end, not from the padding: else an article would read differently
        # beside a longer one.
        index_BSE = _reversal(mask_BS).unsqueeze(-1).expand_as(embedded_BSE)
        ahead_BSH, _ = recur(self.ahead, embedded_BSE)
        back_BSH, _ = recur(self.back, embedded_BSE.gather(1, index_BSE))
        back_BSH = back_BSH.gather(1, _reversal(mask_BS).unsqueeze(-1).expand_as(back_BSH))
        local_BSH = self.local(embedded_BSE.transpose(1, 2)).transpose(1, 2)
        states_BSH = self.norm(self.fuse(torch.cat([ahead_BSH, back_BSH, local_BSH], dim=-1)), mask_BS)
        pooled_BH = states_BSH.sum(1) / mask_BS.sum(1, keepdim=True).clamp_min(1)
        both = pooled_BH
        if self.prior is not None:
            both = torch.cat([pooled_BH, self.prior(self._priors(embedded_BSE, batch, hot_BS1, history_BW))], dim=-1)
        initial_KBH = torch.stack(torch.tanh(self.bridge(both)).float().chunk(self.states, dim=-1))
        before_BS = shifted(batch.articles_NS)
        return Memory(states_BSH, batch.articles_NS, before_BS, shifted(before_BS, PAD), pooled_BH, initial_KBH)

    def shared(self, ids: Tensor) -> Tensor:
        """Extended ids as shared ones: pieces outside the vocabulary are read as `<unk>`."""
        return ids.masked_fill(ids.ge(self.vocabulary), UNK)

    def _hot(self, batch: EncodedPairs) -> Tensor:
        """Which positions hold a hot word, 0 or 1; (B, S, 1)."""
        articles_BS = batch.articles_NS
        if self.hot_mark is None or batch.hot_NS is None:
            return torch.zeros_like(articles_BS, dtype=self.embed.weight.dtype).unsqueeze(-1)
        return self._dropped(batch.hot_NS.to(self.embed.weight.dtype)).unsqueeze(-1)

    def _priors(self, embedded_BSE: Tensor, batch: EncodedPairs, hot_BS1: Tensor, history_BW: Tensor | None) -> Tensor:
        parts = []
        if self.hot_mark is not None:
            parts.append((embedded_BSE * hot_BS1).sum(1) / hot_BS1.sum(1).clamp_min(1))
        if self.history is not None:
            parts.append(self._dropped(self.read_history(batch) if history_BW is None else history_BW))
        if self.click is not None:
            parts.append(self._dropped(self._read_clicks(batch)))
        return torch.cat(parts, dim=-1)

    def read_history(self, batch: EncodedPairs) -> Tensor:
        """The reader's history in a vector, (B, W); 0 where there is none."""
        assert self.history is not None
        history_BL = batch.history_NL
        if history_BL is None or history_BL.shape[1] == 0:
            return self.embed.weight.new_zeros(len(batch), _HISTORY_WIDTH)
        states_BLW, _ = recur(self.history, self.dropout(self.embed(self.shared(history_BL))))
        length_B = history_BL.ne(PAD).sum(1)
        last_BW = states_BLW[torch.arange(len(batch), device=history_BL.device), (length_B - 1).clamp_min(0)]
        return torch.as_tensor(last_BW * length_B.gt(0).unsqueeze(-1))

    def _read_clicks(self, batch: EncodedPairs) -> Tensor:
        assert self.click is not None
        if batch.click_NF is None:
            return self.embed.weight.new_zeros(len(batch), _CLICK_WIDTH)
        present_B1 = batch.click_NF[:, click.WIDTH // 2 :].amax(1, keepdim=True)
        return torch.as_tensor(self.click(batch.click_NF) * present_B1)

    def _dropped(self, prior: Tensor) -> Tensor:
        """The prior, left out for some articles in training; what is kept is not scaled up: it is all or nothing."""
        if not self.training or self.prior_dropout == 0:
            return prior
        kept_B = torch.rand(len(prior), device=prior.device) >= self.prior_dropout
        return prior * kept_B.view(-1, *[1] * (prior.dim() - 1))


def _reversal(mask_BS: Tensor) -> Tensor:
    """Index that turns each article round in place, (B, S); padding stays where it is."""
    positions_S = torch.arange(mask_BS.shape[1], device=mask_BS.device)
    turned_BS = mask_BS.sum(1, keepdim=True) - 1 - positions_S
    return torch.where(turned_BS >= 0, turned_BS, positions_S)
