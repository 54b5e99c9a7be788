"""A real Ray head: up, a job, down, and nothing left."""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ports import free_port

from cluster import local, processes
from cluster.jobs import Jobs
from hpo.errors import ClusterError


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    local.down(tmp_path / "home")


def _wait_for(jobs: Jobs, submission_id: str) -> str | None:
    deadline = time.monotonic() + 60
    while (status := jobs.status(submission_id)) in ("PENDING", "RUNNING") and time.monotonic() < deadline:
        time.sleep(0.1)
    return status


@pytest.mark.ray
@pytest.mark.slow
def test_a_head_comes_up_confined_runs_jobs_and_leaves_nothing(home: Path, tmp_path: Path) -> None:
    port = free_port()
    head = local.up(home, dashboard_port=port, num_cpus=1, settings={"HPO_STORAGE": "/from/up"})
    assert not head.already_running
    assert local.up(home, dashboard_port=port).already_running
    assert local.status(home) == head

    listening = processes.listening(head.pid, head.temp_dir)
    assert ("127.0.0.1", port) in listening
    assert {host.removeprefix("::ffff:") for host, _ in listening} == {"127.0.0.1"}

    assert (home / "ray_token").stat().st_mode & 0o777 == 0o600
    for path in ("/api/version", "/api/jobs/", "/nodes?view=summary"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(head.dashboard_url + path, timeout=10)
        assert refused.value.code == 401
        refused.value.close()
    with pytest.raises(ClusterError, match="refuses the token"):
        Jobs(head.dashboard_url, "wrong").ping()

    jobs = Jobs(head.dashboard_url, local.read_token(home))
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "job.py").write_text(
        "import os, ray, hpo.driver\nray.init(address='auto')\n"
        "print(os.environ['HPO_STORAGE'], os.environ['HPO_HOME'], os.environ['RAY_TRAIN_ENABLE_STATE_TRACKING'])\n"
    )
    command = f"{sys.executable} job.py"
    jobs.submit("hpo-test-1", command, env={"HPO_HOME": "/from/job"}, working_dir=folder)
    jobs.submit("hpo-test-1", command)  # the same once more changes nothing
    assert _wait_for(jobs, "hpo-test-1") == "SUCCEEDED", jobs.logs("hpo-test-1")
    assert "/from/up /from/job 1" in jobs.logs("hpo-test-1")
    assert jobs.exit_code("hpo-test-1") == 0
    jobs.submit("hpo-test-4", "sh -c 'exit 3'")
    assert _wait_for(jobs, "hpo-test-4") == "FAILED"
    assert jobs.exit_code("hpo-test-4") == 3

    jobs.submit("hpo-test-2", "sleep 1000")
    deadline = time.monotonic() + 30
    while jobs.status("hpo-test-2") != "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert jobs.stop("hpo-test-2")
    assert _wait_for(jobs, "hpo-test-2") == "STOPPED"
    assert (jobs.status("nobody"), jobs.logs("nobody"), jobs.stop("nobody")) == (None, "", False)

    jobs.submit("hpo-test-3", "sleep 1001")  # a job's own session must not outlive the head
    while jobs.status("hpo-test-3") != "RUNNING" and time.monotonic() < deadline + 30:
        time.sleep(0.1)
    done = local.down(home)
    assert done.was_running
    assert done.num_ended > 5
    assert processes.of_head(head.pid, head.temp_dir) == []
    assert not any("sleep 1001" in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
    assert not Path(head.temp_dir).exists()
    assert local.status(home) is None
    assert local.down(home) == local.Down(False, 0)
    with pytest.raises(ClusterError, match="can't be reached"):
        jobs.ping()


def test_a_port_that_is_taken_is_told_with_the_remedy(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ClusterError, match="HPO_DASHBOARD_PORT"):
            local.up(home, dashboard_port=taken.getsockname()[1])
    assert local.status(home) is None


def test_a_state_file_of_a_head_that_is_gone_is_forgotten(home: Path) -> None:
    home.mkdir()
    folder = local._temp_dir(home)
    stale = local.LocalCluster(
        address="127.0.0.1:1", dashboard_url="http://127.0.0.1:1", pid=os.getpid(), started=1.0,
        temp_dir=str(folder), token_path=str(home / "ray_token"),
    )  # fmt: skip
    local._write_state(home, stale)  # the id is in use again, by a process that started later
    assert local.status(home) is None
    assert not (home / local.STATE_FILE).exists()
    assert not folder.exists()


def test_a_state_file_that_is_garbled_counts_as_none(home: Path) -> None:
    home.mkdir()
    (home / local.STATE_FILE).write_text("{")
    assert local.status(home) is None
    assert local.down(home) == local.Down(False, 0)


def test_a_head_that_does_not_start_is_told_with_the_end_of_its_log(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "ray"
    broken.write_text("#!/bin/sh\necho the reason\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(local, "_ray_command", lambda: broken)
    with pytest.raises(ClusterError, match=r"with code 3(.|\n)*the reason"):
        local.up(home, dashboard_port=free_port())
    assert local.status(home) is None


def test_sockets_below_the_temporary_folder_stay_short() -> None:
    folder = local._temp_dir(Path("/" + "long" * 60))
    try:
        assert len(f"{folder}/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store") <= 107
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        folder.rmdir()
