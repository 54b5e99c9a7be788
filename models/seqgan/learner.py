"""Generator and adversary with their optimizers, and what one epoch of training does to them.

Suffixes as in generator.py. With several workers, each holds every `world_size`-th row of a batch, and
DistributedDataParallel averages their gradients; every worker draws the same order of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from models.errors import CheckpointError
from models.seqgan.adversary import Adversary
from models.seqgan.config import SeqGANConfig
from models.seqgan.generator import Generator
from models.seqgan.losses import advantage, cross_entropy, mean_entropy, policy_gradient
from models.seqgan.randomness import derive_seed, keyed_generator
from models.seqgan.rollout import mask_through_end, sample_headlines
from models.seqgan.workers import autocast, averaging
from models.text.augmentation import augment
from models.text.encoded import EncodedPairs
from models.text.pieces import PAD, UNK

WARM_UP_EPOCHS = 0.25


class Learner:
    """The networks under training. `epochs` is the length of the learning rate's schedule.

    `embedding_VE` is what the embedding starts from, `neighbours_VM` the pieces that augmentation may put in
    the place of each.
    """

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
        embedding_VE: Tensor | None = None,
        neighbours_VM: Tensor | None = None,
    ) -> None:
        self.config, self.vocabulary, self.epochs, self.seed = config, vocabulary, epochs, seed
        self.device, self.rank, self.world_size = device, rank, world_size
        self.neighbours_VM = neighbours_VM
        torch.manual_seed(derive_seed(seed, "weights"))
        self.generator = Generator(config, vocabulary).to(device)
        if embedding_VE is not None:
            with torch.no_grad():
                self.generator.embed_weight.copy_(embedding_VE)
                self.generator.embed_weight[PAD].zero_()
        self.adversary = Adversary(config, vocabulary, device=device, world_size=world_size)
        self._generator = averaging(self.generator, device, world_size)
        if config.compile:
            self._generator.compile(dynamic=True)
        self.optimizer = torch.optim.AdamW(
            self.generator.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.adversarial_epochs = 0

    def mle_epoch(self, pairs: EncodedPairs, epoch: int) -> dict[str, float]:
        """One epoch of teacher forcing; returns `train_loss`, in nats a piece, and `aux_loss` with heads."""
        self._begin(epoch)
        sums = _Sums()
        for fraction, rows in self._batches(len(pairs), epoch):
            batch, share = self._shard(pairs, rows, epoch)
            with autocast(self.device, self.config.precision):
                loss, teacher, aux = self._teacher_forcing(batch, share)
            self._step(loss, epoch - 1 + fraction)
            sums.add(share, train_loss=teacher, **({"aux_loss": aux} if self.config.lambda_aux else {}))
        return sums.means()

    def adversarial_epoch(self, pairs: EncodedPairs, held_out: EncodedPairs, epoch: int) -> dict[str, float]:
        """One epoch of teacher forcing with `adversarial_updates` policy-gradient updates spread over it.

        Returns the metrics of `mle_epoch`, and from those updates `reward` (mean probability of "real" a
        token), `d_accuracy` (the discriminator's on held-out pairs) and, if it was updated, `d_loss`.
        """
        self.generator.encoder.norm.frozen = True
        self._begin(epoch)
        config = self.config
        rng = keyed_generator(self.device, self.seed, "adversarial", epoch, self.rank)
        batches = list(self._batches(len(pairs), epoch))
        every = max(1, len(batches) // config.adversarial_updates) if config.adversarial_updates else 0
        weight = self._lambda_mle()
        sums, updates, d_updates = _Sums(), _Sums(), _Sums()
        for index, (fraction, rows) in enumerate(batches):
            batch, share = self._shard(pairs, rows, epoch)
            fake_BT = reward_BT = None
            if every and index % every == 0 and index // every < config.adversarial_updates:
                fake_BT, reward_BT, d_losses, accuracy = self._judged(pairs, held_out, batch, rng)
                updates.add(1, reward=reward_BT.sum() / mask_through_end(fake_BT).sum(), d_accuracy=accuracy)
                for d_loss in d_losses:
                    d_updates.add(1, d_loss=d_loss)
            with autocast(self.device, self.config.precision):
                loss, teacher, aux = self._teacher_forcing(batch, share, weight, fake_BT, reward_BT)
            self._step(loss, epoch - 1 + fraction)
            sums.add(share, train_loss=teacher, **({"aux_loss": aux} if self.config.lambda_aux else {}))
        self.adversarial_epochs += 1
        return sums.means() | updates.means() | d_updates.means()

    def state(self) -> dict[str, Any]:
        """All that training changes, as plain tensors and numbers."""
        return {
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "adversary": self.adversary.state(),
            "adversarial_epochs": self.adversarial_epochs,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the state of a learner of the same shapes; raises CheckpointError if it had others.

        Rates stay this configuration's: an inherited state was trained with another's.
        """
        try:
            self.generator.load_state_dict(state["generator"])
            self.adversary.restore(state["adversary"])
        except RuntimeError as error:
            raise CheckpointError(
                f"the checkpoint's networks have other shapes ({error}); keep hidden, embedding, cell, copy, norm, the "
                "priors, headline_length and d_channels of the trial that wrote it"
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:  # the learning rate is set before each update
            group["weight_decay"] = self.config.weight_decay
        self.adversarial_epochs = state["adversarial_epochs"]

    def _begin(self, epoch: int) -> None:
        # Dropout draws from torch's own generator: seeded an epoch at a time, apart on each worker.
        torch.manual_seed(derive_seed(self.seed, "dropout", epoch, self.rank))
        self.generator.train()

    def _batches(self, pairs: int, epoch: int) -> Iterator[tuple[float, Tensor]]:
        """The part of the epoch that is over, in [0, 1), and the rows of the next batch (of all workers)."""
        rng = keyed_generator("cpu", self.seed, "order", epoch)
        order = torch.randperm(pairs, generator=rng)
        for start in range(0, pairs, self.config.batch_size):
            rows = order[start : start + self.config.batch_size]
            # Every worker needs a row, or it would miss the others' averaging of gradients.
            if len(rows) >= self.world_size:
                yield start / pairs, rows

    def _shard(self, pairs: EncodedPairs, rows: Tensor, epoch: int) -> tuple[EncodedPairs, float]:
        """This worker's rows, augmented, and its share of the whole batch's tokens (which weighs its loss)."""
        on_device = rows.to(pairs.headlines_NT.device)
        tokens = int(pairs.headlines_NT[on_device].ne(PAD).sum())
        batch = pairs.select(on_device[self.rank :: self.world_size])
        if self.config.eda_alpha:
            rng = keyed_generator(self.device, self.seed, "eda", epoch, int(rows[0]), self.rank)
            batch = self._augmented(batch, rng)
        return batch, tokens / self.world_size

    def _augmented(self, batch: EncodedPairs, rng: torch.Generator) -> EncodedPairs:
        articles_BS, headlines_BT = batch.articles_NS, batch.headlines_NT
        hot_BS = batch.hot_NS if batch.hot_NS is not None else torch.zeros_like(articles_BS, dtype=torch.bool)
        articles_BS, index_BS = augment(
            articles_BS,
            hot_BS,
            alpha=self.config.eda_alpha,
            rng=rng,
            neighbours_VK=self.neighbours_VM,
            replaceable=self.vocabulary,
        )
        # A piece that could only be copied, and was deleted, can't be asked for any more.
        there_BT = headlines_BT.unsqueeze(-1).eq(articles_BS.unsqueeze(1)).any(-1)
        headlines_BT = headlines_BT.masked_fill(headlines_BT.ge(self.vocabulary) & ~there_BT, UNK)
        hot = None if batch.hot_NS is None else batch.hot_NS.gather(1, index_BS)
        return replace(batch, articles_NS=articles_BS, headlines_NT=headlines_BT, hot_NS=hot)

    def _judged(
        self, pairs: EncodedPairs, held_out: EncodedPairs, batch: EncodedPairs, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, list[float], float]:
        """Headlines of the generator's for a batch, their reward, the discriminator's losses and its accuracy."""
        self.generator.eval()
        d_losses, accuracy = self.adversary.train(self.generator, pairs, held_out, rng)
        with torch.no_grad(), autocast(self.device, self.config.precision):
            memory = self.generator.encode(batch)
            fake_BT = sample_headlines(self.generator, memory, self.config.headline_length, rng)
            reward_BT = self.adversary.reward(self.generator, memory, fake_BT, rng)
        self.generator.train()
        return fake_BT, reward_BT, d_losses, accuracy

    def _teacher_forcing(
        self,
        batch: EncodedPairs,
        share: float,
        weight: float = 1.0,
        fake_BT: Tensor | None = None,
        reward_BT: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of an update, and two of its parts unweighted: cross-entropy and the auxiliary heads'.

        weight * cross-entropy + lambda_aux * auxiliary + lambda_adv * policy gradient - entropy_coef * entropy;
        the last two where there are drafts. All go through ONE forward pass: DistributedDataParallel reduces
        after one backward of one forward.
        """
        config = self.config
        real_BT = batch.headlines_NT
        if fake_BT is None or reward_BT is None:
            scores = self._generator(batch)
            log_prob_BT, gan = scores.log_prob_BT, torch.zeros((), device=self.device)
        else:
            real_BT = pad(real_BT, (0, fake_BT.shape[1] - real_BT.shape[1]), value=PAD)
            scores = self._generator(batch, torch.cat([real_BT, fake_BT]), config.entropy_coef > 0)
            log_prob_BT, log_prob_fake_BT = scores.log_prob_BT.chunk(2)
            mask_BT = mask_through_end(fake_BT)
            gain_BT = advantage(reward_BT, mask_BT, config.baseline)
            gan = config.lambda_adv * policy_gradient(log_prob_fake_BT, gain_BT, mask_BT)
            if config.entropy_coef:
                gan = gan - config.entropy_coef * mean_entropy(scores.entropy_BT.chunk(2)[1], mask_BT)
        teacher = cross_entropy(log_prob_BT, real_BT.ne(PAD), share)
        aux = scores.aux_B.sum() / share
        return weight * teacher + config.lambda_aux * aux + gan, teacher, aux

    def _lambda_mle(self) -> float:
        """Teacher forcing's weight: it decays with the adversarial epochs, but never to 0."""
        config = self.config
        floor = min(config.lambda_mle_floor, config.lambda_mle)
        return max(floor, config.lambda_mle * config.lambda_mle_decay**self.adversarial_epochs)

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


class _Sums:
    """Weighted means of figures by name."""

    def __init__(self) -> None:
        self.weight = 0.0
        self.totals: dict[str, float] = {}

    def add(self, weight: float, **figures: Tensor | float) -> None:
        self.weight += weight
        for name, figure in figures.items():
            value = float(figure.detach()) if isinstance(figure, Tensor) else figure
            self.totals[name] = self.totals.get(name, 0.0) + weight * value

    def means(self) -> dict[str, float]:
        return {name: total / self.weight for name, total in self.totals.items()}
