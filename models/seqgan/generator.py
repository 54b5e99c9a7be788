"""The generator: an article encoder and a decoder that writes or copies one character at a time.

Suffixes: B articles, S article positions, T headline positions, Q headlines an article (or positions of
one), K recurrent states (2 for LSTM, 1 for GRU), E embedding, H hidden, V shared vocabulary,
X = V + S extended vocabulary (see models.text.characters).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.seqgan.config import SeqGANConfig
from models.text.characters import BOS, PAD, UNK

_NEVER = -1e4


class Memory(NamedTuple):
    """An encoded batch of articles."""

    states_BSH: Tensor
    source_BS: Tensor
    initial_KBH: Tensor

    def select(self, rows: Tensor) -> Memory:
        """The memory of some articles, in the order of `rows`."""
        return Memory(self.states_BSH[rows], self.source_BS[rows], self.initial_KBH[:, rows])


class Reading(NamedTuple):
    """What the decoder sees before it writes: output vector, attention, and log-odds of writing over copying."""

    output_BQE: Tensor
    attention_BQS: Tensor
    gate_BQ: Tensor


class Scores(NamedTuple):
    """Log-probability of each given token, and the entropy of the distribution it came from (0 if not asked)."""

    log_prob_BT: Tensor
    entropy_BT: Tensor


def shifted(tokens: Tensor) -> Tensor:
    """The tokens one position later, after a `<bos>`: what precedes each of them. (…, L) → (…, L)"""
    return torch.cat([torch.full_like(tokens[..., :1], BOS), tokens[..., :-1]], dim=-1)


class Generator(nn.Module):
    """P(headline | article) as an attentional encoder-decoder with a copy gate.

    Encoder: bidirectional LSTM beside a convolution of width 3, fused and normed. Decoder: LSTM or GRU,
    attention, output tied to the embedding. The next token's distribution is
    `p_write * softmax(vocabulary) + (1 - p_write) * attention over the article's characters`
    (See et al. 2017, arXiv:1704.04368, eq. 8 and 9; there without the tied output).
    """

    def __init__(self, config: SeqGANConfig, vocabulary: int) -> None:
        super().__init__()
        embedding, hidden = config.embedding, config.hidden
        self.vocabulary = vocabulary
        self.copy = config.copy
        self.embed = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.context = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=True)
        self.local = nn.Conv1d(embedding, hidden, kernel_size=3, padding=1)
        self.fuse = nn.Sequential(nn.Linear(3 * hidden, hidden), nn.GELU(), nn.Dropout(config.dropout))
        self.norm = nn.LayerNorm(hidden)
        self.states = 2 if config.cell == "lstm" else 1
        self.bridge = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, self.states * hidden))
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        self.decoder = cell(embedding, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.follow = nn.Parameter(torch.ones(()))
        self.mix = nn.Linear(2 * hidden, embedding)
        if config.copy:
            self.gate = nn.Linear(2 * hidden, 1)
        self.bias_V = nn.Parameter(torch.zeros(vocabulary))
        self.dropout = nn.Dropout(config.dropout)
        nn.init.normal_(self.embed.weight, std=embedding**-0.5)
        with torch.no_grad():
            self.embed.weight[PAD].zero_()

    def forward(self, articles_BS: Tensor, headlines_BT: Tensor, with_entropy: bool = False) -> Scores:
        """Teacher forcing: the scores of given headlines; positions of `<pad>` score 0.

        Entropy is in nats, over the extended vocabulary; it costs a distribution a position.
        """
        memory = self.encode(articles_BS)
        inputs_BT = shifted(headlines_BT)
        reading = self.read(self.forced_states(inputs_BT, memory), inputs_BT, memory)
        written_BT = headlines_BT.ne(PAD)
        log_prob_BT = self.log_prob(reading, memory, headlines_BT) * written_BT
        if not with_entropy:
            return Scores(log_prob_BT, torch.zeros_like(log_prob_BT))
        prob_BTX = self.distribution(reading, memory)
        # clamp_min keeps the gradient of p log p finite where p underflows to 0.
        entropy_BT = -(prob_BTX * prob_BTX.clamp_min(1e-12).log()).sum(-1)
        return Scores(log_prob_BT, entropy_BT * written_BT)

    def encode(self, articles_BS: Tensor) -> Memory:
        """Read articles that are padded to one length."""
        mask_BS1 = articles_BS.ne(PAD).unsqueeze(-1)
        embedded_BSE = self.dropout(self.embed(self._shared(articles_BS)))
        context_BS2H, _ = self.context(embedded_BSE)
        local_BSH = self.local(embedded_BSE.transpose(1, 2)).transpose(1, 2)
        states_BSH = self.norm(self.fuse(torch.cat([context_BS2H, local_BSH], dim=-1))) * mask_BS1
        pooled_BH = states_BSH.sum(1) / mask_BS1.sum(1).clamp_min(1)
        initial_KBH = torch.stack(torch.tanh(self.bridge(pooled_BH)).chunk(self.states, dim=-1))
        return Memory(states_BSH, articles_BS, initial_KBH)

    def forced_states(self, inputs_BT: Tensor, memory: Memory) -> Tensor:
        """Decoder states after each input, (B, T, H)."""
        embedded_BTE = self.dropout(self.embed(self._shared(inputs_BT)))
        states_BTH, _ = self.decoder(embedded_BTE, self._for_cell(memory.initial_KBH))
        return torch.as_tensor(states_BTH)

    def step(self, tokens_BQ: Tensor, state_KBQH: Tensor) -> Tensor:
        """The states after one more token in each of Q headlines an article; state 0 is the one that is read."""
        shape = state_KBQH.shape
        embedded_R1E = self.embed(self._shared(tokens_BQ)).flatten(0, 1).unsqueeze(1)
        _, after = self.decoder(embedded_R1E, self._for_cell(state_KBQH.flatten(1, 2)))
        return (torch.cat(after) if self.states == 2 else after).view(shape)

    def read(self, states_BQH: Tensor, inputs_BQ: Tensor, memory: Memory) -> Reading:
        """Attend over the article from each of Q states, whose last inputs were `inputs_BQ`.

        Unlike See et al., a position that follows the last input in the article scores higher by a learned
        amount: a name is copied character by character, and on a small corpus the network alone takes
        many epochs to find that out.
        """
        scores_BQS = self.query(states_BQH) @ memory.states_BSH.transpose(1, 2)
        before_BS = shifted(memory.source_BS)
        follows_BQS = before_BS.unsqueeze(1).eq(inputs_BQ.unsqueeze(-1))
        scores_BQS = scores_BQS * states_BQH.shape[-1] ** -0.5 + self.follow * follows_BQS
        pad_B1S = memory.source_BS.eq(PAD).unsqueeze(1)
        attention_BQS = scores_BQS.masked_fill(pad_B1S, _NEVER).softmax(-1)
        both_BQ2H = torch.cat([states_BQH, attention_BQS @ memory.states_BSH], dim=-1)
        output_BQE = self.dropout(torch.tanh(self.mix(both_BQ2H)))
        always_write_BQ = torch.full_like(output_BQE[..., 0], -_NEVER)
        gate_BQ = self.gate(both_BQ2H).squeeze(-1) if self.copy else always_write_BQ
        return Reading(output_BQE, attention_BQS, gate_BQ)

    def vocabulary_logits(self, output: Tensor) -> Tensor:
        """(…, E) → (…, V); `<pad>` and `<bos>` are never written."""
        banned_V = torch.zeros_like(self.bias_V)
        banned_V[PAD] = banned_V[BOS] = _NEVER
        return functional.linear(output, self.embed.weight, self.bias_V + banned_V)

    def log_prob(self, reading: Reading, memory: Memory, tokens_BQ: Tensor) -> Tensor:
        """Log-probability of one token at each of Q readings, without building the extended distribution.

        Without a copy gate, a token outside the vocabulary is scored as `<unk>`.
        """
        logits_BQV = self.vocabulary_logits(reading.output_BQE)
        written_BQ = -functional.cross_entropy(
            logits_BQV.flatten(0, 1), self._shared(tokens_BQ).flatten(), reduction="none"
        ).view_as(reading.gate_BQ)
        if not self.copy:
            return written_BQ
        # A token outside the vocabulary can only be copied.
        written_BQ = written_BQ.masked_fill(tokens_BQ.ge(self.vocabulary), _NEVER)
        matches_BQS = memory.source_BS.unsqueeze(1).eq(tokens_BQ.unsqueeze(-1))
        copied_BQ = (reading.attention_BQS * matches_BQS).sum(-1)
        # The floor keeps log and its gradient finite for tokens the article lacks; it is far below 1/V.
        copied_BQ = copied_BQ.clamp_min(1e-12).log()
        return torch.logaddexp(
            functional.logsigmoid(reading.gate_BQ) + written_BQ,
            functional.logsigmoid(-reading.gate_BQ) + copied_BQ,
        )

    def distribution(self, reading: Reading, memory: Memory) -> Tensor:
        """The next token's probabilities over the extended vocabulary, (B, Q, X)."""
        positions = memory.source_BS.shape[1]
        written_BQV = self.vocabulary_logits(reading.output_BQE).softmax(-1)
        if not self.copy:
            return functional.pad(written_BQV, (0, positions))
        p_write_BQ1 = torch.sigmoid(reading.gate_BQ).unsqueeze(-1)
        written_BQX = functional.pad(written_BQV * p_write_BQ1, (0, positions))
        source_BQS = memory.source_BS.unsqueeze(1).expand_as(reading.attention_BQS)
        return written_BQX.scatter_add(-1, source_BQS, reading.attention_BQS * (1 - p_write_BQ1))

    def _shared(self, ids: Tensor) -> Tensor:
        """Extended ids as shared ones: characters outside the vocabulary are read as `<unk>`."""
        return ids.masked_fill(ids.ge(self.vocabulary), UNK)

    def _for_cell(self, state_KRH: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.states == 1:
            return state_KRH.contiguous()
        return state_KRH[:1].contiguous(), state_KRH[1:].contiguous()
