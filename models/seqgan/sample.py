"""Headlines out of a checkpoint, and the command `python -m models.seqgan.sample`.

What comes out is mostly copied from the article, reads well and is sometimes false: show it as a draft.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from models.errors import CheckpointError, ModelError
from models.seqgan.checkpoint import load_checkpoint
from models.seqgan.config import SeqGANConfig
from models.seqgan.decoding import Decoding
from models.seqgan.generator import Generator
from models.seqgan.metrics import rouge_l, unigram_perplexity
from models.seqgan.pipeline import write_headlines
from models.seqgan.randomness import keyed_generator
from models.text.pairs import Pair, load_pairs
from models.text.reader import Reader


@dataclass(frozen=True)
class HeldOutRow:
    """One held-out article: its headline, ours, and the first sentence, which is the baseline to beat.

    The ROUGE-L values are character F1 against the real headline, in [0, 1].
    """

    title: str
    generated: str
    first_sentence: str
    rouge_generated: float
    rouge_first_sentence: float


def load_generator(folder: Path, device: str = "cpu") -> tuple[SeqGANConfig, Reader, Generator]:
    """A checkpoint's configuration, reader and generator, ready to write.

    Raises CheckpointError, and ModelError for a device that is not there.
    """
    check_device(device)
    saved = load_checkpoint(folder, device)
    generator = Generator(saved.config, saved.reader.tokenizer.size).to(device)
    try:
        generator.load_state_dict(saved.state["learner"]["generator"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder}: its weights do not fit its vocabulary and configuration ({error}); use a whole checkpoint"
        ) from error
    return saved.config, saved.reader, generator.eval()


def generate(
    checkpoint_dir: Path,
    articles: Sequence[str | Pair],
    n: int = 1,
    seed: int = 0,
    decoding: Decoding | None = None,
    opening: Decoding | None = None,
    device: str = "cpu",
    batch_size: int = 64,
) -> list[list[str]]:
    """`n` headlines for each article, written as `models.seqgan.pipeline.write_headlines` says.

    An article is a text, or a Pair with what is known beside it: keywords, history, clicks; its title isn't
    looked at. By default the likeliest piece is taken each time, so that all `n` are equal.
    Raises CheckpointError, and ModelError for an n that is out of range.
    """
    pairs = [Pair("", article) if isinstance(article, str) else article for article in articles]
    _, reader, generator = load_generator(checkpoint_dir, device)
    return write_headlines(
        generator,
        reader,
        pairs,
        range(n),
        seed=seed,
        decoding=decoding,
        opening=opening,
        device=device,
        batch_size=batch_size,
    )


def held_out_rows(
    checkpoint_dir: Path, k: int = 10, seed: int = 0, decoding: Decoding | None = None, data: str | None = None
) -> list[HeldOutRow]:
    """`k` articles of the test split (of dev if it is empty), chosen by the seed, with our headlines.

    Ours are written with all that the data has beside an article: keywords, history, clicks.
    `data` replaces the data set that the checkpoint was trained on, such as its path on this machine.
    Raises CheckpointError, DataError, and ModelError for a k below 1.
    """
    if k < 1:
        raise ModelError(f"n: {k} articles cannot be shown; ask for at least 1")
    config = load_checkpoint(checkpoint_dir).config
    splits = load_pairs(data if data is not None else config.data)
    pairs = splits.test or splits.dev
    order = torch.randperm(len(pairs), generator=keyed_generator("cpu", seed, "rows"))
    chosen = [pairs[int(i)] for i in order[:k]]
    written = generate(checkpoint_dir, chosen, seed=seed, decoding=decoding)
    rows = []
    for pair, (headline,) in zip(chosen, written, strict=True):
        lead = first_sentence(pair.body)
        rows.append(HeldOutRow(pair.title, headline, lead, rouge_l(headline, pair.title), rouge_l(lead, pair.title)))
    return rows


def unigram_yardstick(checkpoint_dir: Path, data: str | None = None) -> float:
    """Held-out perplexity a character of a unigram model on the checkpoint's own data and vocabulary."""
    saved = load_checkpoint(checkpoint_dir)
    splits = load_pairs(data if data is not None else saved.config.data)
    train, dev = saved.reader.encode(splits.train), saved.reader.encode(splits.dev)
    return unigram_perplexity(train, dev, saved.reader.tokenizer.size)


def first_sentence(body: str) -> str:
    """The body up to its first 。, !, ? or line end, without it."""
    return re.split(r"[。!?！？\n]", body, maxsplit=1)[0]


def check_device(device: str) -> None:
    """Raise ModelError for a device that this machine has not."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device: {device!r} can't be used here ({reason}); give cpu, or cuda:0") from error


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code: 0, or 2 for a wrong input."""
    parser = argparse.ArgumentParser(
        prog="python -m models.seqgan.sample",
        description="Write headlines for held-out articles, next to the real ones.",
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint folder")
    parser.add_argument("--n", type=int, default=10, help="number of articles")
    parser.add_argument("--seed", type=int, default=0, help="chooses articles and draws")
    parser.add_argument("--temperature", type=float, default=0.0, help="0: the likeliest piece; 1: a draw")
    parser.add_argument("--data", help="another data set than the one it was trained on")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        decoding = Decoding(temperature=given.temperature)
        rows = held_out_rows(given.checkpoint, given.n, given.seed, decoding, given.data)
        unigram = unigram_yardstick(given.checkpoint, given.data)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in rows:
        print(f"real       {row.title}")
        print(f"generated  {row.generated}  (ROUGE-L {row.rouge_generated:.2f})")
        print(f"first      {row.first_sentence}  (ROUGE-L {row.rouge_first_sentence:.2f})\n")
    ours = sum(row.rouge_generated for row in rows) / len(rows)
    lead = sum(row.rouge_first_sentence for row in rows) / len(rows)
    print(f"mean ROUGE-L of {len(rows)}: generated {ours:.3f}, first sentence {lead:.3f}")
    print(f"held-out perplexity a character of a unigram model on the same articles: {unigram:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
