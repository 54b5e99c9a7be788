"""The generator: a decoder that writes or copies one piece of text at a time, over an encoded article.

Suffixes: B articles, S article positions, T headline positions, Q headlines an article (or positions of
one), R rows that are scored, K recurrent states (2 for LSTM, else 1), E embedding, H hidden, V shared
vocabulary, W hot words, X = V + S extended vocabulary (see models.text.tokenizer).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.seqgan.config import SeqGANConfig
from models.seqgan.encoder import ArticleEncoder, LockedDropout, Memory, recur, shifted
from models.seqgan.fused import draw_linear, linear_log_prob
from models.text import click
from models.text.encoded import EncodedPairs
from models.text.pieces import BOS, PAD

_NEVER = -1e4
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class DecoderState(NamedTuple):
    """Where Q headlines an article stand: recurrent states (state 0 is the one that is read), last two tokens."""

    hidden_KBQH: Tensor
    last_BQ: Tensor
    second_BQ: Tensor

    def repeat(self, times: int) -> DecoderState:
        """Each headline `times` over, copies side by side."""
        return DecoderState(
            self.hidden_KBQH.repeat_interleave(times, dim=2),
            self.last_BQ.repeat_interleave(times, dim=1),
            self.second_BQ.repeat_interleave(times, dim=1),
        )

    def join(self, other: DecoderState) -> DecoderState:
        """The headlines of both, these first."""
        return DecoderState(
            torch.cat([self.hidden_KBQH, other.hidden_KBQH], dim=2),
            torch.cat([self.last_BQ, other.last_BQ], dim=1),
            torch.cat([self.second_BQ, other.second_BQ], dim=1),
        )


class Reading(NamedTuple):
    """What the decoder sees before it writes: output vector, attention, and log-odds of writing over copying."""

    output_BQE: Tensor
    attention_BQS: Tensor
    gate_BQ: Tensor


class Scores(NamedTuple):
    """Log-probability of each given token, the entropy of its distribution (0 if not asked), and the auxiliary
    heads' loss an article (0 without heads)."""

    log_prob_BT: Tensor
    entropy_BT: Tensor
    aux_B: Tensor


