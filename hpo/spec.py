"""StudySpec: what a user writes. TOML, YAML, JSON and REST are one shape with one schema.

Every table is frozen and refuses unknown keys. `hpo.specfile` reads and checks them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_serializer, field_validator, model_validator

from hpo.algorithms import (
    AshaSchedule,
    FifoSchedule,
    GeneticSchedule,
    GeneticSearch,
    GridSearch,
    HyperbandSchedule,
    HyperoptSearch,
    MedianSchedule,
    OptunaSearch,
    PbtSchedule,
    RandomSearch,
    RaySchedule,
    SchedulerSpec,
    SearchSpec,
    SobolSearch,
)
from hpo.constraints import as_float, check_conditions, check_forbidden, check_initial, with_floats
from hpo.destinations import Logging
from hpo.parameters import (
    MAX_CHOICES,
    MAX_INTEGER,
    BoolParameter,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Values,
    as_list,
    extremes,
)
from hpo.space import Space
from hpo.table import Breach, ParamValue, Real, Table, Whole, exact, refusal, refused, suggest
from hpo.trainables import BUILT_IN, is_target

__all__ = [
    "MAX_CHOICES", "MAX_INTEGER", "NAME", "AshaSchedule", "BoolParameter", "Budget", "CategoricalParameter",
    "FifoSchedule", "FloatParameter", "GeneticSchedule", "GeneticSearch", "GridSearch", "HyperbandSchedule",
    "HyperoptSearch", "IntParameter", "Logging", "MedianSchedule", "Objective", "OptunaSearch", "ParamValue",
    "Parameter", "PbtSchedule", "RandomSearch", "RaySchedule", "Resources", "Retry", "SchedulerSpec", "SearchSpec",
    "SobolSearch", "StudySpec", "Table", "exact", "extremes", "suggest",
]  # fmt: skip

MAX_TRIALS = 100_000
MAX_STEPS_PER_TRIAL = 1_000_000
MAX_PARAMETERS = 200
MAX_OBJECTIVES = 8
MAX_FORBIDDEN = 1_000
MAX_WARM_STARTS = 16
Rule = dict[str, tuple[ParamValue, ...]]
Params = dict[str, ParamValue]
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Objective(Table):
    """The metric that the search is for."""

    metric: Annotated[str, Field(min_length=1, max_length=100)]
    """Its name, as the trainable reports it."""
    direction: Literal["minimize", "maximize"]
    """Which values are the better ones."""
    goal: Real | None = None
    """The study ends when a trial has reached it."""

    def better(self, a: float, b: float) -> bool:
        """Whether a is strictly better than b."""
        return a < b if self.direction == "minimize" else a > b

    def reached(self, value: float) -> bool:
        """Whether the goal, if any, is met."""
        return self.goal is not None and not self.better(self.goal, value)


class Budget(Table):
    """What the study may spend. Where several are given, the first that is spent ends the study."""

    trials: Annotated[Whole, Field(ge=1)]
    """Configurations that are tried; those that fail count."""
    steps_per_trial: Annotated[Whole, Field(ge=1, le=MAX_STEPS_PER_TRIAL)] = 100
    """The most that one trial is trained; the trainable says what a step is (an epoch, say)."""
    total_steps: Annotated[Whole, Field(ge=1)] | None = None
    """Steps of all trials together."""
    wall_seconds: Annotated[Real, Field(gt=0)] | None = None
    """Since it first ran; the time that it was paused doesn't count."""
    disk_gigabytes: Annotated[Real, Field(gt=0)] | None = None
    """Of checkpoints, kept at most. Those of the worst trials that have ended go first; the best one's stays, and so do
    those that a trial at work needs."""

    @field_validator("trials")
    @classmethod
    def _bounded(cls, trials: int) -> int:
        if trials > MAX_TRIALS:
            raise refused(
                "", f"{trials} trials are asked for, but a study takes at most {MAX_TRIALS}",
                "lower budget.trials, or split the study",
            )  # fmt: skip
        return trials


