"""StudySpec: what a user writes. TOML, YAML, JSON and REST are one shape with one schema.

Every table is frozen and refuses unknown keys. `hpo.specfile` reads and checks them.
"""

from __future__ import annotations

import difflib
import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from hpo.trainables import BUILT_IN, is_target

ParamValue = float | int | str | bool

MAX_TRIALS = 100_000
MAX_STEPS_PER_TRIAL = 1_000_000
MAX_CHOICES = 1_000
MAX_PARAMETERS = 200
MAX_INTEGER = 2**53
"""Up to here JSON readers and the page keep every integer exact."""
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _problem(field: str, detail: str, hint: str) -> PydanticCustomError:
    """An error that carries its field (relative to the table; "" for the table itself) and its remedy through
    pydantic to `_to_problem`."""
    return PydanticCustomError("rule", "{detail}", {"field": field, "detail": detail, "hint": hint})


def suggest(word: str, known: Any) -> str:
    """`did you mean …?`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


@lru_cache(maxsize=4096)
def exact(number: float) -> Fraction:
    """The decimal that the user wrote: 0.1 is 1/10, so that 0.3 - 0.1 is 0.2."""
    return Fraction(Decimal(repr(number)))


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FloatParameter(Table):
    """A number in [low, high]; uniform, log-uniform, or on a grid of `step` from low."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _range(self) -> Self:
        _check_range(self.low, self.high, self.log, self.step)
        return self


class IntParameter(Table):
    """An integer in [low, high]; uniform, log-uniform, or on a grid of `step` from low."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _range(self) -> Self:
        _check_range(self.low, self.high, self.log, self.step)
        return self


class CategoricalParameter(Table):
    """One of `choices`, in no order."""

    type: Literal["categorical"]
    choices: Annotated[tuple[str | bool | int | float, ...], Field(min_length=1, max_length=MAX_CHOICES)]

    @field_validator("choices")
    @classmethod
    def _distinct(cls, choices: tuple[ParamValue, ...]) -> tuple[ParamValue, ...]:
        seen: set[tuple[type, ParamValue]] = set()
        for choice in choices:
            if (type(choice), choice) in seen:
                raise _problem("", f"{choice!r} stands twice; choices are distinct", "drop one")
            seen.add((type(choice), choice))
        return choices


class BoolParameter(Table):
    """true or false."""

    type: Literal["bool"]


Parameter = Annotated[FloatParameter | IntParameter | CategoricalParameter | BoolParameter, Field(discriminator="type")]


def extremes(parameter: Parameter) -> tuple[ParamValue, ...]:
    """The values that a trainable must take if it takes all: both ends of a range, or every choice."""
    match parameter:
        case FloatParameter() | IntParameter():
            return parameter.low, parameter.high
        case CategoricalParameter():
            return parameter.choices
        case BoolParameter():
            return False, True


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if not low < high:
        raise _problem(
            "low", f"low is {low} and high is {high}, but low must be below high",
            "swap them, or make the parameter a constant under [fixed]",
        )  # fmt: skip
    if log and low <= 0:
        raise _problem(
            "low", f"low is {low}, but a log-scaled parameter needs low > 0",
            "raise low, or leave out log = true",
        )  # fmt: skip
    if log and step is not None:
        raise _problem("step", f"step is {step} and log is true, but they exclude each other", "drop one")
    if isinstance(low, int) and max(abs(low), abs(high)) > MAX_INTEGER:
        raise _problem(
            "low" if abs(low) > MAX_INTEGER else "high", f"the range is {low} to {high}, but integers stay within "
            f"±{MAX_INTEGER} (2**53)", "choose a smaller range, or a float parameter",
        )  # fmt: skip
    if high - low == float("inf"):
        raise _problem(
            "high", f"low is {low} and high is {high}, which are too far apart for a float",
            "choose a smaller range",
        )  # fmt: skip
    if step is not None and exact(high) - exact(low) > MAX_INTEGER * exact(step):
        raise _problem(
            "step", f"step is {step}, which gives more than {MAX_INTEGER} (2**53) values",
            "make the step larger, or leave it out",
        )  # fmt: skip
    if step is not None and exact(step) > exact(high) - exact(low):
        raise _problem("step", f"step is {step}, but low and high are only {high - low} apart", "make the step smaller")


class Objective(Table):
    """The metric that the search is for."""

    metric: Annotated[str, Field(min_length=1, max_length=100)]
    direction: Literal["minimize", "maximize"]
    goal: float | None = None
    """The study ends when a trial has reached it."""

    def better(self, a: float, b: float) -> bool:
        """Whether a is strictly better than b."""
        return a < b if self.direction == "minimize" else a > b

    def reached(self, value: float) -> bool:
        """Whether the goal, if any, is met."""
        return self.goal is not None and not self.better(self.goal, value)


class SearchSpec(Table):
    """Which searcher picks the configurations."""

    algorithm: Literal["random", "grid", "optuna"] = "random"
    sampler: Literal["tpe", "random", "cmaes", "gp", "nsgaii", "qmc"] | None = None
    """Optuna's sampler; `tpe` unless named."""
    startup_trials: Annotated[int, Field(ge=1)] | None = None
    """Random configurations before Optuna's model is asked."""

    @model_validator(mode="after")
    def _only_optuna(self) -> Self:
        for key in ("sampler", "startup_trials"):
            if self.algorithm != "optuna" and getattr(self, key) is not None:
                raise _problem(
                    key, f"{key} is {getattr(self, key)!r}, but only algorithm = \"optuna\" takes it",
                    f"drop {key}, or choose optuna",
                )  # fmt: skip
        return self


