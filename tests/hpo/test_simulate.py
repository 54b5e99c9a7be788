"""The simulator, and with it what the searchers and schedulers are worth."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest

from hpo import specfile
from hpo.simulate import Conditions, SimulatedCluster, SimulatedTrial, simulate
from hpo.spec import StudySpec
from hpo.trial import FailureCause, Metrics, Params, TrialState


def spec(*, seed: int = 0, budget: dict[str, Any] | None = None, **changes: Any) -> StudySpec:
    return specfile.parse(
        {
            "name": "simulated",
            "trainable": "tests.nothing:train",
            "parameters": {
                "x": {"type": "float", "low": -5, "high": 5},
                "y": {"type": "float", "low": -5, "high": 5},
            },
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": budget or {"trials": 20, "steps_per_trial": 3},
            "seed": seed,
            **changes,
        }
    )


def bowl(params: Params, from_step: int, to_step: int, rng: random.Random) -> tuple[Metrics, float]:
    x, y = float(params["x"]), float(params["y"])
    return {"loss": (x - 2) ** 2 + (y + 1) ** 2}, 1.0


def learning(params: Params, from_step: int, to_step: int, rng: random.Random) -> tuple[Metrics, float]:
    """A curve that falls to the bowl's value, with a little noise."""
    final = bowl(params, from_step, to_step, rng)[0]["loss"]
    return {"loss": final + 10 / to_step + rng.gauss(0, 0.05)}, rng.uniform(0.5, 1.5)


def best(trials: list[SimulatedTrial]) -> float:
    return min(t.trial.value for t in trials if t.trial.value is not None)


def num_steps(trials: list[SimulatedTrial]) -> int:
    return sum(len(t.measurements) for t in trials)


def test_a_run_worked_by_hand() -> None:
    """5 trials of 3 steps of 1 s on 2 workers: 0-3, 0-3, 3-6, 3-6, 6-9."""
    trials = simulate(spec(budget={"trials": 5, "steps_per_trial": 3}), bowl, 2)
    assert [t.trial.number for t in trials] == [0, 1, 2, 3, 4]
    assert [(t.trial.started_at, t.trial.ended_at) for t in trials] == [(0, 3), (0, 3), (3, 6), (3, 6), (6, 9)]
    assert {t.trial.state for t in trials} == {TrialState.COMPLETED}
    assert [m.recorded_at for m in trials[4].measurements] == [7, 8, 9]
    assert [m.step for m in trials[4].measurements] == [1, 2, 3]


def test_is_deterministic_by_its_seeds() -> None:
    study = spec(scheduler={"algorithm": "asha"}, search={"algorithm": "optuna"})
    assert simulate(study, learning, 4, seed=1) == simulate(study, learning, 4, seed=1)
    assert simulate(study, learning, 4, seed=1) != simulate(study, learning, 4, seed=2)


def test_total_steps_are_kept_exactly() -> None:
    trials = simulate(spec(budget={"trials": 20, "steps_per_trial": 9, "total_steps": 25}), bowl, 4)
    assert num_steps(trials) == 25
    assert TrialState.RUNNING in {t.trial.state for t in trials}


@pytest.mark.parametrize("as_budget", [True, False])
def test_the_clock_ends_a_study(as_budget: bool) -> None:
    budget = {"trials": 20, "steps_per_trial": 3, **({"wall_seconds": 4.5} if as_budget else {})}
    trials = simulate(spec(budget=budget), bowl, 2, horizon=None if as_budget else 4.5)
    assert [t.trial.state.value for t in trials] == ["completed", "completed", "running", "running"]
    assert num_steps(trials) == 8


def test_the_goal_ends_a_study() -> None:
    objective = {"metric": "loss", "direction": "minimize", "goal": 5.0}
    trials = simulate(spec(budget={"trials": 1000, "steps_per_trial": 1}, objective=objective), bowl, 1)
    values = [t.trial.value for t in trials]
    assert values[-1] is not None
    assert values[-1] <= 5.0
    assert all(value is not None and value > 5.0 for value in values[:-1])


def test_an_exhausted_space_ends_a_study() -> None:
    parameters = {name: {"type": "int", "low": 0, "high": 2} for name in "xy"}
    trials = simulate(spec(parameters=parameters, search={"algorithm": "grid"}), bowl, 4)
    assert len(trials) == 9


