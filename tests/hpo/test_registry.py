"""From a specification to the searcher and the scheduler that it names."""

from __future__ import annotations

from typing import Any

import pytest

from hpo import registry, specfile
from hpo.errors import InvalidSpecError
from hpo.protocols import Start
from hpo.spec import StudySpec
from hpo.trial import Trial

SEARCHES: list[dict[str, Any]] = [
    {"algorithm": "random"},
    {"algorithm": "grid"},
    {"algorithm": "sobol"},
    {"algorithm": "hyperopt"},
    {"algorithm": "genetic"},
    *({"algorithm": "optuna", "sampler": sampler} for sampler in ("tpe", "random", "cmaes", "gp", "nsgaii", "qmc")),
]
SCHEDULERS: list[tuple[dict[str, Any], str]] = [
    ({"algorithm": "fifo"}, "FifoScheduler"),
    ({"algorithm": "asha"}, "AshaScheduler"),
    ({"algorithm": "asha", "variant": "promotion"}, "AshaPromotionScheduler"),
    ({"algorithm": "hyperband"}, "HyperbandScheduler"),
    ({"algorithm": "median"}, "MedianScheduler"),
    ({"algorithm": "pbt"}, "PbtScheduler"),
    ({"algorithm": "genetic"}, "GeneticPopulationScheduler"),  # a parameter is mutable
    ({"algorithm": "genetic", "inherit": True}, "GeneticPopulationScheduler"),
    ({"algorithm": "genetic", "inherit": False}, "GeneticScheduler"),
    ({"algorithm": "genetic", "resumable": False}, "GeneticScheduler"),
]


def spec(**changes: Any) -> StudySpec:
    return specfile.parse(
        {
            "name": "registry",
            "trainable": "tests.nothing:train",
            "parameters": {
                "n": {"type": "int", "low": 0, "high": 9, "mutable": True},
                "x": {"type": "float", "low": 0, "high": 1, "step": 0.1},
            },
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": 10},
            **changes,
        }
    )


@pytest.mark.parametrize("search", SEARCHES)
def test_every_searcher_can_be_made_and_proposes(search: dict[str, Any]) -> None:
    params = registry.searcher(spec(search=search)).suggest(0)
    assert params is not None
    assert params.keys() == {"n", "x"}


@pytest.mark.parametrize(("scheduler", "name"), SCHEDULERS)
def test_every_scheduler_can_be_made(scheduler: dict[str, Any], name: str) -> None:
    assert type(registry.scheduler(spec(scheduler=scheduler))).__name__ == name


def test_without_a_mutable_parameter_the_genetic_scheduler_inherits_nothing() -> None:
    fixed = spec(scheduler={"algorithm": "genetic"}, parameters={"x": {"type": "float", "low": 0, "high": 1}})
    assert type(registry.scheduler(fixed)).__name__ == "GeneticScheduler"


@pytest.mark.parametrize("search", SEARCHES)
def test_any_searcher_proposes_the_first_members_of_a_genetic_population(search: dict[str, Any]) -> None:
    searcher, scheduler = registry.pair(spec(search=search, scheduler={"algorithm": "genetic", "population": 4}))
    assert type(scheduler).__name__ == "GeneticPopulationScheduler"
    for number in range(4):
        assert scheduler.choose(can_start=True) == Start()
        params = searcher.suggest(number)
        assert params is not None
        scheduler.created(Trial(study="registry", number=number, params=params, created_at=0.0))
    assert scheduler.choose(can_start=True) is None


def test_a_scheduler_of_ray_is_the_engine_s_to_make() -> None:
    with pytest.raises(ValueError, match="only a Ray cluster can run ray:PB2"):
        registry.scheduler(spec(scheduler={"algorithm": "ray:PB2"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"search": {"algorithm": "optuna", "sampler": "qmc", "startup_trials": 3}},
        {"scheduler": {"algorithm": "pbt", "population": 11}},
        {"scheduler": {"algorithm": "genetic", "population": 11}},
    ],
)
def test_nothing_is_made_of_what_can_not_be_honoured(changes: dict[str, Any]) -> None:
    for make in (registry.searcher, registry.scheduler):
        with pytest.raises(InvalidSpecError):
            make(spec(**changes))
