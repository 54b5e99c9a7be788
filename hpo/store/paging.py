"""Pages by key, never by OFFSET: a page goes on after the last row of the one before, whatever was added since.

A token is base64 over JSON: which list it belongs to (with its filters), and the last row's key.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from hpo.errors import InvalidPageError
from hpo.page import MAX_PAGE_SIZE, Page
from hpo.spec import NAME
from hpo.store.rows import Values, fits

T = TypeVar("T")

Kind = type[int] | type[str] | type[float] | None
"""Of a part of a key: an integer, a study's name, a number, or None for a number that may be missing."""

_MAX_TOKEN = 1000


def check_size(size: int, name: str = "page_size") -> None:
    """Raises InvalidPageError unless 1 ≤ size ≤ MAX_PAGE_SIZE."""
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise InvalidPageError(
            f"{name} is {size}, but a page holds 1 to {MAX_PAGE_SIZE} items; choose a {name} within, and follow "
            "the pages"
        )


@dataclass(frozen=True, slots=True)
class Window:
    """One page that is asked for. Its reader takes `size` + 1 rows after the key `after`; the one too many tells
    that there is a next page. Making one raises InvalidPageError for a size out of range, and for a token that its
    list did not give."""

    tag: tuple[Any, ...]
    size: int
    after: tuple[Any, ...] | None
    key: Callable[[Values], tuple[Any, ...]]

    def page(self, rows: Sequence[Values], decode: Callable[[Values], T]) -> Page[T]:
        """The page out of the rows that were read for this window."""
        shown = rows[: self.size]
        token = _encode(self.tag, self.key(shown[-1])) if len(rows) > self.size else None
        return Page([decode(row) for row in shown], token)


def projects_window(page_size: int, page_token: str | None) -> Window:
    """By name."""
    return window(("projects",), (str,), lambda row: (row["name"],), page_size, page_token)


def tokens_window(project: str, page_size: int, page_token: str | None) -> Window:
    """Newest first, then by id descending."""
    return window(("tokens", project), (float, str), lambda row: (row["created_at"], row["id"]), page_size, page_token)


def reports_window(
    table: Literal["measurements", "decisions", "judgements"],
    study: str,
    trial: int | None,
    page_size: int,
    page_token: str | None,
) -> Window:
    """In the order in which they were recorded; a trial's by generation and step."""
    if trial is None:
        return window((table, study, None), (int,), lambda row: (row["id"],), page_size, page_token)
    # A trial's come by what is unique about them, which is their recorded order, and the order of an index.
    return window(
        (table, study, trial), (int, int), lambda row: (row["generation"], row["step"]), page_size, page_token
    )


def latest_window(study: str, page_size: int, page_token: str | None) -> Window:
    """By the trial's number."""
    return window(("latest", study), (int,), lambda row: (row["trial"],), page_size, page_token)


def window(
    tag: tuple[Any, ...],
    kinds: tuple[Kind, ...],
    key: Callable[[Values], tuple[Any, ...]],
    page_size: int,
    page_token: str | None,
) -> Window:
    """The page of the list `tag` whose rows have keys of the given kinds."""
    check_size(page_size)
    if page_token is None:
        return Window(tag, page_size, None, key)
    after = _decode(page_token, tag)
    if after is None or len(after) != len(kinds) or not all(map(_is_key, after, kinds)):
        shown = page_token if len(page_token) <= 60 else f"{page_token[:57]}..."
        raise InvalidPageError(
            f"page token {shown!r} was not given by this list; pass next_page_token as it came, with the same "
            "filters and order, or leave it out to begin at the first page"
        )
    return Window(tag, page_size, after, key)


def _encode(tag: tuple[Any, ...], key: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps([tag, key], separators=(",", ":")).encode()).decode().rstrip("=")


def _decode(token: str, tag: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The key within a token of the list `tag`, or None."""
    if len(token) > _MAX_TOKEN:
        return None
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        of, key = json.loads(data)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        return None
    return tuple(key) if of == list(tag) and isinstance(key, list) else None


def _is_key(value: object, kind: Kind) -> bool:
    """Whether a value out of a token may be compared with a column: anybody can forge a token."""
    if kind is str:
        return isinstance(value, str) and NAME.fullmatch(value) is not None
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and fits(value)
    if kind is None and value is None:
        return True
    return isinstance(value, float) and math.isfinite(value)
