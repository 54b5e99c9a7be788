"""What a trial is judged by. Suffixes as in generator.py."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from models.seqgan.generator import Generator
from models.text.encoded import EncodedPairs
from models.text.pieces import END, PAD, UNK

SPELLING = math.log(20_992)
"""Nats that a character costs which the model can't write: one of the Han characters of Unicode's main block."""


class HeldOut(NamedTuple):
    """Perplexity a character; NLL and entropy in nats a piece, on held-out pairs."""

    perplexity: float
    nll: float
    entropy: float


@torch.no_grad()
def held_out(generator: Generator, pairs: EncodedPairs, batch_size: int = 64) -> HeldOut:
    """Score the real headlines under teacher forcing, in evaluation mode (the mode is restored).

    Perplexity is exp(NLL / n): n counts every character that the headlines' pieces stand for, and each
    headline's `<end>` as one more; the NLL is summed over the same. `<pad>` counts nowhere. A piece that the
    model can't write costs `<unk>`, and each of its characters SPELLING more: so vocabularies and tokenizers can
    be compared, and none gains by knowing less.
    `nll` and `entropy` are means over pieces, of the NLL without spelling and of the entropy of the next piece's
    distribution.
    """
    training = generator.training
    generator.eval()
    nll = entropy = 0.0
    pieces = characters = 0
    for batch in pairs.batches(batch_size):
        scores = generator(batch, with_entropy=True)
        nll -= float(scores.log_prob_BT.double().sum())
        entropy += float(scores.entropy_BT.double().sum())
        pieces += int(batch.headlines_NT.ne(PAD).sum())
        characters += int(batch.characters_N.sum())
    generator.train(training)
    spelled = SPELLING * _unwritable(pairs, generator.vocabulary, generator.copy)
    return HeldOut(exp_or_inf((nll + spelled) / characters), nll / pieces, entropy / pieces)


def _unwritable(pairs: EncodedPairs, vocabulary: int, copy: bool) -> int:
    """Characters of the headlines that a model can neither write nor, with a copy gate, copy."""
    only_copied = 0 if copy else int(pairs.headlines_NT.ge(vocabulary).sum())
    return int(pairs.unknown_N.sum()) + only_copied


@torch.no_grad()
def entropy_at(generator: Generator, pairs: EncodedPairs, temperatures: Sequence[float]) -> list[float]:
    """Entropy of the next piece's distribution at each temperature, in nats a piece, over the real headlines."""
    training = generator.training
    generator.eval()
    totals = [0.0] * len(temperatures)
    for batch in pairs.batches(32):
        memory = generator.encode(batch)
        reading = generator.read(generator.forced_states(batch.headlines_NT, memory), memory)
        log_prob_RX = generator.distribution(reading, memory)[batch.headlines_NT.ne(PAD)].clamp_min(1e-30).log()
        for i, temperature in enumerate(temperatures):
            tempered_RX = (log_prob_RX / temperature).log_softmax(-1)
            totals[i] -= float((tempered_RX.exp() * tempered_RX).sum())
    generator.train(training)
    pieces = int(pairs.headlines_NT.ne(PAD).sum())
    return [total / pieces for total in totals]


def unigram_perplexity(train: EncodedPairs, held: EncodedPairs, vocabulary: int) -> float:
    """Perplexity a character of a model that only knows how often each piece is in training headlines.

    Counted as in `held_out`; add-one smoothing; a piece outside the vocabulary is `<unk>`, and spelled.
    """
    counts = torch.ones(vocabulary, dtype=torch.float64)
    counts += torch.bincount(_shared_tokens(train, vocabulary), minlength=vocabulary)
    counts[PAD] = 0
    log_prob = (counts / counts.sum()).log()
    nll = -float(log_prob[_shared_tokens(held, vocabulary)].sum()) + SPELLING * _unwritable(held, vocabulary, False)
    return exp_or_inf(nll / int(held.characters_N.sum()))


def _shared_tokens(pairs: EncodedPairs, vocabulary: int) -> torch.Tensor:
    tokens = pairs.headlines_NT[pairs.headlines_NT.ne(PAD)].cpu()
    return tokens.masked_fill(tokens.ge(vocabulary), UNK)


def unknown_share(pairs: EncodedPairs) -> float:
    """The share of headline pieces that neither vocabulary nor article holds."""
    tokens = pairs.headlines_NT
    return float(tokens.eq(UNK).sum() / (tokens.ne(PAD) & tokens.ne(END)).sum())


def exp_or_inf(value: float) -> float:
    """exp, but inf instead of an OverflowError, and nan for nan: a diverged model is reported as it is."""
    return math.exp(value) if not value > 700 else math.inf


def rouge_l(candidate: str, reference: str) -> float:
    """ROUGE-L F1 in characters, in [0, 1]: the longest common subsequence (Lin 2004, eq. 5-7, beta = 1)."""
    if not candidate or not reference:
        return 0.0
    row = [0] * (len(reference) + 1)
    for character in candidate:
        diagonal = 0
        for j, other in enumerate(reference, start=1):
            above = row[j]
            row[j] = diagonal + 1 if character == other else max(above, row[j - 1])
            diagonal = above
    return 2 * row[-1] / (len(candidate) + len(reference))


def distinct_n(texts: Iterable[str], n: int) -> float:
    """Different character n-grams over all n-grams, in [0, 1]; 0 when there is none (Li et al. 2016)."""
    counts = Counter(gram for text in texts for gram in _grams(text, n))
    return len(counts) / counts.total() if counts else 0.0


def _grams(text: str, n: int) -> Sequence[str]:
    return [text[i : i + n] for i in range(len(text) - n + 1)]
