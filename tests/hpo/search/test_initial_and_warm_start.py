"""Configurations that come from elsewhere: the specification's, and those of past studies."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from conformance.searcher_play import Recorder, completed
from conformance.searcher_spaces import SQUARE
from conformance.searcher_study import SearcherStudy

from hpo.search.initial import InitialFirst
from hpo.search.random import RandomSearcher
from hpo.search.warm_start import teach
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.trial import Params, Trial, TrialState

INITIAL: list[Params] = [{"x": 0.5, "y": 0.25}, {"x": 1.0, "y": 0.0}]


def spec(**changes: Any) -> StudySpec:
    study = SearcherStudy()
    study.search = {"algorithm": "random"}
    study.parameters = SQUARE
    return study.spec(**changes)


def test_initial_configurations_are_adopted_and_then_the_other_one_is_asked() -> None:
    asked = Recorder(RandomSearcher(spec()))
    searcher = InitialFirst(asked, spec(initial=INITIAL))
    proposals = [searcher.suggest(number) for number in range(4)]
    plain = RandomSearcher(spec())
    assert proposals == [*INITIAL, plain.suggest(2), plain.suggest(3)]
    assert [(method, arguments) for method, arguments, _ in asked.calls] == [
        ("adopt", (0, INITIAL[0])), ("adopt", (1, INITIAL[1])), ("suggest", (2,)), ("suggest", (3,)),
    ]  # fmt: skip


def test_a_trial_that_somebody_else_chose_takes_no_initial_configuration_away() -> None:
    searcher = InitialFirst(RandomSearcher(spec()), spec(initial=INITIAL))
    searcher.adopt(0, {"x": 0.1, "y": 0.1})
    assert [searcher.suggest(1), searcher.suggest(2)] == INITIAL


def taught(trials: list[Trial], **options: int) -> tuple[int, list[tuple[str, tuple[Any, ...]]]]:
    recorder = Recorder(RandomSearcher(spec()))
    taken = teach(recorder, Space.of(spec()), trials, **options)
    return taken, [(method, arguments) for method, arguments, _ in recorder.calls]


def test_past_trials_are_told_by_study_and_number_whatever_order_they_come_in() -> None:
    first = completed(2, {"x": 0.1, "y": 0.2}, 5.0)
    second = completed(10, {"x": 0.3, "y": 0.4}, 6.0)
    other = replace(completed(1, {"x": 0.5, "y": 0.6}, 7.0), study="z")
    taken, calls = taught([other, second, first])
    assert taken == 3
    assert [arguments for method, arguments in calls if method == "adopt"] == [
        (-1, first.params), (-2, second.params), (-3, other.params),
    ]  # fmt: skip
    ends = [arguments[0] for method, arguments in calls if method == "complete"]
    assert [(trial.number, trial.params, trial.value) for trial in ends] == [
        (-1, first.params, 5.0), (-2, second.params, 6.0), (-3, other.params, 7.0),
    ]  # fmt: skip
    assert [method for method, _ in calls] == ["adopt", "complete"] * 3


def test_only_contained_trials_with_a_value_are_told() -> None:
    good = {"x": 0.1, "y": 0.2}
    trials = [
        completed(0, {"x": 1.5, "y": 0.2}, 1.0),
        completed(1, {"x": 0.1}, 1.0),
        completed(2, {**good, "z": 1}, 1.0),
        completed(3, good, math.inf),
        replace(completed(4, good, 1.0), value=None),
        replace(completed(5, good, 1.0), state=TrialState.FAILED),
        replace(completed(6, good, 1.0), state=TrialState.RUNNING),
        replace(completed(7, good, 8.0), state=TrialState.STOPPED),
    ]
    taken, calls = taught(trials)
    assert taken == 1
    assert calls[1][1][0].value == 8.0


def test_a_past_trial_is_told_with_the_parameters_that_gave_its_value() -> None:
    best = {"x": 0.7, "y": 0.8}
    past = completed(0, {"x": 1.5, "y": 0.2}, 1.0, generation=3, value_generation=1, value_params=best)
    taken, calls = taught([past])
    assert taken == 1
    told = calls[1][1][0]
    assert (told.params, told.best_params, told.generation) == (best, best, 0)


def test_with_several_objectives_nothing_is_taught() -> None:
    assert taught([completed(0, {"x": 0.1, "y": 0.2}, 1.0)], num_objectives=2) == (0, [])
