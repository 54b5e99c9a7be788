"""What a row's columns mean: a pair out of a row, or the error that says what is wrong with it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from models.errors import DataError

SPLITS = ("train", "dev", "test")
NUMBERS = ("impressions", "clicks", "dwell", "recency", "popularity")
COLUMNS = ("title", "body", "split", "keywords", "history", *NUMBERS, "group", "test_id", "image")

_HAN = re.compile("[\u4e00-\u9fff]")
_SEPARATOR = re.compile("[|;；]")


@dataclass(frozen=True)
class ClickRecord:
    """What readers did with a headline; None is unknown.

    impressions, clicks: counts. dwell: seconds on the article. recency: hours since it was published.
    popularity: any measure that grows with it. group: the A/B test whose variants are compared.
    """

    impressions: float | None = None
    clicks: float | None = None
    dwell: float | None = None
    recency: float | None = None
    popularity: float | None = None
    group: str | None = None


@dataclass(frozen=True)
class Pair:
    """An article's body and the headline that was printed over it, with what is known beside them.

    keywords: the article's own. history: what the reader read before, oldest first. Without a body, the
    keywords stand for it; without either it is empty, and a model writes from the rest alone.
    """

    title: str
    body: str
    keywords: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    click: ClickRecord | None = None


def pair_of(place: str, row: Mapping[str, object]) -> tuple[Pair, str | None]:
    """The row's pair with the split it names, if any; raises DataError, which names the place."""
    keywords = _texts(place, row, "keywords")
    title = _text(place, row, "title")
    given = row.get("body")
    blank = given is None or (isinstance(given, str) and not given.strip())
    body = body_of(keywords) if blank and ("body" in row or "keywords" in row) else _text(place, row, "body")
    split = row.get("split") or None
    if split is not None and split not in SPLITS:
        raise DataError(f"{place}: split is {split!r}, but must be one of train, dev, test, or left out")
    pair = Pair(title, body, keywords, _texts(place, row, "history"), _click(place, row))
    return pair, None if split is None else str(split)


def row_of(pair: Pair) -> dict[str, object]:
    """The columns that `pair_of` turns back into this pair; those without a value are left out."""
    optional = {"keywords": list(pair.keywords), "history": list(pair.history)}
    optional |= asdict(pair.click) if pair.click else {}
    columns: dict[str, object] = {"title": pair.title, "body": pair.body}
    if not pair.body:
        # Only with this column may a body be empty.
        columns["keywords"] = []
    return columns | {name: value for name, value in optional.items() if value not in (None, [])}


def body_of(keywords: tuple[str, ...]) -> str:
    """The body that keywords make where there is no other."""
    return ("，" if any(_HAN.search(word) for word in keywords) else ", ").join(keywords)


def _text(place: str, row: Mapping[str, object], column: str) -> str:
    if column not in row:
        found = ", ".join(map(str, row)) or "none"
        remedy = "rename the column of that meaning" + (", or give keywords" if column == "body" else "")
        raise DataError(f"{place}: no column {column!r} (found: {found}); {remedy}")
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: {column} is {value!r}, but must be a text that is not blank")
    return _encodable(place, column, value)


def _texts(place: str, row: Mapping[str, object], column: str) -> tuple[str, ...]:
    """A list of texts, or one text with | or ; between them; none if the column is left out."""
    value = row.get(column)
    parts = _SEPARATOR.split(value) if isinstance(value, str) else [] if value is None else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise DataError(f"{place}: {column} is {value!r}, but must be a list of texts, or a text with | between them")
    return tuple(_encodable(place, column, part) for part in parts if part.strip())


def _encodable(place: str, column: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: {column} holds half a character ({error}); write it again as UTF-8") from error
    return text.strip()


def _click(place: str, row: Mapping[str, object]) -> ClickRecord | None:
    values = {column: _number(place, row, column) for column in NUMBERS}
    impressions, clicks = values["impressions"], values["clicks"]
    if (impressions is None) != (clicks is None):
        absent, given = ("impressions", "clicks") if impressions is None else ("clicks", "impressions")
        raise DataError(
            f"{place}: {given} is {values[given]:g}, but {absent} is missing; give both, or neither where unknown"
        )
    if impressions is not None and clicks is not None and clicks > impressions:
        raise DataError(f"{place}: clicks is {clicks:g}, but impressions is {impressions:g}; clicks cannot exceed it")
    if all(value is None for value in values.values()):
        return None
    return ClickRecord(**values, group=_group(row))


def _number(place: str, row: Mapping[str, object], column: str) -> float | None:
    value = row.get(column)
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise DataError(
            f"{place}: {column} is {value!r}, but must be a number of at least 0; leave it empty where it is unknown"
        )
    return number


def _group(row: Mapping[str, object]) -> str | None:
    """The column `group`; without it, `test_id` and `image`: variants with another image are not compared."""
    if row.get("group") not in (None, ""):
        return str(row["group"])
    if row.get("test_id") in (None, ""):
        return None
    return f"{row['test_id']} {row.get('image') or ''}".strip()
