"""The genetic scheduler with inheritance: step sizes, who is ahead, and the family tree of whole studies."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from conformance.scheduler import study
from conformance.scheduler_play import report

from hpo.schedule import genetic_population
from hpo.schedule.genetic_population import FIRST_SIGMA, SIGMA_RATE, GeneticPopulationScheduler
from hpo.simulate import Conditions, SimulatedCluster
from hpo.spec import StudySpec
from hpo.trial import Event, Inheritance, Metrics, Params
from tests.hpo.schedule.genetic_play import (
    CONTINUE,
    NO_TREND,
    PARAMETERS,
    PAUSE,
    decide,
    population,
    ranked,
    resumed,
)


@pytest.fixture
def nothing_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genetic_population, "RESAMPLE", 0.0)


@pytest.fixture
def numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation takes steps of no size."""
    monkeypatch.setattr(genetic_population, "MIN_SIGMA", 0.0)
    monkeypatch.setattr(genetic_population, "MAX_SIGMA", 0.0)


# -- step sizes ------------------------------------------------------------------------------------------------
def test_the_step_size_is_inherited_with_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genetic_population, "SIGMA_RATE", 0.0)
    for seed in range(5):
        scheduler = population(seed=seed)
        for number, line in scheduler._lines.items():
            line.sigma = 0.02 * (number + 1)
        choice = resumed(ranked(scheduler))
        assert choice.donor is not None
        assert scheduler._lines[7].sigma == 0.16  # until its first report shows that it has the weights
        decide(scheduler, 7, 2, 5.0, generation=1)
        assert scheduler._lines[7].sigma == pytest.approx(0.02 * (choice.donor + 1))


def test_one_whose_donor_had_no_checkpoint_keeps_its_step_size_and_its_curve() -> None:
    scheduler = ranked(population())
    assert resumed(scheduler).trial == 7
    decide(scheduler, 7, 2, 5.0)  # of the same generation
    assert scheduler._lines[7].sigma == FIRST_SIGMA
    assert scheduler._lines[7].reports == [(1, -7.0), (2, -5.0)]


def test_the_step_size_changes_by_a_log_normal_factor() -> None:
    factors = []
    for seed in range(200):
        scheduler = ranked(population(seed=seed))
        assert resumed(scheduler).trial == 7
        decide(scheduler, 7, 2, 5.0, generation=1)
        factors.append(math.log(scheduler._lines[7].sigma / FIRST_SIGMA) / SIGMA_RATE)
    assert abs(statistics.fmean(factors)) < 0.2
    assert statistics.stdev(factors) == pytest.approx(1.0, rel=0.15)


# -- ranking ---------------------------------------------------------------------------------------------------
def one_improves(scheduler: GeneticPopulationScheduler) -> GeneticPopulationScheduler:
    """Minimise, three members: 0 improves from 5 to 3, 1 stays at 2.9, and 2 is the worst at each step."""
    for step, score in ((1, 5.0), (2, 4.0), (3, 3.0)):
        assert decide(scheduler, 0, step, score) is CONTINUE
        assert decide(scheduler, 1, step, 2.9) is CONTINUE
        assert decide(scheduler, 2, step, 9.0, generation=step - 1) is PAUSE
        if step < 3:
            choice = resumed(scheduler)
            assert (choice.trial, choice.donor) == (2, 1)
    return scheduler


def test_one_that_improves_is_ahead_of_one_that_is_better_but_does_not() -> None:
    assert one_improves(population(members=3)).top == [0]
    assert one_improves(population(members=3, parts=NO_TREND)).top == [1]


def test_the_curve_is_that_of_the_weights() -> None:
    """What trial 2 did with the weights of trial 1: 2.9, 2.9, then 9, of which the median is 2.9. Then it takes over
    those of trial 0: 4, 3, then 2.5; the flatter slope is .5 a step, followed for two steps."""
    scheduler = one_improves(population(members=3))
    choice = resumed(scheduler)
    assert (choice.trial, choice.donor) == (2, 0)
    assert choice.reason == "bottom 1 of 3 (5.95): goes on from trial 0 (1) at step 3"
    decision = scheduler.decide(report(2, 4, 2.5, generation=3))
    assert decision.reason == "step 4: 1.5 is number 2 of 3"


def test_near_the_end_values_alone_count() -> None:
    """One step is left after the third: the curve is followed for a fifth of it."""
    scheduler = one_improves(population(members=3, steps=4))
    assert scheduler.top == [0]  # 3 - .2 against 2.9
    assert resumed(scheduler).reason.startswith("bottom 1 of 3 (5.95): goes on from trial 0 (2.8)")


def test_of_a_long_curve_only_what_the_forecast_needs_is_kept() -> None:
    scheduler = population(members=2)
    for step in range(1, 60):
        decide(scheduler, 0, step, 1.0)
    assert len(scheduler._lines[0].reports) <= 4


# -- a whole study ---------------------------------------------------------------------------------------------
def simulated(*deaths: float) -> SimulatedCluster:
    spec = study({"algorithm": "genetic"}, steps=16, trials=8, parameters=PARAMETERS, seed=3)
    cluster = SimulatedCluster(
        spec, _curve, 3, seed=5,
        conditions=Conditions(duration_sigma=0.3, driver_deaths=deaths, deaths_lose_work=False),
    )  # fmt: skip
    cluster.run()
    return cluster


def _curve(params: Params, from_step: int, to_step: int, rng: random.Random) -> tuple[Metrics, float]:
    return {"score": abs(math.log10(float(params["rate"])) + 2) + 1 / to_step + rng.gauss(0, 0.05)}, 1.0


def test_the_family_tree_is_recorded_over_several_generations() -> None:
    cluster = simulated(1e9)
    edges = [row for row in cluster.history if isinstance(row, Inheritance)]
    params = {
        (row.trial, 0): row.data["params"]
        for row in cluster.history
        if isinstance(row, Event) and row.kind == "trial.created"
    }
    for edge in edges:
        params[edge.trial, edge.generation] = edge.params
        donors = params[edge.donor, edge.donor_generation]
        assert (edge.params["layers"], edge.params["cell"]) == (donors["layers"], donors["cell"])
    for each in cluster.trials():
        own = [edge for edge in edges if edge.trial == each.trial.number]
        assert [edge.generation for edge in own] == list(range(1, each.trial.generation + 1))
        assert each.trial.parent == (own[-1].donor if own else None)
        assert each.trial.step == 16
    assert max(each.trial.generation for each in cluster.trials()) >= 3


def test_a_driver_that_takes_over_chooses_the_same() -> None:
    unkilled, killed = simulated(1e9), simulated(*(2.5 * k for k in range(1, 17)))
    assert len(killed.replays) == 16
    assert [replay.differences for replay in killed.replays] == [[]] * 16
    assert killed.trials() == unkilled.trials()
    kept = [[row for row in each.history if isinstance(row, Inheritance)] for each in (killed, unkilled)]
    assert kept[0] == kept[1] != []


def test_the_same_study_with_another_seed_chooses_otherwise() -> None:
    def chosen(spec: StudySpec) -> list[Params]:
        cluster = SimulatedCluster(spec, _curve, 3, conditions=Conditions(driver_deaths=(1e9,)))
        cluster.run()
        return [row.params for row in cluster.history if isinstance(row, Inheritance)]

    spec = study({"algorithm": "genetic"}, steps=8, trials=8, parameters=PARAMETERS, seed=3)
    assert chosen(spec) == chosen(spec)
    assert chosen(spec) != chosen(spec.model_copy(update={"seed": 4}))