class Resources(Table):
    """What one trial runs on: a group of `workers` processes, together under DDP where there are several."""

    workers: Annotated[Whole, Field(ge=1, le=1024)] = 1
    """Processes a trial."""
    cpus_per_worker: Annotated[Real, Field(gt=0, le=1024)] = 1.0
    """CPUs that each of them reserves."""
    gpus_per_worker: Annotated[Real, Field(ge=0, le=64)] = 0.0
    """GPUs that each of them has; a fraction shares one between trials."""


class Retry(Table):
    """How often a trial goes on from its last checkpoint before it counts as failed."""

    lost_workers: Annotated[Whole, Field(ge=0, le=100)] = 2
    """After its workers were lost."""
    errors: Annotated[Whole, Field(ge=0, le=100)] = 0
    """After its trainable raised, or ran out of memory."""


Objectives = Annotated[
    tuple[Objective, ...],
    Field(min_length=1, max_length=MAX_OBJECTIVES),
    BeforeValidator(as_list, json_schema_input_type=Objective | list[Objective]),
]


class StudySpec(Table):
    """A study: what to train, over which parameters, for which metric, how, and for how long."""

    name: Annotated[str, Field(max_length=63, json_schema_extra={"pattern": f"^{NAME.pattern}$"})]
    """Lower-case letters, digits and hyphens, at most 63: it stands in addresses, job names and folders."""
    engine: Literal["ray", "ask"] = "ray"
    """Who trains: worker groups on Ray, or (`ask`) workers of your own, which ask for trials and report."""
    trainable: Annotated[str | None, Field(validate_default=True)] = None
    """One of ours (`headlines`), or your own `package.module:function`; none where `engine` is `ask`."""
    parameters: Annotated[dict[str, Parameter], Field(min_length=1, max_length=MAX_PARAMETERS)]
    """What is varied: a table for each parameter, by its name."""
    objectives: Objectives = Field(alias="objective")
    """In a file `[objective]`, or one `[[objective]]` each."""
    budget: Budget
    """What the study may spend."""
    forbidden: Annotated[tuple[dict[str, Values], ...], Field(max_length=MAX_FORBIDDEN)] = ()
    """Combinations that are never tried: each matches where all of its parameters are active and have one of the
    values."""
    initial: tuple[dict[str, ParamValue], ...] = ()
    """Configurations to try first."""
    warm_start: Annotated[tuple[str, ...], Field(max_length=MAX_WARM_STARTS)] = ()
    """Past studies whose trials the searcher learns from before it begins."""
    search: SearchSpec = RandomSearch()
    """Which searcher picks the configurations."""
    scheduler: SchedulerSpec = FifoSchedule()
    """Which scheduler says for how long a trial is trained."""
    concurrency: Annotated[Whole, Field(ge=1, le=10_000)] | None = None
    """Trials at once; as many as the cluster can hold unless given."""
    resources: Resources = Resources()
    """What one trial runs on."""
    fixed: dict[str, ParamValue] = Field(default_factory=dict)
    """Constants that the trainable gets beside the parameters."""
    retry: Retry = Retry()
    """How often a trial that was lost goes on."""
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = 0
    """Of all randomness: the same seed and the same measurements give the same proposals and decisions."""
    logging: Logging = Logging()
    """Where its reports go beside the store."""
    priority: Annotated[Whole, Field(ge=-100, le=100)] = 0
    """In its project, studies of a higher priority get what they can use before all others."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Words of your own, by name; they change nothing."""

    @property
    def objective(self) -> Objective:
        """The first: the one that trials are ranked and stopped by."""
        return self.objectives[0]

    @field_serializer("objectives")
    def _one_or_several(self, objectives: tuple[Objective, ...]) -> Objective | tuple[Objective, ...]:
        return objectives if len(objectives) > 1 else objectives[0]

    @field_validator("parameters")
    @classmethod
    def _conditions(cls, parameters: dict[str, Parameter]) -> dict[str, Parameter]:
        parameters = {
            name: each.model_copy(update={"when": with_floats(parameters, each.when)}) if each.when else each
            for name, each in parameters.items()
        }
        if found := list(check_conditions(parameters)):
            raise refusal(found)
        return parameters

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        metrics = [objective.metric for objective in objectives]
        if found := [
            Breach((place, "metric"), f"{metric!r} is an objective already; metrics are distinct", "drop one of them")
            for place, metric in enumerate(metrics)
            if metric in metrics[:place]
        ]:
            raise refusal(found)
        return objectives

    # Fields are checked in their order; `info.data` lacks those that were refused.
    @field_validator("forbidden")
    @classmethod
    def _forbidden(cls, forbidden: tuple[Rule, ...], info: ValidationInfo) -> tuple[Rule, ...]:
        if "parameters" not in info.data:
            return forbidden
        rules = tuple(with_floats(info.data["parameters"], rule) for rule in forbidden)
        if found := list(check_forbidden(info.data["parameters"], rules)):
            raise refusal(found)
        return rules

    @field_validator("initial")
    @classmethod
    def _initial(cls, initial: tuple[Params, ...], info: ValidationInfo) -> tuple[Params, ...]:
        if "parameters" not in info.data or "budget" not in info.data:
            return initial
        space = Space(info.data["parameters"], info.data.get("forbidden", ()))
        initial = tuple(
            {name: as_float(space.parameters.get(name), value) for name, value in params.items()} for params in initial
        )
        if found := list(check_initial(space, initial, info.data["budget"].trials)):
            raise refusal(found)
        return initial

    @field_validator("warm_start")
    @classmethod
    def _past(cls, studies: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        found = []
        for place, name in enumerate(studies):
            if not NAME.fullmatch(name):
                found.append(Breach((place,), f"{name!r} is no study name", "`hpo ls` lists the studies"))
            elif name in studies[:place]:
                found.append(Breach((place,), f"{name!r} stands twice; studies are distinct", "drop one"))
            elif name == info.data.get("name"):
                found.append(Breach((place,), f"{name!r} is this study itself, which has no past", "drop it"))
        if found:
            raise refusal(found)
        return studies

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise refused(
                "", f"{name!r} is no study name: lower-case letters, digits and hyphens, at most 63, no hyphen "
                "at either end", "for example headlines-2",
            )  # fmt: skip
        return name

    @field_validator("trainable")
    @classmethod
    def _trainable(cls, trainable: str | None, info: ValidationInfo) -> str | None:
        if trainable is None:
            if info.data.get("engine") == "ray":
                raise refused(
                    "", "is missing, but required", 'add trainable, or engine = "ask" for workers of your own'
                )
            return None
        if trainable not in BUILT_IN and not is_target(trainable):
            raise refused(
                "", f"{trainable!r} is neither one of ours ({', '.join(sorted(BUILT_IN))}) nor of the form "
                "package.module:function", suggest(trainable, BUILT_IN) or "correct the name",
            )  # fmt: skip
        return trainable

    @model_validator(mode="after")
    def _together(self) -> Self:
        found = [
            Breach(
                ("fixed", key),
                f"{key!r} is under [fixed] and under [parameters], but is one or the other",
                "drop one of them",
            )
            for key in self.fixed
            if key in self.parameters
        ]
        built_in = BUILT_IN.get(self.trainable or "")
        for place, objective in enumerate(self.objectives):
            if built_in and objective.metric not in built_in.metrics:
                found.append(
                    Breach(
                        ("objective", place, "metric"),
                        f"objective.metric is {objective.metric!r}, but {self.trainable} reports "
                        f"{', '.join(built_in.metrics)}",
                        suggest(objective.metric, built_in.metrics) or "choose one",
                    )
                )
        for name, parameter in self.parameters.items():
            if built_in and parameter.mutable and name not in built_in.mutable:
                may = ", ".join(each for each in self.parameters if each in built_in.mutable) or "none of these"
                found.append(
                    Breach(
                        ("parameters", name, "mutable"),
                        f"{name} is marked mutable, but {self.trainable} can't change it while a trial trains",
                        f"drop mutable = true; {may} may change",
                    )
                )
        if found:
            raise refusal(found)
        return self
