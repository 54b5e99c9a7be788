"""A generator, what it learns from, and the epochs of each method."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from models.errors import CheckpointError
from models.seqgan.paper.config import PaperConfig
from models.seqgan.paper.discriminator import Discriminator
from models.seqgan.paper.language_model import LanguageModel, load_oracle, seeded_oracle
from models.seqgan.paper.metrics import Score, measure
from models.seqgan.paper.preflight import SEEDED
from models.seqgan.paper.rewards import Bleu, Reward, constant_reward, discriminator_reward, rollout_reward
from models.seqgan.paper.training import discriminator_epoch, mle_epoch, policy_update
from models.seqgan.randomness import keyed_generator


@dataclass(frozen=True)
class Corpus:
    """An oracle, and what it wrote to train and to test on."""

    oracle: LanguageModel
    train_BT: Tensor
    test_BT: Tensor

    @classmethod
    def build(cls, config: PaperConfig) -> Corpus:
        """The configuration's; raises DataError for an oracle's file that can't be used."""
        if config.oracle == SEEDED:
            oracle = seeded_oracle(config.oracle_seed, vocabulary=config.vocabulary, length=config.length)
        else:
            oracle = load_oracle(Path(config.oracle), length=config.length)
        train_BT, test_BT = (
            oracle.sample(config.num_texts, rng=keyed_generator("cpu", config.oracle_seed, split))
            for split in ("train", "test")
        )
        return cls(oracle, train_BT, test_BT)


