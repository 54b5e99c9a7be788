"""The benchmark of inheritance: what a run is, that it goes on where it stopped, and what its report says."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.search import inheritance_runs
from benchmarks.search.inheritance import interval, report, verdict
from benchmarks.search.inheritance_runs import OURS, WAYS, Run, digits, perform, read, run_missing
from benchmarks.trained_cluster import TrainableCluster
from hpo.protocols import TrialContext
from hpo.simulate import SimulatedTrial
from hpo.trial import Params

TINY = digits(steps=4, members=4)


def test_a_run_trains_and_inherits_where_it_may():
    runs = {way: perform(TINY, way, 0) for way in WAYS}
    assert {way for way, run in runs.items() if run.inheritances} == set(WAYS) - {"no inheritance"}
    assert len(runs["no inheritance"].values) == 16
    assert all(run.best == min(run.values) < 2.5 for run in runs.values())
    assert all(run.generations <= run.inheritances for run in runs.values())
    assert runs[OURS].values != runs["genetic, no crossover"].values


def test_all_ways_begin_with_the_same_configurations_and_weights():
    first = {sorted(perform(TINY, way, 3).values[:2])[0] for way in WAYS}
    assert len(first) == 1


def test_a_run_again_is_the_same():
    again = [dataclasses.replace(perform(TINY, OURS, 1), cpu_seconds=0.0) for _ in range(2)]
    assert again[0] == again[1]
    assert again[0].values != perform(TINY, OURS, 2).values


def test_finished_runs_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "runs.jsonl"
    first = run_missing([(TINY, 1)], out)
    assert [run.key for run in first] == [("digits", way, 0) for way in WAYS]
    done: list[int] = []

    def noted(task, way, seed):
        done.append(seed)
        return perform(task, way, seed)

    monkeypatch.setattr(inheritance_runs, "perform", noted)
    both = run_missing([(TINY, 2)], out)
    assert done == [1] * len(WAYS)
    assert both[: len(WAYS)] == first
    assert read(out) == {run.key: run for run in both}


def test_a_torn_line_is_refused_with_its_number(tmp_path: Path):
    out = tmp_path / "runs.jsonl"
    run_missing([(TINY, 1)], out)
    out.write_text(out.read_text() + '{"task": "digi')
    with pytest.raises(ValueError, match="line 6 is no finished run"):
        read(out)


def a_run(way: str, seed: int, best: float) -> Run:
    return Run(
        task="digits", way=way, seed=seed, values=(9.0, best), inheritances=3, generations=2, cpu_seconds=1.0
    )  # fmt: skip


def test_the_report_pairs_the_seeds_and_says_who_is_better():
    """Ours 1, 2, 3; PBT .5 above on each seed, and the others as often above as below."""
    shifts = {OURS: (0.0, 0.0, 0.0), "pbt": (0.5, 0.5, 0.5)}
    runs = [a_run(way, seed, 1.0 + seed + shifts.get(way, (-1.0, 0.0, 1.0))[seed]) for way in WAYS for seed in range(3)]
    text, figures = report(runs)
    assert figures["digits"][OURS] == {"mean": 2.0, "error": 0.5774}
    assert figures["digits"]["pbt"] == {
        "mean": 2.5, "error": 0.5774, "above_genetic": 0.5, "low": 0.5, "high": 0.5
    }  # fmt: skip
    assert "## digits, 3 seeds" in text
    assert "| pbt | 2.5000 ± 0.5774 | 2.5000 | +0.5000 [+0.5000, +0.5000] | 3 of 3 | 2 | 3 | 1.0 |" in text
    assert "Genetic is better than pbt." in text
    assert "Genetic and no inheritance can't be told apart: the interval holds 0." in text


def test_a_verdict_needs_an_interval_without_zero():
    assert verdict("pbt", 0.1, 0.2) == "Genetic is better than pbt."
    assert verdict("pbt", -0.2, -0.1) == "Genetic is worse than pbt."
    assert "can't be told apart" in verdict("pbt", -0.1, 0.2)


def test_the_interval_is_about_two_standard_errors_to_either_side():
    low, high = interval([0.0, 1.0] * 50)
    assert low == pytest.approx(0.40, abs=0.02)
    assert high == pytest.approx(0.60, abs=0.02)
    assert interval([0.0, 1.0] * 50) == (low, high)


def count(params: Params, trial: TrialContext) -> None:
    """Weights are a sum of all rates that they were trained with."""
    source = trial.resume or trial.inherit
    total, step = json.loads((source / "weights").read_text()) if source else (0.0, 0)
    total += float(params["rate"])

    def write(folder: Path) -> None:
        (folder / "weights").write_text(json.dumps([total, step + 1]))

    trial.report(step + 1, {"loss": total}, checkpoint=write)


def counted(scheduler: dict[str, object]) -> list[SimulatedTrial]:
    """What the trials of `count` report."""
    rate = {"type": "float", "low": 0.0, "high": 1.0, "mutable": True}
    spec = dataclasses.replace(TINY, parameters={"rate": rate}).spec(scheduler, 0)
    with closing(TrainableCluster(spec, 2, count)) as cluster:
        cluster.run()
        folder = cluster._folder
        assert folder.is_dir()
        trials = cluster.trials()
    assert not folder.exists()
    return trials


def test_a_trial_goes_on_from_its_own_folder():
    for each in counted({"algorithm": "fifo"}):
        losses = [row.metrics["loss"] for row in each.measurements]
        assert losses == pytest.approx([step * float(each.trial.params["rate"]) for step in (1, 2, 3, 4)])


def test_a_trial_goes_on_from_its_donors_folder():
    trials = counted(WAYS[OURS][0])
    found = {(each.trial.number, row.step): row.metrics["loss"] for each in trials for row in each.measurements}
    inherited = [each.trial for each in trials if each.trial.generation]
    assert inherited
    for trial in inherited:
        first = next(row for each in trials if each.trial == trial for row in each.measurements
                     if row.generation == trial.generation)  # fmt: skip
        given = first.metrics["loss"] - float(trial.params["rate"])
        donors = [loss for (number, step), loss in found.items() if (number, step) == (trial.parent, first.step - 1)]
        assert given == pytest.approx(donors[0])
