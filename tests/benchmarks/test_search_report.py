"""The benchmark's report from hand-made runs, and the runner that makes real ones."""

from __future__ import annotations

import importlib.util
import json
import math

import numpy as np
import pytest

from benchmarks.search import __main__ as runner
from benchmarks.search import analysis, report
from benchmarks.search.analysis import FLOOR, GRID, Comparison, regret_at
from benchmarks.search.cluster import Run
from benchmarks.search.records import Record, RunKey, append, planned, read
from benchmarks.search.tasks import yahpo


def run_of(*curve, jobs=100, cpu=0.5):
    return Run(tuple(curve), jobs, jobs, 1.0, cpu)


def record(policy, task, seed, *curve, workers=4, **fields):
    return Record(RunKey(seed=seed, workers=workers, task=task, policy=policy), run_of(*curve, **fields))


HAND_MADE = [
    # task a: ours is at .1 from the middle on, where the other ends; random stays at .4
    record("genetic", "a", 0, (0.05, 0.4), (0.5, 0.1), (0.9, 0.01)),
    record("tpe", "a", 0, (0.05, 0.4), (1.0, 0.1)),
    record("random", "a", 0, (0.05, 0.4)),
    record("genetic", "a", 1, (0.05, 0.4), (0.5, 0.1), (0.9, 0.04)),
    record("tpe", "a", 1, (0.05, 0.4), (1.0, 0.1)),
    record("random", "a", 1, (0.2, 0.4)),
    # task b: ours never gets where the other is
    record("genetic", "b", 0, (0.05, 0.8)),
    record("tpe", "b", 0, (0.05, 0.8), (0.2, 0.0)),
    record("random", "b", 0, (0.05, 0.8)),
]
POLICIES = ("genetic", "tpe", "random")


@pytest.fixture
def comparison():
    return Comparison(HAND_MADE, POLICIES, 4)


def test_regret_is_that_of_the_last_incumbent_and_has_a_floor():
    run = run_of((0.1, 1.5), (0.5, 0.2), (0.8, 0.0))
    shares = (0.05, 0.1, 0.499, 0.5, 0.79, 0.8, 1.0)
    assert [regret_at(run, share) for share in shares] == [1.0, 1.5, 1.5, 0.2, 0.2, FLOOR, FLOOR]


def test_ties_share_a_rank_and_tasks_weigh_the_same(comparison):
    # at .1: a/0 all tie; a/1 random is last (nothing seen yet: 1); b all tie
    ranks = analysis.mean(comparison.ranks)
    a, b = np.array([[2, 2, 2], [1.5, 1.5, 3]]), np.array([[2, 2, 2]])
    assert ranks[:, 0].tolist() == ((a.mean(0) + b.mean(0)) / 2).tolist()
    # at the end: a ours 1, tpe 2, random 3; b tpe 1, the others 2.5
    assert ranks[:, 2].tolist() == [(1 + 2.5) / 2, (2 + 1) / 2, (3 + 2.5) / 2]


def test_mean_regret_is_geometric_over_seeds_then_tasks(comparison):
    final = np.exp(analysis.mean(comparison.log_regrets)[:, -1])
    assert final == pytest.approx([math.sqrt(0.02 * 0.8), math.sqrt(0.1 * FLOOR), math.sqrt(0.4 * 0.8)])


def test_ratios_are_paired(comparison):
    ratio = analysis.ratios(comparison, "tpe", "genetic")[-1]
    assert ratio.value == pytest.approx(math.sqrt((0.1 / 0.02) * (FLOOR / 0.8)))
    assert ratio.low < ratio.value < ratio.high


def test_speed_up_is_the_time_to_the_others_end_where_that_is_reached(comparison):
    found = analysis.speed_up(comparison, "genetic", "tpe")
    assert (found.reached, found.tasks) == (1, 2)
    assert found.factor.value == pytest.approx(2.0, rel=0.01)  # at the grid's first share from .5 on
    against_random = analysis.speed_up(comparison, "genetic", "random")
    assert (against_random.reached, against_random.tasks) == (2, 2)
    # at once, that is with the first incumbent, at .05 of the horizon
    assert against_random.factor.value == pytest.approx(1 / GRID[np.searchsorted(GRID, 0.05 - 1e-9)])


def test_a_policy_that_never_gets_there_has_no_speed_up(comparison):
    found = analysis.speed_up(comparison, "random", "tpe")
    assert (found.reached, found.tasks) == (0, 2)
    assert math.isnan(found.factor.value)


def test_an_interval_is_a_point_where_all_runs_are_the_same_and_covers_where_not():
    same = analysis.estimates([np.full((3, 1, 1), 2.0)] * 4)[0][0]
    assert (same.value, same.low, same.high) == (2.0, 2.0, 2.0)
    # 16 tasks with mean 0 and variance 1: an interval of ± 1.96 / 4
    rng = np.random.default_rng(0)
    tasks = rng.normal(size=16)
    tasks = (tasks - tasks.mean()) / tasks.std()
    found = analysis.estimates([np.full((2, 1, 1), value) for value in tasks])[0][0]
    assert found.low == pytest.approx(-1.96 / 4, abs=0.06)
    assert found.high == pytest.approx(1.96 / 4, abs=0.06)


def test_a_pair_counts_only_where_all_have_finished():
    extra = [record("genetic", "a", 2, (0.1, 0.001)), record("tpe", "c", 0, (0.1, 0.5))]
    found = Comparison([*HAND_MADE, *extra], POLICIES, 4)
    assert found.num_runs == 3
    assert found.left_out == ("c",)


def options(tmp_path, *given):
    """Of a report; no data of any task is needed."""
    return runner.arguments(["--only-report", "--out", str(tmp_path / "runs.jsonl"), "--workers", "4", *given])


