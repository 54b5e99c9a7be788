"""Token buckets: who asks too often is told when to ask again.

Of our own, as `limits` and `slowapi` (2026) count windows, at whose edge twice the rate passes, and have no bucket.
In this process only: several services behind one address each give the whole rate.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

MAX_KEYS = 10_000
"""Of those that were seen last; more would let anybody with many addresses fill the memory."""


class Buckets:
    """A bucket a key. It holds `burst` at most and gains `per_minute`; each request takes one. Not for several threads.

    A rate of 0 is no limit.
    """

    def __init__(self, per_minute: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_minute / 60, max(1.0, burst), clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take one: 0.0, or the seconds until there is one again; then nothing is taken."""
        level, now = self._level(key)
        if level < 1 and self._per_second:
            return (1 - level) / self._per_second
        if self._per_second:
            self._levels[key] = level - 1, now
            self._levels.move_to_end(key)
            if len(self._levels) > MAX_KEYS:
                self._levels.popitem(last=False)
        return 0.0

    def wait(self, key: str) -> float:
        """As `take`, but nothing is taken."""
        level, _ = self._level(key)
        return (1 - level) / self._per_second if level < 1 and self._per_second else 0.0

    def _level(self, key: str) -> tuple[float, float]:
        now = self._clock()
        level, then = self._levels.get(key, (self._burst, now))
        return min(self._burst, level + (now - then) * self._per_second), now


def neighbourhood(address: str) -> str:
    """Whose an address is: one of IPv6 stands for its /64, all of which one customer has."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Address(int(found) >> 64 << 64)) if isinstance(found, IPv6Address) else address
