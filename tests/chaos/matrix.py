"""The kill matrix: a victim at a moment in a study, and what must hold afterwards."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.scene import WORKER, Scene

from hpo.errors import HpoError
from hpo.protocols import Store
from hpo.replay import history
from hpo.store import open_store
from hpo.trial import Checkpoint, Event, Inheritance, Measurement, StudyState, Trial, TrialState

VICTIMS = ("api", "driver", "trial actor", "worker", "node", "postgres")
RANKS = ("trial actor", "worker")
"""The worker that leads a trial, writes its checkpoints and whose reports count; and another one of its group."""
MOMENTS = ("suggest", "report", "checkpoint", "exploit", "finish")
OCCURRENCES = {"suggest": 6, "report": 20, "checkpoint": 20, "exploit": 2, "finish": 4}
"""A victim dies at one of the first so many occurrences of the moment."""
TRIALS, STEPS = 6, 6
RECOVERY_SECONDS = 30.0
END_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Case:
    """One run."""

    victim: str
    moment: str
    run: int

    @property
    def study(self) -> str:
        return f"{self.victim}-{self.moment}-{self.run}".replace(" ", "-")


@dataclass(slots=True)
class Outcome:
    """What came of it; `faults` is empty where all holds."""

    case: Case
    recovery_seconds: float = 0.0
    """From when the victim's replacement could run to the next step recorded."""
    total_seconds: float = 0.0
    drivers: int = 0
    faults: list[str] = field(default_factory=list)


def spec(case: Case, folder: Path) -> dict[str, Any]:
    return {
        "name": case.study,
        "trainable": "victim:train",
        "parameters": {"x": {"type": "float", "low": 0, "high": 1, "mutable": True}},
        "objective": {"metric": "loss", "direction": "minimize"},
        "budget": {"trials": TRIALS, "steps_per_trial": STEPS},
        "scheduler": {"algorithm": "pbt", "population": 4, "interval_steps": 2},
        "fixed": {"seconds": 0.15, "moments": str(folder / f"{case.study}.moments")},
        "retry": {"lost_workers": 10},
        "concurrency": 2,
        "seed": case.run,
        # Which of its workers dies makes a difference only where a trial has several.
        **({"resources": {"workers": 2, "cpus_per_worker": 0.5}} if case.victim in RANKS else {}),
    }


def ranks(moments: Path) -> dict[str, set[int]]:
    """The processes that have trained a trial: of each kind of victim."""
    found: dict[str, set[int]] = {kind: set() for kind in RANKS}
    for line in moments.read_text().splitlines() if moments.is_file() else []:
        word, rank, pid, *_ = [*line.split(), "", ""]
        if word == "rank":
            found["trial actor" if rank == "0" else "worker"].add(int(pid))
    return found


def run(scene: Scene, case: Case, *, away_seconds: float = 0.0) -> Outcome:
    """Kill once, put back after so long what doesn't come back by itself, wait for the end, and look at everything."""
    rng = random.Random(f"{case.study} victim and moment")
    outcome = Outcome(case)
    began = time.monotonic()
    data = spec(case, scene.folder)
    with scene.client() as client:
        client.create_study(data)
    store = open_store(scene.environment["HPO_DATABASE_URL"])
    try:
        if not _wait_for_moment(Path(data["fixed"]["moments"]), case, rng):
            outcome.faults.append(f"the moment {case.moment!r} never came")
        time.sleep(rng.uniform(0.0, 0.1))
        if not scene.kill(case.victim, case.study, rng, ranks(Path(data["fixed"]["moments"]))):
            outcome.faults.append(f"there was no {case.victim} to kill among {scene.titles()}")
        time.sleep(away_seconds)
        scene.replace(case.victim)
        replaced = time.monotonic()
        known = None
        while known is None:  # the database may be about to come back
            known = _steps(store, case.study)
        _wait(lambda: (_steps(store, case.study) or 0) > known or _state(store, case.study).is_final, END_SECONDS)
        outcome.recovery_seconds = time.monotonic() - replaced
        if not _wait(lambda: _state(store, case.study).is_final, END_SECONDS):
            outcome.faults.append(f"it has not ended within {END_SECONDS:g} s: {store.study(case.study).state}")
        outcome.total_seconds = time.monotonic() - began
        outcome.drivers = store.study(case.study).attempt
        if outcome.recovery_seconds > RECOVERY_SECONDS:
            outcome.faults.append(f"no step was recorded for {outcome.recovery_seconds:.0f} s")
        outcome.faults += recorded_faults(store, case.study)
        outcome.faults += leftovers(scene, case.study)
        outcome.faults += checkpoint_faults(store, case.study, scene.home / "storage" / case.study)
    finally:
        store.close()
    shutil.rmtree(scene.home / "storage" / case.study, ignore_errors=True)
    return outcome


