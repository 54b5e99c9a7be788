"""The discriminator under training, and the reward that it gives. Suffixes as in generator.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from models.seqgan.config import SeqGANConfig
from models.seqgan.discriminator import Discriminator
from models.seqgan.encoder import Memory
from models.seqgan.generator import Generator
from models.seqgan.losses import discriminator_loss
from models.seqgan.rollout import mask_through_end, rollout_reward, sample_headlines
from models.seqgan.workers import autocast, averaging, mean_over_workers
from models.text.encoded import EncodedPairs
from models.text.pieces import PAD


class Adversary:
    """A discriminator with its optimizer. The generator that it judges must be in evaluation mode."""

    def __init__(self, config: SeqGANConfig, vocabulary: int, *, device: str, world_size: int) -> None:
        self.config, self.device, self.world_size = config, device, world_size
        self.discriminator = Discriminator(config, vocabulary).to(device)
        self._discriminator = averaging(self.discriminator, device, world_size)
        self.optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), lr=config.lr_d, weight_decay=config.d_weight_decay, fused=True
        )
        self.warmed_up = False

    def train(
        self, generator: Generator, pairs: EncodedPairs, held_out: EncodedPairs, rng: torch.Generator
    ) -> tuple[list[float], float]:
        """The updates before one policy-gradient update: their losses, and the held-out accuracy before them.

        There are none while that accuracy is above `d_accuracy_limit`: a discriminator that knows its training
        headlines by heart rewards copying them. The limit counts after the warm-up.
        """
        config = self.config
        if config.reward == "constant":
            return [], 0.5
        size = max(2, config.batch_size // self.world_size)
        accuracy = mean_over_workers(
            self.accuracy(generator, _drawn(held_out, size, rng), rng), self.device, self.world_size
        )
        updates = config.d_updates if self.warmed_up else max(config.d_updates, config.d_warmup)
        if self.warmed_up and accuracy > config.d_accuracy_limit:
            return [], accuracy
        self.warmed_up = True
        return [self._update(generator, _drawn(pairs, size, rng), rng) for _ in range(updates)], accuracy

    @torch.no_grad()
    def accuracy(self, generator: Generator, batch: EncodedPairs, rng: torch.Generator) -> float:
        """The share of real and of generated headlines, one of each an article, that are told right."""
        self.discriminator.eval()
        with autocast(self.device, self.config.precision):
            fake_BT = sample_headlines(generator, generator.encode(batch), self.config.headline_length, rng)
            logits = self.discriminator(batch.articles_NS, torch.cat([_widened(batch.headlines_NT, fake_BT), fake_BT]))
        real_B, fake_B = logits.chunk(2)
        return float((real_B > 0).float().mean() + (fake_B <= 0).float().mean()) / 2

    @torch.no_grad()
    def reward(self, generator: Generator, memory: Memory, fake_BT: Tensor, rng: torch.Generator) -> Tensor:
        """Mean probability of "real" for each token of generated headlines, (B, T), 0 after `<end>`.

        "rollout" completes prefixes (Yu et al. 2017, eq. 4), "sentence" gives every token that of the whole
        headline, "constant" is 0.5 for all: a control, in which nothing can be learnt about headlines.
        """
        config = self.config
        mask_BT = mask_through_end(fake_BT)
        if config.reward == "constant":
            return 0.5 * mask_BT
        self.discriminator.eval()
        if config.reward == "sentence":
            return torch.sigmoid(self.discriminator(memory.source_BS, fake_BT)).unsqueeze(1) * mask_BT
        return rollout_reward(
            generator, self.discriminator, memory, fake_BT, config.n_rollouts, config.rollout_stride, rng
        )

    def state(self) -> dict[str, Any]:
        """All that training changes."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "warmed_up": self.warmed_up,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the state of an adversary of the same shapes, but not its rates; RuntimeError for others."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"], group["weight_decay"] = self.config.lr_d, self.config.d_weight_decay
        self.warmed_up = state["warmed_up"]

    def _update(self, generator: Generator, batch: EncodedPairs, rng: torch.Generator) -> float:
        with torch.no_grad(), autocast(self.device, self.config.precision):
            fake_BT = sample_headlines(generator, generator.encode(batch), self.config.headline_length, rng)
        real_BT = _widened(batch.headlines_NT, fake_BT)
        # The neighbour's headline over this article: real, but of another story.
        headlines = torch.cat([real_BT, fake_BT, real_BT.roll(1, dims=0)])
        self.discriminator.train()
        with autocast(self.device, self.config.precision):
            real_B, fake_B, mismatched_B = self._discriminator(batch.articles_NS, headlines).chunk(3)
        loss = discriminator_loss(real_B, fake_B, mismatched_B, self.config.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.discriminator.parameters(), self.config.clip)
        self.optimizer.step()
        return float(loss.detach())


def _drawn(pairs: EncodedPairs, size: int, rng: torch.Generator) -> EncodedPairs:
    return pairs.select(torch.randint(len(pairs), (size,), generator=rng, device=rng.device))


def _widened(headlines_BT: Tensor, like_BT: Tensor) -> Tensor:
    return pad(headlines_BT, (0, like_BT.shape[1] - headlines_BT.shape[1]), value=PAD)
