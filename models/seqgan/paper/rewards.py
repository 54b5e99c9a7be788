"""What a policy-gradient update may be rewarded by.

Suffixes: B texts, T positions, P = T - 1 prefixes, N completions a prefix, R texts of any batch, n-grams J a text,
U distinct n-grams of the references.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.seqgan.paper.discriminator import Discriminator
from models.seqgan.paper.language_model import LanguageModel

Score = Callable[[Tensor], Tensor]
"""Whole texts (R, T) -> what each is worth, (R,)."""

Reward = Callable[[Tensor, torch.Generator], Tensor]
"""Texts (B, T) and the generator of random numbers -> what each token is worth, (B, T)."""

MAX_N = 3


def rollout_reward(generator: LanguageModel, score: Score, n: int) -> Reward:
    """The mean score of N completions of the prefix that ends with the token; of the text itself for the last one.

    Yu et al. 2017, eq. 4. The live generator completes: the paper's code sets a rate of 0.8 for a slower copy of it,
    which has no effect there.
    """

    def reward(tokens_BT: Tensor, rng: torch.Generator) -> Tensor:
        batch, length = tokens_BT.shape
        texts_PBNT = generator.rollouts(tokens_BT, n, rng=rng)
        prefix_BP = score(texts_PBNT.view(-1, length)).view(length - 1, batch, n).mean(2).t()
        return torch.cat([prefix_BP, score(tokens_BT)[:, None]], 1)

    return reward


def discriminator_reward(generator: LanguageModel, discriminator: Discriminator, n: int) -> Reward:
    """SeqGAN's: the probability of "real"."""
    return rollout_reward(generator, discriminator.prob_real, n)


def constant_reward(value: float = 0.5) -> Reward:
    """A control: every token is worth the same, so that nothing can be learnt from it."""

    def reward(tokens_BT: Tensor, rng: torch.Generator) -> Tensor:
        return torch.full(tokens_BT.shape, value, device=tokens_BT.device)

    return reward


class Bleu:
    """BLEU-3 of texts against all references at once (Papineni et al. 2002), (R,), in [0, 1].

    An n-gram counts at most as often as in the one reference that has most of it. One is added to both counts of
    n = 2 and 3, without which almost every text would score 0 (Lin and Och 2004, "ORANGE"). No brevity penalty: all
    texts are as long. `vocabulary` is V; V³ must be below 2^63. The paper's code too takes n up to 3, but 40 % of the
    training texts as references; here it is all of them.
    """

    def __init__(self, references_RT: Tensor, vocabulary: int) -> None:
        if vocabulary**MAX_N >= 2**63:
            raise ValueError(
                f"vocabulary: {vocabulary} is too large for 3-grams as 63-bit numbers; use at most 2,097,151"
            )
        self.vocabulary = vocabulary
        self.known: list[tuple[Tensor, Tensor]] = []
        for n in range(1, MAX_N + 1):
            gram_RJ = self._grams(references_RT, n)
            gram_U, index = torch.unique(gram_RJ, return_inverse=True)
            # The last occurrence in a text has the highest rank, which is the text's count.
            count_U = torch.zeros_like(gram_U).scatter_reduce_(0, index.flatten(), _rank(gram_RJ).flatten() + 1, "amax")
            self.known.append((gram_U, count_U))

    def __call__(self, tokens_RT: Tensor, *, batch_size: int = 4096) -> Tensor:
        """The score of each text."""
        return torch.cat([self._score(part_RT) for part_RT in torch.split(tokens_RT, batch_size)])

    def _score(self, tokens_RT: Tensor) -> Tensor:
        log_precision_R = torch.zeros(len(tokens_RT), device=tokens_RT.device)
        for n, (gram_U, count_U) in enumerate(self.known, 1):
            gram_RJ = self._grams(tokens_RT, n)
            place_RJ = torch.searchsorted(gram_U, gram_RJ).clamp_max(len(gram_U) - 1)
            allowed_RJ = torch.where(gram_U[place_RJ] == gram_RJ, count_U[place_RJ], 0)
            matches_R = (_rank(gram_RJ) < allowed_RJ).sum(1)
            more = 0 if n == 1 else 1
            log_precision_R += ((matches_R + more) / (gram_RJ.shape[1] + more)).log() / MAX_N
        return log_precision_R.exp()

    def _grams(self, tokens_RT: Tensor, n: int) -> Tensor:
        """Each n-gram as one number, (R, J)."""
        place = self.vocabulary ** torch.arange(n, device=tokens_RT.device)
        return (tokens_RT.unfold(1, n, 1) * place).sum(2)


def _rank(gram_RJ: Tensor) -> Tensor:
    """How often the same n-gram occurs before each place of its text, (R, J)."""
    equal_RJJ = gram_RJ[:, :, None] == gram_RJ[:, None, :]
    return equal_RJJ.tril(-1).sum(2)
