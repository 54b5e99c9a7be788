"""A real Ray head for the tests that need one: on its own ports, with its own home, ended with the session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from ports import free_port

from cluster import local
from hpo.replay import history
from hpo.specfile import parse
from hpo.store import open_store
from hpo.trial import Checkpoint, Decision, Inheritance, Measurement, Row, Study, Trial

ROOT = Path(__file__).resolve().parents[2]
TRAINABLES = Path(__file__).parent / "trainables"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.LocalCluster]:
    """Four logical CPUs, whatever the machine has."""
    home = tmp_path_factory.mktemp("home")
    paths = os.pathsep.join([str(ROOT), str(TRAINABLES)])
    cluster = local.up(home, dashboard_port=free_port(), num_cpus=4, settings={"PYTHONPATH": paths})
    try:
        yield cluster
    finally:
        local.down(home)


@dataclass
class Finished:
    """What a study left in its store."""

    study: Study
    output: str
    trials: list[Trial] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    inheritances: list[Inheritance] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)


class Runner:
    """Runs studies by the real driver in a process of its own."""

    def __init__(self, head: local.LocalCluster, folder: Path) -> None:
        self.head, self.folder = head, folder
        self.url = f"sqlite:///{folder / 'hpo.db'}"

    def spec(self, **changes: Any) -> dict[str, Any]:
        return {
            "name": "probe",
            "trainable": "probe:curve",
            "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": 4, "steps_per_trial": 5},
            "seed": 3,
            "concurrency": 1,
            **changes,
        }

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        spec = parse(self.spec(**changes))
        store = open_store(self.url)
        store.create_study(spec)
        store.close()
        return self.drive(spec.name)

    def drive(self, name: str = "probe") -> subprocess.Popen[str]:
        """A driver for a study that is in the store; it waits for the lease of one that was killed."""
        environment = {
            **os.environ,
            **local.environment(self.head),
            "HPO_DATABASE_URL": self.url,
            "HPO_STORAGE": str(self.folder / "storage"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(TRAINABLES)]),
            "RAY_AIR_NEW_OUTPUT": "0",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "hpo.driver", name, "--lease-seconds", "3", "--wait", "20"],
            env=environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, driver: subprocess.Popen[str], name: str = "probe") -> Finished:
        output, _ = driver.communicate(timeout=240)
        store = open_store(self.url)
        try:
            return Finished(
                study=store.study(name),
                output=output,
                trials=list(store.trials(name, page_size=1000).items),
                measurements=list(store.measurements(name, page_size=1000).items),
                decisions=list(store.decisions(name, page_size=1000).items),
                checkpoints=list(store.checkpoints(name)),
                inheritances=list(store.inheritances(name)),
                history=list(history(store, name)),
            )
        finally:
            store.close()

    def run(self, **changes: Any) -> Finished:
        return self.finish(self.start(**changes), changes.get("name", "probe"))


@pytest.fixture
def runner(head: local.LocalCluster, tmp_path: Path) -> Runner:
    return Runner(head, tmp_path)


@pytest.fixture
def free_cpus(head: local.LocalCluster) -> Callable[[], float]:
    """The CPUs of the cluster that nobody holds, as Ray's own command line tells them."""

    def ask() -> float:
        code = (
            "import ray; ray.init(log_to_driver=False, logging_level='ERROR'); print(ray.available_resources()['CPU'])"
        )
        environment = {**os.environ, **local.environment(head)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return float(done.stdout.split()[-1])

    return ask


class Shell:
    """Runs commands in a home of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HPO_", "RAY_"))},
            "HPO_HOME": str(home),
            "HPO_PORT": str(free_port()),
            "HPO_DASHBOARD_PORT": str(free_port()),
        }

    def __call__(self, *command: str, code: int = 0, cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
        program = str(BIN / command[0])  # not on the PATH, as where the environment isn't activated
        done = subprocess.run(
            [program, *command[1:]],
            env={**self.environment, **more},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *command: str) -> Any:
        return json.loads(self(*command, "--json").stdout)

    def processes(self) -> list[psutil.Process]:
        """What runs for this home: Ray's processes carry its folder's name, the service its HPO_HOME."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HPO_HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The service and its cluster, as `hpo up` starts them; three logical CPUs, whatever the machine has."""
    shell = Shell(tmp_path_factory.mktemp("service"))
    shell("hpo", "up", "--num-cpus", "3")
    try:
        yield shell
    finally:
        shell("hpo", "down")
        left = [process.cmdline() for process in shell.processes()]
        assert left == [], "hpo down has left processes behind"
