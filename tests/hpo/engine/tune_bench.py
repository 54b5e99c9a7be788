"""Tune's loop, the leases and the workers in one, without processes: for the adapters of Ray's own schedulers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.train import Checkpoint as TuneCheckpoint
from ray.train._internal.session import _TrainingResult
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher as TuneSearcher

from hpo import registry
from hpo.engine.messages import Report, SavedCheckpoint
from hpo.engine.ray_lease import LEG, Pointer, RayLeg
from hpo.engine.ray_scheduler import RayEscape
from hpo.ledger import Ledger
from hpo.replay import Replay
from hpo.spec import StudySpec
from hpo.trial import Checkpoint, Inheritance, Measurement, Params, Row, Trial

Loss = Callable[[Params, int], float]


class Bench:
    """Runs a study to its end, one report after the other in a random order. It is Tune's controller, too.

    A trial `t` fails at its step `s` where `fails` holds (t, s), for `cause`. Every `every` steps there is a
    checkpoint.
    """

    def __init__(
        self, spec: StudySpec, loss: Loss, folder: Path, *, groups: int = 2, seed: int = 0, every: int = 1,
        fails: Iterable[tuple[int, int]] = (), cause: str = "error", history: Iterable[Row] = (),
    ) -> None:  # fmt: skip
        self.spec, self.loss, self.folder, self.groups, self.every = spec, loss, folder, groups, every
        self.fails, self.cause = set(fails), cause
        self.rng = random.Random(seed)
        self.rows: list[Row] = list(history)
        self.dropped: list[Checkpoint] = []
        self.legs: list[RayLeg] = []
        self.most_running = 0
        self.escape = RayEscape(spec)
        self.turns = 0
        self.ledger = Ledger(
            spec,
            registry.searcher(spec),
            self.escape.seat,
            write=self.rows.extend,
            drop_checkpoint=self.dropped.append,
            clock=lambda: float(self.turns),
        )
        self.escape.join(self.ledger, self.dropped.append)
        self.replay = Replay(self.ledger)
        self.replay.run(list(self.rows))
        self.cancelled: set[int] = set()
        """The legs whose workers were told to leave."""
        self.search, self.schedule = self.escape.adapters(self.ledger, self.cancelled.add, lambda: None, groups)
        self.trials: list[TuneTrial] = []
        self.at: dict[TuneTrial, int] = {}
        self.pointers: dict[TuneTrial, Pointer] = {}
        self.results: dict[TuneTrial, dict[str, Any]] = {}
        self.saves = itertools.count()

    # -- what is left -------------------------------------------------------------------------------------
    def of(self, kind: type[Any]) -> list[Any]:
        return [row for row in self.rows if isinstance(row, kind)]

    @property
    def final(self) -> list[Trial]:
        """Each trial as it was written last, by number."""
        return [trial for _, trial in sorted({trial.number: trial for trial in self.of(Trial)}.items())]

    def steps(self, number: int) -> list[tuple[int, int]]:
        """The (generation, step) of its reports."""
        return [(row.generation, row.step) for row in self.of(Measurement) if row.trial == number]

    def kept(self) -> set[str]:
        """The checkpoints that are still there."""
        return {row.path for row in self.of(Checkpoint)} - {checkpoint.path for checkpoint in self.dropped}

    @property
    def inheritances(self) -> list[Inheritance]:
        return self.of(Inheritance)

    # -- Tune's loop --------------------------------------------------------------------------------------
    def run(self, reports: int = 10_000) -> Bench:
        """At most so many reports, as if the driver died then."""
        for _ in range(reports):
            if not self.turn():
                return self
        return self

    def turn(self) -> bool:
        """One report; False when the study is over."""
        self.turns += 1
        while isinstance(config := self.search.suggest(name := f"t{len(self.trials)}"), dict):
            trial = TuneTrial("lease", stub=True, trial_id=name, config=config)
            self.trials.append(trial)
            self.schedule.on_trial_add(self, trial)
        while (chosen := self.schedule.choose_trial_to_run(self)) is not None:
            assert chosen.status == TuneTrial.PAUSED
            self.start(chosen)
        running = [trial for trial in self.trials if trial.status == TuneTrial.RUNNING]
        self.most_running = max(self.most_running, len(running))
        if not running:
            assert config == TuneSearcher.FINISHED or self.ledger.is_done, "nothing runs, but the study is not over"
            assert all(trial.is_finished() for trial in self.trials)
            self.escape.leave(self.ledger)
            return False
        self.train(self.rng.choice(running))
        return True

    def start(self, trial: TuneTrial) -> None:
        leg: RayLeg = trial.config[LEG]
        self.legs.append(leg)
        source = leg.checkpoint or leg.inherit
        assert source is None or source in self.kept(), "it would start from a checkpoint that was dropped"
        self.at[trial] = int(source.rsplit("/", 1)[1]) if source else 0
        self.pointers[trial] = leg.start
        trial.set_status(TuneTrial.RUNNING)

    def train(self, trial: TuneTrial) -> None:
        leg: RayLeg = trial.config[LEG]
        self.at[trial] = step = self.at[trial] + 1
        result: dict[str, Any] = {"job": leg.number, "began_at": 0.0}
        if (leg.start.trial, step) in self.fails:
            self.results[trial] = {**result, "done": True, "cause": self.cause, "message": "it fails"}
            self.stop_trial(trial)
            return
        saved = None
        if step % self.every == 0:
            saved = SavedCheckpoint(path=f"{leg.start.trial}/{leg.start.generation}/{step}", size_bytes=1)
            self.pointers[trial] = replace(self.pointers[trial], step=step, path=saved.path)
        metrics = {"loss": self.loss(leg.params, step)}
        result["report"] = Report(step=step, metrics=metrics, checkpoint=saved, group=0, requeued=0)
        before = self.results.get(trial)
        match self.schedule.on_trial_result(self, trial, result):
            case TrialScheduler.STOP:
                self.results[trial] = result
                self.stop_trial(trial)
            case TrialScheduler.PAUSE:
                self.pause_trial(trial)
            case TrialScheduler.NOOP:
                assert trial.status == TuneTrial.PAUSED
        self.results[trial] = result if before is not result else before

    # -- what Ray's schedulers use of its controller --------------------------------------------------------
    def get_trials(self) -> list[TuneTrial]:
        return self.trials

    def get_live_trials(self) -> list[TuneTrial]:
        return [trial for trial in self.trials if not trial.is_finished()]

    def pause_trial(self, trial: TuneTrial, should_checkpoint: bool = True) -> None:
        assert trial.status == TuneTrial.RUNNING
        if should_checkpoint:
            self._schedule_trial_save(trial)
        trial.set_status(TuneTrial.PAUSED)

    def stop_trial(self, trial: TuneTrial) -> None:
        if trial.status == TuneTrial.RUNNING:
            self.schedule.on_trial_complete(self, trial, self.results.get(trial, {}))
        elif not trial.is_finished():
            self.schedule.on_trial_remove(self, trial)
        trial.set_status(TuneTrial.TERMINATED)

    def _schedule_trial_save(self, trial: TuneTrial, result: dict[str, Any] | None = None) -> TuneCheckpoint:
        folder = self.folder / f"save-{next(self.saves)}"
        folder.mkdir()
        self.pointers[trial].write(folder)
        checkpoint = TuneCheckpoint.from_directory(folder)
        trial.run_metadata.checkpoint_manager.register_checkpoint(_TrainingResult(checkpoint, result or {}))
        return checkpoint
