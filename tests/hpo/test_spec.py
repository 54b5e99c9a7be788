"""Every rule of a specification: where it is broken, what is said of it, and that a remedy is given."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from pydantic import TypeAdapter

from hpo import specfile
from hpo.algorithms import SCHEDULES, SEARCHES
from hpo.errors import InvalidSpecError, Problem
from hpo.spec import FloatParameter, Objective, RaySchedule, SchedulerSpec, SearchSpec, StudySpec

GOOD: dict[str, Any] = {
    "name": "good",
    "trainable": "headlines",
    "parameters": {
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        "width": {"type": "int", "low": 8, "high": 64, "step": 8},
        "cell": {"type": "categorical", "choices": ["lstm", "gru"]},
    },
    "objective": {"metric": "perplexity", "direction": "minimize"},
    "budget": {"trials": 8, "steps_per_trial": 9},
}
DROP = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with the value at `a/b/c` set, or dropped."""
    data = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    table = data
    for key in parents:
        table = table.setdefault(key, {})
    if value is DROP:
        del table[last]
    else:
        table[last] = value
    return data


def problems(data: Any) -> tuple[Problem, ...]:
    with pytest.raises(InvalidSpecError) as caught:
        specfile.parse(data)
    return caught.value.problems


FLOAT = {"type": "float", "low": 0.0, "high": 1.0}
INT = {"type": "int", "low": 0, "high": 10}

OBJECTIVE: dict[str, Any] = {"metric": "perplexity", "direction": "minimize"}

