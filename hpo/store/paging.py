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
from hpo.trial import StudyState, TrialState

T = TypeVar("T")

TrialOrder = Literal["number", "value"]

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


def studies_window(project: str | None, state: StudyState | None, page_size: int, page_token: str | None) -> Window:
    """Newest first, then by name descending."""
    tag = ("studies", project, StudyState(state).value if state is not None else None)
    return _window(tag, (float, str), lambda row: (row["created_at"], row["name"]), page_size, page_token)


def projects_window(page_size: int, page_token: str | None) -> Window:
    """By name."""
    return _window(("projects",), (str,), lambda row: (row["name"],), page_size, page_token)


def tokens_window(project: str, page_size: int, page_token: str | None) -> Window:
    """Newest first, then by id descending."""
    return _window(("tokens", project), (float, str), lambda row: (row["created_at"], row["id"]), page_size, page_token)


def trials_window(
    study: str, state: TrialState | None, order_by: TrialOrder, page_size: int, page_token: str | None
) -> Window:
    """By number, or by value (None where it is missing) and number."""
    tag = ("trials", study, TrialState(state).value if state is not None else None, order_by)
    if order_by == "number":
        return _window(tag, (int,), lambda row: (row["number"],), page_size, page_token)
    if order_by == "value":
        return _window(tag, (None, int), lambda row: (row["value"], row["number"]), page_size, page_token)
    raise ValueError(f"order_by is {order_by!r}, but trials are listed by 'number' or by 'value'")


def reports_window(
    table: Literal["measurements", "decisions", "judgements"],
    study: str,
    trial: int | None,
    page_size: int,
    page_token: str | None,
) -> Window:
    """In the order in which they were recorded."""
    return _window((table, study, trial), (int,), lambda row: (row["id"],), page_size, page_token)


def latest_window(study: str, page_size: int, page_token: str | None) -> Window:
    """By the trial's number."""
    return _window(("latest", study), (int,), lambda row: (row["trial"],), page_size, page_token)


def _window(
    tag: tuple[Any, ...],
    kinds: tuple[type | None, ...],
    key: Callable[[Values], tuple[Any, ...]],
    page_size: int,
    page_token: str | None,
) -> Window:
    """The page of the list `tag` whose rows have keys of the given kinds: int, str for a name or an id, float, or
    None for a float that may be missing."""
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


def _is_key(value: object, kind: type | None) -> bool:
    """Whether a value out of a token may be compared with a column: anybody can forge a token."""
    if kind is str:
        return isinstance(value, str) and NAME.fullmatch(value) is not None
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and fits(value)
    if kind is None and value is None:
        return True
    return isinstance(value, float) and math.isfinite(value)
