"""What the fused operations save: SeqGAN's pieces at the paper's sizes against a plain PyTorch version, below.

The plain version is what one would write first, and no slower than it must be: a loop over tokens with
torch.multinomial, all completions of a prefix length in one batch, whole logits with cross_entropy, torch's own
convolutions. CPU seconds of one process on one thread in fp32, the lesser of the repeats, both taken in turn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import torch  # noqa: E402
from table import options, show  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from models.seqgan.paper.config import PaperConfig  # noqa: E402
from models.seqgan.paper.discriminator import FILTERS, Discriminator  # noqa: E402
from models.seqgan.paper.language_model import LanguageModel  # noqa: E402
from models.seqgan.paper.rewards import discriminator_reward  # noqa: E402
from models.seqgan.paper.training import mle_epoch, policy_update  # noqa: E402
from models.seqgan.randomness import keyed_generator  # noqa: E402

CONFIG = PaperConfig()
BATCH, LENGTH, VOCABULARY, ROLLOUTS = CONFIG.batch_size, CONFIG.length, CONFIG.vocabulary, CONFIG.n_rollouts
TEXTS = 10_000


class PlainGenerator(nn.Module):
    """The same model by PyTorch's own modules."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, CONFIG.embedding)
        self.lstm = nn.LSTM(CONFIG.embedding, CONFIG.hidden, batch_first=True)
        self.output = nn.Linear(CONFIG.hidden, VOCABULARY)

    def logits(self, texts: Tensor) -> Tensor:
        inputs = torch.cat([torch.zeros_like(texts[:, :1]), texts[:, :-1]], 1)
        return self.output(self.lstm(self.embed(inputs))[0])

    @torch.no_grad()
    def complete(self, prefix: Tensor, n: int = 1) -> Tensor:
        """n texts for each prefix, which may be empty."""
        start = torch.zeros(len(prefix), 1, dtype=torch.long)
        hidden, state = self.lstm(self.embed(torch.cat([start, prefix], 1)))
        hidden = hidden[:, -1].repeat_interleave(n, 0)
        state = tuple(part.repeat_interleave(n, 1) for part in state)
        tokens = [prefix.repeat_interleave(n, 0)]
        for t in range(prefix.shape[1], LENGTH):
            token = torch.multinomial(self.output(hidden).softmax(-1), 1)
            tokens.append(token)
            if t < LENGTH - 1:
                out, state = self.lstm(self.embed(token), state)
                hidden = out[:, -1]
        return torch.cat(tokens, 1)


class PlainDiscriminator(nn.Module):
    """The same network with torch's own convolutions."""

    def __init__(self) -> None:
        super().__init__()
        total = sum(FILTERS.values())
        self.embed = nn.Embedding(VOCABULARY, CONFIG.d_embedding)
        self.filters = nn.ModuleList(nn.Conv1d(CONFIG.d_embedding, n, width) for width, n in FILTERS.items())
        self.transform, self.gate, self.output = nn.Linear(total, total), nn.Linear(total, total), nn.Linear(total, 2)

    @torch.no_grad()
    def prob_real(self, texts: Tensor) -> Tensor:
        embedded = self.embed(texts).transpose(1, 2)
        features = torch.cat([torch.relu(convolve(embedded)).amax(2) for convolve in self.filters], 1)
        gate = torch.sigmoid(self.gate(features))
        features = gate * torch.relu(self.transform(features)) + (1 - gate) * features
        return self.output(features).softmax(1)[:, 1]


def plain_mle_epoch(generator: PlainGenerator, optimizer: torch.optim.Optimizer, texts: Tensor) -> None:
    for index in torch.randperm(len(texts)).split(BATCH):
        logits = generator.logits(texts[index])
        loss = functional.cross_entropy(logits.flatten(0, 1), texts[index].flatten())
        plain_update(generator, optimizer, loss)


def plain_generator_step(
    generator: PlainGenerator, discriminator: PlainDiscriminator, optimizer: torch.optim.Optimizer
) -> None:
    texts = generator.complete(torch.empty(BATCH, 0, dtype=torch.long))
    rewards = []
    for t in range(1, LENGTH):
        completed = generator.complete(texts[:, :t], ROLLOUTS)
        rewards.append(discriminator.prob_real(completed).view(BATCH, ROLLOUTS).mean(1))
    rewards.append(discriminator.prob_real(texts))
    reward = torch.stack(rewards, 1)
    log_prob = generator.logits(texts).log_softmax(-1).gather(2, texts[:, :, None]).squeeze(2)
    plain_update(generator, optimizer, -((reward - reward.mean(0)) * log_prob).sum())


def plain_update(generator: PlainGenerator, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(generator.parameters(), CONFIG.clip)
    optimizer.step()


def pairs(texts: Tensor) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Piece -> the plain version of it and ours."""
    rng = keyed_generator("cpu", "speed")
    ours = LanguageModel(vocabulary=VOCABULARY, embedding=32, hidden=32, length=LENGTH, std=0.1, rng=rng)
    optimizer = torch.optim.Adam(ours.trained_parameters(), lr=CONFIG.lr, fused=True)
    judge = Discriminator(vocabulary=VOCABULARY, length=LENGTH, rng=rng)
    reward = discriminator_reward(ours, judge, ROLLOUTS)
    plain, plain_judge = PlainGenerator(), PlainDiscriminator()
    plain_optimizer = torch.optim.Adam(plain.parameters(), lr=CONFIG.lr)
    empty = torch.empty(1000, 0, dtype=torch.long)
    settings: dict[str, Any] = {"batch_size": BATCH, "clip": CONFIG.clip, "rng": rng}
    return {
        "generator_step": (
            lambda: plain_generator_step(plain, plain_judge, plain_optimizer),
            lambda: policy_update(ours, optimizer, reward, baseline="mean", **settings),
        ),
        "sample": (
            lambda: [plain.complete(empty) for _ in range(TEXTS // len(empty))],
            lambda: ours.sample(TEXTS, rng=rng),
        ),
        "mle_epoch": (
            lambda: plain_mle_epoch(plain, plain_optimizer, texts),
            lambda: mle_epoch(ours, optimizer, texts, **settings),
        ),
    }


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of the process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


NAMES = {
    "generator_step": f"a generator step, {ROLLOUTS} rollouts, batch {BATCH}",
    "sample": f"{TEXTS:,} samples",
    "mle_epoch": f"an MLE epoch, {TEXTS:,} texts",
}


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--repeats", type=int, default=2, help="how often each is taken")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    texts = torch.randint(0, VOCABULARY, (TEXTS, LENGTH))
    rows, figures = [], {}
    for key, versions in pairs(texts).items():
        taken = [[cpu_seconds(version) for version in versions] for _ in range(arguments.repeats)]
        theirs, ours = (min(times) for times in zip(*taken, strict=True))
        rows.append({"": NAMES[key], "plain PyTorch, CPU s": theirs, "ours, CPU s": ours, "times": theirs / ours})
        figures[f"{key}_ratio"] = round(theirs / ours, 2)
    show("seqgan_speed", rows, figures, save=arguments.save)


if __name__ == "__main__":
    main()
