"""What the chosen searcher or scheduler can't honour is refused before a study starts, and cheaply."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from hpo import compatibility, specfile
from hpo.errors import InvalidSpecError
from hpo.spec import StudySpec

X = {"type": "float", "low": 0, "high": 1}
N = {"type": "int", "low": 0, "high": 9}
C = {"type": "categorical", "choices": ["a", "b"]}
MUTABLE = X | {"mutable": True}


def spec(parameters: dict[str, Any], *, objectives: int = 1, **changes: Any) -> StudySpec:
    return specfile.parse(
        {
            "name": "compatibility",
            "trainable": "tests.nothing:train",
            "parameters": parameters,
            "objective": [{"metric": f"loss{k}", "direction": "minimize"} for k in range(objectives)],
            "budget": {"trials": 10, "steps_per_trial": 9},
            **changes,
        }
    )


def optuna(sampler: str, **options: Any) -> dict[str, Any]:
    return {"algorithm": "optuna", "sampler": sampler, **options}


def hyperopt(sampler: str, **options: Any) -> dict[str, Any]:
    return {"algorithm": "hyperopt", "sampler": sampler, **options}


def genetic(**options: Any) -> dict[str, Any]:
    return {"algorithm": "genetic", **options}


GRID = {"algorithm": "grid"}

REFUSED: list[tuple[StudySpec, str, str, str]] = [
    # specification -> pointer, part of the detail (value and rule), part of the hint
    (spec({"n": N, "x": X}, search=GRID), "/parameters/x/step", "x is a float without a step", "give it a step"),
    (spec({"a/b": X}, search=GRID), "/parameters/a~1b/step", "finitely many values", "choose another algorithm"),
    (spec({"c": C}, search=optuna("cmaes")), "/search/sampler", "'cmaes', which needs at least 2", "choose tpe"),
    (spec({"c": C, "x": X}, search=optuna("cmaes")), "/search/sampler", "but there is 1", "choose tpe"),
    (spec({"c": C}, search=optuna("qmc")), "/search/sampler", "'qmc', which needs at least 1 float or int", "choose"),
    *(
        (
            spec({"x": X}, search=optuna(sampler, startup_trials=3)), "/search/startup_trials",
            f"search.startup_trials is 3, but sampler {sampler!r} has no start-up", "drop startup_trials",
        )
        for sampler in ("qmc", "random", "nsgaii")
    ),
    (
        spec({"x": X}, search=hyperopt("anneal", startup_trials=3)), "/search/startup_trials",
        "startup_trials is 3, but sampler 'anneal' has no start-up", "choose tpe",
    ),
    *(
        (
            spec({"x": X}, objectives=2, search=hyperopt(sampler)), "/search/algorithm",
            "search.algorithm is 'hyperopt', which takes one objective, but there are 2 (loss0, loss1)", "nsgaii",
        )
        for sampler in ("tpe", "anneal")
    ),
    (
        spec({"x": X, "n": N}, objectives=3, search=optuna("cmaes")), "/search/sampler",
        "search.sampler is 'cmaes', which takes one objective, but there are 3", "keep one objective",
    ),
    *(
        (
            spec({"x": X}, scheduler={"algorithm": scheduler, "grace_steps": 10}), "/scheduler/grace_steps",
            "grace_steps is 10, but a trial takes at most 9 steps", "raise steps_per_trial",
        )
        for scheduler in ("asha", "hyperband", "median")
    ),
    (
        spec({"x": MUTABLE}, scheduler={"algorithm": "pbt", "population": 11}), "/scheduler/population",
        "population is 11: a population larger than the budget of 10 trials", "raise budget.trials",
    ),
    (
        spec({"x": MUTABLE}, budget={"trials": 1}, scheduler={"algorithm": "pbt"}), "/budget/trials",
        "budget.trials is 1, but scheduler 'pbt' compares at least 2", "raise budget.trials",
    ),
    (
        spec({"x": MUTABLE}, scheduler={"algorithm": "pbt", "interval_steps": 9}), "/scheduler/interval_steps",
        "interval_steps is 9, but a trial takes at most 9 steps", "lower interval_steps",
    ),
    (
        spec({"x": X}, scheduler={"algorithm": "pbt"}), "/parameters",
        "no parameter is mutable, but scheduler 'pbt' changes parameters", "mutable = true",
    ),
    (
        spec({"x": MUTABLE}, scheduler=genetic(population=11)), "/scheduler/population",
        "population is 11: a population larger than the budget of 10 trials", "raise budget.trials",
    ),
    (
        spec({"x": MUTABLE}, budget={"trials": 1}, scheduler=genetic()), "/budget/trials",
        "budget.trials is 1, but scheduler 'genetic' compares at least 2", "or set inherit = false",
    ),
    (
        spec({"x": MUTABLE}, scheduler=genetic(interval_steps=9)), "/scheduler/interval_steps",
        "interval_steps is 9, but a trial takes at most 9 steps", "lower interval_steps",
    ),
    (
        spec({"x": X}, scheduler=genetic(inherit=True)), "/scheduler/inherit",
        "inherit is true, but no parameter is mutable", "mutable = true",
    ),
    (
        spec({"x": MUTABLE}, objectives=2, scheduler=genetic(inherit=True)), "/scheduler/inherit",
        "inherit is true, which takes one objective, but there are 2 (loss0, loss1)", "keep one objective; or drop inh",
    ),
    (
        spec({"x": MUTABLE}, scheduler=genetic(inherit=True, resumable=False)), "/scheduler/resumable",
        "resumable is false, but scheduler.inherit is true", "drop resumable = false, or inherit = true",
    ),
    (
        spec({"x": MUTABLE}, scheduler=genetic(grace_steps=2)), "/scheduler/grace_steps",
        "grace_steps is 2, but a parameter is mutable, so weights are inherited, and then", "or set inherit = false",
    ),
    (
        spec({"x": MUTABLE}, scheduler=genetic(inherit=True, grace_steps=10)), "/scheduler/grace_steps",
        "grace_steps is 10, but scheduler.inherit is true, and then there are no rungs", "or set inherit = false",
    ),
    (
        spec({"x": MUTABLE}, scheduler=genetic(reduction_factor=4)), "/scheduler/reduction_factor",
        "reduction_factor is 4, but a parameter is mutable", "drop reduction_factor",
    ),
    (
        spec({"x": X}, scheduler=genetic(population=4)), "/scheduler/population",
        "population is 4, but no weights are inherited", "set inherit = true and mutable = true",
    ),
    (
        spec({"x": MUTABLE}, scheduler=genetic(inherit=False, interval_steps=2)), "/scheduler/interval_steps",
        "interval_steps is 2, but no weights are inherited", "drop interval_steps",
    ),
    (
        spec({"x": X}, scheduler=genetic(grace_steps=10)), "/scheduler/grace_steps",
        "grace_steps is 10, but a trial takes at most 9 steps", "raise steps_per_trial",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("refused", "pointer", "detail", "hint"), REFUSED)
def test_what_can_not_be_honoured_is_refused(refused: StudySpec, pointer: str, detail: str, hint: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        compatibility.check(refused)
    (problem,) = caught.value.problems
    assert problem.pointer == pointer
    assert detail in problem.detail
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (spec({"x": MUTABLE, "n": N}, scheduler=genetic()), True),
        (spec({"x": X, "n": N}, scheduler=genetic()), False),
        (spec({"x": MUTABLE}, objectives=2, scheduler=genetic()), False),
        (spec({"x": MUTABLE}, scheduler=genetic(resumable=False)), False),
        (spec({"x": MUTABLE}, scheduler=genetic(inherit=False)), False),
        (spec({"x": MUTABLE}, scheduler={"algorithm": "pbt"}), False),
    ],
)
def test_the_genetic_scheduler_inherits_where_it_can_unless_told(given: StudySpec, expected: bool) -> None:
    assert compatibility.inherits(given) is expected


def test_a_specification_that_was_stored_is_refused_no_more_than_before() -> None:
    """Stored, it names all options, also those that only the other kind of the scheduler takes."""
    for parameter in (X, MUTABLE):
        given = spec({"x": parameter}, scheduler=genetic())
        stored = specfile.to_data(given)
        assert stored["scheduler"]["grace_steps"] == stored["scheduler"]["interval_steps"] == 1
        compatibility.check(specfile.parse(stored))


def test_all_problems_are_told_at_once() -> None:
    refused = spec(
        {"c": C},
        objectives=2,
        search=optuna("cmaes"),
        scheduler={"algorithm": "pbt", "population": 11, "interval_steps": 20},
    )
    with pytest.raises(InvalidSpecError) as caught:
        compatibility.check(refused)
    assert [problem.pointer for problem in caught.value.problems] == [
        "/search/sampler", "/search/sampler", "/scheduler/population", "/scheduler/interval_steps", "/parameters"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "accepted",
    [
        spec({"x": X}),
        spec({"n": N, "c": C}, search=GRID),
        spec({"c": C}, search=GRID),  # a grid of 2 under 10 trials
        spec({"c": C}, search=optuna("tpe")),
        spec({"x": X, "n": N | {"when": {"c": ["a"]}}, "c": C}, search=optuna("cmaes", startup_trials=2)),
        spec({"x": X}, search=optuna("tpe", startup_trials=1000)),
        spec({"x": X}, search=hyperopt("tpe", startup_trials=3)),
        spec({"n": N}, objectives=2, search=GRID),
        *(spec({"x": X}, objectives=2, search={"algorithm": name}) for name in ("random", "sobol")),
        *(spec({"x": X}, objectives=8, search=optuna(name)) for name in ("tpe", "gp", "nsgaii", "qmc", "random")),
        spec({"x": X}, scheduler={"algorithm": "asha", "grace_steps": 9}),
        spec({"x": MUTABLE}, scheduler={"algorithm": "asha"}),
        spec({"x": MUTABLE, "n": N}, scheduler={"algorithm": "pbt", "population": 10, "interval_steps": 8}),
        spec({"x": MUTABLE, "n": N}, scheduler=genetic(population=10, interval_steps=8)),
        spec({"x": MUTABLE}, scheduler=genetic(inherit=False, grace_steps=9, reduction_factor=2)),
        spec({"x": X}, scheduler=genetic(grace_steps=9, reduction_factor=2)),
        spec({"x": X}, scheduler=genetic(), budget={"trials": 1}),
        spec({"x": X}, objectives=2, scheduler=genetic(), search=genetic()),
        spec({"x": X}, scheduler={"algorithm": "ray:AsyncHyperBandScheduler"}),
    ],
)
def test_what_can_be_honoured_is_accepted(accepted: StudySpec) -> None:
    compatibility.check(accepted)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsgaii", "qmc", "random", "cmaes"])
def test_optuna_takes_several_objectives_where_it_is_said_to(sampler: str) -> None:
    """Optuna itself, without ours: does the sampler propose after two trials of two objectives?"""
    import optuna as library

    makers = {
        "tpe": library.samplers.TPESampler, "gp": library.samplers.GPSampler, "nsgaii": library.samplers.NSGAIISampler,
        "qmc": library.samplers.QMCSampler, "random": library.samplers.RandomSampler,
        "cmaes": library.samplers.CmaEsSampler,
    }  # fmt: skip
    options = {"n_startup_trials": 1} if sampler in ("tpe", "gp", "cmaes") else {}
    library.logging.set_verbosity(library.logging.ERROR)

    def propose() -> None:
        study = library.create_study(directions=["minimize"] * 2, sampler=makers[sampler](seed=0, **options))
        for _ in range(3):
            trial = study.ask()
            x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
            study.tell(trial, [x, y])

    if sampler == "cmaes":
        with pytest.raises(ValueError, match="multi-objective"):
            propose()
    else:
        propose()


def test_checking_loads_neither_optuna_nor_numpy_nor_ray() -> None:
    code = """
import sys
from hpo import compatibility, registry, space, specfile
spec = specfile.parse({
    "name": "a", "trainable": "a:b",
    "parameters": {"x": {"type": "float", "low": 0, "high": 1}, "on": {"type": "bool"}},
    "objective": {"metric": "m", "direction": "minimize"}, "budget": {"trials": 1},
    "search": {"algorithm": "optuna"}, "forbidden": [{"on": True}], "initial": [{"x": 1, "on": False}],
})
compatibility.check(spec)
space.Space.of(spec).size()
loaded = {"optuna", "hyperopt", "numpy", "ray", "torch", "scipy"} & set(sys.modules)
sys.exit(f"loaded {loaded}" if loaded else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
