"""Checks of the whole chain against what is known exactly: what `python -m models.seqgan.oracle --check` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional
from torch.optim import Adam

from models.seqgan.fused import draw_linear, linear_cross_entropy
from models.seqgan.paper.language_model import START, LanguageModel, load_oracle, seeded_oracle
from models.seqgan.paper.rewards import constant_reward
from models.seqgan.paper.training import policy_update
from models.seqgan.randomness import keyed_generator

ORACLE_NLL, TOLERANCE = 5.75, 0.02
"""What the paper's oracle says of its own texts, nats a token ("real" in the tables of LeakGAN and RelGAN)."""
ANCHOR = f"the paper's oracle gives its own texts NLL {ORACLE_NLL} ± {TOLERANCE}"


@dataclass(frozen=True)
class Check:
    """A line: what must hold, the figure that was seen, and whether it does. None: it couldn't be tried."""

    name: str
    seen: str
    passed: bool | None


def all_checks(oracle_file: Path | None, *, samples: int = 10_000) -> Iterator[Check]:
    """Every check, in order; `oracle_file` None leaves the paper's own oracle out. Takes seconds.

    Raises DataError for a file that isn't an oracle's.
    """
    if oracle_file is None:
        oracle = seeded_oracle(0)
        yield Check(ANCHOR, "its file is not here; name it with --oracle. The rest is of our seeded oracle", None)
    else:
        oracle = load_oracle(oracle_file)
        yield oracle_scores_its_own(oracle, samples=samples)
    yield nll_is_entropy(oracle)
    yield sampler_follows_the_softmax(oracle)
    yield fused_loss_is_cross_entropy(oracle)
    yield fused_gradient_is_cross_entropys(oracle)
    yield rollouts_keep_prefixes(oracle)
    yield constant_reward_teaches_nothing(oracle)


def oracle_scores_its_own(oracle: LanguageModel, *, samples: int) -> Check:
    """The paper's oracle and our sampler and NLL agree with the figure that others report."""
    texts_BT = oracle.sample(samples, rng=keyed_generator("cpu", 0, "check"))
    nll = oracle.nll(texts_BT).mean().item()
    return Check(ANCHOR, f"NLL {nll:.4f} nats a token, {samples:,} texts", abs(nll - ORACLE_NLL) <= TOLERANCE)


@torch.no_grad()
def nll_is_entropy(oracle: LanguageModel, *, samples: int = 500) -> Check:
    """A model's NLL of its own texts is in the mean the entropy of its next-token distributions, whatever its weights.

    Holds only when sampling and scoring agree at each position. Each token's difference has the mean 0 given what came
    before, so that the variance of the sum is the sum of the variances.
    """
    texts_BT = oracle.sample(samples, rng=keyed_generator("cpu", 0, "entropy"))
    surplus, variance = 0.0, 0.0
    for part_BT in torch.split(texts_BT, 25):
        inputs_BT = torch.cat([torch.full_like(part_BT[:, :1], START), part_BT[:, :-1]], 1)
        log_prob_BTV = oracle.output(oracle.lstm(oracle.embed(inputs_BT))[0]).log_softmax(-1)
        prob_BTV = log_prob_BTV.exp()
        entropy_BT = -(prob_BTV * log_prob_BTV).sum(-1)
        surplus += (oracle.nll(part_BT) - entropy_BT).sum().item()
        variance += ((prob_BTV * log_prob_BTV**2).sum(-1) - entropy_BT**2).sum().item()
    deviation = surplus / variance**0.5
    name = "its NLL of its own texts equals its entropy"
    return Check(name, f"{surplus / texts_BT.numel():+.4f} nats, {deviation:+.2f} deviations", abs(deviation) < 4)


