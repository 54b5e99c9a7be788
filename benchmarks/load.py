"""A hundred clients of one service on PostgreSQL: what they wait for, and whether a write is lost or counts twice.

The service is one process (`hpo serve`), the server is a real PostgreSQL that waits for the disk, and the clients are
coroutines of this process; all of them share the machine. One study of 10,000 trials is there beforehand. For a minute
each client goes on like a worker that looks at a study now and then: it creates a study of its own (`engine = "ask"`),
asks for trials, reports each step of them and reads a page of 100 trials after it (by number, value, step or end, some
with a filter, going on from page to page), and cancels its study. Between two requests it waits, by an exponential
distribution of mean `--pause`: with 100 clients and 1 s that is 100 requests a second at most; `--pause 0` asks as
fast as answers come. One report in twenty is sent twice at once, as by a client whose connection broke.

Afterwards what was acknowledged is compared with what is stored: each study, each measurement with its value.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE.parent / "tests")]

import aiohttp  # noqa: E402
import psutil  # noqa: E402
from big_study import BIG, build  # noqa: E402
from postgres import running_postgres  # noqa: E402
from table import options, show  # noqa: E402

from api.client import Client  # noqa: E402
from cluster import local  # noqa: E402
from hpo.errors import ServiceError  # noqa: E402
from hpo.store import open_store  # noqa: E402
from hpo.trial import StudyState  # noqa: E402

STEPS = 5
TRIALS = 3
"""That a client takes of its study before it cancels it."""
RAMP_SECONDS = 5.0
"""Until all clients are at work."""
TWICE = 0.05
"""The share of reports that are sent twice."""
LISTS: tuple[dict[str, str], ...] = (
    {"order_by": "number"}, {"order_by": "value"}, {"order_by": "step desc"}, {"order_by": "ended_at desc"},
    {"order_by": "number desc", "filter": "state = stopped AND params.lr < 0.1"},
)  # fmt: skip


@dataclass(slots=True)
class Load:
    """What the clients saw."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """How long each kind of request took."""
    statuses: Counter[int] = field(default_factory=Counter)
    studies: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    reports: dict[tuple[str, int, int], float] = field(default_factory=dict)
    """The value that was acknowledged of a study's trial and step."""

    def __or__(self, other: Load) -> Load:
        """What was acknowledged in both."""
        return Load(
            studies=self.studies | other.studies, cancelled=self.cancelled | other.cancelled,
            reports=self.reports | other.reports,
        )  # fmt: skip


