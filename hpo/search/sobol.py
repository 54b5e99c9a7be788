"""Scrambled Sobol' points: as random search, but evenly spread."""

from __future__ import annotations

from scipy.stats import qmc  # type: ignore[import-untyped]

from hpo.search.draws import draw
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.trial import Measurement, Params, Trial

MAX_SKIPS = 1000
"""Forbidden points in a row, after which a configuration is drawn at random."""


class SobolSearcher:
    """One point of a Sobol' sequence a call, in the unit cube of the space; forbidden points are passed over.

    Sobol' 1967, with the direction numbers of Joe & Kuo 2008; scrambled by the seed (Matousek 1998: a random linear
    scramble and a digital shift), so that each point alone is uniformly distributed. The points are the most even
    after 1, 2, 4, 8, … of them. An inactive parameter's coordinate is left out of the configuration.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._space = Space.of(spec)
        self._seed = spec.seed
        self._points = qmc.Sobol(d=len(self._space.names), scramble=True, seed=spec.seed)

    def suggest(self, number: int) -> Params | None:
        for _ in range(MAX_SKIPS):
            params = self._space.decode(self._points.random(1)[0].tolist())
            if not self._space.is_forbidden(params):
                return params
        return draw(self._space, self._seed, number)

    def adopt(self, number: int, params: Params) -> None:
        pass

    def observe(self, measurement: Measurement) -> None:
        pass

    def complete(self, trial: Trial) -> None:
        pass
