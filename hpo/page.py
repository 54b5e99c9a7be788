"""A part of a list, as everything long is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_PAGE_SIZE = 1000
NEWEST_FIRST = "created_at desc"
"""The order of studies, unless another is asked for."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list. `next_page_token` is opaque; None on the last page."""

    items: Sequence[T]
    next_page_token: str | None = None