class SchedulerSpec(Table):
    """Which scheduler stops trials early."""

    algorithm: Literal["fifo", "asha"] = "fifo"
    grace_steps: Annotated[int, Field(ge=1)] | None = None
    """ASHA's first rung, in steps; 1 unless given."""
    reduction_factor: Annotated[int, Field(ge=2, le=64)] | None = None
    """ASHA keeps about the best 1/reduction_factor at each rung; 3 unless given."""

    @model_validator(mode="after")
    def _only_asha(self) -> Self:
        for key in ("grace_steps", "reduction_factor"):
            if self.algorithm != "asha" and getattr(self, key) is not None:
                raise _problem(
                    key, f"{key} is {getattr(self, key)}, but algorithm is {self.algorithm!r}",
                    f"drop {key}, or set algorithm = \"asha\"",
                )  # fmt: skip
        return self


class Budget(Table):
    """What the study may spend. Where several are given, the first that is spent ends the study."""

    trials: Annotated[int, Field(ge=1)]
    steps_per_trial: Annotated[int, Field(ge=1, le=MAX_STEPS_PER_TRIAL)] = 100
    total_steps: Annotated[int, Field(ge=1)] | None = None
    wall_seconds: Annotated[float, Field(gt=0)] | None = None

    @field_validator("trials")
    @classmethod
    def _bounded(cls, trials: int) -> int:
        if trials > MAX_TRIALS:
            raise _problem(
                "", f"{trials} trials are asked for, but a study takes at most {MAX_TRIALS}",
                "lower budget.trials, or split the study",
            )  # fmt: skip
        return trials


class Resources(Table):
    """What one trial runs on: a group of `workers` processes, together under DDP where there are several."""

    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    cpus_per_worker: Annotated[float, Field(gt=0, le=1024)] = 1.0
    gpus_per_worker: Annotated[float, Field(ge=0, le=64)] = 0.0


class Retry(Table):
    """How often a trial whose workers were lost goes on from its last checkpoint."""

    lost_workers: Annotated[int, Field(ge=0, le=100)] = 2


class StudySpec(Table):
    """A study: what to train, over which parameters, for which metric, how, and for how long."""

    name: Annotated[str, Field(max_length=63)]
    """Lower-case letters, digits and hyphens, at most 63: it stands in addresses, job names and folders."""
    trainable: str
    """One of ours (`headlines`), or your own `package.module:function`."""
    parameters: Annotated[dict[str, Parameter], Field(min_length=1, max_length=MAX_PARAMETERS)]
    objective: Objective
    budget: Budget
    search: SearchSpec = SearchSpec()
    scheduler: SchedulerSpec = SchedulerSpec()
    concurrency: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Trials at once; as many as the cluster can hold unless given."""
    resources: Resources = Resources()
    fixed: dict[str, ParamValue] = Field(default_factory=dict)
    """Constants that the trainable gets beside the parameters."""
    retry: Retry = Retry()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    labels: dict[str, str] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise _problem(
                "", f"{name!r} is no study name: lower-case letters, digits and hyphens, at most 63, no hyphen "
                "at either end", "for example headlines-2",
            )  # fmt: skip
        return name

    @field_validator("trainable")
    @classmethod
    def _trainable(cls, trainable: str) -> str:
        if trainable not in BUILT_IN and not is_target(trainable):
            raise _problem(
                "", f"{trainable!r} is neither one of ours ({', '.join(sorted(BUILT_IN))}) nor of the form "
                "package.module:function", suggest(trainable, BUILT_IN) or "correct the name",
            )  # fmt: skip
        return trainable

    @model_validator(mode="after")
    def _together(self) -> Self:
        for key in self.fixed:
            if key in self.parameters:
                raise _problem(
                    f"fixed/{key}", f"{key!r} is under [fixed] and under [parameters], but is one or the other",
                    "drop one of them",
                )  # fmt: skip
        built_in = BUILT_IN.get(self.trainable)
        if built_in and self.objective.metric not in built_in.metrics:
            raise _problem(
                "objective/metric", f"objective.metric is {self.objective.metric!r}, but {self.trainable} reports "
                f"{', '.join(built_in.metrics)}", suggest(self.objective.metric, built_in.metrics) or "choose one",
            )  # fmt: skip
        grace = self.scheduler.grace_steps
        if grace is not None and grace > self.budget.steps_per_trial:
            raise _problem(
                "scheduler/grace_steps", f"scheduler.grace_steps is {grace}, but a trial takes at most "
                f"{self.budget.steps_per_trial} steps (budget.steps_per_trial)",
                "lower grace_steps, or raise steps_per_trial",
            )  # fmt: skip
        return self
