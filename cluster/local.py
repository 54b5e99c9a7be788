"""A real Ray head on this machine: up, status, down.

Everything listens on 127.0.0.1 only, and everything asks for a token. Ray takes some persuasion:

- `--node-ip-address 127.0.0.1` alone is not honoured on Linux: Ray replaces it by the machine's outward address, and
  the GCS, the raylet and the workers then listen on all interfaces. RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 says that no
  other node will ever join, and keeps Ray on the loopback. Whoever connects to the head needs it too.
- Worker ports are chosen by the system (0), since Ray otherwise claims 10002-19999 and refuses a dashboard there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster import processes
from hpo.errors import ClusterError

HOST = "127.0.0.1"
STATE_FILE = "cluster.json"
_heads: dict[int, subprocess.Popen[bytes]] = {}
"""Heads that this very process has started: `down` waits for them, so that they don't stay as zombies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCluster:
    """A head that `up` has started."""

    address: str
    """Of the GCS, for `ray.init`: `127.0.0.1:port`."""
    dashboard_url: str
    """Where jobs are submitted and the dashboard is."""
    pid: int
    """Of `ray start --block`; also the id of its session and process group."""
    started: float
    temp_dir: str
    token_path: str
    already_running: bool = False


@dataclass(frozen=True, slots=True)
class Down:
    """What `down` did."""

    was_running: bool
    num_ended: int


def token_path(home: Path) -> Path:
    return home / "ray_token"


def read_token(home: Path) -> str | None:
    """The token of the home's head, or None."""
    try:
        return token_path(home).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def environment(cluster: LocalCluster) -> dict[str, str]:
    """What a process needs in its environment to connect to the head by `ray.init()`, or by the `ray` command."""
    return {
        "RAY_ADDRESS": cluster.address,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": cluster.token_path,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def look(home: Path) -> LocalCluster | None:
    """The head that runs for this home, or None; nothing is changed."""
    cluster = _read_state(home)
    return cluster if cluster is not None and processes.is_alive(cluster.pid, cluster.started) else None


def status(home: Path) -> LocalCluster | None:
    """As `look`, and what a head whose process is gone has left behind is removed."""
    cluster = _read_state(home)
    if cluster is None:
        return None
    if processes.is_alive(cluster.pid, cluster.started):
        return cluster
    processes.end(None, cluster.temp_dir)  # what a head that died by itself left behind
    _forget(home, cluster)
    return None


def up(
    home: Path,
    *,
    dashboard_port: int = 8265,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    settings: Mapping[str, str] | None = None,
    timeout_seconds: float = 90.0,
) -> LocalCluster:
    """Start a head and wait until it takes jobs; harmless where one is running.

    `settings` come into the environment of every job (HPO_DATABASE_URL and the like; paths absolute). Raises
    ClusterError: a port is taken, Ray isn't installed, or the head doesn't come up.
    """
    home = home.absolute()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    running = status(home)
    if running is not None:
        return LocalCluster(**{**asdict(running), "already_running": True})
    _check_free(dashboard_port)
    token = _ensure_token(home)
    temp_dir = _temp_dir(home)
    gcs_port, client_port = _free_ports(2)
    command = [
        str(_ray_command()), "start", "--head", "--block", "--disable-usage-stats",
        "--node-ip-address", HOST, "--port", str(gcs_port),
        "--include-dashboard", "true", "--dashboard-host", HOST, "--dashboard-port", str(dashboard_port),
        "--dashboard-agent-listen-port", "0", "--ray-client-server-port", str(client_port),
        "--min-worker-port", "0", "--max-worker-port", "0", "--temp-dir", str(temp_dir),
    ]  # fmt: skip
    command += [] if num_cpus is None else ["--num-cpus", str(num_cpus)]
    command += [] if num_gpus is None else ["--num-gpus", str(num_gpus)]
    log = home / "ray.log"
    with log.open("wb") as output:
        head = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=home,
            env=_head_environment(home, settings or {}), start_new_session=True,
        )  # fmt: skip
    _heads[head.pid] = head
    cluster = LocalCluster(
        address=f"{HOST}:{gcs_port}", dashboard_url=f"http://{HOST}:{dashboard_port}", pid=head.pid,
        started=processes.start_time(head.pid), temp_dir=str(temp_dir), token_path=str(token_path(home)),
    )  # fmt: skip
    _write_state(home, cluster)  # at once: a `down` after Ctrl-C finds what to end
    try:
        _wait_until_ready(head, cluster, token, time.monotonic() + timeout_seconds)
    except ClusterError as error:
        down(home)
        raise ClusterError(f"{error}\n{_tail(log)}") from None
    except BaseException:
        down(home)
        raise
    return cluster


