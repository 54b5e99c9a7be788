"""A hundred who follow one study: how soon they hear what happens, and what that costs the service.

The study has 5,000 events when the listeners come; each is replayed all of them. Then a driver writes 50 events a
second for 20 s, and each listener notes how long after it was recorded it has heard an event. One service on SQLite,
all on this machine; the listeners are coroutines of this process.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE.parent / "tests")]

import aiohttp  # noqa: E402
from load import p95, service  # noqa: E402
from reports import specification  # noqa: E402
from table import options, show  # noqa: E402

from hpo.protocols import Store  # noqa: E402
from hpo.store import open_store  # noqa: E402
from hpo.trial import Event, Lease, StudyState  # noqa: E402

STUDY = "followed"
WAITING, SECONDS, EACH = 5000, 20.0, 10
"""Events before, how long they go on, and how many come together, five times a second."""


def happen(store: Store, lease: Lease, count: int) -> None:
    now = time.time()
    store.write(lease, [
        Event(study=STUDY, kind="trial.reported", trial=n, data={"step": n, "value": 0.5}, recorded_at=now)
        for n in range(count)
    ])  # fmt: skip


async def listen(http: aiohttp.ClientSession, replayed: list[float], lags: list[float], counts: list[int]) -> None:
    start, count = time.perf_counter(), 0
    async with http.get(f"/v1/studies/{STUDY}/events", headers={"Last-Event-ID": "0"}) as answer:
        async for line in answer.content:
            if not line.startswith(b"data:"):
                continue
            count += 1
            if count == WAITING:
                replayed.append(time.perf_counter() - start)
            elif count > WAITING + 1:  # study.created was one of them
                lags.append(time.time() - json.loads(line[5:])["recorded_at"])
    counts.append(count)


async def scene(url: str, token: str, store: Store, lease: Lease, listeners: int) -> tuple[list[float], list[float]]:
    replayed: list[float] = []
    lags: list[float] = []
    counts: list[int] = []
    headers, timeout = {"Authorization": f"Bearer {token}"}, aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, headers=headers, timeout=timeout, connector=connector) as http:
        tasks = [asyncio.create_task(listen(http, replayed, lags, counts)) for _ in range(listeners)]
        while len(replayed) < listeners:
            await asyncio.sleep(0.05)
        for _ in range(int(SECONDS * 5)):
            await asyncio.to_thread(happen, store, lease, EACH)
            await asyncio.sleep(0.2)
        store.set_study_state(STUDY, StudyState.SUCCEEDED)
        await asyncio.gather(*tasks)
    # study.created came before those that waited.
    assert set(counts) == {WAITING + 1 + int(SECONDS * 5) * EACH + 1}, f"not all have heard all: {set(counts)}"
    return replayed, lags


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--listeners", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-bench-") as folder:
        database = f"sqlite:///{folder}/hpo.db"
        with closing(open_store(database)) as store:
            store.create_study(specification(STUDY, trials=10, steps=10), queued=False)
            lease = store.claim(STUDY, holder="driver", lease_seconds=600)
            happen(store, lease, WAITING)
            with service(database, Path(folder)) as (url, token, process):
                threads = -process.num_threads()
                before, start = process.cpu_times(), time.perf_counter()
                replayed, lags = asyncio.run(scene(url, token, store, lease, given.listeners))
                after, seconds = process.cpu_times(), time.perf_counter() - start
                threads += process.num_threads()
    cpu = after.user + after.system - before.user - before.system
    rows = [
        {
            "listeners": given.listeners, "5,000 replayed to the last, s": round(max(replayed), 1),
            "heard after, median ms": round(1000 * statistics.median(lags)), "p95 ms": round(p95(lags)),
            "worst ms": round(1000 * max(lags)), "threads more": threads, "the service's CPU, s": round(cpu, 1),
            "of s": round(seconds, 1),
        }
    ]  # fmt: skip
    figures = {
        "p95_ms": round(p95(lags)), "replay_seconds": round(max(replayed), 1), "cpu_seconds": round(cpu, 1),
        "listeners": given.listeners, "heard": len(lags),
    }  # fmt: skip
    show("events", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
