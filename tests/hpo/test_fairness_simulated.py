"""Shares over time on a simulated cluster. `pytest -s` prints the figures."""

from __future__ import annotations

import pytest

from hpo.fairness import Tenant
from hpo.spec import Resources
from hpo.tenancy import Quotas
from tests.hpo.shared_cluster import DRIVER_SECONDS, Plan, SharedCluster

HOUR = 3600.0
EIGHT = [{"CPU": 8.0}, {"CPU": 8.0}]
EQUAL = [Tenant(name=name, quotas=Quotas(max_trials=16, max_studies=8)) for name in ("ours", "theirs")]


def told(what: str, cluster: SharedCluster, begin: float, end: float) -> tuple[dict[str, float], dict[str, int]]:
    """Trial-seconds and trials of both projects within a window; printed, too."""
    seconds = {name: cluster.seconds(name, begin, end) for name in ("ours", "theirs")}
    trials = {name: cluster.trials(name, begin, end) for name in ("ours", "theirs")}
    full = sum(seconds.values()) / (sum(node["CPU"] for node in cluster.nodes) * (end - begin))
    shown = ", ".join(f"{name} {seconds[name] / sum(seconds.values()):.1%} ({trials[name]} trials)" for name in seconds)
    print(f"\n{what}: {shown}; the cluster is {full:.1%} busy")
    assert full > 0.95
    return seconds, trials


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("saves", [None, 20.0])
def test_equal_projects_get_equal_shares_of_trials_and_of_their_time(seed: int, saves: float | None) -> None:
    """Three studies against six."""
    plans = [Plan(name=f"a{n}", project="ours", trial_seconds=60, saves_every=saves) for n in range(3)]
    plans += [
        Plan(name=f"b{n}", project="theirs", trial_seconds=60, submitted_at=n, saves_every=saves) for n in range(6)
    ]
    cluster = SharedCluster(EIGHT, plans, EQUAL, seed)
    cluster.run(2 * HOUR)
    seconds, trials = told("equal projects", cluster, 600, 2 * HOUR - 300)
    assert seconds["ours"] == pytest.approx(seconds["theirs"], rel=0.1)
    assert trials["ours"] == pytest.approx(trials["theirs"], rel=0.1)


def test_with_trials_of_other_lengths_it_is_the_time_that_is_equal() -> None:
    plans = [Plan(name=f"a{n}", project="ours", trial_seconds=30 * 2**n) for n in range(4)]
    plans += [Plan(name=f"b{n}", project="theirs", trial_seconds=45, trials=30, submitted_at=60 * n) for n in range(60)]
    cluster = SharedCluster(EIGHT, plans, EQUAL)
    cluster.run(2 * HOUR)
    seconds, trials = told("long trials against short ones", cluster, 900, 2 * HOUR - 600)
    assert seconds["ours"] == pytest.approx(seconds["theirs"], rel=0.1)
    assert trials["theirs"] > 1.3 * trials["ours"]


@pytest.mark.parametrize("saves", [None, 20.0])
@pytest.mark.parametrize("weight", [2.0, 3.0, 0.5])
def test_shares_of_trials_and_of_their_time_follow_the_weights(weight: float, saves: float | None) -> None:
    """Two studies against one."""
    plans = [Plan(name=f"a{n}", project="ours", trial_seconds=60, saves_every=saves) for n in range(2)]
    plans += [Plan(name="b", project="theirs", trial_seconds=60, saves_every=saves)]
    # On 18 CPUs, whole groups can be divided as 2 to 1; on 16, as 3 to 1.
    nodes = [{"CPU": 8.0}, {"CPU": 8.0 if weight == 3 else 10.0}]
    cluster = SharedCluster(nodes, plans, [Tenant(name="ours", weight=weight)])
    cluster.run(2 * HOUR)
    seconds, trials = told(f"weights of {weight:g} and 1", cluster, 600, 2 * HOUR - 300)
    assert seconds["ours"] == pytest.approx(weight * seconds["theirs"], rel=0.1)
    assert trials["ours"] == pytest.approx(weight * trials["theirs"], rel=0.1)


