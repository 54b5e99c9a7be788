"""Headlines out of next-token distributions: the likeliest piece, draws, beam search, and their constraints.

Suffixes as in generator.py; P given pieces, Q beams, G pieces of an n-gram.

Nothing here writes `<unk>`, `<pad>`, `<bos>`, or `<end>` in the first place. All work is on the extended
vocabulary, so a piece that only the article holds is drawn, cut off and forbidden like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.errors import ModelError
from models.seqgan.encoder import Memory
from models.seqgan.generator import DecoderState, Generator
from models.text.pieces import BOS, END, PAD, UNK

_MAX_LENGTH, _MAX_BEAM, _MAX_TEMPERATURE = 4096, 64, 10.0
# Where constraints leave nothing, `<end>` has this much: it is taken then, and is the last choice else.
_LAST_RESORT = 1e-30


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How pieces are chosen from the model's distributions. Raises ModelError for values that are out of range.

    temperature: 0 takes the likeliest piece; 1 draws from the model; in between sharpens, above flattens.
    top_k: draw among the so many likeliest pieces; 0 for all.
    top_p: draw among the fewest likeliest pieces that hold this much probability (nucleus sampling, Holtzman
        et al. 2020, arXiv:1904.09751, section 3.1), after temperature and top_k; 1 for all.
    no_repeat_ngram: so many pieces in a row come only once in a headline (Paulus et al. 2018,
        arXiv:1705.04304, section 2.5); 0 allows repeats. Three by default: the likeliest pieces alone run in
        circles.
    max_length: the most pieces of a headline; None for the length that the model was trained for.
    beam: how many headlines beam search keeps; 1 keeps none but the one that is written.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    no_repeat_ngram: int = 3
    max_length: int | None = None
    beam: int = 1

    def __post_init__(self) -> None:
        # `not a <= b` also refuses nan.
        if not 0 <= self.temperature <= _MAX_TEMPERATURE:
            raise ModelError(
                f"temperature: {self.temperature} is outside [0, {_MAX_TEMPERATURE:g}]; 0 takes the likeliest piece"
            )
        if self.top_k < 0:
            raise ModelError(f"top_k: {self.top_k} is negative; give a number of pieces, or 0 for all")
        if not 0 < self.top_p <= 1:
            raise ModelError(f"top_p: {self.top_p} is outside (0, 1]; give a share of the probability, or 1 for all")
        if self.no_repeat_ngram < 0:
            raise ModelError(f"no_repeat_ngram: {self.no_repeat_ngram} is negative; give a number of pieces, or 0")
        if self.max_length is not None and not 1 <= self.max_length <= _MAX_LENGTH:
            raise ModelError(f"max_length: {self.max_length} is outside [1, {_MAX_LENGTH}]; give a number of pieces")
        if not 1 <= self.beam <= _MAX_BEAM:
            raise ModelError(f"beam: {self.beam} is outside [1, {_MAX_BEAM}]; 1 is no beam search")
        if self.temperature == 0 and (self.top_k or self.top_p < 1):
            raise ModelError(
                f"temperature: 0 draws nothing, so top_k {self.top_k} and top_p {self.top_p} mean nothing; "
                "raise the temperature, or leave them out"
            )
        if self.beam > 1 and self.temperature > 0:
            raise ModelError(
                f"beam: {self.beam} headlines are searched, not drawn, but temperature is {self.temperature}; "
                "give temperature 0, or beam 1"
            )

    def limit(self, length: int) -> int:
        """The most pieces of a headline; `length` is the model's own."""
        return self.max_length if self.max_length is not None else length


Randomness = torch.Generator | Sequence[torch.Generator]


