"""How long something took, as people say it."""

from __future__ import annotations

from itertools import pairwise

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration(seconds: float | None) -> str:
    """At most two units: `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d`. Of a clock that was set back, `0.0 s`; of what
    isn't known, `–`."""
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    unit, size, lesser, part = next(
        (unit, size, lesser, part)
        for (unit, size), (lesser, part) in pairwise(_UNITS)
        if whole >= size
    )  # fmt: skip
    more = whole % size // part
    return f"{whole // size} {unit}" + (f" {more} {lesser}" if more else "")
