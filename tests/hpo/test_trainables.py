"""From the name of a trainable to its function."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpo import trainables
from hpo.errors import TrainableNotFoundError


@pytest.mark.parametrize("name", ["a:b", "a.b:c", "_a.b1:c_d"])
def test_targets(name: str) -> None:
    assert trainables.is_target(name)


@pytest.mark.parametrize("name", ["", "a", "a.b", ":b", "a:", "a:b.c", "a..b:c", "1a:b", "a b:c", "a:b:c", "a:b\n"])
def test_what_is_no_target(name: str) -> None:
    assert not trainables.is_target(name)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_trainable.py").write_text("def train(params, trial):\n    pass\n\nNUMBER = 5\n")
    (tmp_path / "broken_trainable.py").write_text("import a_module_that_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_trainable"
    sys.modules.pop("own_trainable", None)


def test_the_users_own_function_is_loaded(module: str) -> None:
    assert trainables.load(f"{module}:train").__name__ == "train"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("headline", "neither one of ours (headlines, oracle)"),
        ("no_such_module_here:train", "no module 'no_such_module_here'"),
        ("own_trainable:tarin", "has no function 'tarin'; it has train"),
        ("own_trainable:NUMBER", "has no function 'NUMBER'"),
    ],
)
def test_a_name_that_leads_nowhere_says_why(module: str, name: str, said: str) -> None:
    with pytest.raises(TrainableNotFoundError) as caught:
        trainables.load(name)
    assert said in str(caught.value)


def test_an_import_that_fails_inside_the_users_module_goes_through(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="a_module_that_nobody_has"):
        trainables.load("broken_trainable:train")


def test_our_own_names_point_into_models() -> None:
    for built_in in trainables.BUILT_IN.values():
        assert trainables.is_target(built_in.target)
        assert built_in.metrics