def test_the_report_orders_by_final_rank_and_keeps_all_figures(comparison, tmp_path, monkeypatch, capsys):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed: pip install 'hpo[bench]'")
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.show(HAND_MADE, options(tmp_path, "--policies", "random,genetic,tpe", "--save"))
    text = (tmp_path / "search.md").read_text()
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["| policy", "| tpe", "| genetic", "| random", "| policy", "| tpe", "| random"]
    assert "`tpe` is ahead of `genetic` by" in text
    assert "1 of 2" in text
    assert "--tasks public --policies random,genetic,tpe --workers 4 --seeds 10 --out" in text
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.dumps(figures) in text
    assert figures["4"]["tpe"]["rank"][-1] == 1.5
    assert figures["4"]["tpe"]["cpu_ms"] == 5.0
    assert figures["4"]["random"]["regret_ratio"] == pytest.approx(math.sqrt(0.4 / 0.02), abs=1e-3)
    assert "<svg" in (tmp_path / "search.svg").read_text()


def test_a_policy_that_has_only_begun_stands_apart(tmp_path, capsys):
    begun = record("smac", "a", 0, (0.05, 0.04))
    report.show([*HAND_MADE, begun], options(tmp_path, "--policies", "genetic,tpe,random,smac"))
    text, figures = capsys.readouterr().out.rsplit("\n", 2)[:2]
    assert "2 tasks × 1 to 2 seeds" in text
    assert "`smac` against `genetic` alone, on the 1 runs on 1 tasks that it has finished" in text
    assert json.loads(figures)["4"]["smac"]["regret_ratio"] == 4.0  # .04 to .01
    assert "smac" not in text.split("Against `genetic`")[0]


def test_ablations_have_a_table_of_their_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.show(HAND_MADE, options(tmp_path, "--policies", "genetic,tpe", "--ablations", "--save"))
    text = (tmp_path / "search_ablations.md").read_text()
    assert "| variant | regret at 0.1 | regret at 0.33 | regret at 1 |" in text
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"4": {"tpe": [1.0, 0.035, 0.079]}}


def test_policies_without_runs_are_named_and_left_out(tmp_path, capsys):
    assert report.compared(HAND_MADE, [*POLICIES, "smac"], 4).policies == POLICIES
    assert "no runs of smac" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="run without --only-report"):
        report.show([], options(tmp_path))


class TestRunner:
    def test_it_goes_seed_by_seed(self):
        keys = planned(["p", "q"], ["a", "b"], [4, 16], [0, 1])
        assert keys == sorted(keys)
        assert [(key.seed, key.workers, key.task, key.policy) for key in keys[:3]] == [
            (0, 4, "a", "p"), (0, 4, "a", "q"), (0, 4, "b", "p"),
        ]  # fmt: skip

    def test_what_is_finished_is_not_run_again_and_more_can_be_added(self, tmp_path, capsys):
        out = tmp_path / "runs.jsonl"
        first = planned(["random"], ["countones-4+4"], [4], [0])
        runner.run(first, out, 1)
        before = out.read_text()
        runner.run(planned(["random", "asha"], ["countones-4+4"], [4], [0]), out, 1)
        assert out.read_text().startswith(before)
        assert [key.policy for key in read(out)] == ["random", "asha"]
        assert "1/1" in capsys.readouterr().err

    def test_several_processes_give_the_same_runs(self, tmp_path):
        keys = planned(["random", "asha"], ["countones-4+4"], [4], [0])
        for processes in (1, 2):
            runner.run(keys, tmp_path / f"{processes}.jsonl", processes)
        one, two = (read(tmp_path / f"{processes}.jsonl") for processes in (1, 2))
        assert {key: each.run.curve for key, each in one.items()} == {key: each.run.curve for key, each in two.items()}

    def test_a_run_survives_being_written(self, tmp_path):
        out = tmp_path / "deep" / "runs.jsonl"
        for each in HAND_MADE:
            append(out, each)
        assert list(read(out).values()) == HAND_MADE

    def test_of_two_records_of_one_run_the_first_counts(self, tmp_path):
        out = tmp_path / "runs.jsonl"
        append(out, record("tpe", "a", 0, (0.5, 0.5)))
        append(out, record("tpe", "a", 0, (0.5, 0.1)))
        assert [each.run.curve for each in read(out).values()] == [((0.5, 0.5),)]

    def test_a_broken_line_is_named(self, tmp_path):
        out = tmp_path / "runs.jsonl"
        append(out, HAND_MADE[0])
        out.write_text(out.read_text() + '{"seed": 1}\n')
        with pytest.raises(ValueError, match=r"runs.jsonl, line 2 is no finished run"):
            read(out)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (["--policies", "best"], "'best' is none of genetic"),
            (["--tasks", "nosuch-1"], "'nosuch-1' is no task"),
            (["--workers", "8"], "8 workers have no horizon; choose 4 or 16"),
        ],
    )
    def test_an_option_that_names_nothing_is_refused(self, given, message, capsys):
        with pytest.raises(SystemExit):
            runner.arguments(["--tasks", "countones-4+4", *given])
        assert message in capsys.readouterr().err

    def test_any_instance_of_a_family_is_a_task(self):
        assert runner.arguments(["--tasks", "countones-3+5,mfh6-bad"]).tasks == ("countones-3+5", "mfh6-bad")

    def test_a_task_without_its_data_is_refused_before_anything_runs(self, monkeypatch, tmp_path, capsys):
        yahpo._loaded.cache_clear()
        monkeypatch.setenv("HPO_YAHPO", str(tmp_path))
        with pytest.raises(SystemExit):
            runner.arguments(["--tasks", "mfh6-good,lcbench-3945"])
        assert "set HPO_YAHPO" in capsys.readouterr().err
