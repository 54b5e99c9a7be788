"""What every CheckpointStorage does: one test a sentence of `hpo.engine.files.CheckpointStorage`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo.engine.files import Address, open_storage, size_of, sizes, sweep

FILES = {"model.pt": os.urandom(20_000_000), "deep/er/state.json": b"{}", "empty": b"", "model.pt.index": b"x" * 7}


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def writes(files: dict[str, bytes], then: BaseException | None = None) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        assert list(folder.iterdir()) == []
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        if then is not None:
            raise then

    return write


class CheckpointStorageConformance:
    """Subclasses give `whole`: an address, as HPO_STORAGE is one."""

    @pytest.fixture
    def whole(self) -> Address:
        raise NotImplementedError

    @pytest.fixture
    def study(self, whole: Address) -> Address:
        return whole / "s"

    @pytest.fixture
    def scratch(self, tmp_path: Path) -> Path:
        return tmp_path / "scratch"

    @pytest.fixture
    def save(self, study: Address, scratch: Path) -> Callable[..., str]:
        def save(step: int, place: Address = study, **files: bytes) -> str:
            trial = place / "trials-3" / "00001"
            return open_storage(trial).save(step, writes(files or {"a": b"12345"}), scratch)[0]

        return save

    def test_what_is_saved_is_fetched_byte_for_byte(self, study: Address, scratch: Path, tmp_path: Path) -> None:
        path, num_bytes = open_storage(study / "trials-3" / "00001").save(7, writes(FILES), scratch)
        assert path.startswith(f"{study}/trials-3/00001/step-000007")
        folder = open_storage(path).fetch(path, tmp_path / "fetched")
        assert files_in(folder) == FILES
        assert num_bytes == open_storage(path).size_of(path) == size_of(folder) == 20_000_009
        assert not scratch.exists() or list(scratch.iterdir()) == []

    @pytest.mark.parametrize("error", [ValueError("no"), OSError("odd"), KeyboardInterrupt()], ids=repr)
    def test_an_error_in_writing_is_raised_and_nothing_is_stored(
        self, study: Address, scratch: Path, error: BaseException
    ) -> None:
        trial = open_storage(study / "trials-3" / "00001")
        with pytest.raises(type(error)) as caught:
            trial.save(1, writes({"a": b"1"}, error), scratch)
        assert caught.value is error
        assert list(open_storage(study).found()) == []
        assert not scratch.exists() or list(scratch.iterdir()) == []

    def test_two_uploads_of_a_step_do_not_mix(self, save: Callable[..., str], tmp_path: Path) -> None:
        """As of a leg that is over but still at its last step, beside the one that goes on."""
        first = save(1, a=b"first", b=b"first")
        second = save(1, a=b"second")
        for number, path in enumerate((first, second)):
            found = files_in(open_storage(path).fetch(path, tmp_path / str(number)))
            assert found in ({"a": b"first", "b": b"first"}, {"a": b"second"})

    def test_what_is_removed_is_gone_and_nothing_else(self, save: Callable[..., str], study: Address) -> None:
        first, tenth, hundredth = save(1), save(10), save(100)
        for _ in range(2):  # the second time there is nothing to remove
            open_storage(study).remove(tenth)
        assert sizes([first, tenth, hundredth], study) == {first: 5, tenth: None, hundredth: 5}
        assert [open_storage(path).size_of(path) for path in (first, tenth, hundredth)] == [5, None, 5]

    def test_a_study_that_has_stored_nothing_is_empty(self, study: Address) -> None:
        storage = open_storage(study)
        assert (list(storage.found()), storage.studies(), sweep(storage, ())) == ([], [], 0)
        storage.clear()

    def test_all_that_lies_below_a_study_is_found_with_its_size_and_age(
        self, save: Callable[..., str], study: Address, scratch: Path
    ) -> None:
        before = time.time()
        deep = open_storage(study / "trials-4" / "00002" / "generation-001").save(3, writes({"x/y": b"123"}), scratch)
        paths = {save(1): 5, save(2, a=b"", b=b"1234"): 4, deep[0]: 3}
        found = {each.path: each.measure() for each in open_storage(study).found()}
        assert {path: measured.size_bytes for path, measured in found.items() if measured} == paths
        assert all(before - 2 <= measured.modified_at <= time.time() + 2 for measured in found.values() if measured)

    def test_a_sweep_removes_what_no_row_names_and_says_how_many(
        self, save: Callable[..., str], whole: Address, study: Address
    ) -> None:
        kept, lost, other = save(1), save(2), save(2, whole / "s2")
        assert sweep(open_storage(study), {kept}) == 1
        assert {each.path for each in open_storage(study).found()} == {kept}
        assert open_storage(lost).size_of(lost) is None
        assert open_storage(other).size_of(other) == 5
        assert sweep(open_storage(study), {kept}) == 0

    def test_a_study_is_cleared_and_the_others_stay(self, save: Callable[..., str], whole: Address) -> None:
        for name in ("s", "s2", "r"):
            save(1, whole / name)
        storage = open_storage(whole)
        assert storage.studies() == ["r", "s", "s2"]
        open_storage(whole / "s").clear()
        assert storage.studies() == ["r", "s2"]

    def test_sizes_of_another_storage_are_asked_there(
        self, save: Callable[..., str], study: Address, tmp_path: Path
    ) -> None:
        """A study that was moved."""
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "model.pt").write_bytes(b"123")
        here = save(1)
        assert sizes([here, str(elsewhere)], study) == {here: 5, str(elsewhere): 3}