@torch.no_grad()
def decode(
    generator: Generator,
    memory: Memory,
    length: int,
    decoding: Decoding,
    rng: Randomness,
    prefix_BP: Tensor | None = None,
) -> Tensor:
    """One headline an article, (B, T), T = `decoding.limit(length)`; `<pad>` after `<end>`.

    A headline that has used its T pieces has no `<end>`. `prefix_BP` begins the headlines, P at most T; the
    prefixes may have ended already. Where constraints leave no piece, `<end>` is written.
    `rng` is one generator for all rows, or one a row: with one a row (see randomness.keyed_generator) a
    headline does not hang on what else is in the batch. A row takes its T uniform numbers at once, on the
    generator's device, and at temperature 0 none. Equal up to the rounding of a batch's matrix products.
    """
    limit = decoding.limit(length)
    prefix_BP = _prefix(memory, prefix_BP, limit)
    if decoding.beam > 1:
        return beam_search(generator, memory, length, decoding, prefix_BP).tokens_BQT[:, 0]
    uniform_BT = _uniforms(rng, len(prefix_BP), limit).to(prefix_BP.device) if decoding.temperature > 0 else None
    written_BT = pad(prefix_BP, (0, limit - prefix_BP.shape[1]), value=PAD)
    ended_B = prefix_BP.eq(END).any(1)
    state = _begun(generator, memory, prefix_BP)
    for t in range(prefix_BP.shape[1], limit):
        if ended_B.all():
            break
        prob_BX = generator.distribution(generator.read(state, memory), memory).squeeze(1)
        prob_BX = allowed(prob_BX, written_BT[:, :t], decoding.no_repeat_ngram)
        if uniform_BT is None:
            token_B = prob_BX.argmax(-1)
        else:
            token_B = draw_from(sharpened(prob_BX, decoding), uniform_BT[:, t])
        written_BT[:, t] = token_B.masked_fill(ended_B, PAD)
        ended_B = ended_B | token_B.eq(END)
        state = generator.step(written_BT[:, t : t + 1], state)
    return written_BT


class Beams(NamedTuple):
    """The headlines that a search ends with, the best first, and their mean log-probability a piece, in nats.

    Where there are fewer headlines than beams, the rest are all `<pad>` and score -inf.
    """

    tokens_BQT: Tensor
    score_BQ: Tensor


@torch.no_grad()
def beam_search(
    generator: Generator, memory: Memory, length: int, decoding: Decoding, prefix_BP: Tensor | None = None
) -> Beams:
    """The `decoding.beam` headlines of each article that beam search likes best; (B, Q, T).

    Log-probabilities are divided by the number of pieces, `<end>` included (the length penalty of Wu et al.
    2016, arXiv:1609.08144, eq. 14, with alpha 1 and without its constant): without this, short headlines win.
    Unlike there, headlines that have ended stay in the beam and compete at every step; a search ends when all
    of them have. The pieces of `prefix_BP` are given, and add nothing to a score. All B * Q headlines are
    one batch.
    """
    limit, beam = decoding.limit(length), decoding.beam
    prefix_BP = _prefix(memory, prefix_BP, limit)
    given = prefix_BP.shape[1]
    written_BQT = pad(prefix_BP, (0, limit - given), value=PAD).unsqueeze(1).repeat(1, beam, 1)
    ended_BQ = written_BQT.eq(END).any(-1)
    state = _begun(generator, memory, prefix_BP).repeat(beam)
    # All beams are equal at first: only the first of them is continued.
    total_BQ = memory.pooled_BH.new_full(ended_BQ.shape, -math.inf, dtype=torch.float32)
    total_BQ[:, 0] = 0.0
    pieces_BQ = torch.zeros_like(total_BQ)
    for t in range(given, limit):
        if ended_BQ.all():
            break
        prob_BQX = generator.distribution(generator.read(state, memory), memory)
        size = prob_BQX.shape[-1]
        prob_RX = allowed(prob_BQX.flatten(0, 1), written_BQT[:, :, :t].flatten(0, 1), decoding.no_repeat_ngram)
        log_prob_BQX = prob_RX.log().view_as(prob_BQX)
        # An ended headline goes on as itself alone.
        log_prob_BQX = log_prob_BQX.masked_fill(ended_BQ.unsqueeze(-1), -math.inf)
        log_prob_BQX[..., PAD].masked_fill_(ended_BQ, 0.0)
        pieces_BQ = pieces_BQ + (~ended_BQ).float()
        score_BQX = (total_BQ.unsqueeze(-1) + log_prob_BQX) / pieces_BQ.clamp_min(1).unsqueeze(-1)
        score_BQ, place_BQ = score_BQX.flatten(1).topk(beam, dim=1)
        parent_BQ, token_BQ = place_BQ // size, place_BQ % size
        written_BQT = written_BQT.gather(1, parent_BQ.unsqueeze(-1).expand_as(written_BQT))
        written_BQT[:, :, t] = token_BQ
        ended_BQ = ended_BQ.gather(1, parent_BQ) | token_BQ.eq(END)
        pieces_BQ = pieces_BQ.gather(1, parent_BQ)
        total_BQ = score_BQ * pieces_BQ.clamp_min(1)
        state = generator.step(token_BQ, _reordered(state, parent_BQ))
    written_BQT = written_BQT.masked_fill(total_BQ.isinf().unsqueeze(-1), PAD)
    return Beams(written_BQT, total_BQ / pieces_BQ.clamp_min(1))


