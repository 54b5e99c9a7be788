"""The command `python -m models.seqgan.headline`: headlines for an article of your own.

Headlines go to standard output, one a line; notes and errors to standard error. Exit code 2 is a wrong input.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from models.errors import DataError, ModelError
from models.seqgan.config import SeqGANConfig
from models.seqgan.decoding import Decoding
from models.seqgan.explain import explain_headline
from models.seqgan.explanation import Explanation
from models.seqgan.pipeline import write_headlines
from models.seqgan.sample import load_generator
from models.text.columns import body_of
from models.text.pairs import Pair
from models.text.reader import Reader

TEMPERATURE = 0.8
"""Of draws, where none is asked for: below 1, which leaves out much of what the model is least sure of."""
MAX_DRAFTS = 8
"""Drafts for each headline that is asked for, before fewer distinct ones are accepted."""
DRAFT = "a headline is a draft that can be false: check it against the article"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code: 0, or 2 for a wrong input."""
    given = parser().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        _run(given)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        prog="python -m models.seqgan.headline",
        description="Write headlines for an article. They are drafts: what they say can be false.",
    )
    add = made.add_argument
    add("--checkpoint", type=Path, required=True, metavar="DIR", help="a checkpoint folder")
    add("--article", required=True, metavar="FILE", help="the article, UTF-8 text; - for standard input")
    add("--n", type=int, default=1, help="how many headlines; distinct ones, as far as they come")
    add("--temperature", type=float, help=f"0: the likeliest piece (for one headline); draws use {TEMPERATURE}")
    add("--top-k", type=int, default=0, help="draw among so many likeliest pieces; 0 for all")
    add("--top-p", type=float, default=1.0, help="draw among the likeliest pieces that hold this probability")
    add("--no-repeat-ngram", type=int, default=3, help="so many pieces in a row come only once; 0 allows repeats")
    add("--max-length", type=int, help="the most pieces of a headline; else the model's own length")
    add("--beam", type=int, default=1, help="beam search over so many headlines; 1 for none")
    add("--first", type=int, default=0, metavar="K", help="draw K pieces, then take the likeliest (or the beam's)")
    add("--seed", type=int, default=0, help="key of all draws")
    add("--keyword", action="append", default=[], metavar="WORD", help="a word that the headline is about; repeatable")
    add("--history", type=Path, metavar="FILE", help="what the reader read before, a text a line, the oldest first")
    add("--explain", type=Path, metavar="OUT.html", help="a page on where the first headline's pieces come from")
    add("--json", action="store_true", help="print one JSON document")
    add("--device", default="cpu", help="cpu or cuda:0")
    return made


def _run(given: argparse.Namespace) -> None:
    decoding, opening = decodings(given)
    pair = read_pair(given.article, given.keyword, given.history)
    if given.explain is not None and not given.explain.absolute().parent.is_dir():
        raise ModelError(f"explain: {given.explain} can't be written, its folder isn't there; make it, or give another")
    config, reader, generator = load_generator(given.checkpoint, given.device)
    read, notes = what_is_read(reader, config, pair)
    for note in (DRAFT, *notes):
        print(f"note: {note}", file=sys.stderr)

    def write(numbers: range) -> list[str]:
        (texts,) = write_headlines(
            generator, reader, [pair], numbers, seed=given.seed, decoding=decoding, opening=opening, device=given.device
        )
        return texts

    headlines = distinct(write, given.n, most_drafts(given.n, decoding, opening))
    if len(headlines) < given.n:
        print(f"note: {len(headlines)} of {given.n} headlines; the other drafts were the same", file=sys.stderr)
    if given.json:
        document = {"headlines": headlines, "draft": True, "article": read, "seed": given.seed}
        document |= {"decoding": asdict(decoding), "opening": asdict(opening) if opening else None}
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        print("\n".join(headlines))
    if given.explain is not None and headlines:
        _write_page(given.explain, explain_headline(generator, reader, pair, headlines[0], given.device))


