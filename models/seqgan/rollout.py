"""Drawing headlines, and completing their prefixes to reward each token. Suffixes as in generator.py;
N completions a prefix, P prefixes, Q = P * N (or 1) headlines of an article at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.seqgan.discriminator import Discriminator
from models.seqgan.encoder import Memory
from models.seqgan.generator import Generator
from models.text.pieces import BOS, END, PAD

JUDGED_AT_ONCE = 4096
"""Completed headlines that are embedded together: all of them at once can be gigabytes."""


def mask_through_end(tokens: Tensor) -> Tensor:
    """1.0 up to and with the first `<end>` along the last axis, 0.0 after it."""
    ends = tokens.eq(END)
    return (ends.cumsum(-1) - ends.long()).eq(0).float()


@torch.no_grad()
def sample_headlines(generator: Generator, memory: Memory, length: int, rng: torch.Generator) -> Tensor:
    """A headline an article drawn from the generator itself, (B, T); `<pad>` after `<end>`."""
    token_BQ = torch.full_like(memory.source_BS[:, :1], BOS)
    ended_BQ = torch.zeros_like(token_BQ, dtype=torch.bool)
    state = generator.start(memory)
    written_BT = token_BQ.new_full((len(token_BQ), length), PAD)
    for t in range(length):
        state = generator.step(token_BQ, state)
        token_BQ = generator.draw(state, memory, rng).masked_fill(ended_BQ, PAD)
        ended_BQ = ended_BQ | token_BQ.eq(END)
        written_BT[:, t : t + 1] = token_BQ
        if ended_BQ.all():
            break
    return written_BT


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
    prefix = generator.begin(memory)
    growing = None
    for t in range(1, length):
        prefix = generator.step(headlines_BT[:, t - 1 : t], prefix)
        if growing is not None:
            live = growing.last_BQ.shape[1]
            growing = generator.step(tokens_BQT[:, :live, t - 1], growing)
        if t in lengths:
            growing = prefix.repeat(n) if growing is None else growing.join(prefix.repeat(n))
        assert growing is not None  # the first prefix has length 1
        live = growing.last_BQ.shape[1]
        ended_BQ = tokens_BQT[:, :live, :t].eq(END).any(-1)
        tokens_BQT[:, :live, t] = generator.draw(growing, memory, rng).masked_fill(ended_BQ, PAD)
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
    article_BC = discriminator.article_features(memory.source_BS)
    whole_B1 = torch.sigmoid(discriminator.judge(article_BC, headlines_BT)).unsqueeze(1)
    completed_BPNT = complete_prefixes(generator, memory, headlines_BT, n, stride, rng)
    prefixes = completed_BPNT.shape[1]
    if prefixes == 0:
        return whole_B1.expand(batch, length) * mask_through_end(headlines_BT)
    article_RC = article_BC.repeat_interleave(prefixes * n, dim=0)
    judged = [
        discriminator.judge(article_rC, headlines_rT)
        for article_rC, headlines_rT in zip(
            torch.split(article_RC, JUDGED_AT_ONCE),
            torch.split(completed_BPNT.flatten(0, 2), JUDGED_AT_ONCE),
            strict=True,
        )
    ]
    real_R = torch.sigmoid(torch.cat(judged))
    reward_BP = real_R.view(batch, prefixes, n).mean(-1)
    # Token t needs a prefix longer than t: index ceil(t / stride), the whole headline if there is none.
    index_T = (torch.arange(length, device=headlines_BT.device) + stride - 1) // stride
    reward_BT = torch.cat([reward_BP, whole_B1], dim=1)[:, index_T.clamp_max(prefixes)]
    return reward_BT * mask_through_end(headlines_BT)
