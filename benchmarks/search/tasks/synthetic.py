"""Tasks in closed form: Hartmann's function with several fidelities, and counting ones."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.search.tasks.protocol import Params
from hpo.parameters import CategoricalParameter, FloatParameter, Parameter

UNIT = {"type": "float", "low": 0.0, "high": 1.0}

A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
ALPHA = np.array([1, 1.2, 3, 3.2])
BIAS_NOISE = {"good": (2.5, 2.0), "bad": (3.5, 4.0)}
"""How well low fidelities agree with the full one: bias and scale of the noise at the lowest."""


class Hartmann:
    """Multi-fidelity Hartmann in six dimensions (MF-PriorBand, Mallik et al. 2023, arXiv:2306.12370): `mfh6-good` and
    `mfh6-bad`. A rung z in [0, 1] lowers the function's weights by bias × (1 − z) and adds |normal| × noise × (1 − z).
    """

    fidelities = (4, 11, 33, 100)
    num_rungs = len(fidelities)
    resumable = True
    best_loss = -3.32237
    num_reference_draws = 20_000

    def __init__(self, instance: str) -> None:
        if instance not in BIAS_NOISE:
            raise ValueError(f"{instance!r} is no instance of mfh6; it is one of {', '.join(BIAS_NOISE)}")
        self.name = f"mfh6-{instance}"
        self._bias, self._noise = BIAS_NOISE[instance]
        self.parameters: dict[str, Parameter] = {f"x{k}": FloatParameter.model_validate(UNIT) for k in range(6)}
        self._names = list(self.parameters)

    def evaluate(self, params: Params, rung: int, rng: np.random.Generator) -> tuple[float, float]:
        fidelity = self.fidelities[rung]
        missing = 1 - math.log(fidelity) / math.log(self.fidelities[-1])
        noise = abs(rng.normal()) * self._noise * missing
        return self._value(params, missing) + noise, float(fidelity)

    def true_loss(self, params: Params) -> float:
        return self._value(params, 0.0)

    def _value(self, params: Params, missing: float) -> float:
        x = np.array([params[name] for name in self._names])
        return float(-np.sum((ALPHA - self._bias * missing) * np.exp(-np.sum(A * (x - P) ** 2, 1))))


class CountingOnes:
    """Counting ones (BOHB, Falkner et al. 2018, arXiv:1807.01774): `countones-8+8` has eight bits and eight floats.

    The loss is −(the ones + the floats' means of Bernoulli draws) / the number of parameters; more draws, less noise.
    """

    fidelities = (21, 64, 192, 576)
    num_rungs = len(fidelities)
    resumable = True
    best_loss = -1.0
    num_reference_draws = 20_000

    def __init__(self, instance: str) -> None:
        bits, plus, floats = instance.partition("+")
        if not (plus and bits.isdecimal() and floats.isdecimal() and int(bits) + int(floats) > 0):
            raise ValueError(f"{instance!r} is no instance of countones; it is BITS+FLOATS, for example 8+8")
        self.name = f"countones-{instance}"
        self._bits = [f"c{k}" for k in range(int(bits))]
        self._floats = [f"x{k}" for k in range(int(floats))]
        self.parameters: dict[str, Parameter] = {
            **{name: CategoricalParameter(type="categorical", choices=(0, 1)) for name in self._bits},
            **{name: FloatParameter.model_validate(UNIT) for name in self._floats},
        }

    def evaluate(self, params: Params, rung: int, rng: np.random.Generator) -> tuple[float, float]:
        draws = self.fidelities[rung]
        means = rng.binomial(draws, [float(params[name]) for name in self._floats]) / draws
        return self._value(params, float(means.sum())), float(draws)

    def true_loss(self, params: Params) -> float:
        return self._value(params, sum(float(params[name]) for name in self._floats))

    def _value(self, params: Params, floats: float) -> float:
        return -(sum(int(params[name]) for name in self._bits) + floats) / len(self.parameters)
