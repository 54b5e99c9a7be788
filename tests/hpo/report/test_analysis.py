"""What a report says of a study, computed by hand."""

from __future__ import annotations

import random
import warnings
from itertools import pairwise
from typing import Any

import optuna
import pytest

from hpo import specfile
from hpo.report.analysis import (
    best_line,
    best_so_far,
    candidates,
    effort,
    failures,
    judged,
    longest_family,
    rungs,
    spent,
    steps_over_time,
)
from hpo.report.importance import MIN_TRIALS, importances
from hpo.report.optuna_space import distribution
from hpo.report.optuna_space import shown as shown_in_optuna
from hpo.report.reading import Judgement, Record, read, shown
from hpo.report.summary import number, sentences
from hpo.store.memory import MemoryStore
from hpo.trial import FailureCause, Inheritance, Study, StudyCounts, StudyState, Trial, TrialState
from tests.hpo.report.reported import SPEC, recorded

MINIMIZE = specfile.parse(SPEC)
MAXIMIZE = specfile.parse({**SPEC, "objective": {"metric": "accuracy", "direction": "maximize"}})


def a_trial(number: int, value: float | None = None, **given: Any) -> Trial:
    params = {"lr": 0.01, "hidden": 32, "dropout": 0.1, "cell": "gru", "tied": False}
    made: dict[str, Any] = {"study": "headlines", "params": params, "created_at": 0.0, "state": TrialState.COMPLETED}
    return Trial(number=number, value=value, **{**made, **given})


def inherited(trial: int, generation: int, donor: int, donor_generation: int) -> Inheritance:
    return Inheritance(
        study="headlines", trial=trial, generation=generation, donor=donor, donor_generation=donor_generation,
        step=3, params={}, path="x", recorded_at=0.0,
    )  # fmt: skip


def a_record(*trials: Trial, inheritances: tuple[Inheritance, ...] = (), ended_at: float | None = None) -> Record:
    study = Study(name="headlines", spec=MINIMIZE, created_at=0.0, ended_at=ended_at)
    return Record(
        study=study, trials=trials, counts=StudyCounts(trials={}, steps=0), latest={}, curves=(), judgements=(),
        inheritances=inheritances, incumbents=(),
    )  # fmt: skip


# -- rungs --------------------------------------------------------------------------------------------------
def test_a_rung_counts_who_reached_it_and_who_went_on() -> None:
    seen = [
        Judgement(0, 1, 9.0, True),
        Judgement(1, 1, 5.0, False),
        Judgement(2, 1, 7.0, True),
        Judgement(0, 3, 4.0, False),
    ]
    first, second = rungs(MINIMIZE, seen)
    assert (first.step, first.trials, first.went_on, first.best, first.median) == (1, 3, 2, 5.0, 7.0)
    assert (second.step, second.trials, second.went_on, second.best) == (3, 1, 0, 4.0)
    assert rungs(MAXIMIZE, seen)[0].best == 9.0


def test_who_was_promoted_later_went_on() -> None:
    """ASHA with promotion pauses a trial at a rung; that it went on shows at the next one."""
    seen = [Judgement(0, 1, 9.0, False), Judgement(1, 1, 5.0, False), Judgement(1, 3, 4.0, False)]
    assert [each.went_on for each in rungs(MINIMIZE, seen)] == [1, 0]


def test_the_last_judgement_of_a_trial_at_a_rung_counts_and_what_is_not_finite_does_not() -> None:
    seen = [Judgement(0, 1, 9.0, True), Judgement(0, 1, 8.0, True), Judgement(1, 1, float("nan"), False)]
    assert [(each.trials, each.best) for each in rungs(MINIMIZE, seen)] == [(1, 8.0)]


def test_of_each_trial_at_a_rung_it_is_known_whether_it_went_on() -> None:
    seen = [Judgement(0, 1, 9.0, False), Judgement(1, 1, 5.0, False), Judgement(1, 3, 4.0, True)]
    assert [(each.trial, each.rung, went_on) for each, went_on in judged(seen)] == [
        (0, 1, False), (1, 1, True), (1, 3, True),
    ]  # fmt: skip


