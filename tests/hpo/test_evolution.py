"""What the genetic searcher and scheduler know together."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from hpo import registry, simulate, specfile
from hpo.encoding import Encoding
from hpo.evolution import Parts
from hpo.ledger import Ledger
from hpo.replay import Replay
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.trial import Metrics, Params, Row, Trial

PARAMETERS: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "layers": {"type": "int", "low": 1, "high": 6},
    "width": {"type": "int", "low": 8, "high": 512, "log": True},
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
}


def spec(trials: int = 60, **changes: Any) -> StudySpec:
    return specfile.parse(
        {
            "name": "evolution",
            "trainable": "tests.nothing:train",
            "parameters": PARAMETERS,
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": trials, "steps_per_trial": 9},
            "search": {"algorithm": "genetic"},
            "scheduler": {"algorithm": "genetic"},
            **changes,
        }
    )


def loss(params: Params) -> float:
    return abs(np.log10(float(params["lr"])) + 2) + abs(int(params["layers"]) - 3) + (params["optimizer"] == "sgd")


def evaluate(params: Params, from_step: int, to_step: int, rng: Any) -> tuple[Metrics, float]:
    return {"loss": loss(params) + 1 / to_step, "size": float(params["width"])}, 1.0


def test_points_are_snapped_as_the_space_does_it() -> None:
    space = Space.of(spec())
    points = np.random.default_rng(0).random((300, len(space.names)))
    expected = [space.encode(space.decode(point.tolist())) for point in points]
    np.testing.assert_allclose(Encoding(space).canonical(points), expected, atol=1e-9)


def run(study: StudySpec, **conditions: Any) -> simulate.SimulatedCluster:
    cluster = simulate.SimulatedCluster(study, evaluate, 4, seed=1, conditions=simulate.Conditions(**conditions))
    cluster.run()
    return cluster


def test_it_finds_better_than_random_within_the_same_budget() -> None:
    def best(algorithm: str, seed: int) -> float:
        found = run(spec(search={"algorithm": algorithm}, scheduler={"algorithm": "fifo"}, seed=seed)).trials()
        return min(loss(each.trial.params) for each in found)

    assert np.mean([best("genetic", seed) for seed in range(4)]) < 0.5 * np.mean([best("random", s) for s in range(4)])


def test_no_configuration_is_tried_twice() -> None:
    params = [tuple(sorted(each.trial.params.items())) for each in run(spec()).trials()]
    assert len(set(params)) == len(params) == 60


def test_a_space_that_is_used_up_ends_the_study() -> None:
    few = {"a": {"type": "int", "low": 1, "high": 4}, "b": {"type": "bool"}}
    searcher, _ = registry.pair(spec(parameters=few))
    proposals = list(itertools.takewhile(lambda params: params is not None, map(searcher.suggest, itertools.count())))
    assert len(proposals) == 8
    assert len({tuple(sorted(params.items())) for params in proposals if params}) == 8


def test_a_driver_that_takes_over_makes_the_same_next_50_proposals() -> None:
    """The rows of a study are told to a new ledger: searcher and scheduler go on as the old ones would have."""
    rows: list[Row] = []
    study = spec(trials=1000)
    clock = itertools.count()
    ledger = Ledger(study, *registry.pair(study), write=rows.extend, clock=lambda: float(next(clock)), started_at=0.0)

    def go(one: Ledger, legs: int) -> list[tuple[int, Params]]:
        handed = []
        for _ in range(legs):
            leg = one.next()
            assert leg is not None
            handed.append((leg.trial, leg.params))
            step = one.trials[leg.trial].trial.step
            action = "continue"
            while action == "continue":
                step += 1
                checkpoint = (f"{leg.trial}/{step}", 1)
                action = one.report(leg.trial, step, {"loss": loss(leg.params) + 1 / step}, checkpoint=checkpoint)
        return handed

    go(ledger, 120)
    recorded = [row for row in rows if not isinstance(row, Trial)]
    trials = {row.number: row for row in rows if isinstance(row, Trial)}
    assert len(trials) > 60
    again = Ledger(
        study, *registry.pair(study), write=lambda rows: None, clock=lambda: float(next(clock)), started_at=0.0
    )
    replay = Replay(again)
    replay.run(iter(recorded))
    assert not replay.differences
    assert go(again, 80) == go(ledger, 80)


@pytest.mark.parametrize(
    "parts",
    [Parts(screening=False), Parts(crossover=False), Parts(differential_evolution=False), Parts(num_candidates=1)],
)
def test_each_part_can_be_left_out(parts: Parts) -> None:
    searcher, _ = registry.pair(spec(), parts)
    space = Space.of(spec())
    for number in range(40):
        params = searcher.suggest(number)
        assert params is not None
        assert space.contains(params)
        trial = Trial(study="s", number=number, params=params, state="completed", value=loss(params), created_at=0.0)
        searcher.complete(trial)


def test_two_objectives_spread_over_the_front() -> None:
    """Loss and size: the trials of a study with rungs are not all small, nor all good."""
    objectives = [{"metric": "loss", "direction": "minimize"}, {"metric": "size", "direction": "minimize"}]
    raw = spec().model_dump()
    study = specfile.parse(
        {
            **{key: raw[key] for key in ("name", "trainable")},
            "parameters": PARAMETERS,
            "objective": objectives,
            "budget": {"trials": 60, "steps_per_trial": 9},
            "search": {"algorithm": "genetic"},
            "scheduler": {"algorithm": "genetic"},
        }
    )
    finished = [each.trial for each in run(study).trials() if each.trial.step == 9]
    assert len(finished) >= 5
    assert min(int(trial.params["width"]) for trial in finished) < 32
    assert min(loss(trial.params) for trial in finished) < 1.5
