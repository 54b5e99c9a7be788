"""From an article to its headlines, step by step: read it, draw the first pieces, finish, join.

Suffixes as in generator.py; P pieces that are drawn first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models.errors import ModelError
from models.seqgan.decoding import Decoding, beam_search, decode
from models.seqgan.encoder import Memory
from models.seqgan.generator import Generator
from models.seqgan.randomness import keyed_generator
from models.text.encoded import EncodedPairs
from models.text.pairs import Pair
from models.text.reader import Reader


def read_articles(reader: Reader, pairs: Sequence[Pair], device: str = "cpu", title: str | None = None) -> EncodedPairs:
    """Articles, with the priors that the reader knows, as one batch of ids; their own titles aren't looked at.

    An article is read to `reader.article_length` pieces. `title`, if given, stands over each of them.
    """
    retitled = [replace(pair, title=title or "") for pair in pairs]
    return reader.encode(retitled, device).select(torch.arange(len(pairs), device=device))


@torch.no_grad()
def embed_article(generator: Generator, batch: EncodedPairs) -> Memory:
    """A batch of articles as the decoder's memory: a vector a piece, (B, S, H), and the decoder's first state."""
    return generator.encode(batch)


def draw_first(
    generator: Generator, memory: Memory, pieces: int, decoding: Decoding, rng: Sequence[torch.Generator]
) -> Tensor:
    """The first `pieces` pieces of a headline an article, drawn, (B, P); `<pad>` after an `<end>`.

    `rng` has a generator for each article. Raises ModelError for a temperature of 0, which draws nothing.
    """
    if decoding.temperature == 0:
        raise ModelError("temperature: 0 draws no first pieces; give a temperature above 0, or no first pieces")
    return decode(generator, memory, pieces, replace(decoding, max_length=pieces), rng)


def finish(generator: Generator, memory: Memory, prefix_BP: Tensor, length: int, decoding: Decoding) -> Tensor:
    """The headlines that begin with the given pieces, (B, T); the rest is the likeliest, or found by beam search.

    T is `decoding.limit(length)`, at least P. Of `decoding` what draws is left out: temperature, top_k, top_p.
    """
    likeliest = replace(decoding, temperature=0.0, top_k=0, top_p=1.0)
    return decode(generator, memory, length, likeliest, rng=(), prefix_BP=prefix_BP)


def join(reader: Reader, tokens_BT: Tensor, articles: Sequence[str]) -> list[str]:
    """The text of each row up to `<end>`; a piece that the vocabulary lacks is taken from the row's article.

    A headline is one line: any white space in it is one space, and there is none at its ends.
    """
    rows = zip(tokens_BT.tolist(), articles, strict=True)
    return [" ".join(reader.tokenizer.decode(row, article).split()) for row, article in rows]


def write_headlines(
    generator: Generator,
    reader: Reader,
    pairs: Sequence[Pair],
    numbers: range,
    *,
    seed: int = 0,
    decoding: Decoding | None = None,
    opening: Decoding | None = None,
    device: str = "cpu",
    batch_size: int = 64,
) -> list[list[str]]:
    """For each article, its headlines of the given numbers.

    `decoding` is how all of a headline is written, greedily by default. With `opening`, that draws the first
    `opening.max_length` pieces, and `decoding` (greedy, or a beam) finishes. A beam without an opening holds
    the numbers 0 to `decoding.beam - 1`, the best first.
    Draws are keyed by the seed, the article's place in `pairs` and the headline's number: they hang neither
    on the batch nor on how many headlines are written.
    """
    decoding = decoding or Decoding()
    _check(numbers, decoding, opening)
    # Read at once: what a click rate is compared with must not hang on the batch.
    encoded = read_articles(reader, pairs, device)
    length = reader.headline_length
    written: list[list[str]] = []
    for start in range(0, len(pairs), batch_size):
        batch = pairs[start : start + batch_size]
        rows = torch.arange(start, start + len(batch), device=device)
        memory = embed_article(generator, encoded.select(rows))
        if decoding.beam > 1 and opening is None:
            tokens_NBT = beam_search(generator, memory, length, decoding).tokens_BQT.transpose(0, 1)[list(numbers)]
        else:
            places = range(start, start + len(batch))
            drawn = (
                _write(generator, memory, length, decoding, opening, [(seed, i, number) for i in places])
                for number in numbers
            )
            tokens_NBT = torch.stack(list(drawn))
        articles = [pair.body for pair in batch]
        texts = [join(reader, tokens_BT, articles) for tokens_BT in tokens_NBT]
        written += [list(row) for row in zip(*texts, strict=True)]
    return written


def _write(
    generator: Generator,
    memory: Memory,
    length: int,
    decoding: Decoding,
    opening: Decoding | None,
    keys: Sequence[tuple[int, int, int]],
) -> Tensor:
    """A headline an article, (B, T): drawn first pieces and their likeliest end, or all in one way."""
    # On the CPU, so that a seed means the same headlines on any device.
    rng = [keyed_generator("cpu", seed, "headline", article, number) for seed, article, number in keys]
    if opening is None:
        return decode(generator, memory, length, decoding, rng)
    pieces = min(opening.limit(length), decoding.limit(length))
    prefix_BP = draw_first(generator, memory, pieces, opening, rng)
    return finish(generator, memory, prefix_BP, length, decoding)


def _check(numbers: range, decoding: Decoding, opening: Decoding | None) -> None:
    if len(numbers) < 1:
        raise ModelError(f"n: {len(numbers)} headlines cannot be written; ask for at least 1")
    if opening is None:
        if decoding.beam > 1 and numbers[-1] >= decoding.beam:
            raise ModelError(
                f"n: {numbers[-1] + 1} headlines, but a beam of {decoding.beam} ends with no more than it keeps; "
                "widen the beam, or ask for fewer"
            )
    elif decoding.temperature > 0:
        raise ModelError(
            f"temperature: the first pieces are drawn and the rest is not, but decoding has {decoding.temperature}; "
            "give it 0"
        )
