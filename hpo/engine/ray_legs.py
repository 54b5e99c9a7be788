"""The legs of trials under one of Ray Tune's own schedulers: what each goes on from, and with which parameters."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from ray.tune.experiment import Trial as TuneTrial

from hpo.engine.ray_checkpoints import KeptCheckpoints
from hpo.engine.ray_lease import LEG, Pointer, RayLeg
from hpo.engine.ray_options import from_config, to_config
from hpo.ledger import Ledger, Leg
from hpo.protocols import Resume
from hpo.space import Space
from hpo.trial import Inheritance, Params


class RayLegs:
    """Begins legs, as Tune's checkpoint and configuration of a trial say, and tells the Ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._space = ledger, Space.of(ledger.spec)
        self._reason = f"{ledger.spec.scheduler.algorithm} says so"
        self._begun: dict[int, RayLeg] = {}
        """What each trial is at, or was before it paused."""
        self._pointers: dict[int, tuple[str, Pointer]] = {}
        """The path of Tune's checkpoint of each trial, and what it says."""
        self._numbers = itertools.count()

    def generation(self, number: int) -> int:
        """The one that the trial is at, or was before it paused."""
        return self._begun[number].start.generation

    def begin(self, number: int, trial: TuneTrial) -> None:
        """The trial's next leg: from its start, from its own checkpoint, or from another's."""
        leg = self._leg(number, trial)
        source = self._ledger.trials[number].source
        start = Pointer(
            trial=number,
            generation=leg.generation,
            params=dict(leg.params),
            step=source.step if source else 0,
            path=source.path if source else None,
        )
        self._begun[number] = RayLeg(
            number=next(self._numbers),
            params={**self._ledger.spec.fixed, **leg.params},
            start=start,
            checkpoint=leg.resume,
            inherit=leg.inherit,
        )
        trial.set_config({**trial.config, **to_config(leg.params), LEG: self._begun[number]})

    def _leg(self, number: int, trial: TuneTrial) -> Leg:
        live = self._ledger.trials[number]
        if not live.is_paused:  # it is new, or was being trained by an earlier driver
            return Leg(
                trial=number,
                generation=live.trial.generation,
                params=live.trial.params,
                resume=live.last.path if live.last else None,
                inherit=live.origin.path if live.origin else None,
            )
        resume, recorded = Resume(number, self._reason), None
        pointer = self._pointer(number, trial)
        if pointer is not None and pointer.trial != number:
            generation = live.trial.generation + 1
            # Keyed, so that the same history draws the same.
            rng = random.Random(f"{self._ledger.spec.seed}:{number}:{generation}")
            params = from_config(self._space, trial.config, pointer.params, rng)
            donor = pointer.trial if pointer.trial in self._ledger.trials else None
            resume = Resume(number, self._reason, donor, params)
            recorded = self._inheritance(number, generation, pointer, params)
        leg = self._ledger.apply(resume, recorded=recorded)
        assert leg is not None  # a Resume always gives one
        return leg

    def _inheritance(self, number: int, generation: int, pointer: Pointer, params: Params) -> Inheritance | None:
        """From the checkpoint that the donor had when Tune saved it; None where there is none. Then the Ledger takes
        the donor's last one, or lets the trial go on as it was."""
        if pointer.path is None or self._ledger.checkpoints.find(pointer.path) is None:
            return None
        return Inheritance(
            study=self._ledger.spec.name,
            trial=number,
            generation=generation,
            donor=pointer.trial,
            donor_generation=pointer.generation,
            step=pointer.step,
            params=params,
            path=pointer.path,
            reason=self._reason,
            recorded_at=self._ledger.clock(),
        )

    def _pointer(self, number: int, trial: TuneTrial) -> Pointer | None:
        """What Tune's checkpoint of the trial says; it may be another trial's."""
        checkpoint = trial.checkpoint
        if checkpoint is None:
            return None
        path, pointer = self._pointers.get(number, (None, None))
        if path != checkpoint.path or pointer is None:
            with checkpoint.as_directory() as folder:
                pointer = Pointer.read(Path(folder))
            self._pointers[number] = checkpoint.path, pointer
        return pointer

    def release(self, trials: Mapping[int, TuneTrial]) -> None:
        """Drop the checkpoints that neither the Ledger needs any more nor Ray's scheduler may ask for. `trials` are all
        that have not ended."""
        checkpoints = self._ledger.checkpoints
        if isinstance(checkpoints, KeptCheckpoints):
            pointers: Iterable[Pointer | None] = (self._pointer(number, trial) for number, trial in trials.items())
            checkpoints.release({pointer.path for pointer in pointers if pointer is not None and pointer.path})

    def forget(self, number: int) -> None:
        """The trial has ended."""
        self._begun.pop(number, None)
        self._pointers.pop(number, None)