def decodings(given: argparse.Namespace) -> tuple[Decoding, Decoding | None]:
    """How a headline is written, and how its first pieces are if they are drawn apart; raises ModelError."""
    if given.n < 1:
        raise ModelError(f"n: {given.n} headlines cannot be written; ask for at least 1")
    if given.first < 0:
        raise ModelError(f"first: {given.first} is negative; give a number of pieces, or 0 to draw none apart")
    temperature = given.temperature
    if temperature is None:
        searched = given.beam > 1 and not given.first
        draws = given.n > 1 or given.first or given.top_k or given.top_p != 1
        temperature = TEMPERATURE if draws and not searched else 0.0
    drawn = {"temperature": temperature, "top_k": given.top_k, "top_p": given.top_p}
    written = {"no_repeat_ngram": given.no_repeat_ngram, "max_length": given.max_length, "beam": given.beam}
    if not given.first:
        return Decoding(**drawn, **written), None
    opening = Decoding(**drawn, no_repeat_ngram=given.no_repeat_ngram, max_length=given.first)
    return Decoding(**written), opening


def read_pair(article: str, keywords: Sequence[str], history: Path | None) -> Pair:
    """The article of a file, or of standard input for "-", with its priors and without a title.

    Keywords stand for a blank article. Raises DataError for a file that is missing, not UTF-8, or blank
    where there are no keywords either.
    """
    words = tuple(word.strip() for word in keywords if word.strip())
    name = "standard input" if article == "-" else article
    body = _text(name, sys.stdin.buffer.read() if article == "-" else _content(Path(article)))
    read = (
        () if history is None else tuple(filter(None, map(str.strip, _text(history, _content(history)).splitlines())))
    )
    if not body and not words:
        raise DataError(f"article: {name} is empty; give a text of at least a sentence, or --keyword")
    return Pair("", body or body_of(words), words, read)


def what_is_read(reader: Reader, config: SeqGANConfig, pair: Pair) -> tuple[dict[str, int], list[str]]:
    """How much of the article the model reads, and notes on what it leaves out."""
    (pieces,) = reader.tokenizer.split_batch([pair.body], reader.article_length)
    characters, notes = sum(map(len, pieces)), []
    if characters < len(pair.body):
        notes.append(
            f"the model reads the article's first {len(pieces)} pieces: {characters} of {len(pair.body)} characters"
        )
    if not any(piece in reader.tokenizer.ids for piece in pieces):
        can = "be copied from it" if config.copy else "have little to do with it"
        notes.append(f"the model knows no piece of this article; a headline can only {can}")
    if pair.keywords and reader.hot_words is None:
        notes.append("this checkpoint was trained without hot words, so --keyword changes nothing")
    if pair.history and not reader.history_length:
        notes.append("this checkpoint was trained without history, so --history changes nothing")
    return {"pieces_read": len(pieces), "characters_read": characters, "characters": len(pair.body)}, notes


def distinct(write: Callable[[range], list[str]], n: int, most: int) -> list[str]:
    """`n` headlines that differ, in the order of their numbers, or fewer if `most` drafts have no more."""
    kept: dict[str, None] = {}
    drafts = 0
    while len(kept) < n and drafts < most:
        numbers = range(drafts, min(drafts + n - len(kept), most))
        kept |= dict.fromkeys(filter(None, write(numbers)))
        drafts = numbers.stop
    return list(kept)


def most_drafts(n: int, decoding: Decoding, opening: Decoding | None) -> int:
    """How many drafts are worth writing for `n` headlines that differ."""
    if opening is not None or decoding.temperature > 0:
        return MAX_DRAFTS * n
    # A wider beam has more than n; a narrower one is refused when n are asked of it.
    return max(n, decoding.beam) if decoding.beam > 1 else 1


def _write_page(path: Path, explanation: Explanation) -> None:
    try:
        path.write_text(explanation.to_html(), encoding="utf-8")
    except OSError as error:
        raise ModelError(f"explain: {path} can't be written ({error.strerror}); give another file") from error
    print(f"note: {path} explains {explanation.headline!r}", file=sys.stderr)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; give a text file that can be read") from error


def _text(name: object, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 (byte {error.start}: {error.reason}); save it as UTF-8") from error


if __name__ == "__main__":
    sys.exit(main())
