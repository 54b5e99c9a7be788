"""Jobs on a Ray cluster, through its dashboard. Ray is imported with the first job that is submitted."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpo.errors import ClusterError

_ENVIRONMENT = threading.Lock()

MAX_NODES = 10_000
"""As many as Ray gives at once."""
WAIT_SECONDS = 45.0
"""How long a driver waits for the one before it to be gone: longer than a lease lasts."""


def driver_entrypoint(study: str) -> str:
    """The command that runs a stored study; on a single machine with the very Python that serves."""
    return f"{shlex.quote(sys.executable)} -m hpo.driver {shlex.quote(study)} --wait {WAIT_SECONDS:g}"


class Jobs:
    """Submits, watches and stops jobs. All methods raise ClusterError. Safe to use from several threads.

    Ray's own client submits (it uploads working folders), but it has no time limits and lets RAY_ADDRESS override
    its argument; so the rest goes over the documented REST API of Ray Jobs.
    """

    def __init__(self, address: str, token: str | None = None, *, timeout_seconds: float = 5.0) -> None:
        """`address` is the dashboard's, such as http://127.0.0.1:8265."""
        self.address = (address if "://" in address else f"http://{address}").rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout_seconds
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ping(self) -> str:
        """Ray's version on the cluster."""
        self._request("GET", "/api/jobs/")  # a token that isn't the cluster's is found here
        return str(self._request("GET", "/api/version").get("ray_version", ""))

    def submit(
        self,
        submission_id: str,
        entrypoint: str,
        *,
        env: Mapping[str, str] | None = None,
        working_dir: Path | None = None,
    ) -> None:
        """Start a job under an id of ours. The same id once more changes nothing: a job runs once."""
        self.ping()  # within our time limit; Ray's client has none
        runtime_env: dict[str, Any] = {"env_vars": dict(env or {})}
        if working_dir is not None:
            runtime_env["working_dir"] = str(working_dir)
        from ray.job_submission import JobSubmissionClient

        try:
            with _without("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
                client = JobSubmissionClient(self.address, headers=dict(self._headers))
            client.submit_job(entrypoint=entrypoint, submission_id=submission_id, runtime_env=runtime_env)
        except Exception as error:  # Ray raises RuntimeError, ValueError, ConnectionError and requests' own
            if self.status(submission_id) is not None:
                return
            raise ClusterError(f"Ray at {self.address} refused job {submission_id}: {_short(error)}") from error

    def status(self, submission_id: str) -> str | None:
        """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED; None where the cluster knows no such job."""
        answer = self._request("GET", f"/api/jobs/{urllib.parse.quote(submission_id, safe='')}", missing_ok=True)
        return str(answer["status"]) if answer else None

    def statuses(self) -> dict[str, str]:
        """The status of every job that was submitted under an id, by its id."""
        jobs = self._answer("GET", "/api/jobs/", missing_ok=False)
        found = [job for job in (jobs if isinstance(jobs, list) else []) if job.get("submission_id")]
        return {str(job["submission_id"]): str(job["status"]) for job in found}

    def message(self, submission_id: str) -> str:
        """What Ray says about the job, such as why its driver ended."""
        answer = self._request("GET", f"/api/jobs/{urllib.parse.quote(submission_id, safe='')}", missing_ok=True)
        return str((answer or {}).get("message") or "")

    def exit_code(self, submission_id: str) -> int | None:
        """What the job's command ended with; None while it runs, or where Ray doesn't know."""
        answer = self._request("GET", f"/api/jobs/{urllib.parse.quote(submission_id, safe='')}", missing_ok=True)
        code = answer.get("driver_exit_code")
        return code if isinstance(code, int) else None

    def nodes(self) -> list[dict[str, float]]:
        """What each node that is alive has in all, such as {"CPU": 8.0, "GPU": 1.0}."""
        answer = self._request("GET", f"/api/v0/nodes?detail=true&limit={MAX_NODES}")
        found = answer.get("data", {}).get("result", {}).get("result", [])
        return [dict(node.get("resources_total") or {}) for node in found if node.get("state") == "ALIVE"]

    def held(self) -> dict[str, float]:
        """What of all nodes' CPUs and GPUs somebody holds, as of some seconds ago; empty where Ray doesn't say, as on a
        cluster without Ray's own monitor."""
        status = (self._request("GET", "/api/cluster_status").get("data") or {}).get("clusterStatus") or {}
        usage = (status.get("loadMetricsReport") or {}).get("usage") or {}
        return {kind: float(usage[kind][0]) for kind in ("CPU", "GPU") if kind in usage}

    def placed(self) -> dict[str, dict[str, float]]:
        """What the worker groups of each job hold in all, such as {"CPU": 2.0}, by the id under which the job was
        submitted; "" stands for the jobs without one."""
        answer = self._request("GET", f"/api/v0/placement_groups?detail=true&limit={MAX_NODES}")
        groups = answer.get("data", {}).get("result", {}).get("result", [])
        found: dict[str, dict[str, float]] = {}
        jobs = self._submitted() if groups else {}
        for group in groups:
            if group.get("state") != "CREATED":
                continue
            of_job = found.setdefault(jobs.get(str(group.get("creator_job_id")), ""), {})
            for bundle in group.get("bundles") or ():
                for kind, number in (bundle.get("unit_resources") or {}).items():
                    of_job[kind] = of_job.get(kind, 0.0) + float(number)
        return found

    def _submitted(self) -> dict[str, str]:
        """The ids under which jobs were submitted, by those that Ray has given them."""
        jobs = self._answer("GET", "/api/jobs/", missing_ok=False)
        found = [job for job in (jobs if isinstance(jobs, list) else []) if job.get("submission_id")]
        return {str(job.get("job_id")): str(job["submission_id"]) for job in found}

    def stop(self, submission_id: str) -> bool:
        """Ask a job to end; whether it was running. False where the cluster knows no such job."""
        path = f"/api/jobs/{urllib.parse.quote(submission_id, safe='')}/stop"
        answer = self._request("POST", path, missing_ok=True)
        return bool(answer and answer.get("stopped"))

    def logs(self, submission_id: str) -> str:
        """All that the job has printed; empty where the cluster knows no such job."""
        path = f"/api/jobs/{urllib.parse.quote(submission_id, safe='')}/logs"
        answer = self._request("GET", path, missing_ok=True)
        return str((answer or {}).get("logs") or "")

    def _request(self, method: str, path: str, *, missing_ok: bool = False) -> dict[str, Any]:
        answer = self._answer(method, path, missing_ok=missing_ok)
        return answer if isinstance(answer, dict) else {}

    def _answer(self, method: str, path: str, *, missing_ok: bool) -> Any:
        request = urllib.request.Request(self.address + path, method=method, headers=self._headers)
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404 and missing_ok:
                return {}
            if error.code in (401, 403):
                raise ClusterError(
                    f"Ray at {self.address} refuses the token ({error.code}); "
                    "it must be the one that the cluster was started with ($HPO_HOME/ray_token, or HPO_RAY_TOKEN)"
                ) from None
            raise ClusterError(f"Ray at {self.address} answered {error.code} to {method} {path}") from None
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"Ray at {self.address} can't be reached ({_short(error)}); `hpo up` starts a cluster here"
            ) from None


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    with _ENVIRONMENT:
        kept = {name: os.environ.pop(name) for name in names if name in os.environ}
        try:
            yield
        finally:
            os.environ.update(kept)


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[-1] if lines else type(error).__name__)[:400]
