"""What a task is to the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from hpo.parameters import Parameter
from hpo.space import Space
from hpo.table import ParamValue

Params = Mapping[str, ParamValue]


class MissingDataError(RuntimeError):
    """What the task reads is not on this machine."""


class Task(Protocol):
    """A search problem whose training lasts simulated seconds. The smaller the loss, the better.

    Its state is not changed by what is asked of it, so one task serves any number of runs.
    """

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """hpo's own tables. An ordinal of a table of results is an integer: the index of the value."""

    @property
    def num_rungs(self) -> int:
        """How many fidelities there are, rising by a factor of about 3; the last is the full one."""

    @property
    def resumable(self) -> bool:
        """Whether a configuration that was trained to one rung goes on from there to the next."""

    @property
    def best_loss(self) -> float | None:
        """The least `true_loss` there is, where it is known."""

    @property
    def num_reference_draws(self) -> int:
        """How many random configurations its reference is made from: see `references`."""

    def evaluate(self, params: Params, rung: int, rng: np.random.Generator) -> tuple[float, float]:
        """The loss that training to `rung` (from 0) shows, and the seconds that it takes from the beginning.

        Noise is drawn from `rng` only.
        """

    def true_loss(self, params: Params) -> float:
        """The loss at the full fidelity, without noise."""


def space_of(task: Task) -> Space:
    """The space of a task."""
    return Space(task.parameters)


def key_of(params: Params) -> tuple[tuple[str, ParamValue], ...]:
    """A hashable stand-in for a configuration."""
    return tuple(sorted(params.items()))
