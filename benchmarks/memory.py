"""What a long study costs in memory: the driver's and the service's resident set while trivial trials come and go.

The driver is a process of its own (`python -m hpo.driver`), as a job of the service is, and so is the service (uvicorn
on 127.0.0.1), whose client walks through the pages of trials, shows the study and reads its events all the while. Each
second the resident sets (RSS) and the number of ended trials are noted. A slope is the least squares line of RSS on
ended trials from the thousandth trial (or the middle, in a short run) to the last; what comes before is start.
"""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from table import options, show  # noqa: E402

from api.client import Client  # noqa: E402
from cluster import local  # noqa: E402
from hpo.errors import ServiceError  # noqa: E402
from hpo.protocols import Store  # noqa: E402
from hpo.specfile import parse  # noqa: E402
from hpo.store import open_store  # noqa: E402
from hpo.trial import TrialState  # noqa: E402

STUDY = "long"
WARM = 1000
"""Trials until which memory may grow: what is imported and cached once is in place by then."""
SAMPLE_SECONDS = 1.0
MIB = 2**20
ENDED = (TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED)


@dataclass(frozen=True, slots=True)
class Sample:
    """The study at one moment."""

    at: float
    """Seconds."""
    ended: int
    """Trials."""
    requests: int
    """That the service has answered."""
    rss: Mapping[str, int]
    """Bytes of each process that is there."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How a process's memory went with the trials."""

    first: float
    """MiB at the first sample of the range."""
    last: float
    """MiB at its last."""
    slope: float
    """KB (1,000 bytes) a trial."""


def growth(samples: Sequence[Sample], process: str) -> Growth:
    """Over samples that all hold the process; at least two different numbers of trials."""
    rss = [sample.rss[process] for sample in samples]
    line = statistics.linear_regression([sample.ended for sample in samples], rss)
    return Growth(rss[0] / MIB, rss[-1] / MIB, line.slope / 1000)


def warm(samples: Sequence[Sample], num_trials: int) -> list[Sample]:
    """The samples that count: from trial WARM, or the middle of a short run, to the last trial but one.

    Not those after it: the driver frees what it holds while it ends.
    """
    first = min(WARM, num_trials // 2)
    return [sample for sample in samples if first <= sample.ended < num_trials]


class Poller(threading.Thread):
    """A client that asks the service all the time, as an open page or `hpo watch` does."""

    def __init__(self, client: Client, pause_seconds: float) -> None:
        super().__init__(name="poller", daemon=True)
        self.requests = 0
        self._client, self._pause = client, pause_seconds
        self._over = threading.Event()

    def run(self) -> None:
        follower = threading.Thread(target=self._follow, name="follower", daemon=True)
        follower.start()
        token = None
        while not self._over.is_set():
            self._client.study(STUDY)
            self._client.trials(STUDY, order_by="value", page_size=20)
            page = self._client.trials(STUDY, page_size=100, page_token=token)
            token = page.next_page_token
            self._client.best(STUDY)
            self.requests += 4
            self._over.wait(self._pause)
        follower.join(timeout=10)

    def _follow(self) -> None:
        """One stream of events for all of the study."""
        for _ in self._client.events(STUDY):
            if self._over.is_set():
                return

    def close(self) -> None:
        self._over.set()
        self.join(timeout=30)


def watch(driver: subprocess.Popen[bytes], service: psutil.Process, store: Store, poller: Poller) -> list[Sample]:
    """Note the memory each second until the driver has ended."""
    samples: list[Sample] = []
    own = psutil.Process(driver.pid)
    while driver.poll() is None:
        trials = store.counts(STUDY).trials
        ended = sum(trials.get(state, 0) for state in ENDED)
        processes = {"driver": own, "service": service}
        try:
            rss = {name: process.memory_info().rss for name, process in processes.items()}
        except psutil.NoSuchProcess:  # it has just ended
            break
        samples.append(Sample(time.monotonic(), ended, poller.requests, rss))
        time.sleep(SAMPLE_SECONDS)
    return samples


def start_service(environment: Mapping[str, str], port: int, token: str, log: Path) -> subprocess.Popen[bytes]:
    """The service as `hpo serve` runs it; returns when it answers."""
    settings = {**environment, "HPO_PORT": str(port), "HPO_HOST": "127.0.0.1", "HPO_TOKEN": token}
    with log.open("wb") as output:
        command = [sys.executable, "-m", "api.cli", "serve"]
        process = subprocess.Popen(command, env=settings, stdout=output, stderr=subprocess.STDOUT)
    with Client(f"http://127.0.0.1:{port}", token) as client:
        for _ in range(600):
            try:
                client.ready()
                return process
            except ServiceError:
                if process.poll() is not None:
                    break
                time.sleep(0.1)
    process.terminate()
    raise SystemExit(f"the service has not come up: {log.read_text(encoding='utf-8')[-2000:]}")


def run(num_trials: int, pause_seconds: float, folder: Path) -> list[Sample]:
    """The study with its service, driver and client; one sample a second."""
    url, storage, home = f"sqlite:///{folder / 'hpo.db'}", folder / "storage", folder / "home"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent)])  # so that all find the trainable
    environment = {**os.environ, "HPO_HOME": str(home), "HPO_DATABASE_URL": url, "HPO_STORAGE": str(storage)}
    dashboard, port = local._free_ports(2)
    head = local.up(home, dashboard_port=dashboard, num_cpus=2)
    store = open_store(url)
    children: list[subprocess.Popen[bytes]] = []
    try:
        specification = {
            "name": STUDY,
            "trainable": "tiny:train",
            "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
            "search": {"algorithm": "random"},
            "scheduler": {"algorithm": "fifo"},
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": num_trials, "steps_per_trial": 1},
            "concurrency": 2,
        }
        store.create_study(parse(specification), queued=False)
        token = secrets.token_urlsafe()
        service = start_service(environment, port, token, folder / "service.log")
        children.append(service)
        command = [sys.executable, "-m", "hpo.driver", STUDY]
        with (folder / "driver.log").open("wb") as log:
            driver = subprocess.Popen(
                command, env=environment | local.environment(head), stdout=log, stderr=subprocess.STDOUT
            )
        children.append(driver)
        with Client(f"http://127.0.0.1:{port}", token) as client:
            poller = Poller(client, pause_seconds)
            poller.start()
            samples = watch(driver, psutil.Process(service.pid), store, poller)
            poller.close()
        if driver.wait() != 0:
            raise SystemExit((folder / "driver.log").read_text(encoding="utf-8")[-3000:])
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(timeout=30)
        store.close()
        local.down(home)
    return samples


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--pause", type=float, default=0.5, metavar="S", help="between two rounds of the client")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-bench-") as name:
        samples = run(given.trials, given.pause, Path(name))
    counted = warm(samples, given.trials)
    seconds, trials = counted[-1].at - counted[0].at, counted[-1].ended - counted[0].ended
    requests = counted[-1].requests - counted[0].requests
    found = {process: growth(counted, process) for process in ("driver", "service")}
    between = f"{counted[0].ended} to {counted[-1].ended}"
    rows = [
        {
            "process": process,
            "trials": between,
            "first MiB": went.first,
            "last MiB": went.last,
            "KB a trial": went.slope,
        }
        for process, went in found.items()
    ]
    figures = {
        "driver_kb_a_trial": round(found["driver"].slope, 2),
        "service_kb_a_trial": round(found["service"].slope, 2),
        "trials_from": counted[0].ended,
        "trials_to": counted[-1].ended,
        "trials_a_second": round(trials / seconds, 1),
        "requests": requests,
        "samples": len(counted),
    }
    show("memory", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
