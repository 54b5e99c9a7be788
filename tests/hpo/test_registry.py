"""What is refused before a study starts, and that refusing it is cheap."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from hpo import registry, specfile
from hpo.errors import InvalidSpecError
from hpo.spec import StudySpec

X = {"type": "float", "low": 0, "high": 1}
N = {"type": "int", "low": 0, "high": 9}
C = {"type": "categorical", "choices": ["a", "b"]}


def spec(parameters: dict[str, Any], **search: Any) -> StudySpec:
    return specfile.parse(
        {
            "name": "registry",
            "trainable": "tests.nothing:train",
            "parameters": parameters,
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": 10},
            "search": search,
        }
    )


@pytest.mark.parametrize(
    ("refused", "pointers"),
    [
        (spec({"n": N, "x": X, "a/b": X}, algorithm="grid"), ["/parameters/x/step", "/parameters/a~1b/step"]),
        (spec({"c": C}, algorithm="optuna", sampler="cmaes"), ["/search/sampler"]),
        (spec({"c": C, "x": X}, algorithm="optuna", sampler="cmaes"), ["/search/sampler"]),
        (spec({"c": C}, algorithm="optuna", sampler="qmc"), ["/search/sampler"]),
        (spec({"x": X}, algorithm="optuna", sampler="qmc", startup_trials=3), ["/search/startup_trials"]),
        (spec({"x": X}, algorithm="optuna", sampler="random", startup_trials=3), ["/search/startup_trials"]),
        (spec({"x": X}, algorithm="optuna", sampler="nsgaii", startup_trials=3), ["/search/startup_trials"]),
    ],
)
def test_what_the_searcher_can_not_honour_is_refused(refused: StudySpec, pointers: list[str]) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        registry.check(refused)
    assert [problem.pointer for problem in caught.value.problems] == pointers
    assert all(problem.detail and problem.hint for problem in caught.value.problems)
    with pytest.raises(InvalidSpecError):
        registry.searcher(refused)


@pytest.mark.parametrize(
    "accepted",
    [
        spec({"x": X}),
        spec({"n": N, "c": C}, algorithm="grid"),
        spec({"c": C}, algorithm="grid"),  # a grid of 2 under 10 trials
        spec({"c": C}, algorithm="optuna"),
        spec({"x": X, "n": N, "c": C}, algorithm="optuna", sampler="cmaes", startup_trials=2),
    ],
)
def test_what_it_can_is_accepted(accepted: StudySpec) -> None:
    registry.check(accepted)
    assert registry.searcher(accepted).suggest(0) is not None


def test_checking_loads_neither_optuna_nor_numpy_nor_ray() -> None:
    code = """
import sys
from hpo import registry, space, specfile
registry.check(specfile.parse({
    "name": "a", "trainable": "a:b", "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
    "objective": {"metric": "m", "direction": "minimize"}, "budget": {"trials": 1},
    "search": {"algorithm": "optuna"},
}))
loaded = {"optuna", "numpy", "ray", "torch", "scipy"} & set(sys.modules)
sys.exit(f"loaded {loaded}" if loaded else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
