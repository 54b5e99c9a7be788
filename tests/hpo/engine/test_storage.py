"""Where checkpoints are kept, in a folder and on S3: addresses, what both do, and a disk that is full. Needs no Ray."""

from __future__ import annotations

import errno
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conformance.checkpoint_storage import CheckpointStorageConformance, writes

from hpo.engine import worker
from hpo.engine.files import Address, S3Address, StorageError, address, open_storage, size_of
from hpo.engine.scratch import clear, scratch_folder, work_folder
from hpo.engine.worker import CheckpointNotWritten, _failure, _RemoteTrial
from hpo.trial import FailureCause


class TestFolder(CheckpointStorageConformance):
    @pytest.fixture
    def whole(self, tmp_path: Path) -> Address:
        return tmp_path / "storage"

    def test_a_step_that_was_saved_is_not_written_again(self, save: Callable[..., str]) -> None:
        path = save(1, a=b"first")
        assert save(1, a=b"second") == path
        assert (Path(path) / "a").read_bytes() == b"first"

    def test_a_checkpoint_is_where_it_was_written(self, save: Callable[..., str], study: Path, tmp_path: Path) -> None:
        path = save(12)
        assert path == str(study / "trials-3" / "00001" / "step-000012")
        assert open_storage(path).fetch(path, tmp_path / "into") == Path(path)
        assert not (tmp_path / "into").exists()

    def test_what_was_being_written_when_its_process_was_killed_is_found_and_swept(self, study: Path) -> None:
        half = study / "trials-3" / "00001" / ".step-000002-abc"
        half.mkdir(parents=True)
        (study / "work" / "trials-9" / "step-1").mkdir(parents=True)
        assert [found.path for found in open_storage(study).found()] == [str(half)]


class TestS3(CheckpointStorageConformance):
    @pytest.fixture
    def whole(self, bucket: str) -> Address:
        return S3Address(bucket, "deep/er")

    def test_a_checkpoint_that_is_gone_can_not_be_fetched(self, save: Callable[..., str], tmp_path: Path) -> None:
        path = save(1)
        open_storage(path).remove(path)
        with pytest.raises(FileNotFoundError, match=r"step-000001-\w+ holds no files: the checkpoint was removed"):
            open_storage(path).fetch(path, tmp_path / "into")

    def test_a_bucket_without_a_prefix_is_a_storage(self, bucket: str, tmp_path: Path) -> None:
        storage = open_storage(f"s3://{bucket}")
        path, _ = open_storage(S3Address(bucket) / "s" / "trials-1").save(1, writes({"a": b"1"}), tmp_path)
        assert storage.studies() == ["s"]
        assert [found.path for found in open_storage(S3Address(bucket) / "s").found()] == [path]

    def test_each_upload_has_a_name_of_its_own(self, save: Callable[..., str]) -> None:
        assert len({save(1), save(1)}) == 2


# -- addresses --------------------------------------------------------------------------------------------
def test_an_address_says_itself_and_goes_down() -> None:
    place = address("s3://bucket/a/b/")
    assert place == S3Address("bucket", "a/b")
    assert (str(place), str(place / "c"), str(address("s3://bucket") / "c")) == (
        "s3://bucket/a/b", "s3://bucket/a/b/c", "s3://bucket/c"
    )  # fmt: skip
    assert address(str(place)) == place
    assert address("/a/b") == address(Path("/a/b")) == Path("/a/b")


@pytest.mark.parametrize("text", ["gs://bucket/x", "s3://", "s3:///x", "s3://B/x", "s3://bucket/a//b", "http://x/y"])
def test_an_address_of_another_kind_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(StorageError, match=r"s3://BUCKET\[/PREFIX\]; correct HPO_STORAGE") as caught:
        address(text)
    assert repr(text) in str(caught.value)


def test_keys_in_an_address_are_refused_and_not_repeated() -> None:
    for text in ("s3://AKIA:hush@bucket/x", "s3://bucket/x?secret_key=hush"):
        with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID") as caught:
            address(text)
        assert "hush" not in str(caught.value)