class Generator(nn.Module):
    """P(headline | article, priors) as an attentional encoder-decoder with a copy gate.

    Decoder: LSTM, GRU or plain RNN, attention, output tied to the embedding. The next token's distribution is
    `p_write * softmax(vocabulary) + (1 - p_write) * attention over the article's pieces`
    (See et al. 2017, arXiv:1704.04368, eq. 8 and 9; there without the tied output).
    """

    def __init__(self, config: SeqGANConfig, vocabulary: int) -> None:
        super().__init__()
        embedding, hidden = config.embedding, config.hidden
        self.vocabulary = vocabulary
        self.copy = config.copy
        self.states = 2 if config.cell == "lstm" else 1
        self.encoder = ArticleEncoder(config, vocabulary, self.states)
        self.decoder = CELLS[config.cell](embedding, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.follow_2 = nn.Parameter(torch.ones(2))
        self.mix = nn.Linear(2 * hidden, embedding)
        if config.copy:
            self.gate = nn.Linear(2 * hidden, 1)
        self.bias_V = nn.Parameter(torch.zeros(vocabulary))
        self.dropout = LockedDropout(config.dropout)
        self.hot_head = self.click_head = None
        if config.lambda_aux and config.hot_words != "none":
            self.hot_head = nn.Linear(hidden, config.num_hot_words)
            # A headline holds a few of thousands of hot words: the head starts from that share.
            nn.init.constant_(self.hot_head.bias, -5.0)
        if config.lambda_aux and config.clicks:
            self.click_head = nn.Sequential(nn.Linear(hidden + embedding, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, batch: EncodedPairs, headlines_BT: Tensor | None = None, with_entropy: bool = False) -> Scores:
        """Teacher forcing: the scores of given headlines, the batch's own by default; `<pad>` scores 0.

        `headlines_BT` may hold several times as many rows as the batch: first one for each article, then
        another for each. Entropy is in nats, over the extended vocabulary; it costs a distribution a position.
        """
        headlines_BT = batch.headlines_NT if headlines_BT is None else headlines_BT
        encoded = self.encode(batch)
        memory = encoded.repeat(len(headlines_BT) // len(batch))
        reading = self.read(self.forced_states(headlines_BT, memory), memory)
        log_prob_BT = self.log_prob(reading, memory, headlines_BT)
        aux_B = self._auxiliary_loss(batch, encoded)
        if not with_entropy:
            return Scores(log_prob_BT, torch.zeros_like(log_prob_BT), aux_B)
        return Scores(log_prob_BT, self._entropy(reading, memory, headlines_BT.ne(PAD)), aux_B)

    def encode(self, batch: EncodedPairs) -> Memory:
        """Read a batch's articles and priors."""
        return self.encoder(batch)  # type: ignore[no-any-return]

    def start(self, memory: Memory) -> DecoderState:
        """The state before the first token of one headline an article."""
        nothing_BQ = torch.full_like(memory.source_BS[:, :1], PAD)
        return DecoderState(memory.initial_KBH.unsqueeze(2), nothing_BQ, nothing_BQ)

    def begin(self, memory: Memory) -> DecoderState:
        """The state that has read `<bos>`, from which the first token is drawn."""
        return self.step(torch.full_like(memory.source_BS[:, :1], BOS), self.start(memory))

    def step(self, tokens_BQ: Tensor, state: DecoderState) -> DecoderState:
        """The state after one more token in each headline."""
        shape = state.hidden_KBQH.shape
        embedded_R1E = self.embed(tokens_BQ).flatten(0, 1).unsqueeze(1)
        _, after = recur(self.decoder, embedded_R1E, self._for_cell(state.hidden_KBQH.flatten(1, 2)))
        hidden_KBQH = (torch.cat(after) if self.states == 2 else after).view(shape)
        return DecoderState(hidden_KBQH, tokens_BQ, state.last_BQ)

    def forced_states(self, headlines_BT: Tensor, memory: Memory) -> DecoderState:
        """The states before each token of given headlines, T of them in the place of Q; state 0 only."""
        inputs_BT = shifted(headlines_BT)
        embedded_BTE = self.dropout(self.embed(inputs_BT))
        states_BTH, _ = recur(self.decoder, embedded_BTE, self._for_cell(memory.initial_KBH))
        return DecoderState(states_BTH.unsqueeze(0), inputs_BT, shifted(inputs_BT, PAD))

    def read(self, state: DecoderState, memory: Memory) -> Reading:
        """Attend over the article from each of Q states.

        Unlike See et al., a position that follows the last token in the article scores higher by a learned
        amount, and by another where the last two agree: a name is copied piece by piece, and the network alone
        takes many epochs to find that out. An article without text is never copied from.
        """
        states_BQH = state.hidden_KBQH[0]
        scores_BQS = self.query(states_BQH) @ memory.states_BSH.transpose(1, 2)
        follows_BQS = memory.before_BS.unsqueeze(1).eq(state.last_BQ.unsqueeze(-1))
        both_BQS = follows_BQS & memory.second_BS.unsqueeze(1).eq(state.second_BQ.unsqueeze(-1))
        scores_BQS = scores_BQS * states_BQH.shape[-1] ** -0.5
        scores_BQS = scores_BQS + self.follow_2[0] * follows_BQS + self.follow_2[1] * both_BQS
        pad_B1S = memory.source_BS.eq(PAD).unsqueeze(1)
        attention_BQS = scores_BQS.float().masked_fill(pad_B1S, _NEVER).softmax(-1)
        both_BQ2H = torch.cat([states_BQH, attention_BQS.to(states_BQH.dtype) @ memory.states_BSH], dim=-1)
        output_BQE = self.dropout(torch.tanh(self.mix(both_BQ2H)))
        if not self.copy:
            return Reading(output_BQE, attention_BQS, torch.full_like(attention_BQS[..., 0], -_NEVER))
        gate_BQ = self.gate(both_BQ2H).squeeze(-1).float()
        return Reading(output_BQE, attention_BQS, gate_BQ.masked_fill(pad_B1S.all(-1), -_NEVER))

    def log_prob(self, reading: Reading, memory: Memory, tokens_BQ: Tensor) -> Tensor:
        """Log-probability of one token at each of Q readings, 0 for `<pad>`; builds no distribution.

        Without a copy gate, a token outside the vocabulary is scored as `<unk>`.
        """
        scored_BQ = tokens_BQ.ne(PAD)
        target_R = tokens_BQ[scored_BQ]
        written_R = linear_log_prob(
            reading.output_BQE[scored_BQ], self.embed_weight, self.written_bias_V, self.encoder.shared(target_R)
        )
        log_prob_BQ = torch.zeros_like(reading.gate_BQ)
        if not self.copy:
            return log_prob_BQ.masked_scatter(scored_BQ, written_R)
        # A token outside the vocabulary can only be copied.
        written_R = written_R.masked_fill(target_R.ge(self.vocabulary), _NEVER)
        matches_BQS = memory.source_BS.unsqueeze(1).eq(tokens_BQ.unsqueeze(-1))
        # The floor keeps log and its gradient finite for tokens the article lacks; it is far below 1/V.
        copied_R = (reading.attention_BQS * matches_BQS).sum(-1)[scored_BQ].clamp_min(1e-12).log()
        gate_R = reading.gate_BQ[scored_BQ]
        mixed_R = torch.logaddexp(functional.logsigmoid(gate_R) + written_R, functional.logsigmoid(-gate_R) + copied_R)
        return log_prob_BQ.masked_scatter(scored_BQ, mixed_R)

    def distribution(self, reading: Reading, memory: Memory) -> Tensor:
        """The next token's probabilities over the extended vocabulary, (B, Q, X), in fp32."""
        everywhere_BQ = torch.ones_like(reading.gate_BQ, dtype=torch.bool)
        return self._mixture(reading, memory, everywhere_BQ).view(*everywhere_BQ.shape, -1)

    def draw(self, state: DecoderState, memory: Memory, rng: torch.Generator) -> Tensor:
        """One exact draw from each next-token distribution, (B, Q).

        Drawn in two steps, first whether to write or to copy, then what: the extended distribution is never
        built, and the vocabulary's is only for the rows that write.
        """
        reading = self.read(state, memory)
        cumulative_BQS = reading.attention_BQS.cumsum(-1)
        uniform_2BQ = torch.rand(2, *reading.gate_BQ.shape, generator=rng, device=reading.gate_BQ.device)
        # Below the total, which rounding leaves a little off 1: the draw never falls past the last entry.
        threshold_BQ1 = (uniform_2BQ[0] * (1 - 1e-6) * cumulative_BQS[..., -1]).unsqueeze(-1)
        positions_BQ = torch.searchsorted(cumulative_BQS, threshold_BQ1, right=True).squeeze(-1)
        tokens_BQ = memory.source_BS.gather(1, positions_BQ.clamp_max(memory.source_BS.shape[1] - 1))
        writes_BQ = uniform_2BQ[1] < torch.sigmoid(reading.gate_BQ)
        output_RE = reading.output_BQE[writes_BQ]
        written_R = draw_linear(output_RE, self.embed_weight, self.written_bias_V, rng=rng).squeeze(-1)
        return tokens_BQ.masked_scatter(writes_BQ, written_R)

    @property
    def embed_weight(self) -> Tensor:
        """The embedding, which is the output's weight as well, (V, E)."""
        return self.encoder.embed.weight

    @property
    def written_bias_V(self) -> Tensor:
        """The output's bias; `<pad>` and `<bos>` are never written."""
        banned_V = torch.zeros_like(self.bias_V)
        banned_V[PAD] = banned_V[BOS] = _NEVER
        return self.bias_V + banned_V

    def embed(self, tokens: Tensor) -> Tensor:
        """(…) → (…, E)"""
        return torch.as_tensor(self.encoder.embed(self.encoder.shared(tokens)))

    def _mixture(self, reading: Reading, memory: Memory, wanted_BQ: Tensor) -> Tensor:
        """The distribution at the wanted places, (R, X)."""
        logits_RV = functional.linear(reading.output_BQE[wanted_BQ], self.embed_weight).float() + self.written_bias_V
        written_RV = logits_RV.softmax(-1)
        positions = memory.source_BS.shape[1]
        if not self.copy:
            return functional.pad(written_RV, (0, positions))
        p_write_R1 = torch.sigmoid(reading.gate_BQ[wanted_BQ]).unsqueeze(-1)
        written_RX = functional.pad(written_RV * p_write_R1, (0, positions))
        source_RS = memory.source_BS.unsqueeze(1).expand_as(reading.attention_BQS)[wanted_BQ]
        return written_RX.scatter_add(-1, source_RS, reading.attention_BQS[wanted_BQ] * (1 - p_write_R1))

    def _entropy(self, reading: Reading, memory: Memory, wanted_BQ: Tensor) -> Tensor:
        """Entropy of the distribution at the wanted places, in nats, 0 elsewhere; (B, Q)."""
        prob_RX = self._mixture(reading, memory, wanted_BQ)
        # clamp_min keeps the gradient of p log p finite where p underflows to 0.
        entropy_R = -(prob_RX * prob_RX.clamp_min(1e-12).log()).sum(-1)
        return torch.zeros_like(reading.gate_BQ).masked_scatter(wanted_BQ, entropy_R)

    def _auxiliary_loss(self, batch: EncodedPairs, memory: Memory) -> Tensor:
        """Sigmoid cross-entropy over the headline's hot words, plus squared error of its click rate; (B,)."""
        loss_B = memory.pooled_BH.new_zeros(len(batch))
        if self.hot_head is not None and batch.hot_targets_NW is not None:
            target_BW = batch.hot_targets_NW
            # The dictionary may hold fewer words than it was allowed.
            logits_BW = self.hot_head(memory.pooled_BH).float()[:, : target_BW.shape[1]]
            loss_B = loss_B + functional.binary_cross_entropy_with_logits(logits_BW, target_BW, reduction="none").sum(
                -1
            )
        if self.click_head is not None and batch.click_NF is not None:
            written_BT1 = batch.headlines_NT.ne(PAD).unsqueeze(-1)
            headline_BE = (self.embed(batch.headlines_NT) * written_BT1).sum(1) / written_BT1.sum(1)
            rate_B = self.click_head(torch.cat([memory.pooled_BH, headline_BE], dim=-1)).squeeze(-1).float()
            present_B = batch.click_NF[:, click.WIDTH // 2]
            loss_B = loss_B + present_B * (rate_B - batch.click_NF[:, 0]).square()
        return loss_B

    def _for_cell(self, state_KRH: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.states == 1:
            return state_KRH.contiguous()
        return state_KRH[:1].contiguous(), state_KRH[1:].contiguous()
