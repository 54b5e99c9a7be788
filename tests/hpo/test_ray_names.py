"""What is refused of a `ray:` scheduler before a study starts, and without Ray."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from hpo import specfile
from hpo.ray_names import KNOWN, ray_problems
from hpo.spec import StudySpec

X = {"type": "float", "low": 0, "high": 1}
PARAMETERS: dict[str, Any] = {
    "x": X | {"mutable": True},
    "n": {"type": "int", "low": 1, "high": 9, "mutable": True},
    "c/d": {"type": "categorical", "choices": ["a", "b"], "mutable": True},
    "size": X,
}
EVERY_2 = {"perturbation_interval": 2}


def spec(algorithm: str, options: dict[str, Any] | None = None, **changes: Any) -> StudySpec:
    return specfile.parse(
        {
            "name": "s",
            "trainable": "tests.nothing:train",
            "parameters": PARAMETERS,
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": 10, "steps_per_trial": 9},
            "scheduler": {"algorithm": algorithm, "options": options or {}} if ":" in algorithm else {},
            **changes,
        }
    )


def pbt(**options: Any) -> StudySpec:
    return spec("ray:PopulationBasedTraining", EVERY_2 | options)


def pb2(**options: Any) -> StudySpec:
    return spec("ray:PB2", EVERY_2 | options)


OPTIONS = "/scheduler/options"
REFUSED: list[tuple[StudySpec, str, str, str]] = [
    # specification -> pointer, part of the detail (value and rule), part of the hint
    (spec("ray:PB3"), "/scheduler/algorithm", "Ray Tune has no scheduler 'PB3'", "did you mean 'PB2'?"),
    (spec("ray:Zzz"), "/scheduler/algorithm", "'Zzz'", "choose one of FIFOScheduler, "),
    (spec("ray:pbt"), "/scheduler/algorithm", "'pbt'", "PopulationBasedTraining"),
    (spec("ray:HyperBandForBOHB"), "/scheduler/algorithm", "needs Ray Tune's own BOHB searcher", "choose one of"),
    (spec("ray:ResourceChangingScheduler"), "/scheduler/algorithm", "the same worker groups", "choose one of"),
    (spec("ray:PopulationBasedTrainingReplay"), "/scheduler/algorithm", "from a log file", "choose one of"),
    (spec("ray:ASHAScheduler", {"grace_perod": 1}), f"{OPTIONS}/grace_perod", "no option", "mean 'grace_period'?"),
    (spec("ray:ASHAScheduler", {"zz/z": 1}), f"{OPTIONS}/zz~1z", "no option 'zz/z'", "it has max_t, grace_period"),
    (spec("ray:FIFOScheduler", {"max_t": 1}), f"{OPTIONS}/max_t", "no option 'max_t'", "it has none"),
    (spec("ray:ASHAScheduler", {"metric": "m"}), f"{OPTIONS}/metric", "[objective] says it", "drop it"),
    (spec("ray:ASHAScheduler", {"time_attr": "t"}), f"{OPTIONS}/time_attr", "is the trial's step", "drop it"),
    (spec("ray:ASHAScheduler", {"max_t": "9"}), f"{OPTIONS}/max_t", "max_t is '9', but takes a number", "100"),
    (spec("ray:ASHAScheduler", {"max_t": True}), f"{OPTIONS}/max_t", "is True, but takes a number", "100"),
    (spec("ray:ASHAScheduler", {"grace_period": 10}), f"{OPTIONS}/grace_period", "is 10, in steps", "at most 9"),
    (spec("ray:MedianStoppingRule"), f"{OPTIONS}/grace_period", "is 60 (Ray's default), in steps", "at most 9"),
    (spec("ray:PB2"), f"{OPTIONS}/perturbation_interval", "is 60 (Ray's default), in steps", "at most 8"),
    (pb2(perturbation_interval=9), f"{OPTIONS}/perturbation_interval", "is 9, in steps", "at most 8"),
    (pb2(synch=1), f"{OPTIONS}/synch", "is 1, but takes true or false", "False"),
    (pbt(perturbation_factors=[1, "2"]), f"{OPTIONS}/perturbation_factors", "takes a list of numbers", "(1.2, 0.8)"),
    (pbt(custom_explore_fn="f"), f"{OPTIONS}/custom_explore_fn", "a function can't be written", "drop it"),
    (pbt(hyperparam_mutations=[1]), f"{OPTIONS}/hyperparam_mutations", "an entry for each parameter", "None"),
    (pbt(hyperparam_mutations={}), f"{OPTIONS}/hyperparam_mutations", "an entry for each parameter", "None"),
    *(
        (pbt(hyperparam_mutations={name: values}), f"{OPTIONS}/hyperparam_mutations/{pointer}", detail, hint)
        for name, values, pointer, detail, hint in [
            ("y", [1], "y", "y is no parameter of the study", "it may name x, n, c/d"),
            ("size", [0.1], "size", "size is no parameter that is mutable", "it may name x, n, c/d"),
            ("x", 0.5, "x", "x has 0.5 here, but takes a list of its values", "own range counts"),
            ("x", [0.5, 2], "x", "is a float from 0.0 to 1.0", "drop it"),
            ("n", [1.5], "n", "is an integer from 1 to 9", "drop it"),
            ("c/d", ["a", "z"], "c~1d", "is one of 'a', 'b'", "drop it"),
            ("x", {"nested": [1]}, "x", "takes a list of its values", "drop it"),
        ]
    ),
    *(
        (pb2(hyperparam_bounds={name: values}), f"{OPTIONS}/hyperparam_bounds/{pointer}", detail, "")
        for name, values, pointer, detail in [
            ("c/d", ["a", "b"], "c~1d", "c/d is no float or int parameter that is mutable"),
            ("x", [0.1], "x", "takes [low, high] of it"),
            ("x", [0.5, 0.1], "x", "takes [low, high] of it"),
            ("x", [0.5, 1.1], "x", "takes [low, high] of it"),
            ("n", ["a", "b"], "n", "takes [low, high] of it"),
        ]
    ),
    (spec("ray:PB2", EVERY_2, parameters={"x": X}), "/parameters", "no float or int parameter is mutable", "mutable ="),
    (
        spec("ray:PB2", EVERY_2, parameters={"c": {"type": "bool", "mutable": True}}), "/parameters",
        "no float or int parameter is mutable", "add mutable = true",
    ),
    (
        spec("ray:PB2", EVERY_2, budget={"trials": 1, "steps_per_trial": 9}), "/budget/trials",
        "budget.trials is 1, but ray:PB2 compares at least 2", "raise budget.trials",
    ),
    (
        spec("ray:PB2", {"perturbation_interval": 1}, budget={"trials": 2, "steps_per_trial": 1}),
        f"{OPTIONS}/perturbation_interval", "is 1, in steps, but a trial takes at most 1", "raise steps_per_trial",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("refused", "pointer", "detail", "hint"), REFUSED)
def test_what_cannot_run_is_refused_with_the_field(refused: StudySpec, pointer: str, detail: str, hint: str) -> None:
    (problem,) = ray_problems(refused)
    assert problem.pointer == pointer
    assert detail in problem.detail
    assert hint in problem.hint
    assert "  " not in str(problem)


@pytest.mark.parametrize(
    "accepted",
    [
        spec("fifo"),
        spec("ray:FIFOScheduler"),
        spec("ray:ASHAScheduler", {"grace_period": 9, "reduction_factor": 2.5, "stop_last_trials": False}),
        spec("ray:AsyncHyperBandScheduler", {"brackets": 2}),
        spec("ray:HyperBandScheduler"),
        spec("ray:MedianStoppingRule", {"grace_period": 2, "hard_stop": False}),
        pbt(perturbation_factors=[2, 0.5], synch=True, burn_in_period=3),
        pbt(hyperparam_mutations={"x": [0, 0.5, 1], "n": [1, 9], "c/d": ["b"]}),
        pb2(hyperparam_bounds={"x": [0, 1], "n": [2, 3]}),
    ],
)
def test_what_can_run_is_accepted(accepted: StudySpec) -> None:
    assert list(ray_problems(accepted)) == []


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = spec("ray:PB2", {"quantile": 1, "synch": 3}, parameters={"x": X})
    assert [problem.pointer for problem in ray_problems(wrong)] == [
        f"{OPTIONS}/quantile",
        f"{OPTIONS}/synch",
        f"{OPTIONS}/perturbation_interval",
        "/parameters",
    ]


def test_checking_loads_neither_ray_nor_numpy() -> None:
    code = "import sys, hpo.ray_names; sys.exit(any(name in sys.modules for name in ('ray', 'numpy', 'pandas')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "PB2" in KNOWN