# -- scratch ----------------------------------------------------------------------------------------------
class TestScratch:
    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
        return tmp_path / "home"

    def test_beside_checkpoints_in_a_folder_it_lies_in_it(self, home: Path, tmp_path: Path) -> None:
        assert scratch_folder(tmp_path) == tmp_path
        assert work_folder(tmp_path) == tmp_path / "work"
        for part in ("tune", "train", "work", "trials-1"):
            (tmp_path / part).mkdir()
        clear(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["trials-1"]

    def test_beside_s3_it_is_local_and_of_one_study(self, home: Path) -> None:
        places = [S3Address("bucket", prefix) for prefix in ("a/s", "b/s", "a/t")]
        folders = [scratch_folder(place) for place in places]
        assert len(set(folders)) == 3
        assert {folder.parent for folder in folders} == {home / "scratch"}
        for place in places:
            work_folder(place).mkdir(parents=True)
        clear(places[0])
        assert [folder.exists() for folder in folders] == [False, True, True]

    def test_without_a_home_it_lies_in_the_systems_temporary_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        (tmp_path / "file").touch()
        for home in (None, str(tmp_path / "file")):  # none, and one that this machine can't have
            if home is None:
                monkeypatch.delenv("HPO_HOME", raising=False)
            else:
                monkeypatch.setenv("HPO_HOME", home)
            root = scratch_folder(S3Address("bucket", "s")).parent
            assert root.parent == tmp_path
            assert root.stat().st_mode & 0o777 == 0o700

    def test_what_a_killed_process_left_is_removed_by_the_next_one(self, home: Path) -> None:
        place = S3Address("bucket", "s")
        mine = work_folder(place)
        dead = subprocess.Popen(["true"])
        dead.wait()
        host = mine.name.rpartition("-")[0]
        left = [mine.with_name(name) for name in (f"{host}-{dead.pid}", f"elsewhere-{dead.pid}", f"{host}-1")]
        for folder in (mine, *left):
            (folder / "00001-1-0").mkdir(parents=True)
        assert work_folder(S3Address("bucket", "another")).parent != mine.parent
        assert [folder.exists() for folder in (mine, *left)] == [True, False, True, True]


# -- a disk that is full ----------------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("no mount command")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"a small file system can't be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def saved(folder: Path, write: Callable[[Path], None]) -> Any:
    return _RemoteTrial._save(object.__new__(_RemoteTrial), folder, 3, write)


def torch_saves(num_bytes: int) -> Callable[[Path], None]:
    return lambda folder: torch.save(torch.zeros(num_bytes // 4), folder / "model.pt")


@pytest.mark.parametrize(
    "write", [writes({"a": bytes(3_000_000)}), torch_saves(3_000_000)], ids=["write", "torch.save"]
)
def test_a_full_disk_is_told_and_once_there_is_room_the_checkpoint_is_written(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    """torch.save doesn't say that the disk is full, and once its file is removed the disk isn't."""
    monkeypatch.setattr(worker, "SAVE_RETRY_SECONDS", (0.0,))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2_000_000))
    trial = small_disk / "trials-1" / "00001"
    with pytest.raises(
        CheckpointNotWritten, match=rf"step 3 can't be written to {trial}: .*; mend that, then"
    ) as caught:
        saved(trial, write)
    assert "No space left" in str(caught.value) or "bytes are free" in str(caught.value)
    assert _failure(caught.value).cause is FailureCause.STORAGE
    assert list(trial.iterdir()) == []

    waits: list[float] = []

    def room(seconds: float) -> None:
        waits.append(seconds)
        filler.unlink()

    monkeypatch.setattr(worker.time, "sleep", room)
    found = saved(trial, write)
    assert (waits, found.size_bytes, size_of(Path(found.path))) == ([0.0], found.size_bytes, found.size_bytes)
    assert found.size_bytes >= 3_000_000


def test_a_file_that_the_system_lets_nobody_write_so_large_is_the_storages_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Needs no right to mount: the system's limit on the size of a file."""
    monkeypatch.setattr(worker, "SAVE_RETRY_SECONDS", ())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, hard))
    try:
        with pytest.raises(CheckpointNotWritten, match="File too large"):
            saved(tmp_path / "t", writes({"a": bytes(6_000_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "t").iterdir()) == []


def test_a_leg_whose_working_folder_has_no_room_fails_by_the_storage_and_not_by_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr(worker, "SAVE_RETRY_SECONDS", ())

    def full(self: Path, *args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    at: Any = SimpleNamespace(device="cpu", seed=1, max_steps=9, rank=0, world_size=1, work_folder=tmp_path)
    assignment: Any = SimpleNamespace(trial=7, job=1)
    with pytest.raises(worker.StorageFailed, match="00007-1-0 can't be made: No space left on device") as caught:
        _RemoteTrial(at, assignment)
    assert _failure(caught.value).cause is FailureCause.STORAGE
