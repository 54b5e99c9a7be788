"""What past studies found, told to a new study's searcher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from hpo.protocols import Searcher
from hpo.space import Space
from hpo.trial import Trial, TrialState


def teach(searcher: Searcher, space: Space, trials: Sequence[Trial], *, num_objectives: int = 1) -> int:
    """Let the searcher learn from past trials, as trials -1, -2, …; returns how many were taken.

    Taken are completed and stopped ones whose best value is finite and whose configuration (the one that gave that
    value) the space contains; by study, then by number, whatever order they come in. With several objectives none:
    a trial keeps the value of the first only.
    """
    if num_objectives > 1:
        return 0
    taken = 0
    for past in sorted(trials, key=lambda trial: (trial.study, trial.number)):
        params = past.best_params
        has_value = past.value is not None and math.isfinite(past.value)
        if past.state not in (TrialState.COMPLETED, TrialState.STOPPED) or not has_value or not space.contains(params):
            continue
        taken += 1
        searcher.adopt(-taken, params)
        searcher.complete(
            replace(past, number=-taken, params=params, generation=0, value_generation=0, value_params=None)
        )
    return taken
