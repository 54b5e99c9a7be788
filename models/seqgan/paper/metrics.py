"""The three figures that only together say how good a generator is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from models.seqgan.paper.language_model import LanguageModel


@dataclass(frozen=True)
class Score:
    """Nats a token, means over many texts.

    nll_oracle: the oracle's NLL of the generator's own texts (Yu et al. 2017, eq. 10). Low for a generator that writes
        one good text over and over: quality alone.
    nll_test: the generator's NLL of held-out texts of the oracle (the paper's "NLL-test"). High for a generator that
        leaves out what the oracle may write: coverage.
    entropy: the generator's NLL of its own texts: diversity. Sharpening lowers it, and nll_oracle with it.
    """

    nll_oracle: float
    nll_test: float
    entropy: float


def measure(
    generator: LanguageModel,
    oracle: LanguageModel,
    test_BT: Tensor,
    *,
    samples: int,
    rng: torch.Generator,
    temperature: float = 1.0,
) -> Score:
    """All three at a decoding temperature, over `samples` texts drawn with `rng`, and over all test texts."""
    own_BT = generator.sample(samples, rng=rng, temperature=temperature)
    return Score(
        nll_oracle=oracle.nll(own_BT).mean().item(),
        nll_test=generator.nll(test_BT, temperature=temperature).mean().item(),
        entropy=generator.nll(own_BT, temperature=temperature).mean().item(),
    )


def at_entropy(curve: list[Score], entropy: float) -> Score:
    """The curve's figures where its entropy is the given one, by straight lines between its points.

    Beyond its ends the nearest point. This is how a generator is compared with another's temperature sweep: at the same
    diversity (Caccia et al. 2020, arXiv:1811.02549).
    """
    points = sorted(curve, key=lambda score: score.entropy)
    entropy = min(max(entropy, points[0].entropy), points[-1].entropy)
    for low, high in pairwise(points):
        if entropy <= high.entropy:
            share = (entropy - low.entropy) / max(high.entropy - low.entropy, 1e-12)
            return Score(
                *(
                    getattr(low, name) * (1 - share) + getattr(high, name) * share
                    for name in ("nll_oracle", "nll_test", "entropy")
                )
            )
    return points[-1]
