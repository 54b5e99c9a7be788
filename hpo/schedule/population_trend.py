"""What a member of a population is worth: its smoothed value, and where its curve leads. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

Report = tuple[int, float]
"""(step, value); higher is better."""

NUM_BLOCKS = 3
"""Two slopes: where they disagree, neither is believed."""
SHARE_AHEAD = 0.2
"""How far ahead a curve is followed at most, as a share of the steps that are left."""


def forecast(reports: Sequence[Report], *, interval: int, steps_left: int) -> float:
    """The value that the last report of a curve promises; reports by rising step, at least one.

    The last NUM_BLOCKS intervals (of `interval` steps each, the last one ending with the last report) are each summed
    up by the medians of their steps and values. The slope is the flatter of the two between them, and 0 where one
    rises and the other falls (the minmod limiter of van Leer's schemes): a single lucky or unlucky report, or a fall
    from a bad start, makes no slope. The smoothed value is the median of the blocks, each carried on to the last step
    along the slope. What comes back is the mean of the smoothed and the last value, carried on along the slope: as far
    as it was seen, at most SHARE_AHEAD of `steps_left`, so that at the end values alone count. Where a block is
    missing, it is the last value.
    """
    last_step, last_value = reports[-1]
    blocks: list[list[Report]] = [[] for _ in range(NUM_BLOCKS)]
    for step, value in reports:
        age = (last_step - step) // interval
        if age < NUM_BLOCKS:
            blocks[NUM_BLOCKS - 1 - age].append((step, value))
    if not all(blocks):
        return last_value
    points = [(statistics.fmean(s for s, _ in block), statistics.median(v for _, v in block)) for block in blocks]
    slope = minmod([(after - before) / (at - since) for (since, before), (at, after) in pairwise(points)])
    smoothed = statistics.median(value + slope * (last_step - step) for step, value in points)
    ahead = min(last_step - points[0][0], SHARE_AHEAD * steps_left)
    found = last_value / 2 + smoothed / 2 + slope * ahead
    return found if math.isfinite(found) else last_value


def minmod(slopes: Sequence[float]) -> float:
    """The flattest where all have one sign, else 0."""
    if min(slopes) > 0:
        return min(slopes)
    return max(slopes) if max(slopes) < 0 else 0.0
