"""Each loss and metric against a plain loop or a value worked by hand."""

import math

import numpy as np
import pytest
import torch

from models.seqgan.losses import advantage, cross_entropy, discriminator_loss, mean_entropy, policy_gradient
from models.seqgan.metrics import distinct_n, exp_or_inf, rouge_l

RNG = np.random.default_rng(3)
LOG_PROB = RNG.normal(-2, 1, (5, 6)).astype(np.float32)
REWARD = RNG.random((5, 6)).astype(np.float32)
MASK = np.array([[t < length for t in range(6)] for length in (6, 3, 4, 1, 4)], dtype=np.float32)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def loop_advantage(reward: np.ndarray, mask: np.ndarray, baseline: str) -> np.ndarray:
    result = np.zeros(reward.shape)
    for t in range(reward.shape[1]):
        for b in range(reward.shape[0]):
            others = [reward[i, t] for i in range(len(reward)) if mask[i, t] and i != b]
            if not mask[b, t] or (baseline != "none" and not others):
                continue
            compared = {"none": [0.0], "mean": [*others, reward[b, t]], "leave_one_out": others}[baseline]
            result[b, t] = reward[b, t] - sum(compared) / len(compared)
    return result


def test_cross_entropy_is_the_mean_over_unmasked_tokens() -> None:
    total = sum(-LOG_PROB[b, t] for b in range(5) for t in range(6) if MASK[b, t])
    log_prob, mask = tensors(LOG_PROB, MASK)
    assert cross_entropy(log_prob, mask).item() == pytest.approx(total / MASK.sum(), rel=1e-6)
    assert cross_entropy(log_prob, mask, tokens=9).item() == pytest.approx(total / 9, rel=1e-6)


@pytest.mark.parametrize("baseline", ["none", "mean", "leave_one_out"])
def test_the_policy_gradient_loss_equals_a_loop(baseline: str) -> None:
    log_prob, reward, mask = tensors(LOG_PROB, REWARD, MASK)
    expected = loop_advantage(REWARD, MASK, baseline)
    plain = advantage(reward, mask, baseline, normalise=False)
    np.testing.assert_allclose(plain.numpy(), expected, atol=1e-6)
    scaled = expected / math.sqrt((expected**2).sum() / MASK.sum())
    np.testing.assert_allclose(advantage(reward, mask, baseline).numpy(), scaled, atol=1e-5)
    total = sum(-scaled[b, t] * LOG_PROB[b, t] for b in range(5) for t in range(6) if MASK[b, t])
    loss = policy_gradient(log_prob, advantage(reward, mask, baseline), mask)
    assert loss.item() == pytest.approx(total / MASK.sum(), abs=1e-5)


@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
@pytest.mark.parametrize("constant", [0.5, 0.1, 0.3333, 1.0])
def test_a_constant_reward_gives_exactly_no_gradient(baseline: str, constant: float) -> None:
    log_prob, mask = tensors(LOG_PROB, MASK)
    log_prob.requires_grad_()
    policy_gradient(log_prob, advantage(torch.full((5, 6), constant), mask, baseline), mask).backward()
    assert log_prob.grad is not None
    assert log_prob.grad.abs().max().item() == 0.0


def test_nothing_counts_after_the_end() -> None:
    log_prob, reward, mask = tensors(LOG_PROB, REWARD, MASK)
    outside = mask == 0
    other_log_prob, other_reward = log_prob.clone(), reward.clone()
    other_log_prob[outside], other_reward[outside] = -99.0, 77.0
    for baseline in ("none", "mean", "leave_one_out"):
        before = policy_gradient(log_prob, advantage(reward, mask, baseline), mask)
        after = policy_gradient(other_log_prob, advantage(other_reward, mask, baseline), mask)
        assert before == after
    assert cross_entropy(log_prob, mask) == cross_entropy(other_log_prob, mask)
    assert mean_entropy(log_prob, mask) == mean_entropy(other_log_prob, mask)


def test_a_baseline_without_a_name_is_refused() -> None:
    reward, mask = tensors(REWARD, MASK)
    with pytest.raises(ValueError, match="'median' is not one of"):
        advantage(reward, mask, "median")


def test_the_discriminator_loss_equals_a_loop() -> None:
    logits = RNG.normal(0, 2, (3, 7)).astype(np.float32)

    def loss(target: float, row: np.ndarray) -> float:
        prob = 1 / (1 + np.exp(-row.astype(np.float64)))
        return float(np.mean([-(target * np.log(p) + (1 - target) * np.log(1 - p)) for p in prob]))

    expected = 0.5 * loss(0.9, logits[0]) + 0.25 * (loss(0.0, logits[1]) + loss(0.0, logits[2]))
    assert discriminator_loss(*tensors(*logits), smoothing=0.1).item() == pytest.approx(expected, rel=1e-5)


def test_rouge_l_by_hand() -> None:
    assert rouge_l("abcd", "abcd") == 1.0
    assert rouge_l("abc", "xyz") == 0.0
    # Longest common subsequence "bd": precision 2/3, recall 2/4.
    assert rouge_l("bxd", "abcd") == pytest.approx(2 * 2 / (3 + 4))
    assert rouge_l("", "abcd") == rouge_l("abcd", "") == 0.0


def test_distinct_n_by_hand() -> None:
    assert distinct_n(["abab", "ab"], 2) == pytest.approx(2 / 4)
    assert distinct_n(["aaa"], 1) == pytest.approx(1 / 3)
    assert distinct_n(["a"], 2) == 0.0


def test_a_diverged_loss_becomes_inf_or_nan_instead_of_an_error() -> None:
    assert exp_or_inf(1e9) == math.inf
    assert math.isnan(exp_or_inf(math.nan))
    assert exp_or_inf(-3.0) == math.exp(-3.0)
