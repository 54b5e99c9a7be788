"""An Optuna study as one of ours: parameters, conditions, values, and what can't be said."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from hpo import specfile
from hpo.errors import ExchangeError
from hpo.report import imports
from hpo.report.from_optuna import Choice, Found, from_optuna
from hpo.report.to_optuna import to_optuna
from hpo.space import Space
from hpo.specfile import to_data
from hpo.store.memory import MemoryStore
from hpo.trial import StudyState
from hpo.warm_start import past_trials
from tests.hpo.report.played import SPEC, searched


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'old.db'}"


@pytest.fixture
def optimized(url: str) -> Callable[..., optuna.Study]:
    def run(objective: Callable[[optuna.Trial], Any], *, trials: int = 40, **options: Any) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(
            storage=url, study_name="Old Study", sampler=optuna.samplers.RandomSampler(seed=1), **options
        )
        study.optimize(objective, n_trials=trials, catch=(RuntimeError,))
        return study

    return run


def conditional(trial: optuna.Trial) -> float:
    kind = trial.suggest_categorical("kind", ["mlp", "tree", None])
    if trial.number == 5:
        raise RuntimeError("no")
    value = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    if kind == "mlp":
        for layer in range(trial.suggest_int("layers", 1, 3)):
            value += trial.suggest_int(f"units_{layer}", 4, 64, step=4)
    elif kind == "tree":
        value += trial.suggest_float("ccp", 0.0, 1.0, step=0.1)
    for step in range(3):
        trial.report(value + 3 - step, step)
        if trial.number % 4 == 3 and step == 1:
            raise optuna.TrialPruned
    return value + 0.5


def checked(found: Found) -> Found:
    """What the service would take."""
    assert list(imports.check(found.spec, found.trials)) == []
    return found


def test_a_conditional_study_becomes_a_space_with_conditions(url: str, optimized: Callable[..., optuna.Study]) -> None:
    study = optimized(conditional)
    found = checked(from_optuna(url, Choice(metrics=["loss"])))
    assert found.spec.name == "old-study"
    assert to_data(found.spec)["parameters"] == {
        "kind": {"type": "categorical", "choices": ["mlp", "tree", "None"], "mutable": False, "when": {}},
        "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True, "mutable": False, "when": {}},
        "layers": {"type": "int", "low": 1, "high": 3, "log": False, "mutable": False, "when": {"kind": ["mlp"]}},
        **{
            f"units_{k}": {
                "type": "int", "low": 4, "high": 64, "step": 4, "log": False, "mutable": False,
                "when": {"kind": ["mlp"]} if k == 0 else {"layers": [2, 3][k - 1:]},
            }
            for k in range(3)
        },
        "ccp": {
            "type": "float", "low": 0.0, "high": 1.0, "step": 0.1, "log": False, "mutable": False,
            "when": {"kind": ["tree"]},
        },
    }  # fmt: skip
    by_number = {trial["number"]: trial for trial in found.trials}
    assert set(by_number) == set(range(40)) - {5}  # which failed before it had all of its parameters
    for number, ours in by_number.items():
        theirs = study.trials[number]
        assert ours["state"] == {"COMPLETE": "completed", "PRUNED": "stopped", "FAIL": "failed"}[theirs.state.name]
        last = theirs.last_step
        if theirs.state.name == "COMPLETE":
            assert (ours["value"], ours["value_step"]) == (theirs.value, 4)
            assert ours["measurements"][-1] == {"step": 4, "metrics": {"loss": theirs.value}}
        elif last is not None:
            assert (ours["value"], ours["value_step"]) == (theirs.intermediate_values[1], 2)
    assert found.notes == [
        "left out, since they were pruned or have failed: 1 of 40 trials",
        "the choice None is the text 'None' here",
        "steps count from 1 here: each is 1 higher",
    ]


def test_a_new_study_learns_from_an_imported_one(url: str, optimized: Callable[..., optuna.Study]) -> None:
    optimized(lambda trial: (trial.suggest_float("x", 0, 1) - 0.25) ** 2, trials=30)
    found = checked(from_optuna(url, Choice(name="old")))
    store = MemoryStore()
    made = imports.import_study(store, found.spec, found.trials, source="a test")
    assert (made.state, made.message) == (StudyState.SUCCEEDED, "imported from a test")
    new = specfile.parse({
        "name": "new", "trainable": "mine:train", "warm_start": ["old"], "budget": {"trials": 4},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 0.5}},
        "objective": {"metric": "value", "direction": "minimize"},
    })  # fmt: skip
    learnt = past_trials(store, new)
    theirs = {trial.number: trial for trial in optuna.load_study(study_name="Old Study", storage=url).trials}
    assert 5 < len(learnt) < 30
    for trial in learnt:
        assert trial.params == theirs[trial.number].params
        assert trial.value == theirs[trial.number].value


def test_what_was_exported_comes_back(url: str) -> None:
    spec = specfile.parse(SPEC)
    trials, reports = searched(spec, 90)
    to_optuna(url, spec, trials, reports, latest={})
    found = checked(from_optuna(url, Choice()))
    ours, theirs = to_data(spec)["parameters"], to_data(found.spec)["parameters"]
    ours["momentum"]["high"], ours["units"]["high"] = 0.9, 998  # the grids' last values
    ours["odd"]["choices"] = ["true", "1", "1.0", '"1"']
    assert theirs == ours
    assert found.spec.objectives == spec.objectives
    answers = [trial for trial in trials if trial.state in ("completed", "stopped")]
    told = [each for each in found.trials if each["state"] != "failed"]
    for trial, again in zip(answers, told, strict=True):
        assert (again["number"], again["value"], again["value_step"]) == (trial.number, trial.value, trial.value_step)
        assert again["params"] | {"odd": None} == dict(trial.params) | {"odd": None}
        assert len(again["measurements"]) == trial.step


def test_several_objectives_keep_all_their_values(url: str, optimized: Callable[..., optuna.Study]) -> None:
    def both(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1)
        return x, 1 - x

    study = optimized(both, directions=["minimize", "maximize"])
    found = checked(from_optuna(url, Choice(metrics=["loss", "acc"])))
    assert [each.direction for each in found.spec.objectives] == ["minimize", "maximize"]
    for theirs, ours in zip(study.trials, found.trials, strict=True):
        assert ours["measurements"] == [{"step": 1, "metrics": dict(zip(["loss", "acc"], theirs.values, strict=True))}]
    assert [each.metric for each in from_optuna(url, Choice()).spec.objectives] == ["value_0", "value_1"]
    with pytest.raises(ExchangeError, match=r"has 2 objectives, but 1 metrics are named.*--metric"):
        from_optuna(url, Choice(metrics=["loss"]))


def test_a_range_that_changed_is_refused_or_widened(url: str, optimized: Callable[..., optuna.Study]) -> None:
    optimized(lambda trial: trial.suggest_float("lr", 10.0 ** -(3 + (trial.number > 20)), 0.1, log=True))
    with pytest.raises(ExchangeError, match=r"lr is .*low=0.001.* in trial 0, but .*low=0.0001.* in trial 21.*--widen"):
        from_optuna(url, Choice())
    found = checked(from_optuna(url, Choice(widen=True)))
    assert to_data(found.spec)["parameters"]["lr"]["low"] == 0.0001


def test_another_kind_of_range_is_refused_with_another_remedy(url: str, optimized: Callable[..., optuna.Study]) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("y", 0, 1)
        return trial.suggest_float("lr", 0.001, 0.1, step=0.001 if trial.number > 5 else None)

    optimized(objective)
    with pytest.raises(ExchangeError, match="--without lr"):
        from_optuna(url, Choice(widen=True))
    assert set(checked(from_optuna(url, Choice(without=["lr"]))).spec.parameters) == {"y"}


def test_a_condition_that_no_value_says_names_its_parameter(url: str, optimized: Callable[..., optuna.Study]) -> None:
    rng = random.Random(0)

    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("lr", 0, 1) + len(trial.suggest_categorical("kind", ["a", "b"]))
        return value + (trial.suggest_float("secret", 0, 1) if rng.random() < 0.5 else 0)

    optimized(objective)
    with pytest.raises(ExchangeError, match=r"secret is in \d+ of 40 trials, and no other parameter.*--without secret"):
        from_optuna(url, Choice())
    found = checked(from_optuna(url, Choice(without=["secret"])))
    assert set(found.spec.parameters) == {"lr", "kind"}
    assert len(found.trials) == 40


def test_pruned_trials_that_lack_parameters_can_be_left_out(url: str, optimized: Callable[..., optuna.Study]) -> None:
    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("lr", 0, 1)
        if trial.number % 3 == 0:
            raise optuna.TrialPruned
        return value + trial.suggest_float("late", 0, 1)

    optimized(objective)
    with pytest.raises(ExchangeError, match=r"late is in 26 of 40 trials.*--complete-only"):
        from_optuna(url, Choice())
    found = checked(from_optuna(url, Choice(complete_only=True)))
    assert len(found.trials) == 26
    assert found.notes == ["left out, since they were pruned or have failed: 14 of 40 trials"]


def test_values_that_are_not_finite_and_trials_that_run_are_no_answers(
    url: str, optimized: Callable[..., optuna.Study]
) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        return float("inf") if trial.number == 2 else x

    study = optimized(objective, trials=4)
    study.ask()
    found = checked(from_optuna(url, Choice()))
    assert [each["state"] for each in found.trials] == ["completed", "completed", "failed", "completed"]
    assert found.trials[2]["message"] == "its values are [inf], but an objective must be finite"
    assert "left out, since they wait or run: 1 of 5 trials" in found.notes


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(study="nobody"), "no study 'nobody'; name one of Old Study"),
        (Choice(max_trials=0), "no trial that is complete"),
        (Choice(without=["x"]), "no parameters"),
    ],
)
def test_what_can_not_be_read_says_so(
    url: str, optimized: Callable[..., optuna.Study], choice: Choice, said: str
) -> None:
    optimized(lambda trial: trial.suggest_float("x", 0, 1), trials=3)
    with pytest.raises(ExchangeError, match=said):
        from_optuna(url, choice)


def test_the_largest_import_is_bounded(
    url: str, optimized: Callable[..., optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.report.from_optuna.MAX_TRIALS", 5)
    optimized(lambda trial: trial.suggest_float("x", 0, 1), trials=7)
    with pytest.raises(ExchangeError, match=r"7 trials, but an import takes at most 5; --max-trials 5"):
        from_optuna(url, Choice())
    assert len(from_optuna(url, Choice(max_trials=5)).trials) == 5
    assert Space.of(from_optuna(url, Choice(max_trials=5)).spec).names == ("x",)
