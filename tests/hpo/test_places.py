"""Which files and addresses a specification may name, and how that is said in the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hpo import specfile
from hpo.places import ANYWHERE, Places, folders, targets
from hpo.trainables import BUILT_IN, files_of

SPEC: dict[str, Any] = {
    "name": "s",
    "trainable": "headlines",
    "parameters": {"lr": {"type": "float", "low": 0.001, "high": 0.1}},
    "objective": {"metric": "perplexity", "direction": "minimize"},
    "budget": {"trials": 2},
}


def pointers(places: Places, **changed: Any) -> list[str]:
    return [problem.pointer for problem in places.faults(specfile.parse(SPEC | changed))]


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """A folder of data, beside one that isn't, with links from the one into the other."""
    folder, secret = tmp_path / "data", tmp_path / "secret"
    for each in (folder, secret, folder / "deep"):
        each.mkdir()
    (folder / "news.jsonl").touch()
    (secret / "passwords.jsonl").touch()
    (folder / "link.jsonl").symlink_to(secret / "passwords.jsonl")
    (folder / "door").symlink_to(secret)
    (folder / "within.jsonl").symlink_to(folder / "news.jsonl")
    return folder


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("{data}/news.jsonl", True),
        ("{data}/not-there.jsonl", True),
        ("{data}//deep/./x.jsonl", True),
        ("{data}/within.jsonl", True),
        ("{data}", True),
        ("{data}2/news.jsonl", False),
        ("{data}/link.jsonl", False),
        ("{data}/door/passwords.jsonl", False),
        ("{data}/door/not-there.jsonl", False),
        ("{data}/../secret/passwords.jsonl", False),
        ("{data}/deep/../news.jsonl", False),
        ("{data}/../data/news.jsonl", False),
        ("{data}/a\nb", False),
        ("{data}/a\0b", False),
        ("/etc/passwd", False),
        ("/proc/self/cwd/../x", False),
        ("news.jsonl", False),
        ("~/news.jsonl", False),
        ("", False),
        (3, False),
    ],
)
def test_a_file_lies_in_a_folder_of_data_or_is_refused(allowed: Path, path: Any, fits: bool) -> None:
    value = path.format(data=allowed) if isinstance(path, str) else path
    found = pointers(Places(data_folders=(allowed.parent / "other", allowed)), fixed={"data": value})
    assert found == ([] if fits else ["/fixed/data"])


def test_folders_may_themselves_be_links(allowed: Path) -> None:
    link = allowed.parent / "mount"
    link.symlink_to(allowed)
    places = Places(data_folders=(link,))
    for folder in (link, allowed):
        assert pointers(places, fixed={"data": f"{folder}/news.jsonl"}) == []
        assert pointers(places, fixed={"data": f"{folder}/link.jsonl"}) == ["/fixed/data"]


def test_a_choice_among_files_is_held_to_the_same(allowed: Path) -> None:
    choices = ["peoples_daily", str(allowed / "news.jsonl"), "/etc/passwd", str(allowed / "link.jsonl")]
    found = pointers(
        Places(data_folders=(allowed,)),
        parameters=SPEC["parameters"] | {"data": {"type": "categorical", "choices": choices}},
    )
    assert found == ["/parameters/data/choices/2", "/parameters/data/choices/3"]


def test_the_function_behind_a_name_of_ours_is_held_to_the_same() -> None:
    nowhere = Places(data_folders=())
    for name, built_in in BUILT_IN.items():
        for trainable in (name, built_in.target):
            fixed = dict.fromkeys(built_in.files, "/etc/passwd")
            objective = {"metric": built_in.metrics[0], "direction": "minimize"}
            found = pointers(nowhere, trainable=trainable, objective=objective, fixed=fixed)
            assert found == [f"/fixed/{each}" for each in built_in.files]
            assert pointers(nowhere, trainable=trainable, objective=objective, fixed=built_in.files) == []


def test_a_trainable_of_ones_own_says_which_of_its_parameters_name_files(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text('import nothing\nHPO_FILES = ("data", "vectors")\ndef train(p, t): ...\n')
    assert files_of("own:train", folder=tmp_path) == {"data": "", "vectors": ""}
    (tmp_path / "mute.py").write_text("def train(p, t): ...\n")
    assert files_of("mute:train", folder=tmp_path) == {}
    spec = specfile.parse(SPEC | {"trainable": "own:train", "fixed": {"vectors": "/etc/passwd", "data": ""}})
    found = Places(data_folders=()).faults(spec, working_dir=tmp_path)
    assert [problem.pointer for problem in found] == ["/fixed/vectors"]


@pytest.mark.parametrize(
    ("logging", "found"),
    [
        ({"tensorboard": "{data}/runs"}, []),
        ({"tensorboard": "{data}/door/runs"}, ["/logging/tensorboard"]),
        ({"tensorboard": "/etc"}, ["/logging/tensorboard"]),
        ({"tensorboard": "{data}/../runs"}, ["/logging/tensorboard"]),
        ({"mlflow": "http://mlflow:5000"}, []),
        ({"mlflow": "http://mlflow:5000/"}, []),
        ({"mlflow": "http://mlflow:5001"}, ["/logging/mlflow"]),
        ({"mlflow": "http://mlflow@169.254.169.254"}, ["/logging/mlflow"]),
        ({"mlflow": "http://169.254.169.254/latest"}, ["/logging/mlflow"]),
        ({"mlflow": "sqlite:////data/mlflow.db"}, ["/logging/mlflow"]),
    ],
)
def test_reports_go_where_the_deployment_lets_them(allowed: Path, logging: dict[str, str], found: list[str]) -> None:
    given = {key: value.format(data=allowed) for key, value in logging.items()}
    assert pointers(Places(logging_targets=(str(allowed), "http://mlflow:5000")), logging=given) == found
    assert pointers(Places(logging_targets=()), logging=given) == [f"/logging/{key}" for key in given]
    assert pointers(ANYWHERE, logging=given, fixed={"data": "/etc/passwd"}) == []


def test_a_driver_is_told_in_its_environment(tmp_path: Path) -> None:
    for places in (
        ANYWHERE,
        Places(),
        Places(data_folders=(), logging_targets=()),
        Places(data_folders=(tmp_path, Path("/a b")), logging_targets=("/runs", "sqlite:////data/mlflow.db")),
    ):
        assert Places.of(places.environment()) == places


def test_settings_are_read_as_they_are_written() -> None:
    assert folders(f"/a{os.pathsep} b {os.pathsep}") == (Path("/a"), Path.cwd() / "b")
    assert targets(" http://mlflow:5000/, /data/runs/ ") == ("http://mlflow:5000", "/data/runs")
    assert (folders("off"), targets("off"), folders(""), targets(" ")) == ((), (), None, None)
    for read, wrong in ((folders, os.pathsep), (targets, ","), (targets, "mlflow:5000"), (targets, "runs, /a")):
        with pytest.raises(ValueError, match=r"^HPO_(DATA_FOLDERS|LOGGING_TARGETS) .*(names none|neither a)"):
            read(wrong)
