"""`hpo doctor`: what it finds wrong, and that it changes nothing.

No Ray head runs here: an HTTP server gives the answers of Ray's dashboard that `cluster.jobs.Jobs` asks for.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.doctor import checkpoints, studies
from api.doctor.check import Check, duration, size
from api.schemas import Part, ReadyAnswer
from api.settings import Settings
from cluster.jobs import Jobs
from hpo import specfile
from hpo.errors import ClusterError
from hpo.protocols import Store
from hpo.store import migrations, open_store
from hpo.store.memory import MemoryStore
from hpo.trial import Checkpoint, StudyState

Usage = namedtuple("Usage", "total used free")
Doctor = Callable[[], dict[str, Check]]


# -- the world --------------------------------------------------------------------------------------------
class RayDashboard:
    """Answers as Ray's dashboard does (its REST API of jobs); `jobs` are its jobs' states by their ids."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                jobs: list[dict[str, Any]] = [
                    {"type": "SUBMISSION", "submission_id": job, "job_id": None, "status": status}
                    for job, status in world.jobs.items()
                ]
                jobs.append({"type": "DRIVER", "submission_id": None, "job_id": "01000000", "status": "RUNNING"})
                body = json.dumps({"/api/jobs/": jobs, "/api/version": {"ray_version": "2.60.0"}}[self.path]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def ray() -> Iterator[RayDashboard]:
    dashboard = RayDashboard()
    yield dashboard
    dashboard.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HPO_URL", "http://127.0.0.1:9")  # no service there
    monkeypatch.setenv("HPO_PORT", "0")  # and none that takes its port
    monkeypatch.setenv("HPO_DASHBOARD_PORT", "0")
    monkeypatch.setattr("api.cli.checks._torch", lambda settings: iter(()))  # loads for seconds
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 0, 10**12))
    return Settings()


@pytest.fixture
def doctor(home: Settings) -> Doctor:
    """What it finds wrong, by what it looked at; its exit code is checked on the way."""

    def ask() -> dict[str, Check]:
        done = CliRunner().invoke(app, ["doctor", "--json"])
        assert done.exit_code in (0, 1), done.output
        found = [Check(**check) for check in json.loads(done.output)]
        wrong = {check.what: check for check in found if not check.ok}
        assert done.exit_code == bool(wrong)
        assert all(check.remedy for check in wrong.values())
        return wrong

    return ask


