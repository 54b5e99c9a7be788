"""A simulated cluster whose trials really train the digits MLP: hpo's scheduler and ledger, without processes."""

from __future__ import annotations

import random
from typing import Any

import digits_mlp
import numpy as np

from hpo.ledger import Leg
from hpo.simulate import Conditions, SimulatedCluster
from hpo.spec import StudySpec
from hpo.trial import Metrics, trial_seed


class TrainedCluster(SimulatedCluster):
    """A step takes one second (log-normal); weights are kept by checkpoint, and inherited as on a cluster."""

    def __init__(self, spec: StudySpec, workers: int) -> None:
        self._weights: dict[str, Any] = {}
        super().__init__(spec, self._unused, workers, seed=spec.seed, conditions=Conditions(duration_sigma=0.15))

    @staticmethod
    def _unused(*_: object) -> tuple[Metrics, float]:
        raise AssertionError

    def evaluate(self, leg: Leg, from_step: int, to_step: int, rng: random.Random) -> tuple[Metrics, float]:
        seed = trial_seed(self.spec.seed, leg.trial)
        model = digits_mlp.Mlp(seed)
        own = self.checkpoint_path(leg, from_step)
        source = own if own in self._weights else leg.resume or leg.inherit
        if source is not None:
            weights, velocities = self._weights[source]
            model.weights, model.velocities = list(weights), list(velocities)
        model.step(leg.params, np.random.default_rng((seed, to_step)))
        self._weights[self.checkpoint_path(leg, to_step)] = model.weights, model.velocities
        return {"loss": model.loss()}, 1.0
