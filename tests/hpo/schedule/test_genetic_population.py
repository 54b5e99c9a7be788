"""The genetic scheduler with inheritance: traces worked by hand, what children are made of, and the family tree."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from conformance.scheduler import study
from conformance.scheduler_play import begun, ended, report

from hpo import registry
from hpo.parameters import encode_value
from hpo.protocols import Resume
from hpo.schedule import genetic_population
from hpo.schedule.genetic_population import FIRST_SIGMA, SIGMA_RATE, GeneticPopulationScheduler, Inheriting
from hpo.simulate import Conditions, SimulatedCluster
from hpo.spec import GeneticSchedule, StudySpec
from hpo.trial import Action, Event, Inheritance, Metrics, Params

CONTINUE, PAUSE = Action.CONTINUE, Action.PAUSE
NO_CROSSOVER, NO_TREND = Inheriting(crossover=False), Inheriting(trend=False)
CHOICES = [f"c{k}" for k in range(8)]
PARAMETERS: dict[str, Any] = {
    "rate": {"type": "float", "low": 1e-4, "high": 1.0, "log": True, "mutable": True},
    "kind": {"type": "categorical", "choices": CHOICES, "mutable": True},
    "layers": {"type": "int", "low": 0, "high": 100},
    "cell": {"type": "categorical", "choices": CHOICES},
}
"""`layers` and `cell` never change: they tell whose weights a configuration came with."""


def place_of(number: int) -> float:
    """Where a member's first rate is on the unit interval."""
    return 0.3 + 0.05 * number


def population(
    *, members: int = 8, steps: int = 100, seed: int = 0, parts: Inheriting | None = None
) -> GeneticPopulationScheduler:
    spec = study({"algorithm": "genetic"}, steps=steps, trials=members, parameters=PARAMETERS, seed=seed)
    assert isinstance(spec.scheduler, GeneticSchedule)
    scheduler = GeneticPopulationScheduler(spec, spec.scheduler, parts or Inheriting())
    for number in range(members):
        rate, choice = 10 ** (4 * place_of(number) - 4), CHOICES[number]
        scheduler.created(begun(number, {"rate": rate, "kind": choice, "layers": number, "cell": choice}))
    return scheduler


def decide(
    scheduler: GeneticPopulationScheduler, number: int, step: int, score: float, *, generation: int = 0
) -> Action:
    return scheduler.decide(report(number, step, score, generation=generation)).action


def ranked(scheduler: GeneticPopulationScheduler) -> GeneticPopulationScheduler:
    """All eight report step 1: trial 0 is the best, trial 7 the worst."""
    for number in range(8):
        decide(scheduler, number, 1, float(number))
    return scheduler


def resumed(scheduler: GeneticPopulationScheduler) -> Resume:
    choice = scheduler.choose(can_start=False)
    assert isinstance(choice, Resume)
    return choice