def test_a_priority_ranks_a_projects_own_studies_and_its_weight_says_how_much_they_have_together() -> None:
    plans = [
        Plan(name="a", project="ours", trial_seconds=60, saves_every=10),
        Plan(name="urgent", project="ours", trial_seconds=60, submitted_at=1000, priority=100),
        Plan(name="b", project="theirs", trial_seconds=60, priority=-100),
    ]
    cluster = SharedCluster([{"CPU": 8.0}, {"CPU": 10.0}], plans, [Tenant(name="theirs", weight=2.0)])
    cluster.run(2 * HOUR)
    seconds, _ = told("priorities of 100 and -100, weights of 1 and 2", cluster, 1300, 2 * HOUR - 300)
    assert seconds["theirs"] == pytest.approx(2 * seconds["ours"], rel=0.1)
    assert [each for each in cluster.stretches if each.study == "a" and each.began > 1100] == []


@pytest.mark.parametrize(("saves", "within"), [(None, 450.0), (20.0, 30.0)])
def test_a_project_that_comes_late_has_its_half_once_trials_end_or_save(saves: float | None, within: float) -> None:
    plans = [
        Plan(name="a", project="ours", trial_seconds=300, saves_every=saves),
        Plan(name="b", project="theirs", trial_seconds=60, submitted_at=1000),
    ]
    cluster = SharedCluster(EIGHT, plans, EQUAL)
    cluster.run(2 * HOUR)
    assert cluster.seconds("ours", 100, 1000) == pytest.approx(16 * 900, rel=0.01)
    assert cluster.waits["b"] == ["room"]
    assert 1000 < cluster.started_at["b"] < 1000 + within
    settled = 1000 + within + DRIVER_SECONDS
    seconds, _ = told(f"a latecomer, checkpoints every {saves} s", cluster, settled, 2 * HOUR - 900)
    assert seconds["ours"] == pytest.approx(seconds["theirs"], rel=0.1)


def test_an_urgent_study_takes_its_projects_part_and_nobody_elses() -> None:
    plans = [
        Plan(name="a", project="ours", trial_seconds=60, saves_every=10),
        Plan(name="urgent", project="ours", trial_seconds=60, submitted_at=1000, trials=160, priority=5),
        Plan(name="b", project="theirs", trial_seconds=60),
    ]
    cluster = SharedCluster(EIGHT, plans, EQUAL)
    cluster.run(2 * HOUR)
    urgent = [each for each in cluster.stretches if each.study == "urgent"]
    assert max(each.ended for each in urgent) < 1000 + 160 / 8 * 60 * 1.2
    during = [each for each in cluster.stretches if each.study == "a" and 1030 < each.began < 1800]
    assert during == []
    assert cluster.waits["a"] == ["priority"]
    seconds, _ = told("an urgent study on the way", cluster, 600, 2 * HOUR - 300)
    assert seconds["ours"] == pytest.approx(seconds["theirs"], rel=0.1)


def test_every_study_has_its_turn_also_one_that_needs_half_of_the_cluster_at_once() -> None:
    """A small study every 20 s, each with trials for two minutes: the cluster is never free by itself."""
    plans = [
        Plan(name=f"s{n:03}", project="ours", trial_seconds=40, trials=24, submitted_at=20.0 * n) for n in range(150)
    ]
    gang = Plan(
        name="gang", project="theirs", trial_seconds=60, trials=20, submitted_at=500.0, resources=Resources(workers=8)
    )
    cluster = SharedCluster(EIGHT, [*plans, gang], EQUAL)
    cluster.run(20 * HOUR)
    assert 500 < cluster.started_at["gang"] < 800
    ended = {each.study for each in cluster.stretches}
    assert ended == {plan.name for plan in [*plans, gang]}
    assert cluster.waits["s149"][0] == "max_studies"
