"""Texts that others have written, for a terminal or a log: they can't move its cursor, colour it or begin a line."""

from __future__ import annotations

import re

_ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but tab and line feed, and those that turn the direction in which text is read."""


def harmless(text: str) -> str:
    """The text with what a terminal would act on spelt out: ESC becomes `\\u001b`, as in JSON."""
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