BROKEN: list[tuple[str, Any, str, str, str]] = [
    # set this, to this -> pointer, part of the detail (value and rule), part of the hint
    ("bugdet", {}, "/bugdet", "'bugdet' is no key here", "did you mean 'budget'?"),
    ("zzzzzz", 1, "/zzzzzz", "'zzzzzz' is no key here", "known keys: name, engine, trainable"),
    ("budget/trails", 3, "/budget/trails", "'trails' is no key here", "did you mean 'trials'?"),
    ("parameters/lr/hgih", 1, "/parameters/lr/hgih", "'hgih' is no key here", "did you mean 'high'?"),
    ("objective/directoin", 1, "/objective/directoin", "no key here", "did you mean 'direction'?"),
    ("name", DROP, "/name", "missing, but required", "add name"),
    ("budget/trials", DROP, "/budget/trials", "missing, but required", "add trials"),
    ("objective", DROP, "/objective", "missing, but required", "add objective"),
    ("parameters/lr/type", DROP, "/parameters/lr/type", "missing, but required", "one of float, int"),
    ("parameters/lr/type", "flaot", "/parameters/lr/type", "'flaot' is no type of parameter", "'float'"),
    ("parameters/lr/low", DROP, "/parameters/lr/low", "missing, but required", "add low"),
    ("parameters", {}, "/parameters", "at least 1", "add what is missing"),
    ("parameters", [], "/parameters", "[]", "give a table"),
    ("parameters/lr", 0.1, "/parameters/lr", "0.1", "give a table"),
    ("parameters/a~b/c", {}, "/parameters/a~0b/type", "missing, but required", "one of"),
    # ranges
    ("parameters/x", FLOAT | {"low": 2.0}, "/parameters/x/low", "low is 2.0 and high is 1.0", "swap them"),
    ("parameters/x", FLOAT | {"low": 1.0}, "/parameters/x/low", "low must be below high", "a constant"),
    ("parameters/x", INT | {"low": 10}, "/parameters/x/low", "low is 10 and high is 10", "swap them"),
    ("parameters/x", FLOAT | {"log": True}, "/parameters/x/low", "low is 0.0, but a log", "raise low"),
    ("parameters/x", INT | {"log": True}, "/parameters/x/low", "low is 0, but a log", "raise low"),
    ("parameters/x", {**INT, "low": 1, "log": True, "step": 2}, "/parameters/x/step", "step is 2", "drop one"),
    ("parameters/x", FLOAT | {"step": 2.0}, "/parameters/x/step", "step is 2.0, but", "smaller"),
    ("parameters/x", FLOAT | {"step": 0}, "/parameters/x/step", "greater than 0", "raise it past 0"),
    ("parameters/x", INT | {"step": -1}, "/parameters/x/step", "-1: input should", "raise it past 0"),
    ("parameters/x", FLOAT | {"step": 1e-300}, "/parameters/x/step", "1e-300", "larger"),
    ("parameters/x", FLOAT | {"low": math.nan}, "/parameters/x/low", "nan: input should", "neither NaN"),
    ("parameters/x", FLOAT | {"high": math.inf}, "/parameters/x/high", "inf: input should", "neither NaN"),
    ("parameters/x", FLOAT | {"low": -1.7e308, "high": 1.7e308}, "/parameters/x/high", "too far", "smaller"),
    ("parameters/x", INT | {"high": 2**60}, "/parameters/x/high", "2**53", "smaller range"),
    ("parameters/x", INT | {"low": -(2**60)}, "/parameters/x/low", "2**53", "smaller range"),
    ("parameters/x", INT | {"low": 0.5}, "/parameters/x/low", "0.5: input should", "whole number"),
    ("parameters/x", INT | {"low": "a"}, "/parameters/x/low", "'a': input should", "whole number"),
    ("parameters/x", FLOAT | {"low": "a"}, "/parameters/x/low", "'a': input should", "give a number"),
    ("parameters/x", FLOAT | {"log": "maybe"}, "/parameters/x/log", "'maybe'", "true or false"),
    # choices
    ("parameters/cell/choices", ["a", "a"], "/parameters/cell/choices", "'a' stands twice", "drop one"),
    ("parameters/cell/choices", [], "/parameters/cell/choices", "at least 1", "add what is missing"),
    ("parameters/cell/choices", 5, "/parameters/cell/choices", "5: input should", "give a list"),
    ("parameters/cell/choices", [None], "/parameters/cell/choices/0", "None is neither text", "give one"),
    ("parameters/cell/choices", [math.nan], "/parameters/cell/choices/0", "nan is neither text", "give one"),
    ("parameters/cell/choices", [["a"]], "/parameters/cell/choices/0", "['a'] is neither", "give one"),
    ("parameters/cell/choices", list(range(1001)), "/parameters/cell/choices", "1000", "leave some out"),
    # the study
    ("name", "Bad Name", "/name", "'Bad Name' is no study name", "for example"),
    ("name", "-a", "/name", "no hyphen at either end", "for example"),
    ("name", "", "/name", "'' is no study name", "for example"),
    ("name", "a" * 64, "/name", "at most 63", "shorten it"),
    ("name", 5, "/name", "5: input should be a valid string", "text in quotes"),
    ("trainable", "headline", "/trainable", "'headline' is neither one of ours", "did you mean 'headlines'?"),
    ("trainable", "my.module", "/trainable", "package.module:function", "correct the name"),
    ("objective/metric", "perplexty", "/objective/metric", "'perplexty', but", "did you mean 'perplexity'?"),
    ("objective/metric", "zzz", "/objective/metric", "headlines reports perplexity", "choose one"),
    ("objective/metric", "", "/objective/metric", "at least 1", "at least one character"),
    ("objective/direction", "minimise", "/objective/direction", "'minimise' is not known", "'minimize'?"),
    ("objective/goal", math.nan, "/objective/goal", "nan: input should", "neither NaN"),
    ("budget", [1], "/budget", "[1]: input should", "give a table"),
    ("budget/trials", 10**6, "/budget/trials", "1000000 trials are asked for, but", "split the study"),
    ("budget/trials", 0, "/budget/trials", "0: input should be greater", "raise it to 1"),
    ("budget/trials", "many", "/budget/trials", "'many': input should", "whole number"),
    ("budget/trials", "8", "/budget/trials", "'8': input should", "whole number, without quotes"),
    ("budget/trials", True, "/budget/trials", "True: input should", "whole number"),
    ("priority", False, "/priority", "False: input should", "whole number"),
    ("budget/wall_seconds", "60", "/budget/wall_seconds", "'60': input should", "number, without quotes"),
    ("budget/wall_seconds", True, "/budget/wall_seconds", "True: input should", "give a number"),
    ("parameters/x", FLOAT | {"log": "yes"}, "/parameters/x/log", "'yes': input should", "true or false"),
    ("parameters/x", FLOAT | {"log": 1}, "/parameters/x/log", "1: input should", "true or false"),
    ("budget/steps_per_trial", 10**7, "/budget/steps_per_trial", "less than", "lower it to 1000000"),
    ("budget/total_steps", 0, "/budget/total_steps", "0: input", "raise it to 1"),
    ("budget/wall_seconds", 0, "/budget/wall_seconds", "greater than 0", "raise it past 0"),
    ("concurrency", 0, "/concurrency", "0: input", "raise it to 1"),
    ("resources/workers", 0, "/resources/workers", "0: input", "raise it to 1"),
    ("resources/gpus_per_worker", -1, "/resources/gpus_per_worker", "-1: input", "raise it to 0"),
    ("retry/lost_workers", 101, "/retry/lost_workers", "101: input", "lower it to 100"),
    ("seed", -1, "/seed", "-1: input", "raise it to 0"),
    ("seed", 2**63, "/seed", "9223372036854775808: input", "lower it past"),
    ("labels", {"a": 1}, "/labels/a", "1: input should be a valid string", "text in quotes"),
    ("fixed", {"lr": 1.0}, "/fixed/lr", "'lr' is under [fixed] and under [parameters]", "drop one of them"),
    ("fixed", {"lr": 1.0, "cell": "gru"}, "/fixed/lr /fixed/cell", "under [parameters]", "drop one of them"),
    ("fixed", {"float": None}, "/fixed/float", "None is neither text", "give one of these"),
    ("labels", {"int": 1}, "/labels/int", "1: input should be a valid string", "text in quotes"),
    ("fixed", {"a": None}, "/fixed/a", "None is neither text", "give one of these"),
    # several objectives
    ("objective", [], "/objective", "at least 1", "add what is missing"),
    ("objective", [OBJECTIVE, OBJECTIVE | {"direction": "up"}], "/objective/1/direction", "'up' is not", "one of"),
    ("objective", [OBJECTIVE | {"goal": "a"}], "/objective/0/goal", "'a': input should", "give a number"),
    ("objective", [OBJECTIVE, {"metric": "entropy"}], "/objective/1/direction", "missing", "add direction"),
    ("objective", [OBJECTIVE | {"gaol": 1}], "/objective/0/gaol", "no key here", "did you mean 'goal'?"),
    ("objective", [OBJECTIVE, OBJECTIVE], "/objective/1/metric", "'perplexity' is an objective already", "drop one"),
    ("objective", [OBJECTIVE, OBJECTIVE | {"metric": "zzz"}], "/objective/1/metric", "is 'zzz', but", "choose one"),
    ("objective", [OBJECTIVE | {"metric": "zzz"}], "/objective/0/metric", "is 'zzz', but", "choose one"),
    ("objective", [OBJECTIVE] * 9, "/objective", "at most 8", "leave some out"),
    ("objective", "perplexity", "/objective", "'perplexity': input should", "give a table"),
    ("objectives", OBJECTIVE, "/objectives", "no key here", "did you mean 'objective'?"),
    # past studies and parameters that may change
    ("warm_start", ["Bad Name"], "/warm_start/0", "'Bad Name' is no study name", "hpo ls"),
    ("warm_start", ["a", "b", "a"], "/warm_start/2", "'a' stands twice", "drop one"),
    ("warm_start", ["good"], "/warm_start/0", "'good' is this study itself", "drop it"),
    ("warm_start", "a", "/warm_start", "'a': input should", "give a list"),
    ("parameters/width/mutable", True, "/parameters/width/mutable", "headlines can't change it", "lr may change"),
    ("parameters/lr/mutable", "often", "/parameters/lr/mutable", "'often'", "true or false"),
    # searcher and scheduler
    ("search/algorithm", "rnadom", "/search/algorithm", "'rnadom' is not known", "did you mean 'random'?"),
    ("search/algorithm", "zzz", "/search/algorithm", "'zzz' is not known", "one of random, grid, sobol, optuna"),
    ("search/algorithm", 5, "/search/algorithm", "5 is not known", "one of random"),
    ("search/algorithm", "ray:PB2", "/search/algorithm", "'ray:PB2' is not known", "one of random"),
    ("search", "optuna", "/search", "'optuna' is no table of keys", 'algorithm = "random" in [search]'),
    ("search/sampler", "tpe", "/search/sampler", "no key of algorithm 'random'", 'algorithm = "optuna"'),
    ("search/sampler", "tpe", "/search/sampler", "'sampler' is", "only optuna, hyperopt take it: drop it"),
    ("search/startup_trials", 3, "/search/startup_trials", "'startup_trials' is", "only optuna, hyperopt take it"),
    ("search", {"algorithm": "optuna", "sampler": "tpee"}, "/search/sampler", "'tpee'", "did you mean 'tpe'?"),
    ("search", {"algorithm": "hyperopt", "sampler": "gp"}, "/search/sampler", "'gp'", "one of 'tpe' or 'anneal'"),
    ("search", {"algorithm": "optuna", "smapler": "tpe"}, "/search/smapler", "'optuna'", "did you mean 'sampler'?"),
    ("search", {"algorithm": "optuna", "zzz": 1}, "/search/zzz", "'zzz' is", "known keys of optuna: algorithm, sampl"),
    ("search", {"algorithm": "optuna", "startup_trials": 0}, "/search/startup_trials", "0: input", "raise it to 1"),
    ("search", {"algorithm": "optuna", "optuna": 1}, "/search/optuna", "'optuna' is no key", "known keys of optuna"),
    ("scheduler/algorithm", "hyper", "/scheduler/algorithm", "'hyper' is not known", "'hyperband'?"),
    ("scheduler/algorithm", "zzz", "/scheduler/algorithm", "'zzz' is not known", "median, pbt, genetic, ray:NAME"),
    ("scheduler/algorithm", "ray", "/scheduler/algorithm", "'ray' names no scheduler of Ray Tune", "ray:PB2"),
    ("scheduler/algorithm", "ray:a b", "/scheduler/algorithm", "'ray:a b' names no scheduler", "ray:PB2"),
    ("scheduler", None, "/scheduler", "None is no table of keys", 'algorithm = "fifo"'),
    ("scheduler/grace_steps", 3, "/scheduler/grace_steps", "algorithm 'fifo'", "hyperband, median, genetic take it"),
    ("scheduler/grace_steps", 3, "/scheduler/grace_steps", "no key", 'drop it, or set algorithm = "asha"'),
    ("scheduler/population", 3, "/scheduler/population", "'fifo'", 'pbt, genetic take it: drop it, or set algorithm ='),
    ("scheduler/inherit", True, "/scheduler/inherit", "'fifo'", 'only genetic takes it: drop it, or set algorithm'),
    ("scheduler", {"algorithm": "genetic", "inherit": 2}, "/scheduler/inherit", "2: input", "true or false"),
    ("scheduler", {"algorithm": "genetic", "population": 1}, "/scheduler/population", "1: input", "raise it to 2"),
    (
        "scheduler", {"algorithm": "genetic", "interval_steps": 0},
        "/scheduler/interval_steps", "0: input", "raise it to 1",
    ),
    ("scheduler/grace_step", 3, "/scheduler/grace_step", "'fifo'", "did you mean 'grace_steps'? Only asha, hyperband"),
    ("scheduler", {"algorithm": "ray:PB2", "optoins": {}}, "/scheduler/optoins", "'ray:NAME'", "mean 'options'?"),
    ("scheduler/options", {}, "/scheduler/options", "'fifo'", 'only ray:NAME takes it: drop it, or set algorithm'),
    (
        "scheduler", {"algorithm": "asha", "reduction_factor": 1},
        "/scheduler/reduction_factor", "1: input", "raise it to 2",
    ),
    (
        "scheduler", {"algorithm": "asha", "variant": "promote"},
        "/scheduler/variant", "'promote' is not known", "did you mean 'promotion'?",
    ),
    ("scheduler", {"algorithm": "pbt", "quantile": 0.6}, "/scheduler/quantile", "0.6: input", "lower it to 0.5"),
    ("scheduler", {"algorithm": "pbt", "factors": []}, "/scheduler/factors", "at least 1", "add what is missing"),
    ("scheduler", {"algorithm": "pbt", "factors": ["a"]}, "/scheduler/factors/0", "'a': input", "give a number"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "pointer", "detail", "hint"), BROKEN, ids=[f"{row[0]}-{n}" for n, row in enumerate(BROKEN)]
)
def test_every_rule_names_the_field_the_value_and_the_remedy(
    path: str, value: Any, pointer: str, detail: str, hint: str
) -> None:
    data = changed(path, value) if path != "parameters/a~b/c" else with_odd_name()
    found = problems(data)
    assert [problem.pointer for problem in found] == pointer.split(" "), found
    assert detail in found[0].detail
    assert hint in found[0].hint
    assert found[0].hint


