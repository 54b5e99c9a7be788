"""The genetic scheduler with inheritance: traces worked by hand, and what children are made of."""

from __future__ import annotations

import statistics

import pytest
from conformance.scheduler import study
from conformance.scheduler_play import begun, ended, report

from hpo import registry
from hpo.protocols import Resume
from hpo.schedule import genetic_population
from tests.hpo.schedule.genetic_play import (
    CHOICES,
    NO_CROSSOVER,
    PARAMETERS,
    children,
    decide,
    place,
    place_of,
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
