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
from torch import Tensor

from models.errors import ModelError
from models.seqgan.checkpoint import load_checkpoint
from models.seqgan.config import SeqGANConfig
from models.seqgan.generator import Generator, Memory
from models.seqgan.metrics import rouge_l, unigram_perplexity
from models.seqgan.randomness import keyed_generator
from models.text.characters import BOS, END, PAD, UNK, CharacterTokenizer
from models.text.encoded import EncodedPairs
from models.text.pairs import load_pairs


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


def load_generator(folder: Path, device: str = "cpu") -> tuple[SeqGANConfig, CharacterTokenizer, Generator]:
    """A checkpoint's generator, ready to write. Raises CheckpointError."""
    saved = load_checkpoint(folder, device)
    generator = Generator(saved.config, saved.tokenizer.size).to(device)
    generator.load_state_dict(saved.state["learner"]["generator"])
    return saved.config, saved.tokenizer, generator.eval()


def generate(
    checkpoint_dir: Path,
    articles: Sequence[str],
    n: int = 1,
    seed: int = 0,
    temperature: float = 0.0,
    device: str = "cpu",
    batch_size: int = 64,
) -> list[list[str]]:
    """`n` headlines for each article.

    Temperature 0 takes the likeliest character each time, so all `n` are equal; 1 draws from the model;
    in between sharpens it. Raises CheckpointError, and ModelError for an n or temperature out of range.
    """
    if n < 1:
        raise ModelError(f"n: {n} headlines cannot be written; ask for at least 1")
    if not 0 <= temperature <= 10:
        raise ModelError(f"temperature: {temperature} is outside [0, 10]; 0 takes the likeliest character")
    config, tokenizer, generator = load_generator(checkpoint_dir, device)
    rng = keyed_generator(device, seed, "sample")
    headlines: list[list[str]] = []
    for start in range(0, len(articles), batch_size):
        batch = articles[start : start + batch_size]
        ids = [tokenizer.encode_article(article, config.article_length) for article in batch]
        with torch.no_grad():
            memory = generator.encode(torch.tensor(ids, device=device))
            tokens = [decode(generator, memory, config.headline_length, temperature, rng) for _ in range(n)]
        for article, rows in zip(batch, torch.stack(tokens, dim=1).tolist(), strict=True):
            headlines.append([tokenizer.decode(row, article) for row in rows])
    return headlines


@torch.no_grad()
def decode(generator: Generator, memory: Memory, length: int, temperature: float, rng: torch.Generator) -> Tensor:
    """One headline an article, (B, T); greedy at temperature 0; never `<unk>`, nor `<end>` at the start."""
    state_KBQH = memory.initial_KBH.unsqueeze(2)
    token_BQ = memory.source_BS.new_full((memory.source_BS.shape[0], 1), BOS)
    ended_BQ = torch.zeros_like(token_BQ, dtype=torch.bool)
    written = []
    for position in range(length):
        state_KBQH = generator.step(token_BQ, state_KBQH)
        prob_BX = generator.distribution(generator.read(state_KBQH[0], token_BQ, memory), memory).squeeze(1)
        prob_BX[:, [PAD, BOS, UNK]] = 0
        if position == 0:
            prob_BX[:, END] = 0
        if temperature == 0:
            token_BQ = prob_BX.argmax(-1, keepdim=True)
        else:
            sharpened_BX = (prob_BX.log() / temperature).softmax(-1)
            token_BQ = torch.multinomial(sharpened_BX, 1, generator=rng)
        token_BQ = token_BQ.masked_fill(ended_BQ, PAD)
        ended_BQ = ended_BQ | token_BQ.eq(END)
        written.append(token_BQ)
    return torch.cat(written, dim=1)


def held_out_rows(
    checkpoint_dir: Path, k: int = 10, seed: int = 0, temperature: float = 0.0, data: str | None = None
) -> list[HeldOutRow]:
    """`k` articles of the test split (of dev if it is empty), chosen by the seed, with our headlines.

    `data` replaces the data set that the checkpoint was trained on, such as its path on this machine.
    Raises CheckpointError and DataError.
    """
    config = load_checkpoint(checkpoint_dir).config
    splits = load_pairs(data if data is not None else config.data)
    pairs = splits.test or splits.dev
    order = torch.randperm(len(pairs), generator=keyed_generator("cpu", seed, "rows"))
    chosen = [pairs[int(i)] for i in order[:k]]
    written = generate(checkpoint_dir, [pair.body for pair in chosen], seed=seed, temperature=temperature)
    rows = []
    for pair, (headline,) in zip(chosen, written, strict=True):
        lead = first_sentence(pair.body)
        rows.append(HeldOutRow(pair.title, headline, lead, rouge_l(headline, pair.title), rouge_l(lead, pair.title)))
    return rows


def unigram_yardstick(checkpoint_dir: Path, data: str | None = None) -> float:
    """Held-out perplexity a character of a unigram model on the checkpoint's own data and vocabulary."""
    saved = load_checkpoint(checkpoint_dir)
    config, tokenizer = saved.config, saved.tokenizer
    splits = load_pairs(data if data is not None else config.data)
    train, dev = (
        EncodedPairs.encode(pairs, tokenizer, config.article_length, config.headline_length)
        for pairs in (splits.train, splits.dev)
    )
    return unigram_perplexity(train, dev, tokenizer.size)


def first_sentence(body: str) -> str:
    """The body up to its first 。, !, ? or line end, without it."""
    return re.split(r"[。!?！？\n]", body, maxsplit=1)[0]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code: 0, or 2 for a wrong input."""
    parser = argparse.ArgumentParser(
        prog="python -m models.seqgan.sample",
        description="Write headlines for held-out articles, next to the real ones.",
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint folder")
    parser.add_argument("--n", type=int, default=10, help="number of articles")
    parser.add_argument("--seed", type=int, default=0, help="chooses articles and draws")
    parser.add_argument("--temperature", type=float, default=0.0, help="0: the likeliest character; 1: a draw")
    parser.add_argument("--data", help="another data set than the one it was trained on")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        rows = held_out_rows(given.checkpoint, given.n, given.seed, given.temperature, given.data)
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