class Worker:
    """One client."""

    def __init__(self, http: aiohttp.ClientSession, load: Load, name: str, pause: float, until: float) -> None:
        self._http, self._load, self._name, self._pause, self._until = http, load, name, pause, until
        self._draw = random.Random(name)
        self._list: dict[str, str] = dict(self._draw.choice(LISTS))

    @property
    def _is_over(self) -> bool:
        return time.monotonic() > self._until

    async def run(self) -> None:
        await asyncio.sleep(self._draw.random() * RAMP_SECONDS)
        for turn in range(1_000_000):
            if self._is_over:
                return
            await self._study(f"{self._name}-{turn}")

    async def _study(self, name: str) -> None:
        spec = {
            "name": name, "engine": "ask", "parameters": {"lr": {"type": "float", "low": 0, "high": 1}},
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": 100, "steps_per_trial": STEPS},
        }  # fmt: skip
        if await self._ask("create", "POST", "/v1/studies", {"spec": spec}) is None:
            return
        self._load.studies.add(name)
        for _ in range(TRIALS):
            if self._is_over:
                break
            found = await self._ask("suggest", "POST", f"/v1/studies/{name}/trials:suggest", {"client_id": "w"})
            for trial in (found or {}).get("trials", []):
                await self._train(name, trial)
        if await self._ask("cancel", "POST", f"/v1/studies/{name}:cancel") is not None:
            self._load.cancelled.add(name)

    async def _train(self, study: str, trial: dict[str, Any]) -> None:
        for step in range(1, STEPS + 1):
            value = self._draw.random()
            body = {"lease": trial["lease"], "step": step, "metrics": {"loss": value, "accuracy": 1 - value}}
            times = 2 if self._draw.random() < TWICE else 1
            path = f"/v1/studies/{study}/trials/{trial['number']}:report"
            told = await asyncio.gather(*(self._ask("report", "POST", path, body) for _ in range(times)))
            if any(answer is not None for answer in told):
                self._load.reports[study, trial["number"], step] = value
            page = await self._ask("page", "GET", f"/v1/studies/{BIG}/trials", query={"page_size": "100", **self._list})
            self._list = dict(self._draw.choice(LISTS))
            if page is not None and page["next_page_token"] and self._draw.random() < 0.8:
                self._list = {**self._asked, "page_token": page["next_page_token"]}
            if self._is_over:
                return

    async def _ask(
        self, kind: str, method: str, path: str, body: object = None, query: dict[str, str] | None = None
    ) -> Any:
        """The answer; None where it was refused, which is counted."""
        if kind == "page":
            self._asked = {key: value for key, value in (query or {}).items() if key != "page_token"}
        if self._pause:
            await asyncio.sleep(self._draw.expovariate(1 / self._pause))
        headers = {"Idempotency-Key": secrets.token_hex(8)} if method == "POST" else {}
        start = time.perf_counter()
        async with self._http.request(method, path, json=body, params=query, headers=headers) as answer:
            found = await answer.json()
        self._load.seconds[kind].append(time.perf_counter() - start)
        self._load.statuses[answer.status] += 1
        if answer.status >= 400:
            print(f"{method} {path}: {answer.status} {found.get('detail')}", file=sys.stderr)
            return None
        return found


async def drive(url: str, token: str, load: Load, name: str, *, clients: int, seconds: float, pause: float) -> None:
    # The server closes a connection that was idle for 5 s; not in the moment in which it is used again.
    connector = aiohttp.TCPConnector(limit=2 * clients, keepalive_timeout=3)
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector, timeout=timeout) as http:
        until = time.monotonic() + seconds
        await asyncio.gather(*(Worker(http, load, f"{name}-{number}", pause, until).run() for number in range(clients)))


@contextmanager
def service(database: str, folder: Path) -> Iterator[tuple[str, str, psutil.Process]]:
    """`hpo serve` on a free port: its address, token and process. There is no cluster, and no study asks for one."""
    [port] = local._free_ports(1)
    token, address = secrets.token_urlsafe(), f"http://127.0.0.1:{port}"
    settings = {
        **os.environ, "HPO_HOME": str(folder), "HPO_DATABASE_URL": database, "HPO_PORT": str(port), "HPO_TOKEN": token,
        "PYTHONPATH": str(HERE.parent),
    }  # fmt: skip
    log = folder / "service.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "api.cli", "serve"]
        process = subprocess.Popen(command, env=settings, stdout=output, stderr=subprocess.STDOUT)
    try:
        with Client(address, token) as client:
            for _ in range(300):
                with suppress(ServiceError):
                    client.ready()
                    break
                if process.poll() is not None:
                    raise SystemExit(log.read_text(encoding="utf-8")[-2000:])
                time.sleep(0.1)
        yield address, token, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)
        if errors := [line for line in log.read_text(encoding="utf-8").splitlines() if "Traceback" in line]:
            print(f"{len(errors)} tracebacks in the service's log:\n{log.read_text()[-3000:]}", file=sys.stderr)