# -- objectives ---------------------------------------------------------------------------------------------
def test_the_front_is_who_nobody_dominates() -> None:
    two = {"metric": "speed", "direction": "maximize"}
    spec = specfile.parse({**SPEC, "scheduler": {"algorithm": "fifo"}, "objective": [SPEC["objective"], two]})
    values = {0: (50.0, 10.0), 1: (40.0, 5.0), 2: (60.0, 9.0), 3: (40.0, 4.0), 4: (30.0, float("nan"))}
    latest = {trial: {"perplexity": one, "speed": other} for trial, (one, other) in values.items()}
    found = candidates(spec, [a_trial(trial) for trial in range(6)], latest)
    assert [each.trial for each in found] == [0, 1, 2, 3]
    assert [each.trial for each in found if each.is_best] == [0, 1]


def test_with_one_objective_the_front_is_the_best() -> None:
    trials = [a_trial(0, 3.0), a_trial(1, 2.0), a_trial(2, 2.0), a_trial(3)]
    assert [each.trial for each in candidates(MINIMIZE, trials, {}) if each.is_best] == [1, 2]
    assert [each.trial for each in candidates(MAXIMIZE, trials, {}) if each.is_best] == [0]


# -- families -----------------------------------------------------------------------------------------------
def test_the_longest_line_of_weights() -> None:
    tree = [inherited(1, 1, 0, 0), inherited(2, 1, 1, 1), inherited(2, 2, 3, 0), inherited(0, 1, 2, 1)]
    line = longest_family(tree)
    assert line is not None
    assert line.members == (0, 1, 2, 0)
    assert longest_family([]) is None


def test_the_line_of_the_best_value_leads_through_the_lives_that_gave_it() -> None:
    tree = (inherited(1, 1, 0, 0), inherited(2, 1, 1, 1), inherited(2, 2, 3, 0))
    first = a_trial(2, 1.0, generation=2, value_generation=1)
    line = best_line(a_record(a_trial(0, 5.0, value_generation=0), first, inheritances=tree))
    assert line is not None
    assert line.members == (0, 1, 2)
    own = a_trial(0, 0.5, value_generation=0)
    assert best_line(a_record(own, first, inheritances=tree)) is None
    assert best_line(a_record()) is None


# -- effort -------------------------------------------------------------------------------------------------
def test_effort_by_state_and_over_time() -> None:
    record = a_record(
        a_trial(0, 1.0, step=9, started_at=10.0, ended_at=40.0),
        a_trial(1, 2.0, step=3, started_at=12.0, ended_at=20.0, state=TrialState.STOPPED),
        a_trial(2, 3.0, step=1, started_at=20.0, ended_at=25.0, state=TrialState.STOPPED),
        a_trial(3, step=2, started_at=30.0, state=TrialState.RUNNING),
        a_trial(4, state=TrialState.PENDING),
        ended_at=50.0,
    )
    assert [(each.state.value, each.trials, each.steps, each.seconds) for each in spent(record)] == [
        ("pending", 1, 0, 0.0), ("running", 1, 2, 20.0), ("completed", 1, 9, 30.0), ("stopped", 2, 4, 13.0),
    ]  # fmt: skip
    assert steps_over_time(record) == [(10.0, 1, 3), (15.0, 2, 4), (30.0, 3, 13)]
    assert (spent(a_record()), steps_over_time(a_record())) == ([], [])


# -- failures -----------------------------------------------------------------------------------------------
def test_failures_by_cause_with_the_first_ones_message() -> None:
    failed = {"state": TrialState.FAILED}
    trials = [
        a_trial(0, 1.0),
        a_trial(1, cause=FailureCause.ERROR, message="boom", **failed),
        a_trial(2, cause=FailureCause.NON_FINITE, message="nan", **failed),
        a_trial(3, cause=FailureCause.NON_FINITE, message="inf", **failed),
    ]
    assert [(each.cause, each.trials, each.message) for each in failures(trials)] == [
        (FailureCause.NON_FINITE, (2, 3), "nan"),
        (FailureCause.ERROR, (1,), "boom"),
    ]


# -- importance ---------------------------------------------------------------------------------------------
def test_what_decides_the_value_is_what_matters() -> None:
    store, spec = recorded(scheduler={"algorithm": "fifo"}, budget={"trials": 200, "steps_per_trial": 2})
    found = importances(spec, read(store, spec.name).trials)
    assert found.note is None
    assert sum(each.share for each in found.items) == pytest.approx(1)
    shares = {each.parameter: each.share for each in found.items}
    assert {each.parameter for each in found.items[:2]} == {"lr", "hidden"}
    assert shares["tied"] < 0.05


