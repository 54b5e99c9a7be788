"""Random search: every configuration is drawn on its own."""

from __future__ import annotations

from hpo.search.draws import draw
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.trial import Measurement, Params, Trial


class RandomSearcher:
    """Uniform (or log-uniform) draws; the baseline that any other searcher has to beat.

    Bergstra & Bengio 2012, "Random search for hyper-parameter optimization". Each draw is keyed by (seed, number),
    so it depends on no other call, and there is no state to rebuild after a restart.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._space = Space.of(spec)
        self._seed = spec.seed

    def suggest(self, number: int) -> Params | None:
        return draw(self._space, self._seed, number)

    def adopt(self, number: int, params: Params) -> None:
        pass

    def observe(self, measurement: Measurement) -> None:
        pass

    def complete(self, trial: Trial) -> None:
        pass