def with_odd_name() -> dict[str, Any]:
    data = copy.deepcopy(GOOD)
    data["parameters"]["a~b"] = {}
    return data


def test_the_good_specification_is_good() -> None:
    spec = specfile.parse(GOOD)
    assert (spec.search.algorithm, spec.scheduler.algorithm, spec.seed) == ("random", "fifo", 0)


def test_all_problems_are_told_at_once() -> None:
    data = changed("budget/trials", 0)
    data["seed"] = -1
    data["objective"]["direction"] = "up"
    assert {problem.pointer for problem in problems(data)} == {"/budget/trials", "/seed", "/objective/direction"}


@pytest.mark.parametrize("data", [[], [GOOD], "text", None, 5])
def test_a_specification_is_a_table(data: Any) -> None:
    (problem,) = problems(data)
    assert problem.pointer == ""
    assert type(data).__name__ in problem.detail
    assert problem.hint


def test_parameters_may_be_called_as_a_type() -> None:
    data = changed("parameters/float", {"type": "float", "low": 1.0, "high": 0.0})
    assert [problem.pointer for problem in problems(data)] == ["/parameters/float/low"]
    data = changed("parameters/int", {"type": "categorical", "choices": [None]})
    assert [problem.pointer for problem in problems(data)] == ["/parameters/int/choices/0"]