def test_importance_is_what_optuna_says_of_a_study_that_is_told_trial_by_trial() -> None:
    """Also of conditional parameters, which not every trial has, and of choices that are one to Optuna."""
    spec = specfile.parse({
        **SPEC,
        "objective": {"metric": "accuracy", "direction": "maximize"},
        "parameters": {
            "lr": {"type": "float", "low": 1e-5, "high": 1, "log": True},
            "units": {"type": "int", "low": 8, "high": 128, "step": 8},
            "cell": {"type": "categorical", "choices": [1, True, "gru"]},
            "tied": {"type": "bool"},
            "rate": {"type": "float", "low": 0, "high": 0.9, "when": {"tied": [True]}},
        },
    })  # fmt: skip
    trials = []
    for place in range(300):
        draw = random.Random(place)
        params = {
            "lr": 10 ** draw.uniform(-5, 0), "units": 8 * draw.randint(1, 16), "cell": draw.choice([1, True, "gru"]),
            "tied": draw.random() < 0.5,
        }  # fmt: skip
        params |= {"rate": draw.uniform(0, 0.9)} if params["tied"] else {}
        value = -abs(params["lr"] - 0.1) + 0.3 * params.get("rate", 0.5) + draw.gauss(0, 0.05)
        trials.append(a_trial(place, value, params=params))

    study = optuna.create_study(direction="minimize")
    for trial in trials:
        study.add_trial(optuna.trial.create_trial(
            value=-(trial.value or 0.0),
            params={name: shown_in_optuna(spec.parameters[name], value) for name, value in trial.params.items()},
            distributions={name: distribution(spec.parameters[name]) for name in trial.params},
        ))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        theirs = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), params=list(spec.parameters)
        )
    ours = {each.parameter: each.share for each in importances(spec, trials).items}
    assert set(ours) == {"lr", "units", "cell", "tied", "rate"}
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_too_few_trials_or_equal_ones_say_so() -> None:
    few = importances(MINIMIZE, [a_trial(number, float(number)) for number in range(MIN_TRIALS - 1)])
    assert (few.items, few.note) == ((), f"{MIN_TRIALS - 1} trials have a value; importance needs {MIN_TRIALS}")
    equal = importances(MINIMIZE, [a_trial(number, 1.0) for number in range(MIN_TRIALS)])
    assert equal.items == ()
    assert "same value" in str(equal.note)


# -- a whole study ------------------------------------------------------------------------------------------
def test_a_record_holds_the_whole_study() -> None:
    store, spec = recorded()
    record = read(store, spec.name)
    assert len(record.trials) == 80
    assert record.best is not None
    assert record.best.value == min(each.value for each in record.valued if each.value is not None)
    line = best_so_far(record)
    assert line[-1] == (record.best.number, record.best.value)
    assert [value for _, value in line] == sorted((value for _, value in line), reverse=True)
    levels = rungs(spec, record.judgements)
    assert [each.step for each in levels] == [1, 3, 9]
    assert levels[0].trials >= levels[1].trials >= levels[2].trials
    assert all(after.trials <= before.went_on for before, after in pairwise(levels))
    cost = effort(record)
    assert cost.steps == store.counts(spec.name).steps < cost.full_steps == 80 * 27
    assert sum(cost.states.values()) == 80


def test_the_summary_says_what_was_found() -> None:
    store, spec = recorded()
    record = read(store, spec.name)
    text = "\n".join(sentences(record, importances(spec, record.trials)))
    assert record.best is not None
    assert f"The best perplexity is {number(record.best.value or 0)}: trial {record.best.number}" in text
    assert "It has succeeded." in text
    assert "were stopped early at 3 rungs" in text
    assert "lr (" in text


def test_a_study_without_trials_says_that_there_are_none() -> None:
    store = MemoryStore()
    store.create_study(MINIMIZE)
    record = read(store, "headlines")
    assert record.study.state is StudyState.QUEUED
    assert sentences(record, importances(MINIMIZE, [])) == [
        "headlines minimizes perplexity of mine:train over 5 parameters, by random search under asha. It is queued as "
        "this is written.",
        "No trial has reported a value of the objective yet.",
    ]


def test_shown_are_the_best_half_and_others_evenly() -> None:
    trials = [a_trial(place, float(place)) for place in range(100)] + [a_trial(100)]
    assert shown(trials, 1, 4) == [0, 1, 2, 51]
    assert shown(trials, -1, 4) == [48, 97, 98, 99]
    assert shown(trials[:3], 1, 4) == [0, 1, 2]
