"""That a searcher which learns finds more than one which doesn't, in as many trials."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from conformance.searcher_play import Loss, play
from conformance.searcher_spaces import SQUARE
from conformance.searcher_study import SearcherStudy

from hpo.trial import Params

NUM_TRIALS = 40
COORDINATE = SQUARE["x"]
CONDITIONAL: dict[str, Any] = {
    "kind": {"type": "categorical", "choices": ["a", "b", "c"]},
    "xa": {**COORDINATE, "when": {"kind": "a"}},
    "ya": {**COORDINATE, "when": {"kind": "a"}},
    "xb": {**COORDINATE, "when": {"kind": "b"}},
    "yb": {**COORDINATE, "when": {"kind": "b"}},
    "deep": {"type": "bool", "when": {"kind": ["b", "c"]}},
}


def bowl(params: Params) -> float:
    return (float(params["x"]) - 0.7) ** 2 + (float(params["y"]) - 0.2) ** 2


def conditional_bowl(params: Params) -> float:
    """Lowest, at 0, where kind is b and deep; a bowl at 0.5 where it is a, and 1 where it is c."""
    match params["kind"]:
        case "a":
            return 0.5 + (float(params["xa"]) - 0.3) ** 2 + (float(params["ya"]) - 0.6) ** 2
        case "b":
            depth = 0.0 if params["deep"] else 0.1
            return depth + (float(params["xb"]) - 0.8) ** 2 + (float(params["yb"]) - 0.3) ** 2
    return 1.0


def best(search: dict[str, Any], parameters: dict[str, Any], loss: Loss, *, seeds: int, num_trials: int) -> float:
    """The lowest loss, on average over the seeds."""
    study = SearcherStudy()
    study.search, study.parameters = search, parameters
    return float(np.mean([min(play(study.make(seed), range(num_trials), loss)) for seed in range(seeds)]))


@cache
def best_at_random(loss: Loss) -> float:
    parameters = SQUARE if loss is bowl else CONDITIONAL
    return best({"algorithm": "random"}, parameters, loss, seeds=100, num_trials=NUM_TRIALS)


@pytest.mark.parametrize(
    "search",
    [
        {"algorithm": "optuna", "sampler": "tpe"},
        {"algorithm": "optuna", "sampler": "cmaes"},
        {"algorithm": "hyperopt", "sampler": "tpe"},
        {"algorithm": "hyperopt", "sampler": "anneal"},
    ],
    ids=lambda search: "-".join(str(value) for value in search.values()),
)
def test_it_beats_random_search_on_a_bowl(search: dict[str, Any]) -> None:
    found = best(search, SQUARE, bowl, seeds=24, num_trials=NUM_TRIALS)
    assert found < 0.8 * best_at_random(bowl)


def test_gp_finds_the_bottom_of_a_bowl_in_a_third_of_the_trials() -> None:
    search = {"algorithm": "optuna", "sampler": "gp", "startup_trials": 6}
    assert best(search, SQUARE, bowl, seeds=3, num_trials=NUM_TRIALS // 3) < 0.1 * best_at_random(bowl)


@pytest.mark.parametrize(
    "search",
    [
        {"algorithm": "optuna", "sampler": "tpe"},
        {"algorithm": "hyperopt", "sampler": "tpe", "startup_trials": 10},
    ],
    ids=lambda search: str(search["algorithm"]),
)
def test_tpe_beats_random_search_on_a_conditional_bowl(search: dict[str, Any]) -> None:
    found = best(search, CONDITIONAL, conditional_bowl, seeds=12, num_trials=NUM_TRIALS)
    assert found < 0.8 * best_at_random(conditional_bowl)
