"""A worker that can't write its checkpoint: which errors are the storage's, and how often it tries. Needs no Ray."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpo.engine import worker
from hpo.engine.files import ROOM, size_of, storage_fault
from hpo.engine.messages import Assignment, SavedCheckpoint
from hpo.engine.worker import CheckpointNotWritten, _failure, _RemoteTrial, save_checkpoint
from hpo.trial import FailureCause

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the worker would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(worker.time, "sleep", slept.append)
    return slept


def save(folder: Path, write: Callable[[Path], None]) -> SavedCheckpoint:
    return _RemoteTrial._save(object.__new__(_RemoteTrial), folder, 3, write)


class Writes:
    """Raises these errors one after the other; then writes five bytes."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.folders: list[Path] = []

    def __call__(self, folder: Path) -> None:
        self.folders.append(folder)
        assert list(folder.iterdir()) == [], "each try begins with an empty folder"
        (folder / "model.pt").write_bytes(b"12345")
        if self.errors:
            raise self.errors.pop(0)


# -- whose fault ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOTCONN])
def test_a_disk_that_says_so_is_at_fault(tmp_path: Path, number: int) -> None:
    assert storage_fault(tmp_path, OSError(number, "so")) not in (None, "")


def test_an_error_of_the_trainable_is_not_the_storages(tmp_path: Path) -> None:
    for error in (RuntimeError("shapes differ"), ValueError(), OSError(errno.ENOENT, "no such file"), OSError("odd")):
        assert storage_fault(tmp_path, error) is None


def test_whatever_the_error_a_full_disk_is_at_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.save says RuntimeError."""
    usage: Any = shutil.disk_usage(tmp_path)
    for free, why in ((ROOM - 1, f"only {ROOM - 1} bytes are free"), (ROOM, None)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert storage_fault(tmp_path, RuntimeError("unexpected pos 64")) == why


def test_a_folder_that_is_gone_is_the_storages_fault(tmp_path: Path) -> None:
    assert storage_fault(tmp_path / "gone", RuntimeError()) == "the folder can't be read: No such file or directory"


# -- tries ------------------------------------------------------------------------------------------------
def test_a_storage_that_is_well_again_costs_some_tries_and_leaves_nothing_behind(
    tmp_path: Path, pauses: list[float]
) -> None:
    write = Writes(NO_SPACE, OSError(errno.EIO, "once more"))
    folder = tmp_path / "trials" / "00001"
    saved = save(folder, write)
    assert saved == SavedCheckpoint(path=str(folder / "step-000003"), size_bytes=5)
    assert pauses == list(worker.SAVE_RETRY_SECONDS[:2])
    assert len(set(write.folders)) == 3
    assert [path.name for path in folder.iterdir()] == ["step-000003"]


def test_a_storage_that_stays_ill_is_told_with_the_remedy(tmp_path: Path, pauses: list[float]) -> None:
    write = Writes(*[NO_SPACE] * 9)
    with pytest.raises(CheckpointNotWritten, match=r"step 3 can't be written to .*: No space left.*resume") as caught:
        save(tmp_path, write)
    assert (pauses, len(write.folders)) == (list(worker.SAVE_RETRY_SECONDS), len(worker.SAVE_RETRY_SECONDS) + 1)
    assert list(tmp_path.iterdir()) == []
    failure = _failure(caught.value)
    assert (failure.cause, failure.message, failure.poisons) == (FailureCause.STORAGE, str(caught.value), False)


def test_an_error_of_the_trainables_is_raised_as_it_is_and_at_once(tmp_path: Path, pauses: list[float]) -> None:
    write = Writes(ValueError("a tensor is missing"))
    with pytest.raises(ValueError, match="a tensor is missing") as caught:
        save(tmp_path, write)
    assert (pauses, len(write.folders)) == ([], 1)
    assert _failure(caught.value).cause is FailureCause.ERROR


def test_the_end_of_a_process_is_not_tried_again(tmp_path: Path, pauses: list[float]) -> None:
    def write(folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, write)
    assert (pauses, list(tmp_path.iterdir())) == ([], [])


# -- two legs of one trial --------------------------------------------------------------------------------
def test_a_step_that_another_leg_has_saved_meanwhile_is_taken_as_it_is(tmp_path: Path) -> None:
    """The leg that was taken from its workers may be at the same step as the one that goes on."""

    def write(folder: Path) -> None:
        (folder / "model.pt").write_bytes(b"later")
        save_checkpoint(tmp_path, 3, lambda other: (other / "model.pt").write_bytes(b"first!") and None)

    saved = save_checkpoint(tmp_path, 3, write)
    assert (Path(saved.path) / "model.pt").read_bytes() == b"first!"
    assert (saved.size_bytes, size_of(tmp_path)) == (6, 6)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000003"]


def test_the_scratch_folders_of_two_legs_are_apart_and_that_of_a_killed_process_is_emptied(
    tmp_path: Path,
) -> None:
    """A leg that lost its place may be in mid-step when the next one begins, and removes its folder when it leaves."""
    at: Any = SimpleNamespace(device="cpu", seed=1, max_steps=9, rank=0, world_size=1, work_folder=tmp_path)

    def leg(job: int) -> Path:
        common = {"turn": 1, "trial": 7, "params": {}, "generation": 0, "checkpoint": None, "inherit": None}
        return _RemoteTrial(at, Assignment(job=job, **common)).workdir  # type: ignore[arg-type]

    first, second = leg(1), leg(2)
    assert first != second
    (first / "scratch").touch()
    assert list(leg(1).iterdir()) == []
    shutil.rmtree(first)
    assert second.is_dir()