def compare(database: str, load: Load) -> dict[str, int]:
    """How many acknowledged writes are not stored, and how many are stored that were not acknowledged, or twice."""
    found: Counter[tuple[str, int, int]] = Counter()
    wrong = 0
    with closing(open_store(database)) as store:
        token, names, states = None, [], {}
        while True:
            page = store.studies(page_size=1000, page_token=token)
            names += [study.name for study in page.items if study.name != BIG]
            states |= {study.name: study.state for study in page.items}
            token = page.next_page_token
            if token is None:
                break
        waiting = {name for name in load.cancelled if not states[name].is_final}
        until = time.monotonic() + 120  # a cancelled study ends when its trials have
        while waiting and time.monotonic() < until:
            waiting = {name for name in waiting if not store.study(name).state.is_final}
            time.sleep(0.2)
        ends = {name: store.study(name).state for name in load.cancelled}
        for name in [name for name, end in ends.items() if end is not StudyState.CANCELLED][:3]:
            print(name, ends[name], [(e.kind, dict(e.data)) for e in store.events(name)][-6:], file=sys.stderr)
        for name in names:
            reports = store.measurements(name, page_size=1000).items
            found.update((name, report.trial, report.step) for report in reports)
            wrong += sum(
                load.reports.get((name, report.trial, report.step)) != report.metrics["loss"] for report in reports
            )
            wrong += store.counts(name).steps != len(reports)
    return {
        "lost": len(load.reports.keys() - found.keys()) + len(load.studies - set(names)),
        "doubled": sum(count - 1 for count in found.values())
        + len(found.keys() - load.reports.keys())
        + len(names)
        - len(set(names))
        + len(set(names) - load.studies),
        "wrong": wrong,
        "not_cancelled": sum(end is not StudyState.CANCELLED for end in ends.values()),
    }


def p95(seconds: list[float]) -> float:
    """In milliseconds."""
    return 1000 * statistics.quantiles(seconds, n=20)[-1]


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--pause", type=float, default=1.0, metavar="S", help="of a client between two requests, mean")
    parser.add_argument("--trials", type=int, default=10_000, help="of the study that is read")
    parser.add_argument("--steps", type=int, default=1, help="of each of them; 100 makes a million measurements")
    given = parser.parse_args()
    with running_postgres(durable=True) as server, tempfile.TemporaryDirectory(prefix="hpo-bench-") as folder:
        database = server.create_database()
        build(database, trials=given.trials, steps=given.steps)
        with service(database, Path(folder)) as (url, token, process):
            load, warm = Load(), Load()
            asyncio.run(drive(url, token, warm, "warm", clients=10, seconds=5, pause=0.1))
            before = process.memory_info().rss
            cpu, start = process.cpu_times(), time.perf_counter()
            asyncio.run(
                drive(url, token, load, "load", clients=given.clients, seconds=given.seconds, pause=given.pause)
            )
            after, seconds = process.cpu_times(), time.perf_counter() - start
            rss = process.memory_info().rss
            faults = compare(database, load | warm)
    requests = sum(len(each) for each in load.seconds.values())
    rows = [
        {
            "request": kind, "number": len(each), "a second": round(len(each) / seconds, 1),
            "median ms": round(1000 * statistics.median(each), 1), "p95 ms": round(p95(each), 1),
            "p99 ms": round(1000 * statistics.quantiles(each, n=100)[-1], 1),
        }
        for kind, each in sorted(load.seconds.items())
    ]  # fmt: skip
    figures = {
        "p95_ms": round(p95(load.seconds["page"]), 1),
        "errors_5xx": sum(count for status, count in load.statuses.items() if status >= 500),
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
        **faults,
        "reports": len(load.reports), "requests_a_second": round(requests / seconds, 1), "clients": given.clients,
        "pause_seconds": given.pause, "seconds": round(seconds, 1),
        "cpu_ms_a_request": round(1000 * (after.user + after.system - cpu.user - cpu.system) / requests, 2),
        "cores_of_the_service": round((after.user + after.system - cpu.user - cpu.system) / seconds, 2),
        "rss_mib_before": round(before / 2**20, 1), "rss_mib_after": round(rss / 2**20, 1),
        "load_average": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    show("load", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