def down(home: Path, *, grace_seconds: float = 5.0) -> Down:
    """End every process of the home's head and remove its temporary folder; harmless where none is running."""
    home = home.absolute()
    cluster = _read_state(home)
    if cluster is None:
        return Down(False, 0)
    alive = processes.is_alive(cluster.pid, cluster.started)
    # The id of a session whose leader is gone may be another's by now: then only the folder's name tells.
    ended = processes.end(cluster.pid if alive else None, cluster.temp_dir, grace_seconds=grace_seconds)
    if ended.left:
        raise ClusterError(
            f"{len(ended.left)} processes of the Ray head outlived SIGKILL: {', '.join(map(str, ended.left))}; "
            "look at their state with ps, and run `hpo down` again"
        )
    _forget(home, cluster)
    if (head := _heads.pop(cluster.pid, None)) is not None:
        head.wait()
    return Down(alive, ended.num_ended)


def _head_environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    source = Path(__file__).resolve().parent.parent
    if source.name != "site-packages":  # run from a checkout: jobs must find hpo and models there, too
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(source), kept.get("PYTHONPATH", ""))))
    return kept | {
        # So that `ray job submit -- hpo run …` finds the hpo of this very environment.
        "PATH": os.pathsep.join(filter(None, (str(Path(sys.executable).parent), kept.get("PATH", "")))),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path(home)),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # else the dashboard's Train pages stay empty
        "OMP_NUM_THREADS": kept.get("OMP_NUM_THREADS", "1"),
        **settings,
    }


def _wait_until_ready(head: subprocess.Popen[bytes], cluster: LocalCluster, token: str, deadline: float) -> None:
    for path in ("/api/version", "/api/jobs/"):
        while not _answers(cluster.dashboard_url + path, token):
            if head.poll() is not None:
                raise ClusterError(f"the Ray head ended at once, with code {head.returncode}; its log ends:")
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the Ray head did not answer on {cluster.dashboard_url} in time; "
                    "is the machine very busy? Try again. Its log ends:"
                )
            time.sleep(0.2)


def _answers(url: str, token: str) -> bool:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy can't see our loopback
    try:
        with opener.open(request, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:  # URLError is one
        return False


def _ray_command() -> Path:
    command = Path(sys.executable).parent / "ray"
    if not command.exists():
        raise ClusterError(f"{command}: no such command; install Ray into this environment: pip install hpo")
    return command


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise ClusterError(
                f"port {port} is taken, but Ray's dashboard needs it; end the program that holds it "
                f"(ss -ltnp | grep :{port}), or set HPO_DASHBOARD_PORT to a free port"
            ) from None


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def _ensure_token(home: Path) -> str:
    if token := read_token(home):
        return token
    path = token_path(home)
    path.unlink(missing_ok=True)  # an empty one
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(token := secrets.token_hex(32))
    return token


def _temp_dir(home: Path) -> Path:
    """A fresh short folder: Ray puts sockets some 65 characters below it, and a socket's path has at most 107."""
    name = hashlib.sha256(str(home).encode()).hexdigest()[:10]
    path = Path(f"/tmp/hpo-ray-{os.getuid()}-{name}")
    if path.is_symlink() or (path.exists() and path.stat().st_uid != os.getuid()):
        raise ClusterError(f"{path} belongs to somebody else; remove it, or choose another HPO_HOME")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    return path


def _write_state(home: Path, cluster: LocalCluster) -> None:
    draft = home / f"{STATE_FILE}.new"
    draft.write_text(json.dumps(asdict(cluster), indent=1), encoding="utf-8")
    draft.replace(home / STATE_FILE)


def _read_state(home: Path) -> LocalCluster | None:
    try:
        return LocalCluster(**json.loads((home / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or not one of ours
        return None


def _forget(home: Path, cluster: LocalCluster) -> None:
    (home / STATE_FILE).unlink(missing_ok=True)
    if Path(cluster.temp_dir).name.startswith("hpo-ray-"):
        shutil.rmtree(cluster.temp_dir, ignore_errors=True)


def _tail(log: Path, num_lines: int = 12) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-num_lines:]) + f"\n  (all of it: {log})"
