"""What a checkpoint is worth on held-out pairs, beside what it must beat; `python -m models.seqgan.evaluate`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from models.errors import ModelError
from models.seqgan.decoding import Decoding
from models.seqgan.metrics import distinct_n, held_out, rouge_l, unigram_perplexity, unknown_share
from models.seqgan.pipeline import write_headlines
from models.seqgan.randomness import keyed_generator
from models.seqgan.sample import first_sentence, load_generator
from models.text.pairs import SPLITS, Pair, load_pairs


@dataclass(frozen=True)
class Evaluation:
    """Figures of one split; shares and ROUGE-L are in [0, 1]."""

    pairs: int
    perplexity: float
    """A character, under teacher forcing (see metrics.held_out)."""
    unigram_perplexity: float
    """That of a model that only knows how often each piece is in training headlines."""
    nll: float
    """Nats a piece."""
    entropy: float
    """Nats a piece."""
    shuffle_gap: float
    """How many nats a piece more the headlines cost over each other's articles: 0 for a model that ignores them."""
    rouge_l: float
    rouge_first_sentence: float
    rouge_gain: float
    """Mean over articles of our ROUGE-L minus the first sentence's."""
    rouge_gain_error: float
    """Its standard error, paired by article."""
    distinct_1: float
    distinct_2: float
    distinct_2_real: float
    """That of the real headlines."""
    copy_rate: float
    """Share of the written characters that stand in the article."""
    unknown_share: float
    """Share of the real headlines' pieces that are scored as `<unk>`."""


def evaluate(
    checkpoint_dir: Path, split: str = "test", data: str | None = None, decoding: Decoding | None = None
) -> Evaluation:
    """Score the split's real headlines, write one for each of its articles, and compare.

    `data` replaces the data set that the checkpoint was trained on, such as its path on this machine. Headlines
    are the likeliest, unless `decoding` says otherwise. Raises CheckpointError, DataError, and ModelError for an
    unknown split or one with fewer than 2 pairs.
    """
    if split not in SPLITS:
        raise ModelError(f"split: {split!r} is not one of {', '.join(SPLITS)}; choose one of them")
    config, reader, generator = load_generator(checkpoint_dir)
    splits = load_pairs(data if data is not None else config.data)
    pairs: Sequence[Pair] = getattr(splits, split)
    if len(pairs) < 2:
        raise ModelError(f"split: {split} has {len(pairs)} pairs, but a standard error needs 2; choose another split")
    encoded = reader.encode(pairs)
    scored = held_out(generator, encoded)
    shuffled = held_out(generator, encoded.shuffled_articles(keyed_generator("cpu", 0, "shuffle")))
    written = [texts[0] for texts in write_headlines(generator, reader, pairs, range(1), decoding=decoding)]
    ours = [rouge_l(text, pair.title) for text, pair in zip(written, pairs, strict=True)]
    leads = [rouge_l(first_sentence(pair.body), pair.title) for pair in pairs]
    gains = [mine - lead for mine, lead in zip(ours, leads, strict=True)]
    return Evaluation(
        pairs=len(pairs),
        perplexity=scored.perplexity,
        unigram_perplexity=unigram_perplexity(reader.encode(splits.train), encoded, reader.tokenizer.size),
        nll=scored.nll,
        entropy=scored.entropy,
        shuffle_gap=shuffled.nll - scored.nll,
        rouge_l=statistics.fmean(ours),
        rouge_first_sentence=statistics.fmean(leads),
        rouge_gain=statistics.fmean(gains),
        rouge_gain_error=statistics.stdev(gains) / len(gains) ** 0.5,
        distinct_1=distinct_n(written, 1),
        distinct_2=distinct_n(written, 2),
        distinct_2_real=distinct_n([pair.title for pair in pairs], 2),
        copy_rate=copy_rate(written, [pair.body for pair in pairs]),
        unknown_share=unknown_share(encoded),
    )


def copy_rate(headlines: Sequence[str], articles: Sequence[str]) -> float:
    """Share of the headlines' characters that stand anywhere in their articles; 0 without characters."""
    total = sum(map(len, headlines))
    copied = sum(c in article for text, article in zip(headlines, articles, strict=True) for c in text)
    return copied / total if total else 0.0


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code: 0, or 2 for a wrong input."""
    parser = argparse.ArgumentParser(
        prog="python -m models.seqgan.evaluate",
        description="Measure a checkpoint on held-out pairs, beside a unigram model and the first sentence.",
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint folder")
    parser.add_argument("--split", default="test", help="train, dev or test")
    parser.add_argument("--data", help="another data set than the one it was trained on")
    parser.add_argument("--beam", type=int, default=1, help="beams of the search for each headline; 1 is greedy")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        figures = asdict(evaluate(given.checkpoint, given.split, given.data, Decoding(beam=given.beam)))
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps(figures))
        return 0
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):22} {value:.4g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