class Learner:
    """One trial's networks and optimizers. Every draw is keyed by (seed, purpose, epoch); epochs are 1-based."""

    def __init__(self, config: PaperConfig, corpus: Corpus, *, seed: int) -> None:
        self.config, self.seed = config, seed
        self.oracle, self.train_BT, self.test_BT = corpus.oracle, corpus.train_BT, corpus.test_BT
        self.generator = LanguageModel(
            vocabulary=self.oracle.vocabulary,
            embedding=config.embedding,
            hidden=config.hidden,
            length=config.length,
            std=0.1,
            rng=self._rng("generator"),
        )
        parameters = self.generator.trained_parameters()
        # Two, as in the paper's code: the policy gradient doesn't inherit teacher forcing's moments.
        self.optimizer = Adam(parameters, lr=config.lr, fused=True)
        self.optimizer_adv = Adam(parameters, lr=config.lr_adv, fused=True)
        self.discriminator: Discriminator | None = None
        self.bleu: Bleu | None = None
        if config.method == "seqgan":
            self.discriminator = Discriminator(
                vocabulary=self.oracle.vocabulary,
                length=config.length,
                rng=self._rng("discriminator"),
                embedding=config.d_embedding,
                keep=config.d_keep,
                share=config.d_share,
                bf16=config.bf16,
            )
            self.optimizer_d = Adam(self.discriminator.parameters(), lr=config.d_lr, fused=True)

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train for one epoch of the method's schedule; returns its own metrics.

        `train_loss` (nats a token; under scheduled sampling with the tokens that were read) in teacher forcing,
        `reward` (mean a token) in policy-gradient epochs, `d_loss` (nats a text) where a discriminator was trained.
        """
        method = self.config.method
        if method == "scheduled_sampling":
            return self._scheduled_sampling(epoch)
        if method == "mle" or epoch <= self.config.mle_epochs:
            return {"train_loss": self._teacher_forcing(self.train_BT, epoch)}
        if method == "mle_continued":
            return self._mle_continued(epoch)
        return self._policy_gradient(epoch)

    def measure(self, epoch: int, *, temperature: float = 1.0) -> Score:
        """The generator's three figures; the same epoch draws the same random numbers at every temperature."""
        return measure(
            self.generator,
            self.oracle,
            self.test_BT,
            samples=self.config.num_samples,
            rng=self._rng("measure", epoch),
            temperature=temperature,
        )

    def state(self) -> dict[str, Any]:
        """Weights and optimizers, for a checkpoint."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a `state` back, but for its rates; raises CheckpointError when it is that of other shapes or another
        method."""
        parts = self._parts()
        if set(state) != set(parts):
            raise CheckpointError(
                f"the checkpoint holds {', '.join(sorted(state))}, but {self.config.method} has "
                f"{', '.join(sorted(parts))}; go on with the method that wrote it"
            )
        try:
            for name, part in parts.items():
                part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"the checkpoint is of other shapes ({error}); use its own parameters") from error
        rates = {"optimizer": self.config.lr, "optimizer_adv": self.config.lr_adv, "optimizer_d": self.config.d_lr}
        for name in rates.keys() & parts.keys():
            for group in parts[name].param_groups:
                group["lr"] = rates[name]

    def start_from(self, other: Learner) -> None:
        """Take over another learner's generator and the moments of its teacher forcing, as where to go on from."""
        self.generator.load_state_dict(other.generator.state_dict())
        # A copy: an optimizer goes on with the very tensors that it loads.
        self.optimizer.load_state_dict(copy.deepcopy(other.optimizer.state_dict()))

    def _scheduled_sampling(self, epoch: int) -> dict[str, float]:
        rate = max(0.0, 1 - self.config.rate_decay * epoch)
        rng = self._rng("mixed inputs", epoch)
        loss = self._teacher_forcing(
            self.train_BT, epoch, lambda texts_BT: self.generator.mixed_inputs(texts_BT, rate, rng=rng)
        )
        return {"train_loss": loss}

    def _mle_continued(self, epoch: int) -> dict[str, float]:
        """The control without a reward: as many updates of the same size, on real texts."""
        count = self.config.updates * self.config.batch_size
        index = torch.randint(len(self.train_BT), (count,), generator=self._rng("control", epoch))
        return {"train_loss": self._teacher_forcing(self.train_BT[index], epoch)}

    def _teacher_forcing(self, texts_BT: Tensor, epoch: int, inputs: Callable[[Tensor], Tensor] | None = None) -> float:
        return mle_epoch(
            self.generator,
            self.optimizer,
            texts_BT,
            batch_size=self.config.batch_size,
            clip=self.config.clip,
            rng=self._rng("order", epoch),
            inputs=inputs,
        )

    def _policy_gradient(self, epoch: int) -> dict[str, float]:
        d_losses: list[float] = []
        if epoch == self.config.mle_epochs + 1:
            d_losses += self._train_discriminator(self.config.d_pretrain_sets, epoch, 0)
        reward, rewards = self._reward(), []
        for update in range(1, self.config.updates + 1):
            rewards.append(
                policy_update(
                    self.generator,
                    self.optimizer_adv,
                    reward,
                    batch_size=self.config.batch_size,
                    baseline=self.config.baseline,
                    clip=self.config.clip,
                    rng=self._rng("policy", epoch, update),
                )
            )
            d_losses += self._train_discriminator(self.config.d_sets, epoch, update)
        metrics = {"reward": sum(rewards) / len(rewards)}
        return metrics | ({"d_loss": sum(d_losses) / len(d_losses)} if d_losses else {})

    def _reward(self) -> Reward:
        config = self.config
        if self.discriminator is not None:
            return discriminator_reward(self.generator, self.discriminator, config.n_rollouts)
        if config.method == "constant_reward":
            return constant_reward()
        self.bleu = self.bleu or Bleu(self.train_BT, self.oracle.vocabulary)
        return rollout_reward(self.generator, self.bleu, config.n_rollouts)

    def _train_discriminator(self, sets: int, epoch: int, update: int) -> list[float]:
        """`sets` times fresh fakes against real texts drawn anew; returns the mean loss of each epoch."""
        if self.discriminator is None:
            return []
        config, losses = self.config, []
        for number in range(sets):
            rng = self._rng("discriminator", epoch, update, number)
            fake_BT = self.generator.sample(config.d_samples, rng=rng)
            real_BT = self.train_BT[torch.randperm(len(self.train_BT), generator=rng)[: config.d_samples]]
            for _ in range(config.d_epochs):
                losses.append(
                    discriminator_epoch(
                        self.discriminator,
                        self.optimizer_d,
                        real_BT,
                        fake_BT,
                        batch_size=config.batch_size,
                        l2=config.d_l2,
                        rng=rng,
                    )
                )
        return losses

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "generator": self.generator,
            "optimizer": self.optimizer,
            "optimizer_adv": self.optimizer_adv,
        }
        if self.discriminator is not None:
            parts |= {"discriminator": self.discriminator, "optimizer_d": self.optimizer_d}
        return parts

    def _rng(self, *purpose: str | int) -> torch.Generator:
        return keyed_generator("cpu", self.seed, *purpose)