@pytest.fixture
def at_home(home: Settings) -> Iterator[Store]:
    """The store of the home, which is open while the doctor looks."""
    with closing(open_store(home.database_url)) as opened:
        yield opened


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds go by at once."""
    real = time.time

    def pass_by(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return pass_by


def new(store: Store, spec: dict[str, Any], name: str, state: StudyState = StudyState.QUEUED) -> None:
    store.create_study(specfile.parse(spec | {"name": name}))
    if state is StudyState.STARTING:
        store.new_attempt(name, job_prefix=f"hpo-{name}")
    elif state is not StudyState.QUEUED:
        store.set_study_state(name, state)


def save(store: Store, folder: Path, study: str, step: int, *, size: int = 100) -> Path:
    """A checkpoint as a worker writes it, with its row."""
    path = stray(folder, study, step, size=size)
    lease = store.claim(study, holder="test", lease_seconds=60)
    row = Checkpoint(study=study, trial=0, step=step, path=str(path), size_bytes=size, recorded_at=1.0)
    store.write(lease, [row])
    return path


def stray(folder: Path, study: str, step: int, *, size: int = 100, trial: str = "00000") -> Path:
    """A checkpoint without a row."""
    path = folder / study / "trials-1" / trial / f"step-{step:06d}"
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "model.pt").write_bytes(bytes(size))
    return path


# -- the whole command ------------------------------------------------------------------------------------
def test_where_nothing_runs_yet_nothing_is_wrong_and_nothing_is_made(doctor: Doctor, home: Settings) -> None:
    assert doctor() == {}
    assert not home.home.exists()


def test_a_home_in_order_has_nothing_wrong_and_stays_as_it_is(
    doctor: Doctor, home: Settings, at_home: Store, spec: dict[str, Any], ray: RayDashboard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HPO_RAY_ADDRESS", ray.address)
    for name, state in (("a", StudyState.RUNNING), ("b", StudyState.STARTING), ("c", StudyState.QUEUED)):
        new(at_home, spec, name, state)
    save(at_home, home.storage, "a", 1)
    ray.jobs = {"hpo-b-1": "RUNNING", "hpo-old-1": "SUCCEEDED", "somebody-elses": "RUNNING"}

    def everything() -> list[tuple[str, str]]:
        files = sorted(path for path in home.home.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
        return [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]

    before = everything()
    assert doctor() == {}
    assert everything() == before


def test_everything_wrong_is_in_the_table_too(doctor: Doctor, home: Settings, at_home: Store) -> None:
    stray(home.storage, "gone", 1)
    done = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "300"})
    assert done.exit_code == 1
    [line] = [line for line in done.output.splitlines() if "stray checkpoints" in line]
    assert line.startswith("WRONG")


# -- database ---------------------------------------------------------------------------------------------
def test_an_older_schema_is_found_and_left_as_it_is(doctor: Doctor, home: Settings) -> None:
    migrations.upgrade(home.database_url)
    migrations.downgrade(home.database_url, "0001")
    wrong = doctor()
    assert list(wrong) == ["database"]
    assert f"schema 0001 is older than this version's, {migrations.head()}" in wrong["database"].found
    assert "hpo db upgrade" in wrong["database"].remedy
    assert doctor() == wrong


def test_a_newer_schema_is_found(doctor: Doctor, home: Settings) -> None:
    migrations.upgrade(home.database_url)
    with closing(sqlite3.connect(home.home / "hpo.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    wrong = doctor()
    assert list(wrong) == ["database"]
    assert "schema 9999 is newer" in wrong["database"].found


@pytest.mark.parametrize("address", ["postgresql://me:hunter2@127.0.0.1:1/hpo", "mysql://me:hunter2@h/d"])
def test_a_database_that_cant_be_reached_is_found(doctor: Doctor, monkeypatch: Any, address: str) -> None:
    monkeypatch.setenv("HPO_DATABASE_URL", address)
    wrong = doctor()
    assert list(wrong) == ["database"]
    assert "hunter2" not in str(wrong)


def test_a_file_that_is_no_database_is_found(doctor: Doctor, home: Settings) -> None:
    home.home.mkdir()
    (home.home / "hpo.db").write_text("no database" * 1000)
    assert "not a database" in doctor()["database"].found


# -- disk and cluster -------------------------------------------------------------------------------------
def test_a_disk_that_is_nearly_full_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 0, 10**9))
    assert set(doctor()) == {"home", "storage"}


def test_a_cluster_that_is_away_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_RAY_ADDRESS", "http://127.0.0.1:9")
    wrong = doctor()
    assert list(wrong) == ["cluster"]
    assert "HPO_RAY_ADDRESS" in wrong["cluster"].remedy


def test_what_a_dead_head_left_behind_is_left_to_hpo_up(doctor: Doctor, home: Settings, tmp_path: Path) -> None:
    home.home.mkdir()
    state = {"address": "127.0.0.1:9", "dashboard_url": "http://127.0.0.1:9", "pid": 2**22 + 1, "started": 1.0}
    state_file = home.home / "cluster.json"
    state_file.write_text(json.dumps(state | {"temp_dir": str(tmp_path / "hpo-ray-x"), "token_path": ""}))
    (tmp_path / "hpo-ray-x").mkdir()
    assert doctor() == {}
    assert state_file.exists()
    assert (tmp_path / "hpo-ray-x").exists()


def test_the_jobs_of_a_cluster_are_told_by_their_ids(ray: RayDashboard) -> None:
    ray.jobs = {"hpo-a-1": "RUNNING", "x": "FAILED"}
    assert Jobs(ray.address).statuses() == ray.jobs
    with pytest.raises(ClusterError):
        Jobs("http://127.0.0.1:9").statuses()


def test_a_part_of_the_service_that_is_down_is_found_with_its_own_remedy(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"store": Part(ok=True, detail="answers"), "controller": Part(ok=False, detail="silent for 90 s")}
    monkeypatch.setattr("api.client.Client.ready", lambda self: ReadyAnswer(ready=False, parts=parts))
    monkeypatch.setattr("api.client.Client.studies", lambda self, page_size: None)
    wrong = doctor()
    assert list(wrong) == ["service: controller"]
    assert wrong["service: controller"].found == "silent for 90 s"
    assert wrong["service: controller"].remedy.startswith("hpo down --keep-cluster, then hpo up")


# -- studies ----------------------------------------------------------------------------------------------
def test_studies_that_no_driver_holds_are_found_once_they_should_have_one(
    doctor: Doctor, at_home: Store, spec: dict[str, Any], ray: RayDashboard, later: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HPO_RAY_ADDRESS", ray.address)
    for name in ("expired", "held"):
        new(at_home, spec, name, StudyState.RUNNING)
    new(at_home, spec, "stuck", StudyState.STARTING)
    new(at_home, spec, "paused", StudyState.PAUSED)
    new(at_home, spec, "released", StudyState.RUNNING)
    at_home.claim("expired", holder="h", lease_seconds=30)
    at_home.claim("held", holder="h", lease_seconds=3000)
    ray.jobs = {"hpo-stuck-1": "PENDING"}
    later(20)
    assert doctor() == {}
    later(200)
    wrong = doctor()
    assert list(wrong) == ["leases"]
    found = wrong["leases"].found
    assert found.startswith("3 of 4 studies at work have no driver: ")
    assert "stuck (starting for 3 min, job hpo-stuck-1 is PENDING)" in found
    assert "expired (running, without a lease for 3 min, run by hpo run)" in found
    assert "released (running, without a lease for 3 min" in found
    assert "held" not in found


def test_a_study_that_waits_long_is_found(doctor: Doctor, at_home: Store, spec: dict[str, Any], later: Any) -> None:
    new(at_home, spec, "first")
    later(100)
    assert doctor() == {}
    later(1000)
    wrong = doctor()
    assert list(wrong) == ["queue"]
    assert "first has waited for 17 min: the service doesn't answer, so there is no controller" in wrong["queue"].found
    assert wrong["queue"].remedy == "hpo up"


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({}, "the service has no controller"),
        ({"controller": (False, "silent for 90 s"), "ray": (True, "")}, "the controller is silent for 90 s"),
        ({"controller": (True, ""), "ray": (False, "Ray is away")}, "Ray doesn't take jobs: Ray is away"),
        ({"controller": (True, ""), "ray": (True, "")}, "the controller and Ray answer, so it waits"),
    ],
)
def test_the_reason_why_a_study_waits_is_told(
    spec: dict[str, Any], later: Any, parts: dict[str, tuple[bool, str]], why: str
) -> None:
    store = MemoryStore()
    new(store, spec, "first")
    later(1000)
    said = {name: Part(ok=ok, detail=detail) for name, (ok, detail) in parts.items()}
    checks = {check.what: check for check in studies.check(store, ReadyAnswer(ready=False, parts=said), None)}
    assert not checks["queue"].ok
    assert why in checks["queue"].found
    assert checks["queue"].remedy
    assert "jobs" not in checks  # Ray wasn't asked


def test_a_job_of_no_study_at_work_is_found(
    doctor: Doctor, at_home: Store, spec: dict[str, Any], ray: RayDashboard, later: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HPO_RAY_ADDRESS", ray.address)
    new(at_home, spec, "at-work", StudyState.STARTING)
    new(at_home, spec, "done", StudyState.STARTING)
    at_home.set_study_state("done", StudyState.SUCCEEDED)
    new(at_home, spec, "again", StudyState.STARTING)
    at_home.new_attempt("again", job_prefix="hpo-again")
    running = ["hpo-at-work-1", "hpo-done-1", "hpo-again-1", "hpo-again-2", "hpo-unheard-of-3", "other"]
    ray.jobs = dict.fromkeys(running, "RUNNING") | {"hpo-long-ago-1": "FAILED"}
    wrong = doctor()
    assert list(wrong) == ["jobs"]
    assert wrong["jobs"].found.endswith("at work: hpo-again-1, hpo-unheard-of-3")
    later(70)  # the driver of the study that has ended should have ended too
    assert "hpo-done-1" in doctor()["jobs"].found
    assert "ray job stop" in doctor()["jobs"].remedy


# -- checkpoints ------------------------------------------------------------------------------------------
def test_folders_without_a_row_are_counted_by_study(
    doctor: Doctor, home: Settings, at_home: Store, spec: dict[str, Any]
) -> None:
    new(at_home, spec, "mine", StudyState.RUNNING)
    save(at_home, home.storage, "mine", 1)
    at_home.set_study_state("mine", StudyState.SUCCEEDED)
    first = stray(home.storage, "mine", 2, size=3_000_000)
    stray(home.storage, "mine", 3, size=2_000_000, trial="00001/generation-002")
    stray(home.storage, "gone", 1, size=1000)
    (home.storage / "mine" / "tune").mkdir()
    wrong = doctor()
    assert list(wrong) == ["stray checkpoints"]
    assert wrong["stray checkpoints"].found == (
        f"3 folders that no row names, 5.0 MB (mine: 2, 5.0 MB, gone (not in the database): 1, 1.0 kB), such as {first}"
    )


def test_what_a_study_at_work_has_just_written_is_not_stray(
    doctor: Doctor, home: Settings, at_home: Store, spec: dict[str, Any], later: Any
) -> None:
    new(at_home, spec, "mine", StudyState.RUNNING)
    at_home.claim("mine", holder="h", lease_seconds=10_000)
    half = home.storage / "mine" / "trials-1" / "00000" / ".step-000002-abc"
    half.mkdir(parents=True)
    stray(home.storage, "mine", 1)
    assert doctor() == {}
    later(1000)
    assert doctor()["stray checkpoints"].found.startswith("2 folders")


def test_rows_whose_folder_is_gone_are_counted_by_study(
    doctor: Doctor, home: Settings, at_home: Store, spec: dict[str, Any]
) -> None:
    new(at_home, spec, "mine", StudyState.RUNNING)
    for step in (1, 2, 3):
        path = save(at_home, home.storage, "mine", step, size=400)
    os.rename(path, home.home / "elsewhere")
    wrong = doctor()
    assert list(wrong) == ["lost checkpoints"]
    assert (
        wrong["lost checkpoints"].found
        == f"1 rows whose folder is gone, 400 bytes (mine: 1, 400 bytes), such as {path}"
    )
    os.rename(home.storage, home.home / "moved")
    assert f"3 rows whose folder is gone; {home.storage} is not there at all" in doctor()["lost checkpoints"].found


def test_a_checkpoint_that_its_driver_drops_meanwhile_is_not_lost(tmp_path: Path, spec: dict[str, Any]) -> None:
    class Dropping(MemoryStore):
        """Its driver drops the checkpoint as soon as its rows were read."""

        def checkpoints(self, study: str, *, trial: int | None = None) -> Any:
            found = super().checkpoints(study, trial=trial)
            for row in found:
                self.forget_checkpoints(lease, [row.path])
                Path(row.path).rename(tmp_path / "removed")
            return found

    store = Dropping()
    new(store, spec, "mine", StudyState.RUNNING)
    save(store, tmp_path / "storage", "mine", 1)
    lease = store.claim("mine", holder="test", lease_seconds=60)
    assert [check.ok for check in checkpoints.check(store, tmp_path / "storage")] == [True, True]


def test_figures_are_short() -> None:
    assert [size(number) for number in (0, 999, 1000, 2_340_000, 5 * 10**9)] == [
        "0 bytes", "999 bytes", "1.0 kB", "2.3 MB", "5.0 GB"
    ]  # fmt: skip
    assert [duration(seconds) for seconds in (1.4, 119, 180, 9000)] == ["1 s", "119 s", "3 min", "2.5 h"]
