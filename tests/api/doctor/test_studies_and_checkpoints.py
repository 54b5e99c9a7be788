"""`hpo doctor`: what it finds wrong with studies and their checkpoints."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from api.doctor import checkpoints, studies
from api.doctor.check import size
from api.schemas.service import Part, ReadyAnswer
from api.settings import Settings
from hpo.protocols import Store
from hpo.store.memory import MemoryStore
from hpo.trial import StudyState, Waiting, WaitReason
from tests.api.doctor.conftest import Doctor, RayDashboard, new, save, stray


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
    assert re.search(r"stuck \(starting for 3 min \d+ s, job hpo-stuck-1 is PENDING\)", found)
    assert re.search(r"expired \(running, without a lease for 2 min \d+ s, run by hpo run\)", found)
    assert "released (running, without a lease for 3 min" in found
    assert "held" not in found


def test_a_study_that_waits_long_is_found(doctor: Doctor, at_home: Store, spec: dict[str, Any], later: Any) -> None:
    new(at_home, spec, "first")
    later(100)
    assert doctor() == {}
    later(1000)
    wrong = doctor()
    assert list(wrong) == ["queue"]
    why = "the service doesn't answer, so there is no controller"
    assert re.search(rf"first has waited for 16 min \d+ s: {why}", wrong["queue"].found)
    assert wrong["queue"].remedy == "hpo up"


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({}, "the service has no controller"),
        ({"controller": (False, "silent for 90 s"), "ray": (True, "")}, "the controller is silent for 90 s"),
        ({"controller": (True, ""), "ray": (False, "Ray is away")}, "Ray doesn't take jobs: Ray is away"),
        ({"controller": (True, ""), "ray": (True, "")}, "the controller and Ray answer, so it is refused"),
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


@pytest.mark.parametrize(
    ("waiting", "ray_ok", "ok", "found"),
    [
        (Waiting(WaitReason.SHARE, "…"), True, True, "1 studies queued, 1 of them for their turn"),
        (Waiting(WaitReason.SHARE, "…"), False, False, "Ray doesn't take jobs"),
        (Waiting(WaitReason.TOO_LARGE, "a trial needs 64 CPUs"), True, False, "s: a trial needs 64 CPUs"),
    ],
)
def test_one_that_waits_for_its_turn_is_nobodys_fault(
    spec: dict[str, Any], later: Any, waiting: Waiting, ray_ok: bool, ok: bool, found: str
) -> None:
    store = MemoryStore()
    new(store, spec, "first")
    store.allot("first", share=0, waiting=waiting)
    later(1000)
    ready = ReadyAnswer(
        ready=ray_ok, parts={"controller": Part(ok=True, detail=""), "ray": Part(ok=ray_ok, detail="away")}
    )
    [check] = [check for check in studies.check(store, ready, None) if check.what == "queue"]
    assert check.ok is ok
    assert found in check.found


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
