"""A driver that dies and another that goes on: with any searcher and scheduler, as if nothing had happened."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from hpo import specfile
from hpo.simulate import Conditions, SimulatedCluster
from hpo.spec import StudySpec
from hpo.trial import Checkpoint, Decision, Event, Inheritance, Measurement, Metrics, Params, Row, TrialState

SCHEDULERS: dict[str, dict[str, Any]] = {
    "fifo": {"algorithm": "fifo"},
    "asha": {"algorithm": "asha", "reduction_factor": 2},
    "asha-promotion": {"algorithm": "asha", "variant": "promotion", "reduction_factor": 2},
    "hyperband": {"algorithm": "hyperband", "reduction_factor": 2},
    "median": {"algorithm": "median"},
    "pbt": {"algorithm": "pbt", "population": 6, "interval_steps": 2},
    "pbt-synchronous": {"algorithm": "pbt", "population": 6, "interval_steps": 2, "synchronous": True},
    "genetic-inheriting": {"algorithm": "genetic", "population": 6, "interval_steps": 2},
}
SEARCHERS: dict[str, dict[str, Any]] = {
    "random": {"algorithm": "random"},
    "sobol": {"algorithm": "sobol"},
    "optuna": {"algorithm": "optuna", "startup_trials": 4},
    "hyperopt": {"algorithm": "hyperopt", "startup_trials": 4},
}
NUM_KILLS = 20


def study(scheduler: dict[str, Any], search: dict[str, Any], **budget: Any) -> StudySpec:
    return specfile.parse(
        {
            "name": "killed",
            "trainable": "tests.nothing:train",
            "parameters": {
                "x": {"type": "float", "low": 0, "high": 1, "mutable": True},
                "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True, "mutable": True},
                "kind": {"type": "categorical", "choices": ["a", "b"]},
                "depth": {"type": "int", "low": 1, "high": 5, "when": {"kind": ["b"]}},
            },
            "forbidden": [{"kind": "b", "depth": 3}],
            "initial": [{"x": 0.5, "lr": 0.1, "kind": "a"}],
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": 18, "steps_per_trial": 8, **budget},
            "search": search,
            "scheduler": scheduler,
            "retry": {"lost_workers": 5},
            "seed": 11,
        }
    )


def curve(params: Params, from_step: int, to_step: int, rng: random.Random) -> tuple[Metrics, float]:
    quality = abs(float(params["x"]) - 0.3) + (0.1 if params["kind"] == "a" else 0.0)
    return {"loss": quality + 1 / to_step + rng.gauss(0, 0.02)}, rng.uniform(0.5, 1.5)


def run(spec: StudySpec, conditions: Conditions) -> SimulatedCluster:
    cluster = SimulatedCluster(spec, curve, 4, seed=5, conditions=conditions)
    cluster.run()
    return cluster


def answers(rows: list[Row]) -> list[Row]:
    """Decisions, proposals and choices, in their order."""
    kinds = ("trial.created", "trial.resumed", "trial.inherited", "trial.stopped", "study.exhausted")
    return [
        row for row in rows if isinstance(row, Decision | Inheritance) or (isinstance(row, Event) and row.kind in kinds)
    ]


@pytest.mark.parametrize("search", SEARCHERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_after_twenty_deaths_of_the_driver_every_decision_and_proposal_is_that_of_the_unkilled_study(
    scheduler: str, search: str
) -> None:
    spec = study(SCHEDULERS[scheduler], SEARCHERS[search])
    never = Conditions(duration_sigma=0.3, driver_deaths=(1e9,), deaths_lose_work=False)
    unkilled = run(spec, never)
    rng = random.Random(f"{scheduler} {search}")
    moments = sorted(rng.uniform(0, unkilled.now) for _ in range(NUM_KILLS))
    killed = run(spec, dataclasses.replace(never, driver_deaths=tuple(moments)))
    assert len(killed.replays) == NUM_KILLS
    assert [replay.differences for replay in killed.replays] == [[]] * NUM_KILLS
    assert answers(list(killed.history)) == answers(list(unkilled.history))
    assert killed.trials() == unkilled.trials()
    assert {each.trial.state for each in killed.trials()} <= {TrialState.COMPLETED, TrialState.STOPPED}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_deaths_that_lose_work_and_lost_groups_cost_no_measurement_and_count_no_step_twice(scheduler: str) -> None:
    spec = study(SCHEDULERS[scheduler], {"algorithm": "random"}, total_steps=60)
    rng = random.Random(scheduler)
    conditions = Conditions(
        duration_sigma=0.3,
        straggler_rate=0.1,
        loss_rate=0.1,
        restart_seconds=2.0,
        driver_deaths=tuple(rng.uniform(0, 30) for _ in range(8)),
    )
    cluster = run(spec, conditions)
    assert [replay.differences for replay in cluster.replays] == [[]] * len(cluster.replays)
    assert len(cluster.replays) >= 4
    keys = [(row.trial, row.generation, row.step) for row in cluster.history if isinstance(row, Measurement)]
    assert len(keys) == len(set(keys)) == cluster.ledger.progress.steps <= 60
    is_spent = cluster.ledger.progress.finish_reason == "the budget's 60 steps are spent"
    assert is_spent == (len(keys) == 60)
    decided = [(row.trial, row.generation, row.step) for row in cluster.history if isinstance(row, Decision)]
    assert decided == keys
    for simulated in cluster.trials():
        lives: dict[int, list[int]] = {}
        for measurement in simulated.measurements:
            lives.setdefault(measurement.generation, []).append(measurement.step)
        assert all(steps == list(range(steps[0], steps[-1] + 1)) for steps in lives.values()), "no gap"


def test_checkpoints_that_a_trial_needs_outlive_the_driver_and_others_do_not_stay() -> None:
    spec = study(SCHEDULERS["pbt"], {"algorithm": "random"})
    cluster = run(spec, Conditions(duration_sigma=0.3, driver_deaths=(4.0, 9.0, 15.0)))
    kept = {row.path for row in cluster.history if isinstance(row, Checkpoint)}
    for simulated in cluster.trials():
        trial = simulated.trial
        assert f"{trial.number}/{trial.value_generation}/{trial.value_step}" in kept
        own = [path for path in kept if path.startswith(f"{trial.number}/")]
        assert len(own) <= 2
    assert any(isinstance(row, Inheritance) for row in cluster.history)


def test_a_recorded_answer_that_comes_out_otherwise_is_told_and_the_record_holds() -> None:
    from hpo import registry
    from hpo.ledger import Ledger
    from hpo.replay import Replay

    spec = study(SCHEDULERS["asha"], {"algorithm": "random"})
    unkilled = run(spec, Conditions(driver_deaths=(1e9,)))
    other = spec.model_copy(update={"seed": 12})  # as another version of a library would
    written: list[Row] = []
    ledger = Ledger(other, registry.searcher(other), registry.scheduler(other), write=written.extend)
    replay = Replay(ledger)
    replay.run(list(unkilled.history)[:40])
    assert replay.num_differences > 0
    assert replay.differences[0].startswith("trial ")
    assert "recorded" in replay.differences[0]
    assert not written, "a replay writes nothing"
    created = [row for row in list(unkilled.history)[:40] if isinstance(row, Event) and row.kind == "trial.created"]
    for event in created:
        live = ledger.trials.get(event.trial if event.trial is not None else -1)
        assert live is None or live.trial.params == event.data["params"]
