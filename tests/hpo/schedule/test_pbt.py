"""Population-based training: traces worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
from conformance.scheduler import study
from conformance.scheduler_play import begun, ended, report

from hpo import registry
from hpo.protocols import Resume, Start
from hpo.schedule.pbt import PbtScheduler
from hpo.schedule.population import quantile_size
from hpo.trial import Action

CONTINUE, PAUSE, COMPLETE = Action.CONTINUE, Action.PAUSE, Action.COMPLETE


@pytest.mark.parametrize(
    ("count", "quantile", "expected"),
    [(0, 0.25, 0), (1, 0.25, 0), (2, 0.25, 1), (3, 0.5, 1), (4, 0.25, 1), (5, 0.25, 2), (5, 0.5, 2), (8, 0.25, 2)],
)
def test_quantiles_worked_by_hand(count: int, quantile: float, expected: int) -> None:
    assert quantile_size(count, quantile) == expected


def pbt(
    *, population: int = 4, trials: int = 4, interval: int = 2, steps: int = 10, seed: int = 0, **options: Any
) -> PbtScheduler:
    """`weights` is never changed: it tells whose weights a configuration came with."""
    scheduler = registry.scheduler(
        study(
            {"algorithm": "pbt", "population": population, "interval_steps": interval, **options},
            steps=steps,
            trials=trials,
            parameters={
                "rate": {"type": "float", "low": 0.01, "high": 100.0, "log": True, "mutable": True},
                "weights": {"type": "int", "low": 0, "high": 100},
            },
            seed=seed,
        )
    )
    assert isinstance(scheduler, PbtScheduler)
    return scheduler


def start(scheduler: PbtScheduler, *numbers: int) -> None:
    for number in numbers:
        assert scheduler.choose(can_start=True) == Start()
        scheduler.created(begun(number, {"rate": 1.0, "weights": number}))


def decide(scheduler: PbtScheduler, number: int, step: int, score: float, *, generation: int = 0) -> Action:
    return scheduler.decide(report(number, step, score, generation=generation)).action


def resumed(scheduler: PbtScheduler, *, can_start: bool = False) -> tuple[int, int | None]:
    choice = scheduler.choose(can_start=can_start)
    assert isinstance(choice, Resume)
    return choice.trial, choice.donor


# -- asynchronous ----------------------------------------------------------------------------------------------
def test_a_trace_worked_by_hand() -> None:
    """Minimise, four members, one in the bottom and one in the top; a group for each."""
    scheduler = pbt()
    start(scheduler, 0, 1, 2, 3)
    assert [decide(scheduler, number, 1, 9.0) for number in range(4)] == [CONTINUE] * 4  # no boundary
    assert decide(scheduler, 0, 2, 0.5) is CONTINUE  # nobody to compare with
    assert decide(scheduler, 1, 2, 0.3) is CONTINUE  # 0.3, of 0.3 and 0.5
    assert decide(scheduler, 2, 2, 0.4) is CONTINUE
    assert decide(scheduler, 3, 2, 0.9) is PAUSE
    choice = scheduler.choose(can_start=False)
    assert isinstance(choice, Resume)
    assert choice.reason == "bottom 1 of 4 (0.9): goes on from trial 1 (0.3) at step 2"
    assert (choice.trial, choice.donor) == (3, 1)
    assert choice.params is not None
    assert choice.params["weights"] == 1
    assert choice.params["rate"] != 1.0
    assert scheduler.choose(can_start=False) is None
    assert decide(scheduler, 3, 3, 0.1, generation=1) is CONTINUE  # no boundary: its score is still 0.9
    assert (scheduler.bottom, scheduler.top) == ([3], [1])
    assert decide(scheduler, 3, 4, 0.1, generation=1) is CONTINUE
    assert (scheduler.bottom, scheduler.top) == ([0], [3])
    assert decide(scheduler, 0, 3, 0.05) is CONTINUE
    assert decide(scheduler, 0, 4, 0.7) is PAUSE
    choice = scheduler.choose(can_start=False)
    assert isinstance(choice, Resume)
    assert (choice.trial, choice.donor) == (0, 3)
    assert choice.params is not None
    assert choice.params["weights"] == 1  # those that trial 3 took over before


def test_members_take_turns_where_groups_are_few() -> None:
    """One group: each member trains to its boundary, then the one with the fewest steps goes on."""
    scheduler = pbt(population=3, trials=3, quantile=0.25)
    start(scheduler, 0)
    assert decide(scheduler, 0, 2, 0.1) is PAUSE  # members 1 and 2 don't exist yet
    start(scheduler, 1)
    assert decide(scheduler, 1, 2, 0.2) is PAUSE
    start(scheduler, 2)
    assert decide(scheduler, 2, 2, 0.15) is PAUSE  # trials 0 and 1 wait
    assert resumed(scheduler) == (1, 0)  # the worst; its donor waits at the same step
    assert decide(scheduler, 1, 4, 0.3, generation=1) is PAUSE
    assert resumed(scheduler) == (0, None)  # of two at step 2, the older one
    assert decide(scheduler, 0, 4, 0.1) is PAUSE
    assert resumed(scheduler) == (2, None)
    assert decide(scheduler, 2, 4, 0.2) is PAUSE
    assert resumed(scheduler) == (1, 0)
    assert resumed(scheduler) == (0, None)
    assert resumed(scheduler) == (2, None)


def test_a_donor_that_is_further_on_gives_nothing_so_that_no_step_is_skipped() -> None:
    scheduler = pbt(population=2, trials=2)
    start(scheduler, 0, 1)
    for step in (2, 4):
        decide(scheduler, 0, step, 0.1)
    assert decide(scheduler, 1, 2, 0.9) is PAUSE
    choice = scheduler.choose(can_start=False)
    assert isinstance(choice, Resume)
    assert (choice.trial, choice.donor) == (1, None)
    assert "nobody of the top can give its weights" in choice.reason


def test_one_that_left_the_bottom_while_it_waited_goes_on_as_it_is() -> None:
    scheduler = pbt(population=3, trials=3)
    start(scheduler, 0, 1, 2)
    decide(scheduler, 0, 2, 0.1)
    assert decide(scheduler, 1, 2, 0.2) is PAUSE
    assert decide(scheduler, 2, 2, 0.3) is PAUSE
    assert resumed(scheduler) == (2, 0)
    assert resumed(scheduler) == (1, None)


def test_boundaries_are_multiples_of_the_interval_also_after_skipped_steps() -> None:
    scheduler = pbt(population=2, trials=2, interval=3, steps=100)
    start(scheduler, 0, 1)
    compared = [step for step in (2, 4, 5, 6, 7, 11, 12, 19) if scheduler.decide(report(0, step, 1.0)).reason]
    assert compared == [4, 6, 11, 12, 19]  # 4 is past 3, 11 past 9, 19 past 15 and 18


def falls_behind(scheduler: PbtScheduler) -> None:
    """Trial 0 is at step 9, trial 1 pauses at step 12, where it is the worse one."""
    start(scheduler, 0, 1)
    for step in (4, 5, 6, 7, 8, 9):
        decide(scheduler, 0, step, 0.5)
    for step in (4, 8):
        assert decide(scheduler, 1, step, 0.2) is CONTINUE
    assert decide(scheduler, 1, 12, 0.9) is PAUSE
    assert resumed(scheduler) == (1, 0)


def test_the_next_boundary_follows_from_the_step_that_was_inherited() -> None:
    scheduler = pbt(population=2, trials=2, interval=4, steps=100)
    falls_behind(scheduler)  # and goes on from step 9
    assert decide(scheduler, 1, 10, 0.9, generation=1) is CONTINUE
    assert decide(scheduler, 1, 11, 0.9, generation=1) is CONTINUE
    assert decide(scheduler, 1, 12, 0.9, generation=1) is PAUSE


def test_a_donors_older_checkpoint_gives_the_boundaries_after_it() -> None:
    scheduler = pbt(population=2, trials=2, interval=4, steps=100)
    falls_behind(scheduler)
    assert decide(scheduler, 1, 7, 0.9, generation=1) is CONTINUE  # trial 0 had saved step 6
    assert decide(scheduler, 1, 8, 0.9, generation=1) is PAUSE


def test_a_member_whose_donor_had_no_checkpoint_keeps_its_configuration_and_its_boundaries() -> None:
    scheduler = pbt(population=2, trials=2, interval=4, steps=100)
    falls_behind(scheduler)
    assert decide(scheduler, 1, 16, 0.1) is CONTINUE  # the same generation: a boundary after its own step 12
    assert decide(scheduler, 0, 16, 0.5) is PAUSE
    choice = scheduler.choose(can_start=False)
    assert isinstance(choice, Resume)
    assert choice.donor == 1
    assert choice.params is not None
    assert choice.params["weights"] == 1


def test_a_member_that_has_not_reported_since_it_inherited_gives_nothing() -> None:
    """Its score is that of weights which it has no more."""
    scheduler = pbt(population=2, trials=2)
    start(scheduler, 0, 1)
    decide(scheduler, 0, 2, 0.1)
    decide(scheduler, 1, 2, 0.2)
    assert resumed(scheduler) == (1, 0)
    assert decide(scheduler, 0, 4, 0.9) is PAUSE  # worse than what trial 1 had
    choice = scheduler.choose(can_start=False)
    assert choice == Resume(0, "bottom 1 of 2 (0.9): goes on as it is, as nobody of the top can give its weights")
    assert decide(scheduler, 1, 3, 0.2, generation=1) is CONTINUE
    assert decide(scheduler, 0, 6, 0.9) is PAUSE
    assert resumed(scheduler) == (0, 1)


def test_a_finished_member_is_no_donor() -> None:
    scheduler = pbt(population=3, trials=3, steps=4)
    start(scheduler, 0, 1, 2)
    decide(scheduler, 0, 2, 0.1)
    assert decide(scheduler, 0, 4, 0.0) is COMPLETE
    assert decide(scheduler, 1, 2, 0.9) is CONTINUE  # nobody is left to compare with
    scheduler.complete(ended(0, 4))
    assert decide(scheduler, 2, 2, 0.5) is CONTINUE
    assert (scheduler.bottom, scheduler.top) == ([1], [2])


def test_each_donor_that_a_member_is_given_is_a_new_draw() -> None:
    scheduler = pbt(population=2, trials=2, steps=100, resample_probability=1.0)
    start(scheduler, 0, 1)
    rates = []
    for generation in range(5):
        step = 2 * (generation + 1)
        decide(scheduler, 0, step, 0.1)
        assert decide(scheduler, 1, step, 0.9, generation=generation) is PAUSE
        choice = scheduler.choose(can_start=False)
        assert isinstance(choice, Resume)
        assert choice.params is not None
        rates.append(choice.params["rate"])
    assert len(set(rates)) == 5


def test_another_trial_takes_the_place_of_one_that_ended() -> None:
    scheduler = pbt(population=2, trials=3)
    start(scheduler, 0, 1)
    assert scheduler.choose(can_start=True) is None
    scheduler.complete(ended(0))
    start(scheduler, 2)
    assert scheduler.choose(can_start=False) is None


def test_members_pause_no_more_for_trials_that_the_space_has_not() -> None:
    scheduler = pbt(population=4, trials=4)
    start(scheduler, 0, 1)
    assert decide(scheduler, 0, 2, 0.1) is PAUSE
    assert scheduler.choose(can_start=True) == Start()  # the space has no third configuration
    assert resumed(scheduler) == (0, None)
    assert decide(scheduler, 0, 4, 0.1) is CONTINUE


def test_a_paused_member_that_ended_is_not_resumed() -> None:
    scheduler = pbt(population=2, trials=2)
    start(scheduler, 0, 1)
    decide(scheduler, 0, 2, 0.1)
    assert decide(scheduler, 1, 2, 0.2) is PAUSE
    scheduler.complete(ended(1, 2))
    assert scheduler.choose(can_start=False) is None
    assert scheduler.bottom == []


def test_donors_are_drawn_evenly_from_the_top() -> None:
    donors = []
    for seed in range(300):
        scheduler = registry.scheduler(
            study(
                {"algorithm": "pbt", "quantile": 0.5},
                steps=9,
                trials=6,
                parameters={"x": {"type": "float", "low": 0, "high": 1, "mutable": True}},
                seed=seed,
            )
        )
        for number in range(6):
            scheduler.created(begun(number))
        for number in range(6):
            scheduler.decide(report(number, 1, float(number)))
        choices = [scheduler.choose(can_start=False) for _ in range(5)]
        donors += [choice.donor for choice in choices if isinstance(choice, Resume)]
    counts = {donor: donors.count(donor) for donor in set(donors) - {None}}
    assert counts.keys() == {0, 1, 2}
    assert min(counts.values()) > 0.8 * max(counts.values())


# -- synchronous -----------------------------------------------------------------------------------------------
def test_a_round_worked_by_hand() -> None:
    """Minimise, four members on two groups; half are replaced, by one snapshot, before any donor goes on."""
    scheduler = pbt(synchronous=True, quantile=0.5)
    start(scheduler, 0, 1)
    assert decide(scheduler, 0, 2, 0.1) is PAUSE
    start(scheduler, 2)
    assert decide(scheduler, 1, 2, 0.4) is PAUSE
    start(scheduler, 3)
    assert decide(scheduler, 2, 2, 0.3) is PAUSE
    assert scheduler.choose(can_start=False) is None  # trial 3 is to come
    assert decide(scheduler, 3, 1, 0.2) is CONTINUE
    assert decide(scheduler, 3, 2, 0.2) is PAUSE
    order = [resumed(scheduler)]
    assert decide(scheduler, 1, 4, 0.0, generation=1) is PAUSE  # best of all, but after the snapshot
    order += [resumed(scheduler) for _ in range(3)]
    assert [number for number, _ in order] == [1, 2, 0, 3]
    assert {donor for _, donor in order[:2]} <= {0, 3}
    assert [donor for _, donor in order[2:]] == [None, None]
    assert scheduler.choose(can_start=False) is None
    for number, score in ((2, 0.5), (0, 0.6), (3, 0.7)):
        decide(scheduler, number, 4, score, generation=int(number == 2))
    assert (scheduler.bottom, scheduler.top) == ([3, 0], [2, 1])
    choice = scheduler.choose(can_start=False)
    assert isinstance(choice, Resume)
    assert choice.trial == 0
    assert choice.reason.startswith("bottom 2 of 4 (0.6): goes on from trial ")


def test_a_round_does_not_wait_for_those_that_ended() -> None:
    scheduler = pbt(synchronous=True)
    start(scheduler, 0, 1, 2, 3)
    for number in (0, 1, 2):
        decide(scheduler, number, 2, number / 10)
    assert scheduler.choose(can_start=False) is None
    scheduler.complete(ended(3))
    assert resumed(scheduler) == (2, 0)
    scheduler.complete(ended(0, 2))  # within the round
    assert resumed(scheduler) == (1, None)
    assert scheduler.choose(can_start=False) is None


def test_donors_that_ended_within_their_round_are_replaced_by_others_of_the_top() -> None:
    for seed in range(5):
        scheduler = pbt(population=8, trials=8, synchronous=True, quantile=0.5, seed=seed)
        start(scheduler, *range(8))
        for number in range(8):
            decide(scheduler, number, 2, number / 10)
        assert resumed(scheduler)[0] == 4
        for number in (0, 1, 3):
            scheduler.complete(ended(number, 2))
        assert [resumed(scheduler) for _ in range(4)] == [(5, 2), (6, 2), (7, 2), (2, None)]


def test_a_newcomer_has_a_boundary_of_its_own_and_the_round_waits_for_it() -> None:
    scheduler = pbt(synchronous=True, population=2, trials=3)
    start(scheduler, 0, 1)
    scheduler.complete(ended(0))
    decide(scheduler, 1, 2, 0.5)
    start(scheduler, 2)
    assert scheduler.choose(can_start=False) is None
    assert decide(scheduler, 2, 2, 0.9) is PAUSE
    assert resumed(scheduler) == (2, 1)
