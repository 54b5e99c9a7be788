"""The processes of one Ray head: finding them all, and ending them.

A head's processes don't stay in one process group: every worker leads its own, and a job's driver its own session.
So a process is the head's if it is in the session that we started, or descends from one that is, or names the head's
temporary folder in its command line.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

import psutil

_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess)


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt to end processes went."""

    num_ended: int
    left: tuple[int, ...]
    """Process ids that outlived SIGKILL."""


def is_alive(pid: int, started: float | None = None) -> bool:
    """Whether the process runs and, where its start is known, is still the same one (ids are used again)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return started is None or abs(process.create_time() - started) < 2.0
    except _GONE:
        return False


def start_time(pid: int) -> float:
    """When the process started, in seconds since the epoch."""
    return float(psutil.Process(pid).create_time())


def of_head(session: int | None, temp_dir: str) -> list[psutil.Process]:
    """All living processes of the head whose session id and temporary folder these are; never this process."""
    found: dict[int, psutil.Process] = {}
    everything = list(psutil.process_iter())
    for process in everything:
        with contextlib.suppress(*_GONE, ProcessLookupError):
            in_session = session is not None and os.getsid(process.pid) == session
            if in_session or _names(process, temp_dir):
                found[process.pid] = process
    for process in list(found.values()):
        with contextlib.suppress(*_GONE):
            found |= {child.pid: child for child in process.children(recursive=True)}
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for pid, process in found.items() if pid not in ours and is_alive(pid)]


def _names(process: psutil.Process, temp_dir: str) -> bool:
    return any(f"{temp_dir}/" in word or word == temp_dir for word in process.cmdline())


def end(session: int | None, temp_dir: str, *, grace_seconds: float = 5.0) -> Ended:
    """SIGTERM to all processes of a head, SIGKILL to those left after the grace, until none is left."""
    seen: set[int] = set()
    deadline = time.monotonic() + grace_seconds
    give_up = deadline + 10.0
    asked: set[int] = set()
    while processes := of_head(session, temp_dir):
        seen |= {process.pid for process in processes}
        late = time.monotonic() >= deadline
        for process in processes:
            with contextlib.suppress(*_GONE):
                if late:
                    process.kill()
                elif process.pid not in asked:
                    asked.add(process.pid)
                    process.terminate()
        if time.monotonic() >= give_up:
            break
        psutil.wait_procs(processes, timeout=0.2)  # also reaps those that are our own children
    return Ended(len(seen) - len(processes), tuple(process.pid for process in processes))


def listening(session: int | None, temp_dir: str) -> list[tuple[str, int]]:
    """The addresses and ports on which a head's processes listen."""
    addresses: set[tuple[str, int]] = set()
    for process in of_head(session, temp_dir):
        with contextlib.suppress(*_GONE):
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    addresses.add((connection.laddr.ip, connection.laddr.port))
    return sorted(addresses)
