"""Drawing headlines, and completing their prefixes to reward each token. Suffixes as in generator.py;
N completions a prefix, P prefixes, Q = P * N (or 1) headlines of an article at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.seqgan.discriminator import Discriminator
from models.seqgan.generator import Generator, Memory
from models.text.characters import BOS, END, PAD


def mask_through_end(tokens: Tensor) -> Tensor:
    """1.0 up to and with the first `<end>` along the last axis, 0.0 after it."""
    ends = tokens.eq(END)
    return (ends.cumsum(-1) - ends.long()).eq(0).float()


def draw_tokens(
    generator: Generator, states_BQH: Tensor, inputs_BQ: Tensor, memory: Memory, rng: torch.Generator
) -> Tensor:
    """One exact draw from each next-token distribution, (B, Q); `inputs_BQ` are the tokens before.

    Drawn in two steps, first whether to write or to copy, then what: the extended distribution is never
    built, and the vocabulary's is only for the rows that write.
    """
    reading = generator.read(states_BQH, inputs_BQ, memory)
    positions_BQ = _inverse_cdf(reading.attention_BQS, rng)
    tokens_BQ = memory.source_BS.gather(1, positions_BQ)
    coin_BQ = torch.rand(positions_BQ.shape, generator=rng, device=positions_BQ.device)
    writes_BQ = coin_BQ < torch.sigmoid(reading.gate_BQ)
    prob_RV = generator.vocabulary_logits(reading.output_BQE[writes_BQ]).softmax(-1)
    return tokens_BQ.masked_scatter(writes_BQ, _inverse_cdf(prob_RV, rng))


def _inverse_cdf(prob: Tensor, rng: torch.Generator) -> Tensor:
    """One draw along the last axis with one uniform each; `torch.multinomial` takes several times as long."""
    cumulative = prob.cumsum(-1)
    # Below the total, which rounding leaves a little off 1: the draw never falls past the last entry.
    uniform = torch.rand(prob.shape[:-1], generator=rng, device=prob.device) * (1 - 1e-6)
    threshold = (uniform * cumulative[..., -1]).unsqueeze(-1)
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1).clamp_max(prob.shape[-1] - 1)


@torch.no_grad()
def sample_headlines(generator: Generator, memory: Memory, length: int, rng: torch.Generator) -> Tensor:
    """A headline an article drawn from the generator itself, (B, T); `<pad>` after `<end>`."""
    batch = memory.source_BS.shape[0]
    state_KBQH = memory.initial_KBH.unsqueeze(2)
    token_BQ = memory.source_BS.new_full((batch, 1), BOS)
    ended_BQ = torch.zeros_like(token_BQ, dtype=torch.bool)
    written = []
    for _ in range(length):
        state_KBQH = generator.step(token_BQ, state_KBQH)
        drawn_BQ = draw_tokens(generator, state_KBQH[0], token_BQ, memory, rng)
        token_BQ = drawn_BQ.masked_fill(ended_BQ, PAD)
        ended_BQ = ended_BQ | token_BQ.eq(END)
        written.append(token_BQ)
    return torch.cat(written, dim=1)


@torch.no_grad()
def complete_prefixes(
    generator: Generator, memory: Memory, headlines_BT: Tensor, n: int, stride: int, rng: torch.Generator
) -> Tensor:
    """N completions of the prefixes of length 1, 1 + stride, 1 + 2 * stride, ... below T: (B, P, N, T).

    Yu et al. 2017, eq. 4's Monte-Carlo search, as ONE growing batch: step t feeds every prefix shorter
    than t and adds the one of length t, whose state is computed once. T steps in all, instead of T * P.
    A prefix that already ended stays as it is.
    """
    batch, length = headlines_BT.shape
    lengths = range(1, length, stride)
    tokens_BQT = headlines_BT.unsqueeze(1).repeat(1, len(lengths) * n, 1)
    input_B1 = headlines_BT.new_full((batch, 1), BOS)
    prefix_KB1H = memory.initial_KBH.unsqueeze(2)
    state_KBQH = prefix_KB1H[:, :, :0]
    for t in range(length):
        prefix_KB1H = generator.step(input_B1, prefix_KB1H)
        input_B1 = headlines_BT[:, t : t + 1]
        live = state_KBQH.shape[2]
        if live:
            state_KBQH = generator.step(tokens_BQT[:, :live, t - 1], state_KBQH)
        if t in lengths:
            fresh_KBNH = prefix_KB1H.expand(-1, -1, n, -1)
            state_KBQH = torch.cat([state_KBQH, fresh_KBNH], dim=2)
            live += n
        if live:
            ended_BQ = tokens_BQT[:, :live, :t].eq(END).any(-1)
            drawn_BQ = draw_tokens(generator, state_KBQH[0], tokens_BQT[:, :live, t - 1], memory, rng)
            tokens_BQT[:, :live, t] = drawn_BQ.masked_fill(ended_BQ, PAD)
    return tokens_BQT.view(batch, len(lengths), n, length)


@torch.no_grad()
def rollout_reward(
    generator: Generator,
    discriminator: Discriminator,
    memory: Memory,
    headlines_BT: Tensor,
    n: int,
    stride: int,
    rng: torch.Generator,
) -> Tensor:
    """Mean probability of "real" over N completions of each prefix; (B, T), in [0, 1], 0 after `<end>`.

    Yu et al. 2017, eq. 4: token t is rewarded by the completions of the prefix that ends with it, the last
    token by the headline itself. Unlike the paper, only every `stride`-th prefix is completed; a token in
    between takes the first completed prefix that holds it. Both networks must be in evaluation mode.
    """
    batch, length = headlines_BT.shape
    whole_B1 = torch.sigmoid(discriminator(memory.source_BS, headlines_BT)).unsqueeze(1)
    completed_BPNT = complete_prefixes(generator, memory, headlines_BT, n, stride, rng)
    prefixes = completed_BPNT.shape[1]
    if prefixes == 0:
        return whole_B1.expand(batch, length) * mask_through_end(headlines_BT)
    articles_RS = memory.source_BS.repeat_interleave(prefixes * n, dim=0)
    real_R = torch.sigmoid(discriminator(articles_RS, completed_BPNT.flatten(0, 2)))
    reward_BP = real_R.view(batch, prefixes, n).mean(-1)
    # Token t needs a prefix longer than t: index ceil(t / stride), the whole headline if there is none.
    index_T = (torch.arange(length, device=headlines_BT.device) + stride - 1) // stride
    reward_BT = torch.cat([reward_BP, whole_B1], dim=1)[:, index_T.clamp_max(prefixes)]
    return reward_BT * mask_through_end(headlines_BT)
