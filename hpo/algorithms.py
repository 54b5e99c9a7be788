"""The searchers and schedulers that a specification can choose, and their options."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from hpo.table import Flag, Real, Table, Whole, refused


class RandomSearch(Table):
    """Each configuration is drawn on its own."""

    algorithm: Literal["random"] = "random"


class GridSearch(Table):
    """Every configuration once."""

    algorithm: Literal["grid"]


class SobolSearch(Table):
    """Scrambled Sobol' points: as random, but evenly spread."""

    algorithm: Literal["sobol"]


class OptunaSearch(Table):
    """One of Optuna's samplers."""

    algorithm: Literal["optuna"]
    sampler: Literal["tpe", "random", "cmaes", "gp", "nsgaii", "qmc"] = "tpe"
    """Which of Optuna's: tree-structured Parzen estimators, random, CMA-ES, a Gaussian process, NSGA-II, or
    quasi-random."""
    startup_trials: Annotated[Whole, Field(ge=1)] | None = None
    """Random configurations before the model is asked."""


class HyperoptSearch(Table):
    """One of HyperOpt's algorithms."""

    algorithm: Literal["hyperopt"]
    sampler: Literal["tpe", "anneal"] = "tpe"
    """Which of HyperOpt's: tree-structured Parzen estimators, or annealing."""
    startup_trials: Annotated[Whole, Field(ge=1)] | None = None
    """Random configurations before the model is asked (tpe only)."""


class GeneticSearch(Table):
    """Our genetic search: Sobol' points first, then children of the best, screened by a model of what was seen.

    With the scheduler `genetic` the two share what they know.
    """

    algorithm: Literal["genetic"]


def _algorithm(default: str) -> Callable[[Any], str | None]:
    """Which table of a union it is, by its key `algorithm`."""

    def tag(value: Any) -> str | None:
        name = value.get("algorithm", default) if isinstance(value, Mapping) else getattr(value, "algorithm", None)
        if isinstance(name, str) and name.startswith("ray:"):
            return "ray"
        return name if isinstance(name, str) else None

    return tag


SearchSpec = Annotated[
    Annotated[RandomSearch, Tag("random")]
    | Annotated[GridSearch, Tag("grid")]
    | Annotated[SobolSearch, Tag("sobol")]
    | Annotated[OptunaSearch, Tag("optuna")]
    | Annotated[HyperoptSearch, Tag("hyperopt")]
    | Annotated[GeneticSearch, Tag("genetic")],
    Discriminator(_algorithm("random")),
]
"""Which searcher picks the configurations."""


class FifoSchedule(Table):
    """Every trial has all of its steps."""

    algorithm: Literal["fifo"] = "fifo"


class AshaSchedule(Table):
    """Asynchronous successive halving."""

    algorithm: Literal["asha"]
    variant: Literal["stopping", "promotion"] = "stopping"
    """stopping: a trial that is too bad at a rung ends there. promotion: every trial pauses at its rung, and the best
    of a rung go on."""
    grace_steps: Annotated[Whole, Field(ge=1)] = 1
    """The first rung, in steps."""
    reduction_factor: Annotated[Whole, Field(ge=2, le=64)] = 3
    """About the best 1/reduction_factor of a rung go on."""


class HyperbandSchedule(Table):
    """HyperBand: brackets of successive halving that start at different rungs."""

    algorithm: Literal["hyperband"]
    grace_steps: Annotated[Whole, Field(ge=1)] = 1
    """The lowest rung of the most aggressive bracket, in steps."""
    reduction_factor: Annotated[Whole, Field(ge=2, le=64)] = 3
    """The best 1/reduction_factor of a rung go on."""


class MedianSchedule(Table):
    """The median stopping rule."""

    algorithm: Literal["median"]
    grace_steps: Annotated[Whole, Field(ge=1)] = 1
    """No trial is stopped before it has had these steps."""
    min_trials: Annotated[Whole, Field(ge=1)] = 3
    """No trial is stopped before this many others have got as far."""


