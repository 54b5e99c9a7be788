"""One epoch or one update of each way to train, as functions. Suffixes: B texts, T positions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models.seqgan.losses import advantage
from models.seqgan.paper.discriminator import Discriminator
from models.seqgan.paper.language_model import LanguageModel
from models.seqgan.paper.rewards import Reward


def mle_epoch(
    model: LanguageModel,
    optimizer: Optimizer,
    texts_BT: Tensor,
    *,
    batch_size: int,
    clip: float,
    rng: torch.Generator,
    inputs: Callable[[Tensor], Tensor] | None = None,
) -> float:
    """Teacher forcing once over all texts in a random order; returns the mean NLL during it, nats a token.

    `inputs` gives other tokens to read than the texts' own (scheduled sampling). `clip` is the largest norm of the
    gradient.
    """
    total = 0.0
    for index in torch.split(torch.randperm(len(texts_BT), generator=rng), batch_size):
        batch_BT = texts_BT[index]
        weight_BT = torch.full(batch_BT.shape, 1 / batch_BT.numel())
        loss = model.loss(batch_BT, weight_BT, inputs(batch_BT) if inputs else None)
        _update(model, optimizer, loss, clip)
        total += loss.item() * len(index)
    return total / len(texts_BT)


def policy_update(
    generator: LanguageModel,
    optimizer: Optimizer,
    reward: Reward,
    *,
    batch_size: int,
    baseline: str,
    clip: float,
    rng: torch.Generator,
) -> float:
    """One step of REINFORCE on texts drawn from the generator; returns the mean reward a token.

    Yu et al. 2017, eq. 8, and as in its code the sum over texts and positions. `baseline` is that of
    `losses.advantage`; "none" is the paper's.
    """
    texts_BT = generator.sample(batch_size, rng=rng)
    reward_BT = reward(texts_BT, rng)
    advantage_BT = advantage(reward_BT, torch.ones_like(reward_BT), baseline, normalise=False)
    # A weight of a text's NLL is its advantage: minimising −(advantage · log p) is minimising advantage · NLL.
    _update(generator, optimizer, generator.loss(texts_BT, advantage_BT), clip)
    return reward_BT.mean().item()


def discriminator_epoch(
    discriminator: Discriminator,
    optimizer: Optimizer,
    real_BT: Tensor,
    fake_BT: Tensor,
    *,
    batch_size: int,
    l2: float,
    rng: torch.Generator,
) -> float:
    """Once over real and fake texts, mixed; returns the mean loss, nats a text."""
    texts_BT = torch.cat([real_BT, fake_BT])
    real_B = torch.arange(len(texts_BT)) < len(real_BT)
    total = 0.0
    for index in torch.split(torch.randperm(len(texts_BT), generator=rng), batch_size):
        loss = discriminator.loss(texts_BT[index], real_B[index], l2=l2, dropout=rng)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        total += loss.item() * len(index)
    return total / len(texts_BT)


def _update(model: LanguageModel, optimizer: Optimizer, loss: Tensor, clip: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.trained_parameters(), clip)
    optimizer.step()
