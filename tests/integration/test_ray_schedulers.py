"""Ray Tune's own schedulers on a real Ray head, with real worker groups and Tune's own pauses and checkpoints."""

from __future__ import annotations

from collections import Counter

import pytest

from hpo.trial import Action, Event, StudyState, TrialState

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_pb2_lets_a_population_of_four_on_two_groups_inherit(runner, tmp_path):
    trained = tmp_path / "trained"
    done = runner.run(
        parameters={
            "x": {"type": "float", "low": 0, "high": 1, "mutable": True},
            "a/b": {"type": "int", "low": 1, "high": 9, "mutable": True},
        },
        budget={"trials": 4, "steps_per_trial": 10},
        concurrency=2,
        scheduler={"algorithm": "ray:PB2", "options": {"perturbation_interval": 2, "quantile_fraction": 0.5}},
        fixed={"trained": str(trained)},
    )
    assert done.study.state is StudyState.SUCCEEDED, done.output
    assert {trial.state for trial in done.trials} == {TrialState.COMPLETED}
    assert done.inheritances  # how many depends on who reports first
    generations: Counter[int] = Counter()
    for row in done.inheritances:
        generations[row.trial] += 1
        assert row.generation == generations[row.trial]
        steps = [
            each.step for each in done.measurements if (each.trial, each.generation) == (row.trial, row.generation)
        ]
        assert steps[0] == row.step + 1, "it went on from its donor's weights"
        assert row.donor != row.trial
        assert 0 <= row.params["x"] <= 1
        assert row.params["a/b"] in range(1, 10)
        assert type(row.params["a/b"]) is int
    assert [trial.generation for trial in done.trials] == [generations[number] for number in range(4)]
    paused = [event for event in done.history if isinstance(event, Event) and event.kind == "trial.paused"]
    assert {event.trial for event in paused} == {0, 1, 2, 3}, "four took turns on two groups"
    steps = [tuple(map(int, line.split())) for line in trained.read_text().splitlines()]
    assert sorted(steps) == sorted((row.trial, row.step) for row in done.measurements), "nothing was trained in vain"
    expected = {(trial.number, trial.generation, trial.step) for trial in done.trials}
    expected |= {(trial.number, trial.value_generation, trial.value_step) for trial in done.trials}
    assert {(kept.trial, kept.generation, kept.step) for kept in done.checkpoints} == expected
    left = (runner.folder / "storage" / "probe").rglob("step-*")
    assert {str(path) for path in left} == {checkpoint.path for checkpoint in done.checkpoints}


@pytest.mark.long
def test_async_hyperband_stops_trials_that_then_train_no_more(runner, tmp_path):
    trained = tmp_path / "trained"
    done = runner.run(
        budget={"trials": 10, "steps_per_trial": 8},
        concurrency=2,
        scheduler={"algorithm": "ray:AsyncHyperBandScheduler", "options": {"reduction_factor": 2}},
        fixed={"trained": str(trained)},
    )
    assert done.study.state is StudyState.SUCCEEDED, done.output
    states = Counter(trial.state for trial in done.trials)
    assert sum(states.values()) == 10
    assert states[TrialState.STOPPED] >= 3
    assert states[TrialState.COMPLETED] >= 1
    steps = [tuple(map(int, line.split())) for line in trained.read_text().splitlines()]
    assert sorted(steps) == sorted((row.trial, row.step) for row in done.measurements)
    stops = {(decision.trial, decision.step) for decision in done.decisions if decision.action is Action.STOP}
    assert stops == {(trial.number, trial.step) for trial in done.trials if trial.state is TrialState.STOPPED}


def test_hyperband_pauses_its_brackets_and_resumes_the_best(runner, tmp_path):
    trained = tmp_path / "trained"
    done = runner.run(
        budget={"trials": 8, "steps_per_trial": 9},
        concurrency=2,
        scheduler={"algorithm": "ray:HyperBandScheduler"},
        fixed={"trained": str(trained)},
    )
    assert done.study.state is StudyState.SUCCEEDED, done.output
    # Ray's first brackets for max_t 9 and a factor of 3, as (trials, steps) of each round: (3, 9); (5, 3), (2, 9).
    ended = Counter((trial.state, trial.step) for trial in done.trials)
    assert ended == {(TrialState.COMPLETED, 9): 5, (TrialState.STOPPED, 3): 3}
    kinds = Counter(event.kind for event in done.history if isinstance(event, Event))
    assert kinds["trial.paused"] >= 4
    assert kinds["trial.resumed"] >= 1
    worst_of_the_best = max(trial.value for trial in done.trials[3:] if trial.state is TrialState.COMPLETED)
    steps = [tuple(map(int, line.split())) for line in trained.read_text().splitlines()]
    assert sorted(steps) == sorted((row.trial, row.step) for row in done.measurements)
    assert worst_of_the_best < min(trial.value for trial in done.trials if trial.state is TrialState.STOPPED)
