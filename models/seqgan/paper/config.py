"""Every parameter of the unconditional SeqGAN, with its range: what a study may search or fix. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from models.parameters import Parameters

RANGES: dict[str, tuple[float, float]] = {
    "oracle_seed": (0, 2**31),
    "vocabulary": (2, 1_000_000),
    "length": (2, 1000),
    "num_texts": (2, 10_000_000),
    "num_samples": (2, 10_000_000),
    "embedding": (1, 4096),
    "hidden": (1, 4096),
    "batch_size": (1, 65_536),
    "lr": (1e-6, 1.0),
    "clip": (0.01, 1e6),
    "epochs": (1, 100_000),
    "rate_decay": (0.0, 1.0),
    "mle_epochs": (0, 100_000),
    "updates": (1, 100_000),
    "lr_adv": (1e-7, 1.0),
    "n_rollouts": (1, 256),
    "d_pretrain_sets": (0, 1000),
    "d_sets": (0, 1000),
    "d_epochs": (1, 100),
    "d_samples": (1, 10_000_000),
    "d_embedding": (1, 4096),
    "d_share": (0.01, 10.0),
    "d_lr": (1e-7, 1.0),
    "d_keep": (0.1, 1.0),
    "d_l2": (0.0, 10.0),
}
METHODS = ("mle", "scheduled_sampling", "pg_bleu", "seqgan", "constant_reward", "mle_continued")
CHOICES: dict[str, tuple[str, ...]] = {"method": METHODS, "baseline": ("none", "mean", "leave_one_out")}

OFFICIAL: dict[str, Any] = {
    "mle_epochs": 120,
    "epochs": 320,
    "updates": 1,
    "n_rollouts": 16,
    "d_pretrain_sets": 50,
    "d_sets": 5,
    "d_epochs": 3,
    "d_samples": 10_000,
    "baseline": "none",
}
"""The schedule of the paper's code, as far as it differs from the defaults. On a CPU it takes days: 98 % of it is the
discriminator's training."""


@dataclass(frozen=True, kw_only=True)
class PaperConfig(Parameters):
    """The parameters; RANGES and CHOICES hold their bounds, both ends included. Sizes of models are the paper's.

    Language
        oracle: "seeded", or the path of a .npz file (its vocabulary then replaces `vocabulary`).
        oracle_seed: key of the seeded oracle's weights, and of the texts that either oracle writes.
        vocabulary: tokens, V. length: tokens of a text, T. num_texts: texts to train on, and as many to test on.
        num_samples: texts that the generator writes to be measured.
    Generator
        embedding, hidden: E and H. batch_size: texts an update. lr: Adam's, in teacher forcing.
        clip: largest norm of the gradient.
    Schedule (an epoch of teacher forcing is one pass over the texts; any other one is `updates` updates)
        method: "mle"; "scheduled_sampling" (own tokens are read with a probability that grows by `rate_decay` an
            epoch); and, after `mle_epochs` of teacher forcing: "seqgan"; "pg_bleu" (the reward is BLEU);
            "constant_reward" (0.5, whatever is written) and "mle_continued" (teacher forcing, as many updates of the
            same batch size), which are the controls that SeqGAN must beat.
        epochs: in all, when the trial sets no steps.
    Policy gradient
        updates: generator updates an epoch. lr_adv: that of their own Adam. n_rollouts: completions a prefix.
        baseline: what is subtracted from the reward at each position; "none" is the paper's.
    Discriminator
        d_pretrain_sets, d_sets: sets of fresh fakes before the first update of the generator, and after each.
        d_epochs: epochs over each set. d_samples: fakes, and as many real texts, in a set.
        d_embedding, d_share: width of an embedding; maps as a share of the paper's. d_lr: Adam's.
        d_keep: probability that dropout keeps a feature. d_l2: weight of the last layer's squares.
        bf16: matrix products in bfloat16; faster only on CPUs with avx512_bf16 and on GPUs.
    """

    OF: ClassVar[str] = "the oracle's models"
    RANGES: ClassVar[dict[str, tuple[float, float]]] = RANGES
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = CHOICES

    oracle: str = "seeded"
    oracle_seed: int = 0
    vocabulary: int = 5000
    length: int = 20
    num_texts: int = 10_000
    num_samples: int = 10_000
    embedding: int = 32
    hidden: int = 32
    batch_size: int = 64
    lr: float = 0.01
    clip: float = 5.0
    method: str = "mle"
    epochs: int = 25
    rate_decay: float = 0.002
    mle_epochs: int = 20
    updates: int = 5
    lr_adv: float = 0.01
    n_rollouts: int = 16
    baseline: str = "mean"
    d_pretrain_sets: int = 10
    d_sets: int = 1
    d_epochs: int = 1
    d_samples: int = 1000
    d_embedding: int = 64
    d_share: float = 1.0
    d_lr: float = 1e-4
    d_keep: float = 0.75
    d_l2: float = 0.2
    bf16: bool = False