def test_concurrency_limits_the_workers_and_constants_reach_the_evaluation() -> None:
    def evaluate(params: Params, from_step: int, to_step: int, rng: random.Random) -> tuple[Metrics, float]:
        return {"loss": float(params["extra"])}, 1.0

    trials = simulate(spec(concurrency=1, fixed={"extra": 7}), evaluate, 8)
    assert [t.trial.started_at for t in trials[:3]] == [0, 3, 6]
    assert trials[0].trial.value == 7.0
    assert "extra" not in trials[0].trial.params


@pytest.mark.parametrize(
    ("metrics", "cause"),
    [
        ({"other": 1.0}, FailureCause.NO_METRIC),
        ({"loss": math.nan}, FailureCause.NON_FINITE),
        ({"loss": math.inf}, FailureCause.NON_FINITE),
    ],
)
def test_a_report_without_a_usable_metric_fails_the_trial_and_soon_the_study(
    metrics: Metrics, cause: FailureCause
) -> None:
    study = spec(search={"algorithm": "optuna"}, scheduler={"algorithm": "asha"})
    cluster = SimulatedCluster(study, lambda *_: (metrics, 1.0), 3)
    cluster.run()
    ended = [t.trial for t in cluster.trials() if t.trial.state.is_final]
    assert {(trial.state, trial.cause) for trial in ended} == {(TrialState.FAILED, cause)}
    assert all(trial.message for trial in ended)
    assert len(ended) == (1 if cause is FailureCause.NO_METRIC else 3), "as on a cluster, the rest would fail as well"
    assert cluster.ledger.progress.error is not None


def test_the_conditions_of_a_cluster_lengthen_a_study_and_lose_no_step() -> None:
    perfect = SimulatedCluster(spec(), bowl, 2, seed=1)
    hard = SimulatedCluster(
        spec(retry={"lost_workers": 50}),
        bowl,
        2,
        seed=1,
        conditions=Conditions(duration_sigma=0.2, straggler_rate=0.1, loss_rate=0.2, restart_seconds=3.0),
    )
    for cluster in (perfect, hard):
        cluster.run()
        assert num_steps(cluster.trials()) == 60
    assert perfect.now == 30.0
    assert hard.now > 45.0
    assert perfect.busy_seconds == 60.0
    assert hard.busy_seconds > 60.0


def test_a_trial_whose_group_is_lost_too_often_fails_as_preempted() -> None:
    trials = simulate(spec(retry={"lost_workers": 1}), bowl, 2, conditions=Conditions(loss_rate=0.5), seed=3)
    causes = {t.trial.cause for t in trials if t.trial.state is TrialState.FAILED}
    assert causes == {FailureCause.PREEMPTED}


def test_no_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        simulate(spec(), bowl, 0)


def test_tpe_beats_random_on_a_quadratic() -> None:
    budget = {"trials": 50, "steps_per_trial": 1}
    found = {
        name: statistics.fmean(
            best(simulate(spec(seed=seed, budget=budget, search=search), bowl, 2)) for seed in range(12)
        )
        for name, search in {"random": {"algorithm": "random"}, "tpe": {"algorithm": "optuna"}}.items()
    }
    assert found["tpe"] < 0.5 * found["random"], found


def test_asha_spends_fewer_steps_than_fifo_and_finds_as_good_a_best() -> None:
    budget = {"trials": 100, "steps_per_trial": 27}
    ratios, fifo_best, asha_best = [], [], []
    for seed in range(10):
        fifo = simulate(spec(seed=seed, budget=budget), learning, 8, seed=seed)
        asha = simulate(spec(seed=seed, budget=budget, scheduler={"algorithm": "asha"}), learning, 8, seed=seed)
        assert len(fifo) == len(asha) == 100
        ratios.append(num_steps(asha) / num_steps(fifo))
        fifo_best.append(best(fifo))
        asha_best.append(best(asha))
    assert max(ratios) < 0.5, ratios
    assert statistics.fmean(asha_best) < statistics.fmean(fifo_best) + 0.1


def test_a_stopped_trial_says_why() -> None:
    trials = simulate(spec(budget={"trials": 30, "steps_per_trial": 9}, scheduler={"algorithm": "asha"}), learning, 4)
    stopped = [t.trial for t in trials if t.trial.state is TrialState.STOPPED]
    assert stopped
    assert all(trial.message and trial.message.startswith("rung ") for trial in stopped)
