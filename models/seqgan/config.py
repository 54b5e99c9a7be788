"""Every parameter of the conditional SeqGAN, with its range: what a study may search or fix."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from models.errors import ConfigError

RANGES: dict[str, tuple[float, float]] = {
    "lr": (1e-6, 1.0),
    "weight_decay": (0.0, 1.0),
    "clip": (0.01, 1e6),
    "batch_size": (1, 65_536),
    "epochs": (1, 100_000),
    "mle_epochs": (0, 100_000),
    "patience": (1, 100_000),
    "hidden": (2, 4096),
    "embedding": (2, 4096),
    "dropout": (0.0, 0.9),
    "vocabulary": (8, 200_000),
    "article_length": (4, 4096),
    "headline_length": (2, 512),
    "lambda_mle": (0.01, 100.0),
    "lambda_adv": (0.0, 100.0),
    "entropy_coef": (0.0, 1.0),
    "adversarial_updates": (0, 1_000_000),
    "n_rollouts": (1, 64),
    "rollout_stride": (1, 64),
    "lr_d": (1e-7, 1.0),
    "d_updates": (0, 1000),
    "d_warmup": (0, 1_000_000),
    "d_channels": (1, 1024),
    "d_dropout": (0.0, 0.9),
    "label_smoothing": (0.0, 0.4),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "cell": ("lstm", "gru"),
    "baseline": ("none", "mean", "leave_one_out"),
}


@dataclass(frozen=True, kw_only=True)
class SeqGANConfig:
    """The parameters; RANGES and CHOICES hold their bounds, both ends included.

    Data
        data: "peoples_daily" or the path of a file of pairs.
        article_length: characters of the article that are read, S.
        headline_length: tokens of a headline with its `<end>`, T.
        vocabulary: the most ids that texts share; rarer characters are reached by copying only.
    Generator
        embedding: width of a character's vector, E. hidden: width of the recurrent states, H.
        cell: the decoder's cell. dropout: on embeddings, memory and output.
        copy: whether the decoder may copy a character of the article.
    Teacher forcing
        lr: the peak learning rate; it rises over the first quarter of an epoch, then falls linearly to 0
            at the trial's last epoch. weight_decay: AdamW's. clip: largest norm of the gradient.
        batch_size: pairs an update, over all workers. epochs: in all, when the trial sets no steps.
        mle_epochs: epochs of teacher forcing alone; those after it are adversarial.
        patience: epochs without a better held-out perplexity that end teacher forcing early.
    Adversarial epochs (teacher forcing over all pairs, with policy-gradient updates mixed in)
        lambda_mle, lambda_adv, entropy_coef: weights of cross-entropy, policy gradient and entropy bonus.
        adversarial_updates: policy-gradient updates an epoch; 0 leaves teacher forcing alone.
        n_rollouts: completions of a prefix. rollout_stride: every so many prefixes are rolled out.
        baseline: what is subtracted from the reward, a position at a time.
        lr_d: learning rate of the discriminator. d_updates: its updates before each policy-gradient
            update. d_warmup: its updates before the first one. d_channels: maps of each filter width.
            d_dropout: before its last layer. label_smoothing: taken off its target for real pairs.
    """

    data: str = "peoples_daily"
    article_length: int = 80
    headline_length: int = 32
    vocabulary: int = 6000
    embedding: int = 64
    hidden: int = 96
    cell: str = "lstm"
    dropout: float = 0.25
    copy: bool = True
    lr: float = 1e-2
    weight_decay: float = 0.01
    clip: float = 5.0
    batch_size: int = 32
    epochs: int = 8
    mle_epochs: int = 7
    patience: int = 3
    lambda_mle: float = 1.0
    lambda_adv: float = 0.1
    entropy_coef: float = 0.001
    adversarial_updates: int = 4
    n_rollouts: int = 2
    rollout_stride: int = 4
    baseline: str = "leave_one_out"
    lr_d: float = 1e-3
    d_updates: int = 2
    d_warmup: int = 10
    d_channels: int = 32
    d_dropout: float = 0.25
    label_smoothing: float = 0.1

    @classmethod
    def from_params(cls, params: Mapping[str, object]) -> SeqGANConfig:
        """Check a mapping of parameters; those left out keep their default.

        Raises ConfigError for an unknown name, a wrong type, or a value outside its range.
        """
        defaults = {item.name: item.default for item in fields(cls)}
        checked: dict[str, Any] = {}
        for name, value in params.items():
            if name not in defaults:
                near = difflib.get_close_matches(name, defaults, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(defaults)}"
                raise ConfigError(f"{name}: no parameter of the SeqGAN has this name; {hint}")
            checked[name] = _checked(name, value, type(defaults[name]))
        return cls(**checked)

    def to_params(self) -> dict[str, Any]:
        """The mapping that `from_params` turns back into this configuration."""
        return asdict(self)


def _checked(name: str, value: object, kind: type) -> object:
    """The value in the parameter's own type; a whole float serves as an int and an int as a float."""
    # Searchers hand over NumPy scalars as well.
    plain = value.item() if hasattr(value, "item") else value
    if kind is int and isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
        plain = float(plain)
    if type(plain) is not kind:
        raise ConfigError(
            f"{name}: {value!r} is {type(value).__name__}, but must be {kind.__name__}; correct the value"
        )
    if name in RANGES:
        low, high = RANGES[name]
        if not (isinstance(plain, int | float) and math.isfinite(plain) and low <= plain <= high):
            raise ConfigError(f"{name}: {plain!r} is outside [{low:g}, {high:g}]; choose a value within")
    if name in CHOICES and plain not in CHOICES[name]:
        raise ConfigError(f"{name}: {plain!r} is not one of {', '.join(CHOICES[name])}; choose one of them")
    return plain
