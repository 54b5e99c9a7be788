"""Real training: the network of `benchmarks/digits_mlp.py` on scikit-learn's digits, up to 27 epochs."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from benchmarks import digits_mlp
from benchmarks.search.tasks.protocol import Params, key_of
from hpo.parameters import Parameter
from hpo.table import ParamValue

Key = tuple[tuple[str, ParamValue], ...]
WORST = 5.0
"""Losses are cut here (chance has 2.3), so that a diverged network is bad, but no outlier of its own kind."""


class Digits:
    """`digits-mlp`. The loss is the log loss of the held-out half; rungs are 1, 3, 9 and 27 epochs.

    A configuration's seed is a function of the configuration: a training that goes on is the same training, and two
    runs that try the same see the same. The true loss is that of another seed, one for all. Seconds are modelled, for
    those of this machine would make no two runs alike: an update takes 1, and 1/64 more a sample.
    """

    name = "digits-mlp"
    fidelities = (1, 3, 9, 27)
    num_rungs = len(fidelities)
    resumable = True
    best_loss = None
    num_reference_draws = 500

    def __init__(self, instance: str) -> None:
        if instance != "mlp":
            raise ValueError(f"{instance!r} is no instance of digits; the only one is mlp")
        adapter: TypeAdapter[Parameter] = TypeAdapter(Parameter)
        # The study that asks for them inherits no weights: `mutable` would make some schedulers do so.
        self.parameters = {
            name: adapter.validate_python({**table, "mutable": False}) for name, table in digits_mlp.PARAMETERS.items()
        }

    def evaluate(self, params: Params, rung: int, rng: np.random.Generator) -> tuple[float, float]:
        key = key_of(params)
        loss = _training(key, zlib.crc32(repr(key).encode())).loss_at(rung)
        return loss, self.fidelities[rung] * digits_mlp.UPDATES * (1 + float(params["batch_size"]) / 64)

    def true_loss(self, params: Params) -> float:
        return _training(key_of(params), 0).loss_at(self.num_rungs - 1)


class Training:
    """A network on its way, trained as far as it was asked for."""

    def __init__(self, params: dict[str, ParamValue], seed: int) -> None:
        self._params, self._seed = params, seed
        self._model: Any = digits_mlp.Mlp(seed)  # type: ignore[no-untyped-call]
        self._epoch = 0
        self._losses: list[float] = []

    def loss_at(self, rung: int) -> float:
        """Trains what is missing up to the rung."""
        # What diverges overflows on the way.
        with np.errstate(all="ignore"):
            while len(self._losses) <= rung:
                self._epoch += 1
                self._model.step(self._params, np.random.default_rng((self._seed, self._epoch)))
                if self._epoch == Digits.fidelities[len(self._losses)]:
                    self._losses.append(min(self._model.loss(), WORST))
        return self._losses[rung]


@lru_cache(maxsize=1_000)
def _training(key: Key, seed: int) -> Training:
    """About 80 kB each. One that was dropped is trained anew, to the same losses."""
    return Training(dict(key), seed)
