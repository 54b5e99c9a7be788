"""Finished runs: their files, and which code they are of."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.search import records, run_files, sized_runs, versions
from benchmarks.search.cluster import Run
from benchmarks.search.policies import POLICIES
from benchmarks.search.records import Record, RunKey
from benchmarks.search.versions import digest, version_of

CODE = 'def f(x):\n    """Doubles."""\n    return 2 * x\n'


def record(policy: str, seed: int, *, version: str | None = None, end: float = 0.5) -> Record:
    key = RunKey(seed, 4, "a", policy, version_of(policy) if version is None else version)
    return Record(key, Run(((0.1, 1.0), (0.7, end)), 10, 5, 1.0, 0.1))


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str):
    rows = [{"seed": 1, "curve": [[0.1, 0.25]]}, {"seed": 2, "curve": []}]
    file = tmp_path / "deep" / name
    if file.suffix == ".gz":
        run_files.write(file, rows)
    else:
        for row in rows:
            run_files.append(file, row)
    assert list(run_files.read(file, dict)) == rows


def test_the_same_rows_give_the_same_bytes(tmp_path: Path):
    for name in ("a.gz", "b.gz"):
        run_files.write(tmp_path / name, [{"seed": 1}])
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.gz", "b.gz"]


def test_no_file_holds_no_runs(tmp_path: Path):
    assert list(run_files.read(tmp_path / "none.jsonl", dict)) == []


class TestVersions:
    def test_comments_docstrings_and_line_breaks_do_not_count(self):
        assert digest([CODE]) == digest(["def f(x):\n    # so that it is even\n    return (\n        2 * x\n    )\n"])

    def test_code_counts(self):
        assert digest([CODE]) != digest([CODE.replace("2", "3")])

    def test_all_policies_have_one_and_variants_share_theirs_with_the_whole(self):
        found = {policy: version_of(policy) for policy in POLICIES}
        assert found["genetic"] == found["genetic-no-de"] != found["random"] != ""
        assert found["tpe"] in ("", found["cma"])

    def test_every_pattern_finds_code(self):
        for patterns in versions.SOURCES.values():
            for pattern in patterns:
                assert list(versions.HPO.glob(pattern)), pattern

    def test_a_policy_that_is_unknown_has_none(self):
        assert version_of("somebody's") == ""


class TestKept:
    def test_runs_of_other_code_go_and_the_others_stay(self, tmp_path: Path):
        kept = tmp_path / "kept.jsonl.gz"
        run_files.write(kept, [])
        stale, other, mine = record("genetic", 0, version="old"), record("asha", 0), record("genetic", 1)
        records.keep([stale, other], kept)
        records.keep([mine], kept)
        assert records.read(kept) == {each.key: each for each in (other, mine)}

    def test_a_run_that_was_done_again_counts_anew(self, tmp_path: Path):
        kept = tmp_path / "kept.jsonl.gz"
        for end in (0.5, 0.25):
            records.keep([record("random", 0, end=end)], kept)
        assert [each.run.curve[-1][1] for each in records.read(kept).values()] == [0.25]

    @pytest.mark.parametrize("rooms", [records, sized_runs])
    def test_those_of_the_saved_tables_can_be_read(self, rooms):
        found = rooms.read(rooms.KEPT)
        assert found
        assert all(key.version for key in found)
