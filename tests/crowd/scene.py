"""A crowd of worker processes and a service over PostgreSQL, all killed at random; and what is recorded then."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ports import free_port

from api.client import Client
from hpo.errors import ServiceError
from hpo.protocols import Store
from hpo.store import open_store
from hpo.trial import Decision, Event, Measurement, Row, TrialState

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")
TOKEN = "crowd"
SPEC: dict[str, Any] = {
    "name": "crowd",
    "engine": "ask",
    "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
    "objective": {"metric": "loss", "direction": "minimize"},
    "scheduler": {"algorithm": "asha", "grace_steps": 1, "reduction_factor": 3},
}


@dataclass
class Figures:
    """What was seen."""

    seconds: float = 0.0
    worker_kills: int = 0
    api_kills: int = 0
    trials: int = 0
    reports: int = 0
    requeued: int = 0
    takeovers: int = 0
    faults: list[str] = field(default_factory=list)


class Crowd:
    """Use as a context manager. `play` runs a study to its end."""

    def __init__(self, folder: Path, database_url: str, *, workers: int, seed: int = 0) -> None:
        self.folder, self.url, self.rng = folder, database_url, random.Random(seed)
        self.address = f"http://127.0.0.1:{free_port()}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HPO_", "RAY_"))},
            "HPO_HOME": str(folder / "home"),
            "HPO_DATABASE_URL": database_url,
            "HPO_PORT": self.address.rpartition(":")[2],
            "HPO_TOKEN": TOKEN,
            "PYTHONPATH": str(ROOT),
        }
        self.slots: list[subprocess.Popen[bytes] | None] = [None] * workers
        self.names = [f"worker-{slot}" for slot in range(workers)]
        self.api: subprocess.Popen[bytes] | None = None
        self.stack = ExitStack()
        self.figures = Figures()

    def __enter__(self) -> Crowd:
        self.log = self.stack.enter_context((self.folder / "processes.log").open("wb"))
        self.start_api()
        self.client = self.stack.enter_context(Client(self.address, TOKEN))
        self._wait_for_api()
        return self

    def __exit__(self, *error: object) -> None:
        for process in [*self.slots, self.api]:
            if process is not None:
                process.kill()
                process.wait()
        self.stack.close()

    # -- processes ----------------------------------------------------------------------------------------
    def start_api(self) -> None:
        command = [sys.executable, "-m", "api.cli", "serve"]
        self.api = subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=self.log)

    def kill_api(self) -> None:
        assert self.api is not None
        self.api.kill()
        self.api.wait()
        self.figures.api_kills += 1
        self.start_api()

    def kill_worker(self) -> None:
        slot = self.rng.randrange(len(self.slots))
        process = self.slots[slot]
        if process is None or process.poll() is not None:
            return
        process.kill()
        process.wait()
        self.figures.worker_kills += 1
        if self.rng.random() < 0.5:  # it comes back as another, and what it held goes to whoever asks
            self.names[slot] = f"{self.names[slot].partition('+')[0]}+{self.figures.worker_kills}"
        self.start_worker(slot)

    def start_worker(self, slot: int) -> None:
        answers = self.folder / f"answers-{slot}.jsonl"
        command = [sys.executable, "-I", "-S", str(WORKER), self.address, TOKEN, self.names[slot], str(answers)]
        self.slots[slot] = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def _wait_for_api(self) -> None:
        give_up = time.monotonic() + 120
        while True:
            try:
                self.client.studies(page_size=1)
                return
            except ServiceError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)

    # -- a study ------------------------------------------------------------------------------------------
    def play(self, *, trials: int, api_kills: int, kill_seconds: float, limit_seconds: float) -> Figures:
        """Run a study of so many trials. A worker is killed every `kill_seconds`, the service `api_kills` times."""
        self.client.create_study({**SPEC, "budget": {"trials": trials, "steps_per_trial": 9}})
        store = open_store(self.url)
        self.stack.callback(store.close)
        began = time.monotonic()
        for slot in range(len(self.slots)):
            self.start_worker(slot)
        moments = [trials * (place + 1) // (api_kills + 1) for place in range(api_kills)]
        while not store.study("crowd").state.is_final:
            if time.monotonic() - began > limit_seconds:
                raise TimeoutError(f"{store.counts('crowd')}; {(self.folder / 'processes.log').read_text()[-3000:]}")
            if moments and sum(store.counts("crowd").trials.values()) >= moments[0]:
                moments.pop(0)
                self.kill_api()
            self.kill_worker()
            time.sleep(kill_seconds)
        self.figures.seconds = time.monotonic() - began
        for slot, process in enumerate(self.slots):
            if process is not None and process.wait(timeout=60) != 0:
                self.figures.faults.append(f"worker {slot} ended with {process.returncode}")
        self._judge(store, trials)
        return self.figures

    def _judge(self, store: Store, budget: int) -> None:
        """What must hold of the record, and of what each worker was answered."""
        rows = _history(store)
        events = [row for row in rows if isinstance(row, Event)]
        found = self.figures
        numbers = Counter(event.trial for event in events if event.kind == "trial.created")
        ends = Counter(event.trial for event in events if event.kind in _ENDS)
        measured = Counter((row.trial, row.step) for row in rows if isinstance(row, Measurement))
        decided = {(row.trial, row.step): row.action.value for row in rows if isinstance(row, Decision)}
        answers = [json.loads(line) for path in self.folder.glob("answers-*") for line in _whole_lines(path)]
        found.trials, found.reports = len(numbers), sum(measured.values())
        found.requeued = sum(event.kind == "trial.requeued" for event in events)
        resumed = [event for event in events if event.kind == "study.resumed"]
        found.takeovers = len(resumed)
        held: set[int | None] = set()
        for event in events:
            if event.kind == "trial.assigned":
                if event.trial in held:
                    found.faults.append(f"trial {event.trial} was given to two workers at a time")
                held.add(event.trial)
            elif event.kind in (*_ENDS, "trial.requeued", "trial.paused"):
                held.discard(event.trial)
        never = {(answer["trial"], answer["step"]) for answer in answers} - measured.keys()
        other = [each for each in answers if decided.get((each["trial"], each["step"])) != each["action"]]
        rules = {
            f"{budget} trials, each once": numbers == Counter(range(budget)),
            "each trial has ended once": ends == Counter(range(budget)),
            "no trial has failed": store.counts("crowd").trials[TrialState.FAILED] == 0,
            "each step counts once": set(measured.values()) == {1} and decided.keys() == measured.keys(),
            "no answered report is lost": not never,
            "every answer is as recorded": not other,
            "every process that took over decided the same": all(event.data["differences"] == 0 for event in resumed),
            "workers were answered": len(answers) > budget,
        }
        found.faults += [f"not so: {rule}" for rule, holds in rules.items() if not holds]


_ENDS = tuple(f"trial.{state.value}" for state in TrialState if state.is_final)


def _whole_lines(path: Path) -> list[str]:
    """A worker may be killed while it writes."""
    return [line for line in path.read_text().split("\n")[:-1] if line.endswith("}") and line.startswith("{")]


def _history(store: Store) -> list[Row]:
    rows: list[Row] = []
    after = 0
    while page := store.history("crowd", after=after, limit=1000):
        rows += [row for _, row in page]
        after = page[-1][0]
    return rows
