"""The configurations that the specification wants tried first."""

from __future__ import annotations

from hpo.protocols import Searcher
from hpo.spec import StudySpec
from hpo.trial import Measurement, Params, Trial


class InitialFirst:
    """Proposes `spec.initial` in its order, then what another searcher does; that one learns from all of them.

    So the other one is asked from trial `len(spec.initial)` on.
    """

    def __init__(self, searcher: Searcher, spec: StudySpec) -> None:
        self._searcher = searcher
        self._initial = [dict(params) for params in spec.initial]

    def suggest(self, number: int) -> Params | None:
        if not self._initial:
            return self._searcher.suggest(number)
        params = self._initial.pop(0)
        self._searcher.adopt(number, params)
        return params

    def adopt(self, number: int, params: Params) -> None:
        self._searcher.adopt(number, params)

    def observe(self, measurement: Measurement) -> None:
        self._searcher.observe(measurement)

    def complete(self, trial: Trial) -> None:
        self._searcher.complete(trial)