def test_a_problem_reads_as_a_sentence() -> None:
    (problem,) = problems(changed("parameters/x", FLOAT | {"log": True}))
    assert str(problem) == (
        "parameters.x.low: low is 0.0, but a log-scaled parameter needs low > 0; raise low, or leave out log = true"
    )


def test_choices_keep_their_types() -> None:
    spec = specfile.parse(changed("parameters/cell/choices", [True, 1, 1.0, "1", False, 0]))
    again = specfile.parse(specfile.to_data(spec))
    for each in (spec, again):
        assert [repr(c) for c in each.parameters["cell"].choices] == [  # type: ignore[union-attr]
            "True", "1", "1.0", "'1'", "False", "0"
        ]  # fmt: skip


def test_a_step_is_compared_in_the_decimals_that_the_user_wrote() -> None:
    assert FloatParameter(type="float", low=0.1, high=0.3, step=0.2).step == 0.2


@pytest.mark.parametrize(
    ("direction", "a", "b"), [("minimize", 1.0, 2.0), ("maximize", 2.0, 1.0)]
)  # fmt: skip
def test_objectives_compare_in_their_direction(direction: Any, a: float, b: float) -> None:
    objective = Objective(metric="m", direction=direction, goal=1.5)
    assert objective.better(a, b)
    assert not objective.better(b, a)
    assert not objective.better(a, a)
    assert objective.reached(a)
    assert objective.reached(1.5)
    assert not objective.reached(b)
    assert not Objective(metric="m", direction=direction).reached(a)


