"""Both networks with their optimizers, and what one epoch of training does to them.

Suffixes as in generator.py. With several workers, each holds every `world_size`-th row of a batch, and
DistributedDataParallel averages their gradients; every worker draws the same order of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.errors import CheckpointError
from models.seqgan.config import SeqGANConfig
from models.seqgan.discriminator import Discriminator
from models.seqgan.generator import Generator
from models.seqgan.losses import advantage, cross_entropy, discriminator_loss, mean_entropy, policy_gradient
from models.seqgan.randomness import derive_seed, keyed_generator
from models.seqgan.rollout import mask_through_end, rollout_reward, sample_headlines
from models.text.characters import PAD
from models.text.encoded import EncodedPairs

WARM_UP_EPOCHS = 0.25


class Learner:
    """The networks under training. `epochs` is the length of the learning rate's schedule."""

    def __init__(
        self,
        config: SeqGANConfig,
        vocabulary: int,
        *,
        epochs: int,
        seed: int,
        device: str = "cpu",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.config, self.epochs, self.seed = config, epochs, seed
        self.device, self.rank, self.world_size = device, rank, world_size
        torch.manual_seed(derive_seed(seed, "weights"))
        self.generator = Generator(config, vocabulary).to(device)
        self.discriminator = Discriminator(config, vocabulary).to(device)
        self._generator = self._distributed(self.generator)
        self._discriminator = self._distributed(self.discriminator)
        self.optimizer = torch.optim.AdamW(
            self.generator.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.optimizer_d = torch.optim.AdamW(
            self.discriminator.parameters(), lr=config.lr_d, weight_decay=config.weight_decay, fused=True
        )
        self.d_warmed_up = False

    def mle_epoch(self, pairs: EncodedPairs, epoch: int) -> dict[str, float]:
        """One epoch of teacher forcing; returns `train_loss`, in nats a character."""
        self._begin(epoch)
        total = tokens = 0.0
        for fraction, rows in self._batches(len(pairs), epoch):
            batch, share = self._shard(pairs, rows)
            loss = self._teacher_forcing_loss(batch, share)
            self._step(loss, epoch - 1 + fraction)
            total, tokens = total + float(loss.detach()) * share, tokens + share
        return {"train_loss": total / tokens}

    def adversarial_epoch(self, pairs: EncodedPairs, epoch: int) -> dict[str, float]:
        """One epoch of teacher forcing with `adversarial_updates` policy-gradient updates spread over it.

        Returns `train_loss` (teacher forcing's, nats a character), `reward` (mean probability of "real" a
        token) and `d_loss`; the last two only if there was an update.
        """
        self._begin(epoch)
        rng = keyed_generator(self.device, self.seed, "adversarial", epoch, self.rank)
        batches = list(self._batches(len(pairs), epoch))
        every = max(1, len(batches) // self.config.adversarial_updates) if self.config.adversarial_updates else 0
        total = tokens = 0.0
        rewards: list[float] = []
        d_losses: list[float] = []
        for index, (fraction, rows) in enumerate(batches):
            batch, share = self._shard(pairs, rows)
            adversarial = every and index % every == 0 and len(rewards) < self.config.adversarial_updates
            if adversarial:
                d_losses += self._discriminator_updates(pairs, rng)
                loss, teacher, reward = self._mixed_loss(batch, share, rng)
                rewards.append(reward)
            else:
                loss = teacher = self.config.lambda_mle * self._teacher_forcing_loss(batch, share)
            self._step(loss, epoch - 1 + fraction)
            total += float(teacher.detach()) / self.config.lambda_mle * share
            tokens += share
        metrics = {"train_loss": total / tokens}
        if rewards:
            metrics["reward"] = sum(rewards) / len(rewards)
        if d_losses:
            metrics["d_loss"] = sum(d_losses) / len(d_losses)
        return metrics

    def state(self) -> dict[str, Any]:
        """All that training changes, as plain tensors and numbers."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "optimizer_d": self.optimizer_d.state_dict(),
            "d_warmed_up": self.d_warmed_up,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the state of a learner of the same shapes; raises CheckpointError if it had others."""
        try:
            self.generator.load_state_dict(state["generator"])
            self.discriminator.load_state_dict(state["discriminator"])
        except RuntimeError as error:
            raise CheckpointError(
                f"the checkpoint's networks have other shapes ({error}); keep hidden, embedding, cell, copy, "
                "headline_length and d_channels of the trial that wrote it"
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])
        self.optimizer_d.load_state_dict(state["optimizer_d"])
        self.d_warmed_up = state["d_warmed_up"]

    def _begin(self, epoch: int) -> None:
        # Dropout draws from torch's own generator: seeded an epoch at a time, apart on each worker.
        torch.manual_seed(derive_seed(self.seed, "dropout", epoch, self.rank))
        self.generator.train()
        self.discriminator.train()

    def _batches(self, pairs: int, epoch: int) -> Iterator[tuple[float, Tensor]]:
        """The part of the epoch that is over, in [0, 1), and the rows of the next batch (of all workers)."""
        rng = keyed_generator("cpu", self.seed, "order", epoch)
        order = torch.randperm(pairs, generator=rng)
        for start in range(0, pairs, self.config.batch_size):
            rows = order[start : start + self.config.batch_size]
            # Every worker needs a row, or it would miss the others' averaging of gradients.
            if len(rows) >= self.world_size:
                yield start / pairs, rows

    def _shard(self, pairs: EncodedPairs, rows: Tensor) -> tuple[EncodedPairs, float]:
        """This worker's rows, and its share of the whole batch's tokens (which weighs its loss)."""
        on_device = rows.to(pairs.headlines_NT.device)
        tokens = int(pairs.headlines_NT[on_device].ne(PAD).sum())
        return pairs.select(on_device[self.rank :: self.world_size]), tokens / self.world_size

    def _teacher_forcing_loss(self, batch: EncodedPairs, share: float) -> Tensor:
        scores = self._generator(batch.articles_NS, batch.headlines_NT)
        return cross_entropy(scores.log_prob_BT, batch.headlines_NT.ne(PAD), share)

    def _mixed_loss(self, batch: EncodedPairs, share: float, rng: torch.Generator) -> tuple[Tensor, Tensor, float]:
        """lambda_mle * cross-entropy + lambda_adv * policy gradient - entropy_coef * entropy.

        Also returns the first term, and the mean reward. Both halves go through ONE forward pass:
        DistributedDataParallel reduces after one backward of one forward.
        """
        config = self.config
        real_BT = batch.headlines_NT
        self.generator.eval()
        self.discriminator.eval()
        with torch.no_grad():
            memory = self.generator.encode(batch.articles_NS)
            fake_BT = sample_headlines(self.generator, memory, config.headline_length, rng)
            reward_BT = rollout_reward(
                self.generator, self.discriminator, memory, fake_BT, config.n_rollouts, config.rollout_stride, rng
            )
        self.generator.train()
        self.discriminator.train()
        length = config.headline_length
        both_BT = torch.cat([nn.functional.pad(real_BT, (0, length - real_BT.shape[1]), value=PAD), fake_BT])
        scores = self._generator(batch.articles_NS.repeat(2, 1), both_BT, with_entropy=config.entropy_coef > 0)
        log_prob_real, log_prob_fake = scores.log_prob_BT.chunk(2)
        teacher = config.lambda_mle * cross_entropy(log_prob_real, both_BT[: len(real_BT)].ne(PAD), share)
        mask_BT = mask_through_end(fake_BT)
        gain_BT = advantage(reward_BT, mask_BT, config.baseline)
        loss = teacher + config.lambda_adv * policy_gradient(log_prob_fake, gain_BT, mask_BT)
        if config.entropy_coef:
            loss = loss - config.entropy_coef * mean_entropy(scores.entropy_BT.chunk(2)[1], mask_BT)
        return loss, teacher, float(reward_BT.sum() / mask_BT.sum())

    def _discriminator_updates(self, pairs: EncodedPairs, rng: torch.Generator) -> list[float]:
        """The discriminator's updates before one policy-gradient update; returns their losses."""
        config = self.config
        updates = config.d_updates if self.d_warmed_up else max(config.d_updates, config.d_warmup)
        self.d_warmed_up = True
        size = max(2, config.batch_size // self.world_size)
        losses = []
        for _ in range(updates):
            rows = torch.randint(len(pairs), (size,), generator=rng, device=self.device)
            losses.append(self._discriminator_update(pairs.select(rows), rng))
        return losses

    def _discriminator_update(self, batch: EncodedPairs, rng: torch.Generator) -> float:
        articles_BS, real_BT = batch.articles_NS, batch.headlines_NT
        self.generator.eval()
        with torch.no_grad():
            memory = self.generator.encode(articles_BS)
        fake_BT = sample_headlines(self.generator, memory, self.config.headline_length, rng)
        self.generator.train()
        real_BT = nn.functional.pad(real_BT, (0, fake_BT.shape[1] - real_BT.shape[1]), value=PAD)
        # The neighbour's headline over this article: real, but of another story.
        headlines = torch.cat([real_BT, fake_BT, real_BT.roll(1, dims=0)])
        real, fake, mismatched = self._discriminator(articles_BS.repeat(3, 1), headlines).chunk(3)
        loss = discriminator_loss(real, fake, mismatched, self.config.label_smoothing)
        self.optimizer_d.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.discriminator.parameters(), self.config.clip)
        self.optimizer_d.step()
        return float(loss.detach())

    def _step(self, loss: Tensor, progress: float) -> None:
        """One update of the generator, `progress` epochs into the trial."""
        warm_up = min(1.0, (progress + 0.01) / WARM_UP_EPOCHS)
        # Not below a hundredth: a trial that runs beyond its schedule still learns.
        decay = max(0.01, 1 - progress / self.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * warm_up * decay
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.generator.parameters(), self.config.clip)
        self.optimizer.step()

    def _distributed(self, module: nn.Module) -> nn.Module:
        if self.world_size == 1:
            return module
        on_gpu = self.device.startswith("cuda")
        return DistributedDataParallel(module, device_ids=[torch.device(self.device)] if on_gpu else None)
