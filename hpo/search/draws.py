"""Random configurations that depend on no earlier call."""

from __future__ import annotations

import numpy as np

from hpo.space import Space
from hpo.spec import ParamValue


def draw(space: Space, seed: int, number: int) -> dict[str, ParamValue]:
    """The configuration that (seed, number) gives, as by `Space.sample`. There is no generator state to keep."""
    return space.sample(np.random.default_rng(np.random.SeedSequence((seed, number))))