class PbtSchedule(Table):
    """Population-based training: the worst go on from the weights of the best, with changed parameters.

    It changes the parameters that are marked `mutable = true`; the others come with the weights.
    """

    algorithm: Literal["pbt"]
    population: Annotated[Whole, Field(ge=2)] | None = None
    """Trials that live at once, trained or paused; budget.trials unless given."""
    interval_steps: Annotated[Whole, Field(ge=1)] = 1
    """How many steps lie between two comparisons."""
    quantile: Annotated[Real, Field(gt=0, le=0.5)] = 0.25
    """The share that is replaced, and the share that it is replaced by."""
    resample_probability: Annotated[Real, Field(ge=0, le=1)] = 0.25
    """How often a changed parameter is drawn anew instead of perturbed."""
    factors: Annotated[tuple[Real, ...], Field(min_length=1, max_length=16)] = (0.8, 1.2)
    """What a parameter is multiplied with when it is perturbed."""
    synchronous: Flag = False
    """Whether all wait for each other at each comparison."""


class GeneticSchedule(Table):
    """Our genetic scheduler, with the inheritance of weights or over rungs.

    With it, a population trains, and its losers go on from the weights of winners, with parameters of two parents; it
    changes those that are marked `mutable = true`. Without it, trials pause at rungs, and the most promising of each,
    by what was seen and what a model predicts, go on.
    """

    algorithm: Literal["genetic"]
    inherit: Flag | None = None
    """Whether weights are inherited. Unless given: where any parameter is mutable, there is one objective, and
    `resumable` is true."""
    population: Annotated[Whole, Field(ge=2)] | None = None
    """With inheritance: trials that live at once, trained or paused; budget.trials unless given."""
    interval_steps: Annotated[Whole, Field(ge=1)] = 1
    """With inheritance: how many steps lie between two comparisons."""
    grace_steps: Annotated[Whole, Field(ge=1)] = 1
    """Without inheritance: the first rung, in steps."""
    reduction_factor: Annotated[Whole, Field(ge=2, le=64)] = 3
    """Without inheritance: who is among the best 1/reduction_factor of a rung goes on. More do in the end, as the order
    changes with what is learnt."""
    resumable: Flag = True
    """Whether a trial can go on from its checkpoint. Otherwise none pauses: each is trained to its end."""


_RAY_NAME = "ray:[A-Za-z][A-Za-z0-9_]*"


class RaySchedule(Table):
    """One of Ray Tune's own schedulers, such as `ray:PB2`. After a restart of the driver it starts with no memory."""

    algorithm: Annotated[str, Field(json_schema_extra={"pattern": f"^{_RAY_NAME}$"})]
    """`ray:` and the name of its class in `ray.tune.schedulers`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Its constructor's arguments, without metric, mode and time_attr."""

    @field_validator("algorithm")
    @classmethod
    def _named(cls, algorithm: str) -> str:
        if not re.fullmatch(_RAY_NAME, algorithm):
            raise refused(
                "", f"{algorithm!r} names no scheduler of Ray Tune: ray: is followed by the name of its class",
                "for example ray:PB2",
            )  # fmt: skip
        return algorithm


SchedulerSpec = Annotated[
    Annotated[FifoSchedule, Tag("fifo")]
    | Annotated[AshaSchedule, Tag("asha")]
    | Annotated[HyperbandSchedule, Tag("hyperband")]
    | Annotated[MedianSchedule, Tag("median")]
    | Annotated[PbtSchedule, Tag("pbt")]
    | Annotated[GeneticSchedule, Tag("genetic")]
    | Annotated[RaySchedule, Tag("ray")],
    Discriminator(_algorithm("fifo")),
]
"""Which scheduler says for how long a trial runs."""

SEARCHES: Mapping[str, type[Table]] = {
    "random": RandomSearch,
    "grid": GridSearch,
    "sobol": SobolSearch,
    "optuna": OptunaSearch,
    "hyperopt": HyperoptSearch,
    "genetic": GeneticSearch,
}
SCHEDULES: Mapping[str, type[Table]] = {
    "fifo": FifoSchedule,
    "asha": AshaSchedule,
    "hyperband": HyperbandSchedule,
    "median": MedianSchedule,
    "pbt": PbtSchedule,
    "genetic": GeneticSchedule,
    "ray": RaySchedule,
}
"""By the value of `algorithm`; "ray" stands for all that begin with ray:."""
