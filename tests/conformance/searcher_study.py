"""The specification that a searcher is tried with, and what its suite has to know of it."""

from __future__ import annotations

from typing import Any, ClassVar

from conformance.searcher_play import drive
from conformance.searcher_spaces import CONDITIONAL, PARAMETERS

from hpo import registry, specfile
from hpo.protocols import Searcher
from hpo.spec import StudySpec
from hpo.trial import Params

LOSS = {"metric": "loss", "direction": "minimize"}


class SearcherStudy:
    """Only `search` is needed."""

    search: ClassVar[dict[str, Any]]
    parameters: ClassVar[dict[str, Any]] = PARAMETERS
    conditional: ClassVar[dict[str, Any]] = CONDITIONAL
    uses_seed: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    """Whether what it proposes depends on what it was told."""
    takes_several: ClassVar[bool] = True
    """Whether it takes several objectives."""
    num_trials: ClassVar[int] = 24
    """Enough for one that learns to have begun to."""
    num_after: ClassVar[int] = 12
    """Enough proposals to see whether it has learned."""
    learned_below: ClassVar[float] = 0.3
    """How near they are then to the best point of the unit square, on average; 0.52 at random."""
    num_conditional: ClassVar[int] = 200
    """How many proposals are looked at in the conditional space."""
    num_examples: ClassVar[int] = 20
    """Random spaces that it is tried on."""

    def spec(self, seed: int = 0, **changes: Any) -> StudySpec:
        return specfile.parse(
            {
                "name": "conformance",
                "trainable": "tests.nothing:train",
                "parameters": self.parameters,
                "objective": LOSS,
                "budget": {"trials": 1000, "steps_per_trial": 4},
                "search": self.search,
                "seed": seed,
                **changes,
            }
        )

    def make(self, seed: int = 0, **changes: Any) -> Searcher:
        return registry.searcher(self.spec(seed, **changes))

    def drive(self, searcher: Searcher, num_trials: int | None = None, **changes: Any) -> list[Params]:
        return drive(searcher, self.num_trials if num_trials is None else num_trials, **changes)
