"""jieba, loaded quietly: its dictionary cuts Chinese into words, and its idf file weighs them."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from models.text.cache import default_cache_dir

# Words that any English headline may hold; the last line is what apostrophes leave of some.
_ENGLISH = """
about after all also an and any are as at be because been before but by can could did do does even ever for from
get got had has have he her here him his how if in into is it its just know like make makes many may me more most
much must my never new no not now of off on one only or other our out over own really say says see she should so
some such than that the their them then there these they thing things this those to too up us very want was way
we were what when where which who whole why will with without would you your
ain aren couldn didn doesn don hadn hasn haven isn ll re shouldn ve wasn weren won wouldn
"""
ENGLISH_STOP_WORDS = frozenset(_ENGLISH.split())


def chinese_words(text: str) -> Sequence[str]:
    """The words of a text by jieba's dictionary, without its guesses at unknown words; they join to the text."""
    words: Sequence[str] = _dictionary().lcut(text, HMM=False)
    return words


@cache
def idf() -> tuple[dict[str, float], float]:
    """Inverse document frequency of words (jieba's idf.txt), and the median, for words it lacks."""
    path = Path(_jieba().__file__).with_name("analyse") / "idf.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    weights = {word: float(weight) for word, weight in (line.split(" ") for line in lines)}
    return weights, sorted(weights.values())[len(weights) // 2]


@cache
def _jieba() -> Any:
    with warnings.catch_warnings():
        # jieba 0.42.1 imports the deprecated pkg_resources and has escapes that newer Pythons warn of.
        warnings.simplefilter("ignore")
        import jieba
    # It logs to stderr, through a handler of its own.
    jieba.setLogLevel(logging.CRITICAL)
    return jieba


@cache
def _dictionary() -> Any:
    """A tokenizer of our own: the module's shared one may have been given other words."""
    dictionary = _jieba().Tokenizer()
    folder = default_cache_dir()
    # Reading the parsed dictionary takes half the time. Without the folder, jieba goes on without its cache.
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    # jieba's default is /tmp, where anyone may leave a file of that name.
    dictionary.tmp_dir = str(folder)
    with warnings.catch_warnings():
        # It leaves the dictionary's file to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        dictionary.initialize()
    return dictionary
