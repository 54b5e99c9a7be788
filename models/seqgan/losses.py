"""The losses, as pure functions. Suffixes: B headlines, T positions; masks are 1 up to and with `<end>`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(log_prob_BT: Tensor, mask_BT: Tensor, tokens: float | None = None) -> Tensor:
    """Mean negative log-likelihood a token, in nats (teacher forcing).

    `tokens` replaces the number of tokens in the mask: a worker that holds a shard of the batch divides
    by its share of the whole batch, so that averaging gradients gives exactly the whole batch's.
    """
    count = mask_BT.sum() if tokens is None else tokens
    return -(log_prob_BT * mask_BT).sum() / count


def advantage(reward_BT: Tensor, mask_BT: Tensor, baseline: str, normalise: bool = True) -> Tensor:
    """Reward minus a baseline of its position over the batch; 0 outside the mask.

    baseline: "none", "mean" (over all headlines that reach the position) or "leave_one_out" (over the
    others; unbiased; Kool et al. 2019). A headline alone at its position has the advantage 0 under both.
    `normalise` divides by the root mean square over the mask. Yu et al. 2017 subtract nothing: a positive
    reward then sharpens the policy whatever it says.
    """
    mask_BT = mask_BT.to(reward_BT.dtype)
    if baseline == "none":
        advantage_BT = reward_BT * mask_BT
    else:
        count_1T = mask_BT.sum(0, keepdim=True)
        # Measured from the lowest reward, so that a constant reward, or one headline alone, has exactly the
        # advantage 0: a sum of equal floats divided by their number is not always that float.
        low_1T = reward_BT.masked_fill(mask_BT == 0, torch.inf).amin(0, keepdim=True)
        above_BT = torch.where(mask_BT > 0, reward_BT - low_1T, 0.0)
        total_1T = above_BT.sum(0, keepdim=True)
        if baseline == "mean":
            mean_BT = total_1T / count_1T.clamp_min(1)
        elif baseline == "leave_one_out":
            mean_BT = (total_1T - above_BT) / (count_1T - 1).clamp_min(1)
        else:
            raise ValueError(f"baseline: {baseline!r} is not one of none, mean, leave_one_out")
        advantage_BT = (above_BT - mean_BT) * mask_BT
    if normalise:
        size = (advantage_BT.square().sum() / mask_BT.sum().clamp_min(1)).sqrt()
        advantage_BT = advantage_BT / (size + 1e-8)
    return advantage_BT


def policy_gradient(log_prob_BT: Tensor, advantage_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """REINFORCE: minus the mean over tokens of advantage times log-probability (Yu et al. 2017, eq. 8).

    Unlike the paper, the mean is over tokens up to `<end>`, not over a fixed length.
    """
    return -(advantage_BT.detach() * log_prob_BT * mask_BT).sum() / mask_BT.sum().clamp_min(1)


def mean_entropy(entropy_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean entropy a token, in nats; added to the objective as a bonus."""
    return (entropy_BT * mask_BT).sum() / mask_BT.sum().clamp_min(1)


def discriminator_loss(real_B: Tensor, fake_B: Tensor, mismatched_B: Tensor, smoothing: float) -> Tensor:
    """Sigmoid cross-entropy of three kinds of pairs, the real ones weighing as much as both others together.

    Arguments are logits: a headline over its article, a generated one, and a real headline over another
    article. Without the third kind the discriminator ignores the article. `smoothing` is taken off the
    real pairs' target 1 (one-sided: Salimans et al. 2016, arXiv:1606.03498, section 3.4).
    """
    real = functional.binary_cross_entropy_with_logits(real_B, torch.full_like(real_B, 1 - smoothing))
    fake = functional.binary_cross_entropy_with_logits(fake_B, torch.zeros_like(fake_B))
    other = functional.binary_cross_entropy_with_logits(mismatched_B, torch.zeros_like(mismatched_B))
    return 0.5 * real + 0.25 * (fake + other)
