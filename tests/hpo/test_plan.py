"""What a study needs, simulated beforehand."""

from __future__ import annotations

from typing import Any

import pytest

from hpo import specfile
from hpo.errors import SimulationTimeoutError
from hpo.plan import estimate
from hpo.simulate import Conditions
from hpo.spec import StudySpec


def study(**changes: Any) -> StudySpec:
    return specfile.parse(
        {
            "name": "planned",
            "trainable": "tests.nothing:train",
            "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
            "objective": {"metric": "accuracy", "direction": "maximize", "goal": 0.1},
            "budget": {"trials": 8, "steps_per_trial": 9},
            **changes,
        }
    )


def test_without_a_scheduler_the_figures_are_those_of_a_pocket_calculator() -> None:
    found = estimate(study(), workers=4, step_seconds=60.0, conditions=Conditions(), repeats=3)
    assert (found.seconds.low, found.seconds.median, found.seconds.high) == (1080.0, 1080.0, 1080.0)
    assert found.steps.median == 72
    assert (found.share_of_full, found.stopped.high, found.busy) == (1.0, 0.0, 1.0)


def test_asha_trains_less_and_a_goal_is_left_out_since_nobody_knows_when_it_is_reached() -> None:
    asha = {"algorithm": "asha", "reduction_factor": 3}
    found = estimate(study(scheduler=asha, budget={"trials": 60, "steps_per_trial": 9}), workers=4)
    assert found.share_of_full < 0.6
    assert found.stopped.median > 30


def test_more_workers_finish_sooner_but_are_less_busy() -> None:
    few, many = (estimate(study(), workers=workers) for workers in (2, 8))
    assert many.seconds.median < few.seconds.median / 2
    assert many.busy < few.busy <= 1.0


def test_the_same_seed_gives_the_same_estimate_and_each_repeat_is_told() -> None:
    told: list[int] = []
    assert estimate(study(), workers=3, progress=told.append) == estimate(study(), workers=3)
    assert told == [1, 2, 3, 4, 5]
    assert estimate(study(), workers=3, seed=1) != estimate(study(), workers=3)


def test_a_simulation_ends_with_its_time() -> None:
    with pytest.raises(SimulationTimeoutError, match=r"8 trials of up to 9 steps take too long .* `hpo simulate`"):
        estimate(study(), workers=2, within=0.0)
