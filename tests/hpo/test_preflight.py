from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.errors import InvalidSpecError, Problem
from hpo.trainables import preflight


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text("import nothing_of_the_kind\nfrom other import lent\n\ndef train(p, t): ...\n")
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('a check never runs the user\\'s code')\n")
    (package / "deep.py").write_text("train = print\n")
    (tmp_path / "broken.py").write_text("def train(:\n")
    return tmp_path


@pytest.mark.parametrize("target", ["mine:train", "mine:lent", "pack.deep:train"])
def test_a_function_in_the_working_directory_is_found_without_running_its_module(folder: Path, target: str):
    assert preflight(target, {"x": (0, 1)}, {}, folder=folder) is None


@pytest.mark.parametrize(
    ("target", "detail", "hint"),
    [
        ("yours:train", "there is no module 'yours'", "--working-dir"),
        ("pack.shallow:train", "there is no module 'shallow'", "--working-dir"),
        ("mine:trian", "has no function 'trian'", "it defines train"),
        ("broken:train", "can't be read as Python", "mend the file"),
    ],
)
def test_a_function_that_is_not_there_is_refused_with_the_remedy(folder: Path, target: str, detail: str, hint: str):
    (problem,) = problems(target, {"x": (0, 1)}, {}, folder)
    assert problem.pointer == "/trainable"
    assert detail in problem.detail
    assert hint in problem.hint


def problems(name: str, searched: dict, fixed: dict, folder: Path | None = None) -> tuple[Problem, ...]:
    with pytest.raises(InvalidSpecError) as caught:
        preflight(name, searched, fixed, folder=folder)
    return caught.value.problems


def pairs(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_one_of_ours_says_what_it_will_be_trained_on(tmp_path: Path):
    splits = ["train"] * 3 + ["dev"] * 2 + ["test"]
    rows = [{"title": f"标题{n}", "body": "正文。", "split": split} for n, split in enumerate(splits)]
    data = pairs(tmp_path / "pairs.jsonl", *rows)
    note = preflight("headlines", {"lr": (1e-3,)}, {"data": str(data)})
    assert note == f"{data}: 3 pairs to train on, 2 held out, 1 for tests"


def test_the_constants_and_data_of_one_of_ours_are_checked_at_their_field(tmp_path: Path):
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    cut = tmp_path / "cut.jsonl"
    cut.write_text('{"title": "a", "body": "b"}\n{"title"\n')
    column = pairs(tmp_path / "column.jsonl", {"headline": "a", "body": "b"})
    cases = [
        ({"lr": (1e-3,)}, {"data": str(empty)}, "/fixed/data", str(empty)),
        ({"lr": (1e-3,)}, {"data": str(cut)}, "/fixed/data", "line 2"),
        ({"lr": (1e-3,)}, {"data": str(column)}, "/fixed/data", "title"),
        ({"lr": (1e-3,)}, {"data": "/no/such/file"}, "/fixed/data", "/no/such/file"),
        ({"lr": (1e-3,)}, {"hidden": 0}, "/fixed/hidden", "0 is outside"),
        ({"lr": (1e-3,)}, {"embeddings": "/no/vectors"}, "/fixed/embeddings", "/no/vectors"),
        ({"dropout": (0.0, 0.95)}, {}, "/parameters/dropout", "0.95 is outside"),
        ({"cell": ("lstm", "tcn")}, {}, "/parameters/cell", "'tcn' is not one of"),
        ({"copy": (False, 1)}, {}, "/parameters/copy", "1 is int"),
        ({"hiden": (8, 16)}, {}, "/parameters/hiden", "no parameter of the SeqGAN"),
    ]
    for searched, fixed, pointer, detail in cases:
        (problem,) = problems("headlines", searched, fixed)
        assert problem.pointer == pointer
        assert detail in problem.detail
        assert problem.hint


def test_a_check_loads_neither_torch_nor_ray():
    code = (
        "import sys; from hpo.trainables import preflight; preflight('headlines', {'lr': (1e-3,)}, {});"
        "print({'torch', 'ray'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