def test_the_names_of_the_algorithms_and_their_tables_agree() -> None:
    for tables, union in ((SEARCHES, SearchSpec), (SCHEDULES, SchedulerSpec)):
        adapter: TypeAdapter[Any] = TypeAdapter(union)
        for name, table in tables.items():
            assert type(adapter.validate_python({"algorithm": "ray:PB2" if name == "ray" else name})) is table


def test_a_scheduler_of_ray_keeps_its_name_and_its_options() -> None:
    spec = specfile.parse(changed("scheduler", {"algorithm": "ray:PB2", "options": {"quantile_fraction": 0.5}}))
    assert spec.scheduler == RaySchedule(algorithm="ray:PB2", options={"quantile_fraction": 0.5})


def test_slashes_and_tildes_in_keys_are_escaped_where_one_of_our_own_rules_complains() -> None:
    data = changed("parameters/a~1b", {"type": "bool"})
    data["parameters"]["c/d"] = {"type": "bool"}
    data["fixed"] = {"c/d": 1, "a~1b": 1}
    assert {problem.pointer for problem in problems(data)} == {"/fixed/c~1d", "/fixed/a~01b"}


@pytest.mark.parametrize("several", [False, True])
def test_one_objective_or_several(several: bool) -> None:
    second = {"metric": "entropy", "direction": "maximize", "goal": 2.0}
    spec = specfile.parse(changed("objective", [OBJECTIVE, second] if several else OBJECTIVE))
    assert spec.objective == spec.objectives[0] == Objective(metric="perplexity", direction="minimize")
    assert [objective.metric for objective in spec.objectives] == ["perplexity", "entropy"][: 1 + several]
    assert specfile.to_data(spec)["objective"] == ([OBJECTIVE, second] if several else OBJECTIVE)
    assert specfile.parse(specfile.to_data(spec)) == spec


def test_a_list_of_one_objective_is_that_objective() -> None:
    assert specfile.parse(changed("objective", [OBJECTIVE])) == specfile.parse(changed("objective", OBJECTIVE))


def test_the_schema_offers_one_objective_or_several() -> None:
    schema = StudySpec.model_json_schema()
    offered = schema["properties"]["objective"]["anyOf"]
    assert {each.get("type", each.get("$ref")) for each in offered} == {"array", "#/$defs/Objective"}
    assert "objective" in schema["required"]
