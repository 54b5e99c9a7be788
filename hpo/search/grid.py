"""Grid search: every configuration once."""

from __future__ import annotations

from hpo.space import Space
from hpo.spec import StudySpec
from hpo.table import Typed, typed
from hpo.trial import Measurement, Params, Trial


class GridSearcher:
    """The configurations in the order of `Space.grid`, one a call; then None, and the study ends.

    What was adopted before its turn is left out: it runs already. The seed plays no part.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._grid = Space.of(spec).grid()
        self._adopted: set[frozenset[tuple[str, Typed]]] = set()

    def suggest(self, number: int) -> Params | None:
        for params in self._grid:
            if not self._adopted or _key(params) not in self._adopted:
                return params
            self._adopted.remove(_key(params))
        return None

    def adopt(self, number: int, params: Params) -> None:
        self._adopted.add(_key(params))

    def observe(self, measurement: Measurement) -> None:
        pass

    def complete(self, trial: Trial) -> None:
        pass


def _key(params: Params) -> frozenset[tuple[str, Typed]]:
    return frozenset((name, typed(value)) for name, value in params.items())
