"""Simulated clusters whose trials really train: hpo's scheduler and ledger, without processes."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import digits_mlp
from hpo.ledger import Ledger, Leg
from hpo.protocols import Scheduler, Trainable, TrialStopped
from hpo.simulate import Conditions, SimulatedCluster
from hpo.spec import StudySpec
from hpo.trial import Metrics, trial_seed

MakeScheduler = Callable[[StudySpec], Scheduler]


class _Cluster(SimulatedCluster):
    """A step takes one second (log-normal). `make_scheduler`, where given, makes another scheduler than the
    specification names: one with a part left out."""

    def __init__(self, spec: StudySpec, workers: int, make_scheduler: MakeScheduler | None = None) -> None:
        self._make_scheduler = make_scheduler
        super().__init__(spec, self._unused, workers, seed=spec.seed, conditions=Conditions(duration_sigma=0.15))

    @staticmethod
    def _unused(*_: object) -> tuple[Metrics, float]:
        raise AssertionError

    def close(self) -> None:
        """Gives back what is outside memory."""

    def _new_ledger(self) -> Ledger:
        ledger = super()._new_ledger()
        if self._make_scheduler is not None:
            ledger.scheduler = self._make_scheduler(self.spec)
        return ledger


class TrainedCluster(_Cluster):
    """Trains the digits MLP; weights are kept by checkpoint, and inherited as on a cluster."""

    def __init__(self, spec: StudySpec, workers: int, make_scheduler: MakeScheduler | None = None) -> None:
        self._weights: dict[str, Any] = {}
        super().__init__(spec, workers, make_scheduler)

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


class TrainableCluster(_Cluster):
    """Trains any trainable, a step at a time, in this process: each step begins with a checkpoint folder and ends with
    one, in a temporary folder. Use it in a `contextlib.closing`."""

    def __init__(
        self, spec: StudySpec, workers: int, trainable: Trainable, make_scheduler: MakeScheduler | None = None
    ) -> None:
        self._trainable = trainable
        self._temporary = tempfile.TemporaryDirectory(prefix="hpo-trained-")
        self._folder = Path(self._temporary.name)
        super().__init__(spec, workers, make_scheduler)

    def close(self) -> None:
        self._temporary.cleanup()

    def evaluate(self, leg: Leg, from_step: int, to_step: int, rng: random.Random) -> tuple[Metrics, float]:
        own = self._folder / self.checkpoint_path(leg, from_step)
        step = _OneStep(
            number=leg.trial,
            seed=trial_seed(self.spec.seed, leg.trial),
            max_steps=self.spec.budget.steps_per_trial,
            resume=own if own.is_dir() else self._folder / leg.resume if leg.resume else None,
            inherit=self._folder / leg.inherit if leg.inherit and not own.is_dir() else None,
            target=self._folder / self.checkpoint_path(leg, to_step),
            workdir=self._folder / "work",
        )
        with contextlib.suppress(TrialStopped):
            self._trainable({**self.spec.fixed, **leg.params}, step)
        if step.reported != to_step:
            raise RuntimeError(f"trial {leg.trial} reported step {step.reported}, but step {to_step} was due")
        return step.metrics, 1.0


class _OneStep:
    """The TrialContext of a trial that ends with its first report."""

    rank, world_size, device = 0, 1, "cpu"

    def __init__(
        self,
        *,
        number: int,
        seed: int,
        max_steps: int,
        resume: Path | None,
        inherit: Path | None,
        target: Path,
        workdir: Path,
    ) -> None:
        self.number, self.seed, self.max_steps = number, seed, max_steps
        self.resume, self.inherit = resume, inherit
        self.workdir = workdir
        self.reported: int | None = None
        self.metrics: dict[str, float] = {}
        self._target = target
        workdir.mkdir(exist_ok=True)

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: Callable[[Path], None] | None = None) -> None:
        if checkpoint is None:
            raise ValueError(f"step {step} was reported without a checkpoint, but the next step begins with it")
        self._target.mkdir(parents=True)
        checkpoint(self._target)
        self.reported, self.metrics = step, {name: float(value) for name, value in metrics.items()}
        raise TrialStopped
