"""Why a headline came out: attention, the copy gate, and what each source adds (integrated gradients).

Suffixes as in generator.py; R points on the way from absent sources to those that are there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models.seqgan.explanation import Explanation, PieceExplanation
from models.seqgan.generator import Generator
from models.seqgan.pipeline import read_articles, write_headlines
from models.seqgan.sample import load_generator
from models.text.encoded import EncodedPairs
from models.text.pairs import Pair
from models.text.pieces import END, PAD
from models.text.reader import Reader

TOLERANCE = 0.01
"""Attributions miss the difference they explain by at most this part of it, or this many nats if it is below 1."""
_STEPS, _MAX_STEPS, _ROWS = 32, 512, 64

LogProb = Callable[..., Tensor]


def explain(checkpoint_dir: Path, article: str | Pair, headline: str | None = None, device: str = "cpu") -> Explanation:
    """Explain a headline of an article, by default the one that the checkpoint finds likeliest piece by piece.

    Raises CheckpointError.
    """
    _, reader, generator = load_generator(checkpoint_dir, device)
    pair = Pair("", article) if isinstance(article, str) else article
    if headline is None:
        headline = write_headlines(generator, reader, [pair], range(1), device=device)[0][0]
    return explain_headline(generator, reader, pair, headline, device)


def explain_headline(
    generator: Generator, reader: Reader, pair: Pair, headline: str, device: str = "cpu"
) -> Explanation:
    """Explain any headline, of the model or not, cut into pieces as the reader does and to its length.

    The generator must be in evaluation mode. What a source adds is the integrated gradient (Sundararajan
    et al. 2017, arXiv:1703.01365, eq. 1, by the library captum) of each piece's log-probability on the
    straight line from absent sources: each of the article's vectors that of padding, no hot word marked, the
    history's vector and the click features 0, as the encoder has them where there are none.
    Which piece stands where stays known all along: that copying goes on after the last piece is no
    attribution, and the headline's own former pieces are none either.
    """
    batch = read_articles(reader, [pair], device, title=headline)
    (source,) = reader.tokenizer.split_batch([pair.body], reader.article_length)
    names, attributions_TNS, log_prob_2T = _attributions(generator, batch)
    (tokens,) = batch.headlines_NT.tolist()
    with torch.no_grad():
        memory = generator.encode(batch)
        reading = generator.read(generator.forced_states(batch.headlines_NT, memory), memory)
        p_write_T = torch.sigmoid(reading.gate_BQ)[0]
        attention_TS = reading.attention_BQS[0]
        there_TS = memory.source_BS.eq(batch.headlines_NT.T)
        copied_T = (1 - p_write_T) * (attention_TS * there_TS).sum(-1) / log_prob_2T[0].exp().clamp_min(1e-12)
    written = [_piece(reader, token, source) for token in tokens]
    pieces = tuple(
        PieceExplanation(
            piece=written[t],
            log_prob=float(log_prob_2T[0, t]),
            p_write=float(p_write_T[t]),
            copied=min(1.0, float(copied_T[t])),
            attention=tuple(attention_TS[t, : len(source)].tolist()),
            attributions={name: float(attributions_TNS[t, i].sum()) for i, name in enumerate(names)},
        )
        for t in range(len(tokens))
    )
    return Explanation(
        headline=headline,
        article=tuple(source),
        pieces=pieces,
        article_attributions=tuple(attributions_TNS[:, 0].sum(0)[: len(source)].tolist()),
        log_prob=float(log_prob_2T[0].sum()),
        baseline_log_prob=float(log_prob_2T[1].sum()),
    )


def _piece(reader: Reader, token: int, source: list[str]) -> str:
    special = {END: "<end>", PAD: "<pad>"}
    size = reader.tokenizer.size
    return source[token - size] if token >= size else special.get(token) or reader.tokenizer.decode([token])


def _attributions(generator: Generator, batch: EncodedPairs) -> tuple[list[str], Tensor, Tensor]:
    """Names of the N sources; what each adds to each piece's log-probability, by article position for the
    article and in the first place for the others, (T, N, S); log-probabilities with all and with none, (2, T).
    """
    from captum.attr import IntegratedGradients

    sources = present_sources(generator, batch)
    log_prob = forced_log_prob(generator, batch, list(sources))
    inputs = tuple(sources.values())
    absent = tuple(map(torch.zeros_like, inputs))
    with torch.no_grad():
        log_prob_2T = torch.cat([log_prob(*inputs), log_prob(*absent)])
    difference = float((log_prob_2T[0] - log_prob_2T[1]).sum())
    integrated = IntegratedGradients(log_prob)
    steps = _STEPS
    # The backward pass of cuDNN's LSTM wants training mode, in which there is dropout.
    with torch.backends.cudnn.flags(enabled=False):
        while True:
            rows = [
                _by_position(
                    integrated.attribute(inputs, absent, target=t, n_steps=steps, internal_batch_size=_ROWS),
                    batch.articles_NS.shape[1],
                )
                for t in range(log_prob_2T.shape[1])
            ]
            attributions_TNS = torch.stack(rows)
            gap = abs(float(attributions_TNS.sum()) - difference)
            if gap <= TOLERANCE * max(1.0, abs(difference)) or steps >= _MAX_STEPS:
                return list(sources), attributions_TNS, log_prob_2T
            steps *= 2


def present_sources(generator: Generator, batch: EncodedPairs) -> dict[str, Tensor]:
    """What the encoder reads of one article, by source; 0 is the absence of each. Those it has no part for are out."""
    encoder = generator.encoder
    with torch.no_grad():
        sources = {"article": encoder.embed(encoder.shared(batch.articles_NS))}
        if encoder.hot_mark is not None and batch.hot_NS is not None:
            sources["hot words"] = batch.hot_NS.to(sources["article"].dtype).unsqueeze(-1)
        if encoder.history is not None:
            sources["history"] = encoder.read_history(batch)
        if encoder.click is not None and batch.click_NF is not None:
            sources["clicks"] = batch.click_NF
    return sources


def forced_log_prob(generator: Generator, batch: EncodedPairs, names: list[str]) -> LogProb:
    """A function from R values of each source, in the order of `names`, to the headline's log-probabilities, (R, T)."""
    encoder = generator.encoder

    def log_prob(*values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        embedded_RSE = given["article"]
        many = batch.select(torch.zeros(len(embedded_RSE), dtype=torch.int64, device=embedded_RSE.device))
        if "clicks" in given:
            many = replace(many, click_NF=given["clicks"])
        hot_RS1 = given.get("hot words", torch.zeros_like(embedded_RSE[..., :1]))
        if encoder.hot_mark is not None:
            embedded_RSE = embedded_RSE + encoder.hot_mark * hot_RS1
        mask_RS = many.articles_NS.ne(PAD)
        memory = encoder.read(embedded_RSE, many, mask_RS, hot_RS1, given.get("history"))
        reading = generator.read(generator.forced_states(many.headlines_NT, memory), memory)
        return generator.log_prob(reading, memory, many.headlines_NT)

    return log_prob


def _by_position(parts: tuple[Tensor, ...], positions: int) -> Tensor:
    """Attributions of the article by position and of each other source in the first place, (N, S)."""
    article, *others = parts
    by_position_NS = article.new_zeros(len(parts), positions)
    by_position_NS[0] = article.sum(-1)[0]
    for i, other in enumerate(others, start=1):
        by_position_NS[i, 0] = other.sum()
    return by_position_NS