def children(count: int, *, parts: Inheriting | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(donor, the child's configuration) of the worst of eight, with as many seeds."""
    for seed in range(count):
        choice = resumed(ranked(population(seed=seed, parts=parts)))
        assert choice.donor is not None
        assert choice.params is not None
        yield choice.donor, choice.params


def place(scheduler: GeneticPopulationScheduler, params: Mapping[str, Any]) -> float:
    return encode_value(scheduler._space.parameters["rate"], params["rate"])


@pytest.fixture
def nothing_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genetic_population, "RESAMPLE", 0.0)


@pytest.fixture
def numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation takes steps of no size."""
    monkeypatch.setattr(genetic_population, "MIN_SIGMA", 0.0)
    monkeypatch.setattr(genetic_population, "MAX_SIGMA", 0.0)


# -- who loses, who gives --------------------------------------------------------------------------------------
def test_three_of_eight_lose_and_three_give() -> None:
    scheduler = ranked(population())
    assert scheduler.bottom == [7, 6, 5]
    assert scheduler.top == [2, 1, 0]
    choices = [resumed(scheduler) for _ in range(4)]
    assert [choice.trial for choice in choices[:3]] == [7, 6, 5]
    assert {choice.donor for choice in choices[:3]} <= {0, 1, 2}
    assert choices[3].donor is None


def test_each_of_the_best_three_gives_as_often_and_nobody_else_does() -> None:
    donors = [donor for donor, _ in children(150)]
    assert set(donors) == {0, 1, 2}
    assert min(map(donors.count, (0, 1, 2))) > 30


def test_the_reason_tells_the_places_the_donor_and_its_step() -> None:
    choice = resumed(ranked(population()))
    assert choice.reason == f"bottom 3 of 8 (7): goes on from trial {choice.donor} ({choice.donor}) at step 1"


def test_one_that_is_further_on_or_has_ended_gives_nothing() -> None:
    for seed in range(10):
        scheduler = ranked(population(seed=seed))
        scheduler.complete(ended(0))
        decide(scheduler, 1, 2, 0.0)
        assert scheduler.top == [3, 2, 1]
        assert {resumed(scheduler).donor for _ in range(3)} <= {2, 3}


# -- what stays with the weights -------------------------------------------------------------------------------
def test_the_structure_is_that_of_the_weights_in_every_generation() -> None:
    scheduler = population()
    family, generation = {number: number for number in range(8)}, dict.fromkeys(range(8), 0)
    for step in range(1, 9):
        for number in range(8):
            # Another order at each step, so that every family loses and gives.
            decide(scheduler, number, step, float((number * 3 + step * 5) % 8), generation=generation[number])
        before = dict(family)
        while (choice := scheduler.choose(can_start=False)) is not None:
            assert isinstance(choice, Resume)
            if choice.donor is None:
                continue
            assert choice.params is not None
            family[choice.trial] = before[choice.donor]
            generation[choice.trial] += 1
            assert choice.params["layers"] == family[choice.trial]
            assert choice.params["cell"] == CHOICES[family[choice.trial]]
    assert sum(generation.values()) > 15
    assert 1 <= len(set(family.values())) < 8


def test_where_no_mutable_parameter_is_active_only_the_weights_pass_on() -> None:
    cell, rate = PARAMETERS["cell"], PARAMETERS["rate"] | {"when": {"cell": ["c7"]}}
    scheduler = registry.scheduler(
        study({"algorithm": "genetic"}, steps=9, trials=2, parameters={"cell": cell, "rate": rate})
    )
    scheduler.created(begun(0, {"cell": "c0"}))
    scheduler.created(begun(1, {"cell": "c7", "rate": 0.1}))
    scheduler.decide(report(0, 1, 0.0))
    scheduler.decide(report(1, 1, 1.0))
    choice = scheduler.choose(can_start=False)
    assert isinstance(choice, Resume)
    assert (choice.trial, choice.donor, choice.params) == (1, 0, {"cell": "c0"})


def test_a_mate_gives_nothing_of_what_it_has_not() -> None:
    """Trial 0 gives its weights; its only mate is trial 1, where the rate is inactive."""
    cell, rate = PARAMETERS["cell"], PARAMETERS["rate"] | {"when": {"cell": ["c0"]}}
    for seed in range(10):
        scheduler = registry.scheduler(
            study({"algorithm": "genetic"}, steps=9, trials=4, parameters={"cell": cell, "rate": rate}, seed=seed)
        )
        for number in range(4):
            scheduler.created(begun(number, {"cell": f"c{number}"} | ({} if number else {"rate": 0.01})))
        for number in range(4):
            scheduler.decide(report(number, 1, float(number)))
        choice = scheduler.choose(can_start=False)
        assert isinstance(choice, Resume)
        assert choice.params is not None
        assert choice.params.keys() == ({"cell"} if choice.donor else {"cell", "rate"})
        assert choice.params["cell"] == f"c{choice.donor}"


# -- what changes ----------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("nothing_is_drawn_anew")
def test_a_childs_choice_is_its_donors_or_a_mates_of_the_better_half() -> None:
    made = list(children(800))
    assert {params["kind"] for _, params in made} == {"c0", "c1", "c2", "c3"}
    crossed = sum(params["kind"] != CHOICES[donor] for donor, params in made)
    assert 0.21 < crossed / len(made) < 0.29  # half of the children have a mate, and half of their genes are its


@pytest.mark.usefixtures("nothing_is_drawn_anew")
def test_without_crossover_a_childs_choice_is_its_donors() -> None:
    assert all(params["kind"] == CHOICES[donor] for donor, params in children(100, parts=NO_CROSSOVER))


@pytest.mark.usefixtures("nothing_is_drawn_anew", "numbers_stay")
def test_a_childs_number_is_its_donors_its_mates_or_on_the_line_through_both() -> None:
    scheduler, seen = population(), set()
    for donor, params in children(300):
        at, own = place(scheduler, params), place_of(donor)
        others = [place_of(mate) for mate in range(4) if mate != donor]
        ends = [(own + share * (other - own)) for other in others for share in (-0.25, 1.25)]
        assert min(ends) - 1e-9 <= at <= max(ends) + 1e-9
        is_mates = any(at == pytest.approx(other, abs=1e-9) for other in others)
        seen.add("donor" if at == pytest.approx(own, abs=1e-9) else "mate" if is_mates else "between")
    assert seen == {"donor", "mate", "between"}


@pytest.mark.usefixtures("nothing_is_drawn_anew", "numbers_stay")
def test_without_crossover_and_mutation_a_child_is_its_donor() -> None:
    for donor, params in children(20, parts=NO_CROSSOVER):
        assert params["rate"] == 10 ** (4 * place_of(donor) - 4)


@pytest.mark.usefixtures("nothing_is_drawn_anew")
def test_every_number_moves_by_a_step_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genetic_population, "MIN_SIGMA", 0.05)
    monkeypatch.setattr(genetic_population, "MAX_SIGMA", 0.05)
    scheduler = population()
    moved = [place(scheduler, params) - place_of(donor) for donor, params in children(300, parts=NO_CROSSOVER)]
    assert all(abs(each) > 1e-9 for each in moved)
    assert abs(statistics.fmean(moved)) < 0.01
    assert statistics.stdev(moved) == pytest.approx(0.05, rel=0.15)


def test_one_in_ten_is_drawn_anew() -> None:
    changed = [params["kind"] != CHOICES[donor] for donor, params in children(600, parts=NO_CROSSOVER)]
    assert 0.05 < statistics.fmean(changed) < 0.13  # of those that are drawn, one in eight is what it was


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