def sampler_follows_the_softmax(oracle: LanguageModel, *, draws: int = 200_000) -> Check:
    """Counts of draws from one state against its softmax: the largest deviation in standard errors, and chi-square."""
    hidden_RH = torch.randn(1, oracle.lstm.hidden_size, generator=keyed_generator("cpu", 0, "state"))
    rng = keyed_generator("cpu", 0, "draws")
    tokens = draw_linear(hidden_RH, oracle.output.weight, oracle.output.bias, n=draws, rng=rng).flatten()
    expected_V = draws * oracle.output(hidden_RH).double().softmax(-1).squeeze(0)
    count_V = torch.bincount(tokens, minlength=oracle.vocabulary)
    often = expected_V >= 5
    seen = torch.cat([count_V[often], count_V[~often].sum()[None]])
    wanted = torch.cat([expected_V[often], expected_V[~often].sum()[None]])
    square = ((seen - wanted) ** 2 / wanted.clamp_min(1e-9)).sum().item()
    freedom = len(seen) - 1
    # Wilson and Hilferty's cube root makes chi-square normal.
    deviation = ((square / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / (2 / (9 * freedom)) ** 0.5
    return Check(
        "the sampler's frequencies match the softmax",
        f"χ² {square:.1f} at {freedom} degrees of freedom, {deviation:+.2f} deviations",
        abs(deviation) < 4,
    )


def fused_loss_is_cross_entropy(oracle: LanguageModel) -> Check:
    """The largest difference of a token's NLL, relative to it, from PyTorch's on all logits."""
    hidden_RH, target_R, weight_R = _rows(oracle)
    with torch.no_grad():
        _, nll_R = linear_cross_entropy(hidden_RH, oracle.output.weight, oracle.output.bias, target_R, weight_R)
        expected_R = functional.cross_entropy(oracle.output(hidden_RH), target_R, reduction="none")
    error = ((nll_R - expected_R).abs() / expected_R).max().item()
    return Check("the fused loss matches cross_entropy to 1e-6", f"relative error {error:.1e}", error <= 1e-6)


def fused_gradient_is_cross_entropys(oracle: LanguageModel) -> Check:
    """The largest difference of a gradient from PyTorch's, relative to that tensor's largest."""
    hidden_RH, target_R, weight_R = _rows(oracle)
    weight_VH, bias_V = oracle.output.weight.detach(), oracle.output.bias.detach()
    inputs = [tensor.requires_grad_() for tensor in (hidden_RH, weight_VH, bias_V)]
    loss, _ = linear_cross_entropy(hidden_RH, weight_VH, bias_V, target_R, weight_R)
    ours = torch.autograd.grad(loss, inputs)
    nll_R = functional.cross_entropy(functional.linear(hidden_RH, weight_VH, bias_V), target_R, reduction="none")
    theirs = torch.autograd.grad((nll_R * weight_R).sum(), inputs)
    error = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, theirs, strict=True))
    return Check("its gradients match to 1e-5", f"relative error {error:.1e}", error <= 1e-5)


def rollouts_keep_prefixes(oracle: LanguageModel) -> Check:
    """Every completion begins with its prefix, and completions of the same prefix differ."""
    rng = keyed_generator("cpu", 0, "rollouts")
    texts_BT = oracle.sample(4, rng=rng)
    done_PBNT = oracle.rollouts(texts_BT, 8, rng=rng)
    kept = sum(bool((done_PBNT[t - 1, :, :, :t] == texts_BT[:, None, :t]).all()) for t in range(1, texts_BT.shape[1]))
    varied = (done_PBNT[0, :, :, 1:] != done_PBNT[0, :, :1, 1:]).any().item()
    return Check(
        "rollouts keep every prefix",
        f"{kept} of {len(done_PBNT)} lengths kept",
        kept == len(done_PBNT) and bool(varied),
    )


def constant_reward_teaches_nothing(oracle: LanguageModel) -> Check:
    """With a mean baseline a reward of 0.5 for everything moves no weight at all."""
    model = LanguageModel(
        vocabulary=oracle.vocabulary,
        embedding=32,
        hidden=32,
        length=oracle.length,
        std=0.1,
        rng=keyed_generator("cpu", 0, "generator"),
    )
    optimizer = Adam(model.trained_parameters(), lr=0.01)
    rng = keyed_generator("cpu", 0, "policy")
    policy_update(model, optimizer, constant_reward(), batch_size=16, baseline="mean", clip=5.0, rng=rng)
    largest = max(p.grad.abs().max().item() for p in model.trained_parameters() if p.grad is not None)
    return Check(
        "a constant reward with a mean baseline gives no gradient", f"largest gradient {largest:g}", largest == 0.0
    )


def _rows(oracle: LanguageModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States of width H with the spread of an LSTM's, targets and weights of both signs."""
    rng = keyed_generator("cpu", 0, "rows")
    hidden_RH = torch.tanh(torch.randn(200, oracle.lstm.hidden_size, generator=rng))
    target_R = torch.randint(oracle.vocabulary, (200,), generator=rng)
    return hidden_RH, target_R, torch.randn(200, generator=rng)
