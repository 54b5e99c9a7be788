"""Files and `--set`: one shape out of TOML, YAML and JSON, and errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpo import specfile
from hpo.errors import InvalidSpecError, SpecFileError

TOML = """
name = "one"
trainable = "mine.train:train"
[parameters.lr]
type = "float"
low = 1e-4
high = 1e-1
log = true
[objective]
metric = "loss"
direction = "minimize"
[budget]
trials = 4
"""
YAML = """
name: one
trainable: "mine.train:train"
parameters:
  lr: {type: float, low: 1e-4, high: 1e-1, log: true}
objective: {metric: loss, direction: minimize}
budget: {trials: 4}
"""
DATA: dict[str, Any] = {
    "name": "one",
    "trainable": "mine.train:train",
    "parameters": {"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
    "objective": {"metric": "loss", "direction": "minimize"},
    "budget": {"trials": 4},
}


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.toml", TOML), ("a.yaml", YAML), ("a.yml", YAML), ("a.json", json.dumps(DATA)), ("A.TOML", TOML)],
)
def test_toml_yaml_and_json_are_one_shape(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert specfile.parse(specfile.read_file(path)) == specfile.parse(DATA)


MORE_TOML = """
initial = [{ lr = 0.01, sgd = false }]
warm_start = ["last-week"]
[parameters.sgd]
type = "bool"
[parameters.momentum]
type = "int"
low = 0
high = 9
mutable = true
when = { sgd = true }
[[objective]]
metric = "loss"
direction = "minimize"
[[objective]]
metric = "seconds"
direction = "minimize"
[[forbidden]]
sgd = true
momentum = [0, 1]
"""
MORE_YAML = """
initial: [{lr: 0.01, sgd: false}]
warm_start: [last-week]
objective:
  - {metric: loss, direction: minimize}
  - {metric: seconds, direction: minimize}
forbidden:
  - {sgd: true, momentum: [0, 1]}
"""


def test_lists_of_tables_are_one_shape_in_toml_and_yaml(tmp_path: Path) -> None:
    one, other = tmp_path / "a.toml", tmp_path / "a.yaml"
    before, after = TOML.split("[objective]")
    lists, tables = MORE_TOML.split("[parameters.sgd]")
    budget = after[after.index("[budget]") :]
    one.write_text(f"{lists}{before}[parameters.sgd]{tables}{budget}", encoding="utf-8")
    searched = "  sgd: {type: bool}\n  momentum: {type: int, low: 0, high: 9, mutable: true, when: {sgd: [true]}}\n"
    rest = YAML.replace("objective: {metric: loss, direction: minimize}\n", searched)
    other.write_text(rest + MORE_YAML, encoding="utf-8")
    spec = specfile.parse(specfile.read_file(one))
    assert specfile.parse(specfile.read_file(other)) == spec
    assert [objective.metric for objective in spec.objectives] == ["loss", "seconds"]
    assert spec.parameters["momentum"].when == {"sgd": (True,)}
    assert spec.parameters["momentum"].mutable
    assert spec.forbidden == ({"sgd": (True,), "momentum": (0, 1)},)
    assert spec.initial == ({"lr": 0.01, "sgd": False},)
    assert spec.warm_start == ("last-week",)
    assert specfile.parse(json.loads(json.dumps(specfile.to_data(spec)))) == spec


@pytest.mark.parametrize("form", ["choices: [1e-3, 1.5E+2, 2.5e-3]", "choices: [0.001, 150.0, 0.0025]"])
def test_numbers_in_yaml_choices_are_numbers_however_they_are_written(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(form, encoding="utf-8")
    assert specfile.read_file(path) == {"choices": [0.001, 150.0, 0.0025]}


def test_text_that_looks_like_a_number_stays_text_where_yaml_quotes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: '1e-3'\nb: e3\nc: 1e\nd: 12\n", encoding="utf-8")
    assert specfile.read_file(path) == {"a": "1e-3", "b": "e3", "c": "1e", "d": 12}


@pytest.mark.parametrize(
    ("name", "content", "rule", "remedy"),
    [
        ("a.toml", b"name = ", "no valid TOML", "correct it"),
        ("a.yaml", b"a: [1", "no valid YAML", "correct it"),
        ("a.json", b"{'a': 1}", "no valid JSON", "correct it"),
        ("a.json", b"", "no valid JSON", "correct it"),
        ("a.txt", b"a", ".txt is not known", "use .toml, .yaml or .json"),
        ("a", b"a", "no suffix is not known", "use .toml, .yaml or .json"),
        ("a.toml", b"\xff\xfe", "can't be read", "UTF-8"),
        ("a.yaml", b"- 1\n- 2\n", "a table of keys, not list", "see examples/"),
        ("a.yaml", b"", "a table of keys, not NoneType", "see examples/"),
        ("a.json", b"[]", "a table of keys, not list", "see examples/"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, content: bytes, rule: str, remedy: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SpecFileError) as caught:
        specfile.read_file(path)
    assert str(path) in str(caught.value)
    assert rule in str(caught.value)
    assert remedy in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SpecFileError, match="no such file; give the path"):
        specfile.read_file(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(SpecFileError, match="can't be read"):
        specfile.read_file(tmp_path / "folder.toml")


def test_keys_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(YAML + "fixed: {1: 2}\n", encoding="utf-8")
    with pytest.raises(InvalidSpecError) as caught:
        specfile.parse(specfile.read_file(path))
    assert [(problem.pointer, problem.hint) for problem in caught.value.problems] == [
        ("/fixed/1", "give text in quotes")
    ]


@pytest.mark.parametrize(
    ("assignment", "keys", "value"),
    [
        ("budget.trials=9", ("budget", "trials"), 9),
        ("seed=3", ("seed",), 3),
        ("search.algorithm=optuna", ("search", "algorithm"), "optuna"),
        ('search.algorithm="optuna"', ("search", "algorithm"), "optuna"),
        ("parameters.lr.log=false", ("parameters", "lr", "log"), False),
        ("fixed.path=a=b", ("fixed", "path"), "a=b"),
        ("fixed.empty=", ("fixed", "empty"), ""),
        ('parameters.lr={type="bool"}', ("parameters", "lr"), {"type": "bool"}),
        (" budget . trials = 9", ("budget", "trials"), 9),
    ],
)
def test_set_changes_one_value(assignment: str, keys: tuple[str, ...], value: Any) -> None:
    before = json.dumps(DATA)
    changed: Any = specfile.override(DATA, [assignment])
    for key in keys:
        changed = changed[key]
    assert (type(changed), changed) == (type(value), value)
    assert json.dumps(DATA) == before


@pytest.mark.parametrize(
    ("assignment", "pointer"),
    [("budget.trials", ""), ("=3", ""), ("a..b=3", ""), ("", ""), ("name.first=3", "/name/first")],
)
def test_a_malformed_set_is_refused(assignment: str, pointer: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        specfile.override(DATA, [assignment])
    (problem,) = caught.value.problems
    assert problem.pointer == pointer
    assert problem.detail
    assert problem.hint


def test_a_specification_survives_being_written() -> None:
    spec = specfile.parse(DATA)
    assert specfile.parse(json.loads(json.dumps(specfile.to_data(spec)))) == spec
