"""The node's cache: built once, never stale, and never in a trial's way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.text import cache
from models.text.cache import cached, default_cache_dir


def save(folder: Path, value: str) -> None:
    (folder / "value.txt").write_text(value)


def load(folder: Path) -> str:
    return (folder / "value.txt").read_text()


class Builder:
    def __init__(self, value: str = "built") -> None:
        self.value, self.calls = value, 0

    def __call__(self) -> str:
        self.calls += 1
        return self.value


def get(folder: Path, build: Builder, **key: object) -> str:
    return cached("thing", key, build, save=save, load=load, cache_dir=folder)


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def test_a_value_is_built_once_for_each_key(tmp_path: Path) -> None:
    build = Builder()
    assert [get(tmp_path, build, size=3) for _ in range(3)] == ["built"] * 3
    assert build.calls == 1
    get(tmp_path, build, size=4)
    assert build.calls == 2
    assert len(entries(tmp_path)) == 2


def test_a_damaged_entry_is_built_again(tmp_path: Path) -> None:
    get(tmp_path, Builder())
    (entry,) = entries(tmp_path)
    (entry / "value.txt").unlink()
    build = Builder("again")
    assert [get(tmp_path, build) for _ in range(2)] == ["again"] * 2
    assert build.calls == 1


def test_what_a_killed_builder_left_is_no_hindrance(tmp_path: Path) -> None:
    get(tmp_path, Builder())
    (entry,) = entries(tmp_path)
    entry.rename(entry.with_suffix(".tmp"))
    assert get(tmp_path, Builder("again")) == "again"
    assert entries(tmp_path) == [entry]


def test_where_nothing_can_be_written_each_trial_builds_for_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    build = Builder()
    # A file stands where the folder should be: nobody, not even root, can write there.
    assert [get(tmp_path / "file", build) for _ in range(2)] == ["built"] * 2
    assert build.calls == 2


def test_an_entry_that_cannot_be_saved_is_not_left_half_written(tmp_path: Path) -> None:
    def full(folder: Path, value: str) -> None:
        save(folder, value)
        raise OSError(28, "No space left on device")

    assert cached("thing", {}, Builder(), save=full, load=load, cache_dir=tmp_path) == "built"
    assert entries(tmp_path) == []


def test_an_error_of_the_builder_passes_through_and_is_not_kept(tmp_path: Path) -> None:
    def fail() -> str:
        raise ValueError("no data")

    with pytest.raises(ValueError, match="no data"):
        cached("thing", {}, fail, save=save, load=load, cache_dir=tmp_path)
    assert get(tmp_path, Builder()) == "built"


def test_the_entries_used_longest_ago_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 25)
    for age, size in enumerate([1, 2, 3]):
        get(tmp_path, Builder("x" * 10), size=size)
        for entry in entries(tmp_path):
            if entry.stat().st_mtime > 2000:
                os.utime(entry, (1000 + age, 1000 + age))
    again = Builder("x" * 10)
    # The third drove out the first.
    get(tmp_path, again, size=2)
    get(tmp_path, again, size=3)
    assert again.calls == 0
    get(tmp_path, again, size=1)
    assert again.calls == 1


def test_the_default_folder_follows_the_xdg_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "hpo"


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    # The builder goes on only once the other process says that it is about to ask: nobody sleeps.
    program = """
import sys
from pathlib import Path
from models.text.cache import cached

folder, name = Path(sys.argv[1]), sys.argv[2]

def build():
    print("building", flush=True)
    sys.stdin.readline()
    return name

save = lambda folder, value: (folder / "v").write_text(value)
load = lambda folder: (folder / "v").read_text()
print("asking", flush=True)
print(cached("thing", {}, build, save=save, load=load, cache_dir=folder), flush=True)
"""

    def start(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), name],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    with start("first") as first:
        assert first.stdout is not None
        assert [first.stdout.readline() for _ in range(2)] == ["asking\n", "building\n"]
        with start("second") as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "asking\n"
            out, _ = first.communicate("go\n", timeout=60)
            assert out == "first\n"
            out, _ = second.communicate("go\n", timeout=60)
            # Neither "building" nor a value of its own.
            assert out == "first\n"