def draw_from(prob_BX: Tensor, uniform_B: Tensor) -> Tensor:
    """One draw from each row of unnormalised probabilities by a uniform number in [0, 1); (B,).

    The inverse of the cumulative sum, in fp64: an entry of probability 0 is never drawn.
    """
    cumulative_BX = prob_BX.double().cumsum(-1)
    # Below the total, where rounding could put the threshold: the draw never falls past the last entry.
    threshold_B1 = (uniform_B.double() * (1 - 1e-12) * cumulative_BX[:, -1]).unsqueeze(-1)
    return torch.searchsorted(cumulative_BX, threshold_B1, right=True).squeeze(-1)


def sharpened(prob_BX: Tensor, decoding: Decoding) -> Tensor:
    """Probabilities at the temperature, cut off by top_k and then by top_p, without being normalised again."""
    # From the largest down: a low temperature would take all of the logarithms to -inf.
    log_prob_BX = prob_BX.log()
    prob_BX = ((log_prob_BX - log_prob_BX.amax(-1, keepdim=True)) / decoding.temperature).softmax(-1)
    if not decoding.top_k and decoding.top_p == 1:
        return prob_BX
    kept = min(decoding.top_k or prob_BX.shape[1], prob_BX.shape[1])
    largest_BX, place_BX = prob_BX.topk(kept, dim=-1)
    # A piece stays if those before it hold less than top_p: the one that reaches top_p stays as well.
    before_BX = largest_BX.cumsum(-1) - largest_BX
    total_B1 = largest_BX.sum(-1, keepdim=True)
    largest_BX = largest_BX.masked_fill(before_BX >= decoding.top_p * total_B1, 0.0)
    return torch.zeros_like(prob_BX).scatter_(1, place_BX, largest_BX)


def allowed(prob_BX: Tensor, written_BT: Tensor, no_repeat_ngram: int) -> Tensor:
    """The probabilities with 0 for what may not follow the T pieces written; `<end>` where nothing is left.

    Not normalised again.
    """
    prob_BX = prob_BX.clone()
    prob_BX[:, [PAD, BOS, UNK]] = 0.0
    if written_BT.shape[1] == 0:
        prob_BX[:, END] = 0.0
    row_M, token_M = repeats(written_BT, no_repeat_ngram)
    prob_BX[row_M, token_M] = 0.0
    prob_BX[:, END] = prob_BX[:, END].masked_fill(prob_BX.sum(-1).eq(0), _LAST_RESORT)
    return prob_BX


def repeats(written_BT: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The pieces that would make an n-gram of `size` pieces come again: their rows and ids, (M,) each."""
    length = written_BT.shape[1]
    if size == 0 or length < size:
        nothing = written_BT.new_empty(0)
        return nothing, nothing
    grams_BTG = written_BT.unfold(1, size, 1)
    last_B1G = written_BT[:, length - size + 1 :].unsqueeze(1)
    same_BT = grams_BTG[..., :-1].eq(last_B1G).all(-1)
    row_M, place_M = same_BT.nonzero(as_tuple=True)
    return row_M, grams_BTG[row_M, place_M, -1]


def _prefix(memory: Memory, prefix_BP: Tensor | None, limit: int) -> Tensor:
    if prefix_BP is None:
        return memory.source_BS[:, :0]
    if prefix_BP.shape[1] > limit:
        raise ModelError(f"prefix: {prefix_BP.shape[1]} pieces are given, but a headline has {limit}; raise max_length")
    return prefix_BP


def _begun(generator: Generator, memory: Memory, prefix_BP: Tensor) -> DecoderState:
    """The state that has read `<bos>` and the prefix."""
    state = generator.begin(memory)
    for t in range(prefix_BP.shape[1]):
        state = generator.step(prefix_BP[:, t : t + 1], state)
    return state


def _uniforms(rng: Randomness, rows: int, length: int) -> Tensor:
    """(rows, length), in [0, 1)."""
    if isinstance(rng, torch.Generator):
        return torch.rand(rows, length, generator=rng, device=rng.device, dtype=torch.float64)
    if len(rng) != rows:
        raise ModelError(f"rng: {len(rng)} generators for {rows} rows; give one for all, or one a row")
    drawn = [torch.rand(length, generator=row, device=row.device, dtype=torch.float64) for row in rng]
    return torch.stack(drawn) if drawn else torch.empty(0, length, dtype=torch.float64)


def _reordered(state: DecoderState, parent_BQ: Tensor) -> DecoderState:
    """The headlines' states, each in the place of its continuation."""
    index_KBQH = parent_BQ[None, :, :, None].expand_as(state.hidden_KBQH)
    return DecoderState(
        state.hidden_KBQH.gather(2, index_KBQH),
        state.last_BQ.gather(1, parent_BQ),
        state.second_BQ.gather(1, parent_BQ),
    )
