"""`hpo doctor`: what it finds wrong, and that it changes nothing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.schemas.service import Part, ReadyAnswer
from api.settings import Settings
from cluster.jobs import Jobs
from hpo.errors import ClusterError
from hpo.protocols import Store
from hpo.store import migrations
from hpo.trial import StudyState
from tests.api.doctor.conftest import Doctor, RayDashboard, Usage, new, save, stray


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
