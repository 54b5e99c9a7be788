"""The service with its checkpoints on S3: settings, what jobs get, readiness, the doctor, a study's removal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from s3 import KEY, SECRET, Proxy

from api.doctor import checkpoints
from api.routes.studies import delete_study
from api.settings import S3_VARIABLES, Settings
from api.storage import look
from hpo import specfile
from hpo.engine.files import S3Address, StorageError, open_storage
from hpo.protocols import Store
from hpo.store import open_store
from hpo.trial import Checkpoint, StudyState


@pytest.fixture
def place(bucket: str) -> S3Address:
    return S3Address(bucket, "checkpoints")


@pytest.fixture
def memory() -> Iterator[Store]:
    store = open_store("memory://")
    yield store
    store.close()


@pytest.fixture
def save(place: S3Address, tmp_path: Path) -> Callable[..., str]:
    def save(study: str, step: int, size: int = 100) -> str:
        trial = place / study / "trials-1" / "00000"
        return open_storage(trial).save(step, lambda f: (f / "model.pt").write_bytes(bytes(size)) and None, tmp_path)[0]

    return save


def record(store: Store, study: str, *paths: str) -> None:
    lease = store.claim(study, holder="test", lease_seconds=60)
    common: dict[str, Any] = {"study": study, "trial": 0, "size_bytes": 100, "recorded_at": 1.0}
    store.write(lease, [Checkpoint(step=step, path=path, **common) for step, path in enumerate(paths, 1)])
    store.release(lease)


# -- settings ---------------------------------------------------------------------------------------------
def test_the_storage_may_be_on_s3_and_jobs_are_told_how_to_reach_it(
    s3: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_STORAGE", "s3://bucket/check/points/")
    settings = Settings(home=tmp_path)
    assert settings.storage == S3Address("bucket", "check/points")
    told = settings.job_environment()
    assert told["HPO_STORAGE"] == "s3://bucket/check/points"
    assert told["AWS_ENDPOINT_URL"] == s3.url
    assert (told["AWS_ACCESS_KEY_ID"], told["AWS_SECRET_ACCESS_KEY"]) == (KEY, SECRET)
    assert told.keys() - {"HPO_HOME", "HPO_DATABASE_URL", "HPO_STORAGE"} <= set(S3_VARIABLES)
    assert SECRET not in repr(settings)


def test_jobs_of_a_service_with_a_folder_get_no_keys(s3: Proxy, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, storage=tmp_path / "s")
    assert set(settings.job_environment()) == {"HPO_HOME", "HPO_DATABASE_URL", "HPO_STORAGE"}


def test_an_address_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, shown in (("gs://bucket", True), ("s3://key:hush@bucket", False)):
        monkeypatch.setenv("HPO_STORAGE", text)
        with pytest.raises(StorageError, match="correct HPO_STORAGE") as caught:
            Settings(home=tmp_path)
        assert (text in str(caught.value)) is shown


# -- readiness --------------------------------------------------------------------------------------------
def test_a_bucket_that_answers_is_ready_and_its_name_is_nobodys_business(s3: Proxy, place: S3Address) -> None:
    health = look(place)
    assert (health.ok, health.detail) == (True, "S3 answers, and the bucket is there")


@pytest.mark.parametrize(
    ("status", "why"), [(503, "S3 says HTTP 503"), (403, "access is denied"), (404, "no such bucket")]
)
def test_a_storage_that_refuses_is_the_part_that_is_down(s3: Proxy, place: S3Address, status: int, why: str) -> None:
    s3.fail(status)
    health = look(place)
    assert not health.ok
    assert why in health.detail
    assert all(secret not in health.detail for secret in (place.bucket, s3.url, KEY, SECRET))


# -- the doctor -------------------------------------------------------------------------------------------
def test_the_doctor_finds_what_no_row_names_and_rows_without_a_checkpoint(
    memory: Store, spec: dict[str, Any], place: S3Address, save: Callable[..., str]
) -> None:
    memory.create_study(specfile.parse(spec))
    kept, lost = save("mine", 1), save("mine", 2)
    record(memory, "mine", kept, lost)
    memory.set_study_state("mine", StudyState.CANCELLED)
    assert [check.ok for check in checkpoints.check(memory, place)] == [True, True]
    first = save("gone", 1, size=5000)
    open_storage(lost).remove(lost)
    stray, missing = checkpoints.check(memory, place)
    assert stray.found == (
        f"1 folders that no row names, 5.0 kB (gone (not in the database): 1, 5.0 kB), such as {first}"
    )
    assert missing.found == f"1 rows whose folder is gone, 100 bytes (mine: 1, 100 bytes), such as {lost}"


def test_what_a_study_at_work_has_just_uploaded_is_not_stray(
    memory: Store, spec: dict[str, Any], place: S3Address, save: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.create_study(specfile.parse(spec))
    save("mine", 1)
    assert [check.ok for check in checkpoints.check(memory, place)] == [True, True]
    monkeypatch.setattr(checkpoints, "UNRECORDED_SECONDS", -5.0)
    assert [check.ok for check in checkpoints.check(memory, place)] == [False, True]


def test_the_doctor_says_when_it_can_not_look(s3: Proxy, memory: Store, place: S3Address) -> None:
    s3.fail(403)
    [found] = checkpoints.check(memory, place)
    assert (found.what, found.ok) == ("checkpoints", False)
    assert found.found.startswith(f"{place} can't be looked at: access is denied")


# -- removal ----------------------------------------------------------------------------------------------
def test_a_study_that_is_deleted_takes_its_checkpoints_with_it(
    memory: Store, spec: dict[str, Any], place: S3Address, save: Callable[..., str], tmp_path: Path
) -> None:
    memory.create_study(specfile.parse(spec))
    mine, other = save("mine", 1), save("mine2", 1)
    memory.set_study_state("mine", StudyState.CANCELLED)
    delete_study("mine", memory, Settings(home=tmp_path, storage=place))
    assert [open_storage(path).size_of(path) for path in (mine, other)] == [None, 100]


def test_a_study_is_deleted_though_its_checkpoints_can_not_be_reached_and_the_log_says_so(
    s3: Proxy, memory: Store, spec: dict[str, Any], place: S3Address, save: Callable[..., str], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    memory.create_study(specfile.parse(spec))
    mine = save("mine", 1)
    memory.set_study_state("mine", StudyState.CANCELLED)
    s3.fail(403)
    with caplog.at_level(logging.WARNING):
        delete_study("mine", memory, Settings(home=tmp_path, storage=place))
    assert f"its checkpoints stay in {place}/mine: access is denied" in caplog.text
    s3.heal()
    stray, _ = checkpoints.check(memory, place)
    assert mine in stray.found