def recorded_faults(store: Store, study: str) -> list[str]:
    """What is wrong with what is recorded: a step that is missing or counted twice, a budget that isn't exact."""
    faults = []
    found = store.study(study)
    if found.state is not StudyState.SUCCEEDED:
        faults.append(f"it is {found.state}: {found.message}")
    trials: list[Trial] = list(store.trials(study, page_size=1000).items)
    if [trial.number for trial in trials] != list(range(TRIALS)):
        faults.append(f"{len(trials)} trials, and the budget has {TRIALS}")
    if unfinished := [t.number for t in trials if t.state is not TrialState.COMPLETED]:
        faults.append(f"trials {unfinished} are not completed")
    rows = list(history(store, study))
    steps: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        if isinstance(row, Measurement):
            steps.setdefault((row.trial, row.generation), []).append(row.step)
    starts = {(row.trial, row.generation): row.step for row in rows if isinstance(row, Inheritance)}
    for (trial, generation), reported in steps.items():
        first = starts.get((trial, generation), 0) + 1
        if reported != list(range(first, first + len(reported))):
            faults.append(f"trial {trial}, generation {generation} has the steps {reported}, from {first} on")
    for trial in trials:
        if steps.get((trial.number, trial.generation), [0])[-1] != STEPS:
            faults.append(f"trial {trial.number} has not come to step {STEPS}")
    if store.counts(study).steps != sum(map(len, steps.values())):
        faults.append(f"{store.counts(study).steps} steps are counted, but {sum(map(len, steps.values()))} are there")
    events = [row for row in rows if isinstance(row, Event)]
    ends = Counter(event.trial for event in events if event.kind == "trial.completed")
    if twice := [trial for trial, count in ends.items() if count > 1]:
        faults.append(f"trials {twice} have ended more than once")
    different = [event.data for event in events if event.kind == "study.diverged"]
    if different:
        faults.append(f"a replay came out otherwise: {different[0]}")
    return faults


def leftovers(scene: Scene, study: str) -> list[str]:
    """Processes and placement groups that nobody needs; they may take a while to go."""

    def left() -> list[str]:
        found = [f"driver {each.pid}" for each in scene.drivers(study)]
        found += [f"{WORKER} {each.pid}" for each in scene.actors(WORKER)]
        return found + [f"placement group {each}" for each in scene.placement_groups()]

    _wait(lambda: not left(), 30.0)
    return [f"left behind: {each}" for each in left()]


def checkpoint_faults(store: Store, study: str, folder: Path) -> list[str]:
    """Folders without a row, rows without a folder, and halves."""
    rows: list[Checkpoint] = list(store.checkpoints(study))
    on_disk = {str(each) for each in folder.glob("trials-*/**/*step-*") if each.is_dir()}
    named = {row.path for row in rows}
    faults = [f"no row names {path}" for path in sorted(on_disk - named)]
    return faults + [f"the row's folder {path} is gone" for path in sorted(named - on_disk)]


def _wait_for_moment(log: Path, case: Case, rng: random.Random) -> bool:
    number = rng.randint(1, OCCURRENCES[case.moment])

    def came() -> bool:
        return log.is_file() and log.read_text().count(f"{case.moment} ") >= number

    return _wait(came, 120.0, pause=0.005)


def _wait(condition: Callable[[], bool], seconds: float, *, pause: float = 0.1) -> bool:
    """Whether the condition came true in time. A database that is away isn't true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return True
        except HpoError:
            pass
        time.sleep(pause)
    return False


def _steps(store: Store, study: str) -> int | None:
    try:
        return store.counts(study).steps
    except HpoError:
        return None


def _state(store: Store, study: str) -> StudyState:
    return store.study(study).state
