"""Ray's own schedulers, for real, over our Ledger; only Tune's processes are left out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from hpo import specfile
from hpo.engine import ray_scheduler
from hpo.ray_names import KNOWN
from hpo.spec import StudySpec
from hpo.tenure import pause
from hpo.trial import Checkpoint, Decision, Event, Measurement, Params, TrialState
from tests.hpo.engine.tune_bench import Bench

# PB2 fits a Gaussian process to a handful of points, and scikit-learn says what it thinks of that.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The optimal value found", "ignore:lbfgs failed to converge", "ignore:scipy.optimize"
)

PARAMETERS: dict[str, Any] = {
    "lr": {"type": "float", "low": 0.001, "high": 1, "log": True, "mutable": True},
    "depth": {"type": "int", "low": 1, "high": 9, "mutable": True},
    "a/b": {"type": "categorical", "choices": ["x", "y"]},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "PopulationBasedTraining": {"perturbation_interval": 2},
    "PB2": {"perturbation_interval": 2},
    "MedianStoppingRule": {"grace_period": 1, "hard_stop": False},
}


def spec(
    name: str, options: dict[str, Any] | None = None, *, trials: int = 6, steps: int = 9, **more: Any
) -> StudySpec:
    return specfile.parse(
        {
            "name": "s",
            "trainable": "probe:curve",
            "parameters": PARAMETERS,
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": trials, "steps_per_trial": steps},
            "scheduler": {
                "algorithm": f"ray:{name}",
                "options": OPTIONS.get(name, {}) if options is None else options,
            },
            "fixed": {"constant": 7},
            **more,
        }
    )


def loss(params: Params, step: int) -> float:
    """Falls with the steps; the better the nearer lr is to 0.1."""
    return abs(float(params["lr"]) - 0.1) + 1 / step


def kinds(bench: Bench) -> Counter[str]:
    return Counter(event.kind for event in bench.of(Event))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("name", KNOWN)
def test_every_scheduler_runs_a_study_to_its_end_on_no_more_than_its_groups(
    name: str, groups: int, tmp_path: Path
) -> None:
    bench = Bench(spec(name), loss, tmp_path, groups=groups).run()
    assert bench.ledger.progress.error is None
    assert bench.most_running == groups
    assert len(bench.final) == 6
    assert {trial.state for trial in bench.final} <= {TrialState.COMPLETED, TrialState.STOPPED}
    assert any(trial.step == 9 for trial in bench.final)
    assert bench.ledger.trials == {}
    measured = [(row.trial, row.generation, row.step) for row in bench.of(Measurement)]
    assert len(set(measured)) == len(measured)
    assert measured == [(row.trial, row.generation, row.step) for row in bench.of(Decision)]
    assert all(leg.params["constant"] == 7 for leg in bench.legs)
    assert bench.cancelled == {leg.number for leg in bench.legs}, "each worker was told to leave"


@pytest.mark.parametrize(
    ("name", "synch", "every"),
    [
        ("PopulationBasedTraining", False, 1),
        ("PopulationBasedTraining", True, 1),
        ("PopulationBasedTraining", False, 2),
        ("PopulationBasedTraining", True, 2),
        ("PB2", False, 1),
        ("PB2", True, 2),
    ],
)
def test_a_trial_goes_on_from_its_donors_checkpoint_at_the_next_step_with_parameters_of_the_space(
    name: str, synch: bool, every: int, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"perturbation_interval": 2, "quantile_fraction": 0.5, "synch": synch}
    if name != "PB2":
        options["perturbation_factors"] = [30, 0.01]  # out of the ranges
    bench = Bench(spec(name, options, trials=4, steps=7 if name == "PB2" else 13), loss, tmp_path, every=every).run()
    assert bench.ledger.progress.error is None
    assert len(bench.inheritances) >= 3
    created = {event.trial: event.data["params"] for event in bench.of(Event) if event.kind == "trial.created"}
    generations: Counter[int] = Counter()
    for row in bench.inheritances:
        generations[row.trial] += 1
        assert row.generation == generations[row.trial]
        assert row.donor != row.trial
        assert row.step % 2 == 0, "from the checkpoint of the donor's last comparison, not from a later one"
        assert [step for generation, step in bench.steps(row.trial) if generation == row.generation][:1] == [
            row.step + 1
        ]
        assert row.path.rsplit("/", 1)[1] == str(row.step)
        assert type(row.params["lr"]) is float
        assert 0.001 <= row.params["lr"] <= 1
        assert type(row.params["depth"]) is int
        assert 1 <= row.params["depth"] <= 9
        assert row.params["a/b"] in {created[number]["a/b"] for number in created}
        started = next(
            leg for leg in bench.legs if (leg.start.trial, leg.start.generation) == (row.trial, row.generation)
        )
        assert started.inherit == row.path
        assert started.checkpoint is None
        assert started.params == {**row.params, "constant": 7}
    assert [trial.generation for trial in bench.final] == [generations[trial.number] for trial in bench.final]


def test_what_cannot_be_mutated_comes_with_the_donors_weights(tmp_path: Path) -> None:
    bench = Bench(spec("PopulationBasedTraining"), loss, tmp_path).run()
    params = {(row.trial, row.generation): row.params for row in bench.inheritances}
    params |= {(event.trial, 0): event.data["params"] for event in bench.of(Event) if event.kind == "trial.created"}
    assert bench.inheritances
    for row in bench.inheritances:
        assert row.params["a/b"] == params[row.donor, row.donor_generation]["a/b"]


@pytest.mark.parametrize("synch", [False, True])
def test_in_the_end_each_trial_has_its_best_and_its_last_checkpoint(synch: bool, tmp_path: Path) -> None:
    options = {"perturbation_interval": 2, "quantile_fraction": 0.5, "synch": synch}
    bench = Bench(spec("PopulationBasedTraining", options), loss, tmp_path).run()
    assert bench.inheritances
    expected = set()
    for trial in bench.final:
        expected.add(f"{trial.number}/{trial.value_generation}/{trial.value_step}")
        expected.add(f"{trial.number}/{trial.generation}/{trial.step}")
    assert bench.kept() == expected
    paths = [checkpoint.path for checkpoint in bench.dropped]
    assert len(set(paths)) == len(paths)


def test_checkpoints_are_dropped_on_the_way_as_soon_as_no_pointer_names_them(tmp_path: Path) -> None:
    bench = Bench(spec("PopulationBasedTraining", trials=4, steps=40), loss, tmp_path)
    most = 0
    while bench.turn():
        most = max(most, len(bench.kept()))
    assert most <= 4 * 3 + 2, "best, last and one that a pointer names, each"


def test_hyperband_pauses_its_brackets_and_lets_the_best_third_go_on(tmp_path: Path) -> None:
    # Ray's brackets for max_t 9 and a factor of 3, as (trials, steps) of each round:
    # (3, 9); (5, 3), (2, 9); (9, 1), (3, 3), (1, 9).
    bench = Bench(spec("HyperBandScheduler", trials=17), loss, tmp_path).run()
    ended = Counter((trial.state.value, trial.step) for trial in bench.final)
    assert ended == {("completed", 9): 6, ("stopped", 3): 3 + 2, ("stopped", 1): 6}
    assert kinds(bench)["trial.paused"] >= kinds(bench)["trial.resumed"] >= 1
    best = min(bench.final[8:], key=lambda trial: loss(trial.params, 9))
    assert best.state is TrialState.COMPLETED


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("HyperBandScheduler", {}),
        ("PopulationBasedTraining", {"perturbation_interval": 2}),
        ("PopulationBasedTraining", {"perturbation_interval": 2, "synch": True}),
        ("MedianStoppingRule", {"grace_period": 1}),
    ],
)
@pytest.mark.parametrize("fails", [(0, 4), (7, 4), (7, 2)])
def test_a_trial_that_fails_keeps_no_other_one_waiting(
    name: str, options: dict[str, Any], fails: tuple[int, int], tmp_path: Path
) -> None:
    bench = Bench(spec(name, options, trials=8), loss, tmp_path, fails=[fails]).run()
    assert bench.ledger.progress.error is None
    states = Counter(trial.state for trial in bench.final)
    assert sum(states.values()) == 8
    assert states[TrialState.FAILED] <= 1
    assert states[TrialState.COMPLETED] >= 1


def test_the_rest_of_a_hyperband_round_goes_on_when_its_last_trial_fails(tmp_path: Path) -> None:
    folders = [tmp_path / "fine", tmp_path / "failing"]
    for folder in folders:
        folder.mkdir()
    study = spec("HyperBandScheduler", trials=17)
    fine = Bench(study, loss, folders[0]).run()
    # The third bracket's second round, of three trials, ends at step 3.
    at_3 = [row.trial for row in fine.of(Measurement) if row.trial >= 8 and row.step == 3]
    assert len(at_3) == 3
    failing = Bench(study, loss, folders[1], fails=[(at_3[-1], 3)]).run()
    assert failing.final[at_3[-1]].state is TrialState.FAILED
    assert all(trial.state.is_final for trial in failing.final)


def test_asha_stops_trials_and_the_decisions_say_who(tmp_path: Path) -> None:
    bench = Bench(spec("AsyncHyperBandScheduler", {"reduction_factor": 2}, trials=12), loss, tmp_path).run()
    stopped = [trial for trial in bench.final if trial.state is TrialState.STOPPED]
    assert len(stopped) >= 4
    assert {trial.message for trial in stopped} == {"ray:AsyncHyperBandScheduler says so"}
    assert kinds(bench)["trial.paused"] == 0


def test_a_softly_stopped_trial_waits_until_there_is_no_new_one(tmp_path: Path) -> None:
    options = {"grace_period": 1, "min_samples_required": 1, "hard_stop": False}
    bench = Bench(spec("MedianStoppingRule", options, trials=8), loss, tmp_path, groups=1).run()
    assert {trial.state for trial in bench.final} == {TrialState.COMPLETED}
    events = [(event.kind, event.trial) for event in bench.of(Event)]
    first_resumed = next(place for place, (kind, _) in enumerate(events) if kind == "trial.resumed")
    assert ("trial.started", 7) in events[:first_resumed]


def test_a_trial_without_any_checkpoint_keeps_its_own_weights_and_parameters(tmp_path: Path) -> None:
    bench = Bench(spec("PopulationBasedTraining"), loss, tmp_path, every=1000).run()
    assert bench.inheritances == []
    assert {trial.state for trial in bench.final} == {TrialState.COMPLETED}
    created = {event.trial: event.data["params"] for event in bench.of(Event) if event.kind == "trial.created"}
    assert [trial.params for trial in bench.final] == [created[trial.number] for trial in bench.final]
    assert all(bench.steps(number) == [(0, step) for step in range(1, 10)] for number in created)
    resumed = [event.data for event in bench.of(Event) if event.kind == "trial.resumed"]
    assert any("has no checkpoint to inherit" in str(data.get("message")) for data in resumed)


@pytest.mark.parametrize("name", KNOWN)
def test_after_a_restart_trials_go_on_and_nothing_counts_twice(name: str, tmp_path: Path) -> None:
    study, history = spec(name, trials=8), []
    for life in range(3):
        folder = tmp_path / str(life)
        folder.mkdir()
        bench = Bench(study, loss, folder, seed=life, history=history)
        assert bench.replay.differences == []
        history = bench.run(15 if life < 2 else 10_000).rows
    assert bench.ledger.progress.error is None
    measured = [(row.trial, row.generation, row.step) for row in bench.of(Measurement)]
    assert len(set(measured)) == len(measured)
    assert [trial.number for trial in bench.final] == list(range(8))
    assert all(trial.state.is_final for trial in bench.final)
    assert bench.ledger.progress.steps == len(measured)


@pytest.mark.parametrize("name", KNOWN)
def test_a_storage_that_fails_pauses_the_study_and_fails_no_trial(name: str, tmp_path: Path) -> None:
    """As under a scheduler of ours; the driver that `resume` starts goes on where the trials stood."""
    study, folders = spec(name, trials=4), [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    bench = Bench(study, loss, folders[0], fails=[(number, 2) for number in range(4)], cause="storage")
    while not bench.ledger.progress.is_over:
        assert bench.turn()
    assert bench.ledger.orders.is_pausing
    assert str(bench.ledger.progress.finish_reason).endswith(": it fails")
    pause(bench.ledger)
    assert {trial.state for trial in bench.final} <= {TrialState.PAUSED, TrialState.COMPLETED, TrialState.STOPPED}
    again = Bench(study, loss, folders[1], history=[row for row in bench.rows if row not in bench.dropped]).run()
    assert again.ledger.progress.error is None
    assert kinds(again)["trial.failed"] == 0
    assert all(trial.state.is_final for trial in again.final)
    measured = [(row.trial, row.generation, row.step) for row in again.of(Measurement)]
    assert len(set(measured)) == len(measured)


def test_an_inherited_checkpoint_that_the_donor_left_behind_outlives_the_driver(tmp_path: Path) -> None:
    options = {"perturbation_interval": 3, "quantile_fraction": 0.5}
    study = spec("PopulationBasedTraining", options, steps=12)
    num_found = 0
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        bench = Bench(study, loss, folder, seed=seed, groups=3)
        while bench.turn():
            row = bench.inheritances[-1] if bench.inheritances else None
            live = bench.ledger.trials.get(row.trial) if row else None
            if row is None or live is None or live.origin is None:
                continue
            before = bench.rows[: bench.rows.index(row)]
            if [each for each in before if isinstance(each, Checkpoint) and each.trial == row.donor][
                -1
            ].path == row.path:
                continue
            num_found += 1
            assert live.origin.path in bench.kept()
            again = Bench(study, loss, folder, history=[row for row in bench.rows if row not in bench.dropped])
            assert again.ledger.trials[live.trial.number].source == live.origin
            assert again.ledger.trials[live.trial.number].trial == live.trial
            break
    assert num_found >= 2


def test_a_goal_ends_all_trials_also_those_that_wait(tmp_path: Path) -> None:
    objective = {"metric": "loss", "direction": "minimize", "goal": 10}
    bench = Bench(spec("HyperBandScheduler", objective=objective), loss, tmp_path).run()
    assert "has reached the goal" in str(bench.ledger.progress.finish_reason)
    assert {trial.state for trial in bench.final} == {TrialState.STOPPED}
    assert sum(trial.step for trial in bench.final) == 1


def test_rays_scheduler_sees_neither_a_report_without_a_value_nor_a_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    class Watching(FIFOScheduler):  # type: ignore[misc]
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            seen.append(result)
            return str(TrialScheduler.CONTINUE)

    def sometimes_nan(params: Params, step: int) -> float:
        return float("nan") if step == 4 and float(params["lr"]) > 0.2 else loss(params, step)

    monkeypatch.setattr(ray_scheduler, "build", lambda spec: Watching())
    bench = Bench(spec("FIFOScheduler"), sometimes_nan, tmp_path).run()
    states = Counter(trial.state for trial in bench.final)
    assert states == {TrialState.FAILED: 1, TrialState.COMPLETED: 5}
    assert Counter(result["training_iteration"] for result in seen) == {
        **dict.fromkeys(range(1, 4), 6),
        **dict.fromkeys(range(4, 9), 5),
    }
    assert all(set(result) == {"loss", "training_iteration"} and result["loss"] < 2 for result in seen)


def test_an_error_of_rays_scheduler_ends_the_study_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(FIFOScheduler):  # type: ignore[misc]
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            if result["training_iteration"] == 3:
                raise ZeroDivisionError("of its own")
            return str(TrialScheduler.CONTINUE)

    monkeypatch.setattr(ray_scheduler, "build", lambda spec: Broken())
    bench = Bench(spec("FIFOScheduler"), loss, tmp_path).run()
    assert bench.ledger.progress.error == (
        "ray:FIFOScheduler has failed in on_trial_result: ZeroDivisionError: of its own"
    )
    assert {trial.state for trial in bench.final} == {TrialState.STOPPED}
