"""Who may train how much: by hand, and in general."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.fairness import Allotment, Claim, Tenant, divide, most_groups
from hpo.room import Room, of_group
from hpo.spec import Resources
from hpo.tenancy import Quotas
from hpo.trial import WaitReason

ONE = [{"CPU": 4.0}]


def claim(study: str, project: str = "ours", **changes: Any) -> Claim:
    return Claim(**{
        "study": study, "project": project, "resources": Resources(), "wanted": 100, "submitted_at": 0.0, **changes
    })  # fmt: skip


def shares(found: dict[str, Allotment]) -> dict[str, int]:
    return {study: each.share for study, each in found.items()}


def reason(found: Allotment) -> WaitReason | None:
    return found.waiting.reason if found.waiting else None


# -- by hand --------------------------------------------------------------------------------------------------
def test_projects_share_first_and_then_their_studies() -> None:
    found = divide(ONE, [], [claim("a"), claim("b"), claim("c", "theirs")])
    assert shares(found) == {"a": 1, "b": 1, "c": 2}
    assert all(each.starts for each in found.values())


def test_the_papers_example_of_two_resources() -> None:
    """Ghodsi et al. 2011, section 4.1: 9 CPUs and 18 GB; tasks of <1, 4> and <3, 1>. Shares of 3 and 2 tasks."""
    found = divide(
        [{"CPU": 9.0, "GPU": 18.0}], [],
        [
            claim("a", "first", resources=Resources(cpus_per_worker=1, gpus_per_worker=4)),
            claim("b", "second", resources=Resources(cpus_per_worker=3, gpus_per_worker=1)),
        ],
    )  # fmt: skip
    assert shares(found) == {"a": 3, "b": 2}


def test_what_one_cannot_use_goes_to_the_others() -> None:
    found = divide(ONE, [], [claim("a", wanted=1), claim("b", "theirs")])
    assert shares(found) == {"a": 1, "b": 3}


def test_a_project_of_weight_three_gets_three_times_as_much() -> None:
    tenants = [Tenant(name="ours", weight=3), Tenant(name="theirs")]
    assert shares(divide([{"CPU": 8.0}], tenants, [claim("a"), claim("b", "theirs")])) == {"a": 6, "b": 2}


def test_a_higher_priority_comes_first_in_its_project_and_in_no_other() -> None:
    found = divide(
        ONE, [], [claim("a", is_started=True), claim("urgent", priority=5, submitted_at=9), claim("b", "theirs")]
    )
    assert shares(found) == {"a": 0, "urgent": 2, "b": 2}
    assert reason(found["a"]) is WaitReason.PRIORITY
    assert found["a"].waiting is not None
    assert found["a"].waiting.message == "studies of a higher priority in project ours come first: urgent"


def test_what_a_higher_priority_cannot_use_is_for_the_lower_ones() -> None:
    assert shares(divide(ONE, [], [claim("a"), claim("urgent", priority=5, wanted=3)])) == {"a": 1, "urgent": 3}


@pytest.mark.parametrize(
    ("quotas", "claims", "expected", "why"),
    [
        (Quotas(max_studies=1), [claim("a", wanted=1), claim("b")], {"a": 1, "b": 0}, WaitReason.MAX_STUDIES),
        (Quotas(max_trials=3), [claim("a", wanted=3), claim("b", submitted_at=1)], {"a": 2, "b": 1}, None),
        (Quotas(max_trials=1), [claim("a"), claim("b", submitted_at=1)], {"a": 1, "b": 0}, WaitReason.MAX_TRIALS),
        (Quotas(max_trials=0), [claim("b")], {"b": 0}, WaitReason.MAX_TRIALS),
        (
            Quotas(max_gpus=1.5),
            [claim(name, resources=Resources(gpus_per_worker=0.5)) for name in "ab"],
            {"a": 2, "b": 1},
            None,
        ),
        (Quotas(max_gpus=1), [claim("b", resources=Resources(gpus_per_worker=2))], {"b": 0}, WaitReason.MAX_GPUS),
        (Quotas(max_gpus=0), [claim("b")], {"b": 4}, None),
    ],
)
def test_a_project_keeps_to_its_quotas(
    quotas: Quotas, claims: list[Claim], expected: dict[str, int], why: WaitReason | None
) -> None:
    found = divide([{"CPU": 4.0, "GPU": 2.0}], [Tenant(name="ours", quotas=quotas)], claims)
    assert shares(found) == expected
    assert reason(found["b"]) is why


def test_a_study_at_work_keeps_its_seat_and_a_queued_one_says_what_it_waits_for() -> None:
    found = divide(
        ONE, [Tenant(name="ours", quotas=Quotas(max_studies=2))],
        [claim("a", is_started=True), claim("b", is_started=True), claim("urgent", priority=9)],
    )  # fmt: skip
    assert shares(found) == {"a": 2, "b": 2, "urgent": 0}
    assert found["urgent"].waiting is not None
    assert found["urgent"].waiting.message == "quota max_studies of project ours is 2: 2 are at work"


def test_a_study_starts_only_when_its_smallest_set_is_free() -> None:
    big = claim("big", "theirs", resources=Resources(workers=2), submitted_at=1)
    claims = [claim("a", is_started=True), big]
    found = divide(ONE, [], claims, held={"CPU": 4.0})
    assert shares(found) == {"a": 2, "big": 1}
    assert not found["big"].starts
    assert found["big"].waiting is not None
    assert found["big"].waiting.reason is WaitReason.ROOM
    assert found["big"].waiting.message.startswith("needs 2 workers of 1 CPUs at once")
    assert not divide(ONE, [], claims, held={"CPU": 3.0})["big"].starts
    assert divide(ONE, [], claims, held={"CPU": 2.0})["big"].starts


def test_what_a_driver_will_hold_counts_before_it_does() -> None:
    """Two that start one after the other, before Ray says that the first holds anything."""
    found = divide(ONE, [], [claim("a", wanted=4, is_started=True, priority=1), claim("b", is_started=True)], held={})
    assert shares(found) == {"a": 4, "b": 0}
    late = divide(ONE, [], [claim("a", is_started=True), claim("b", submitted_at=1)], held={"CPU": 0.0})
    assert shares(late) == {"a": 2, "b": 2}
    assert late["b"].starts


def test_one_that_never_fits_says_so_and_keeps_nobody_waiting() -> None:
    never = claim("never", resources=Resources(workers=2, cpus_per_worker=3), priority=9)
    found = divide([{"CPU": 4.0}, {"CPU": 2.0}], [], [never, claim("a")])
    assert shares(found) == {"never": 0, "a": 6}
    assert found["never"].waiting is not None
    assert found["never"].waiting.reason is WaitReason.TOO_LARGE
    assert found["never"].waiting.message == (
        "a trial needs 2 workers of 3 CPUs and 0 GPUs each, and the nodes have room for 1: ask for less under "
        "[resources], or add nodes to the cluster"
    )


def test_a_gang_is_not_overtaken_by_small_studies_that_came_later() -> None:
    gang = claim("gang", "theirs", resources=Resources(workers=4), submitted_at=1)
    old, new = claim("old", is_started=True), claim("new", submitted_at=2, is_started=True)
    assert shares(divide(ONE, [], [old, gang])) == {"old": 4, "gang": 0}
    assert shares(divide(ONE, [], [gang, new])) == {"gang": 1, "new": 0}


def test_what_cannot_give_back_keeps_what_it_has() -> None:
    found = divide(ONE, [], [claim("ray", is_started=True, fixed=3), claim("a", "theirs")])
    assert shares(found) == {"ray": 3, "a": 1}


def test_workers_without_gpus_leave_the_nodes_with_gpus_free() -> None:
    nodes = [{"CPU": 2.0, "GPU": 2.0}, {"CPU": 2.0}]
    gpu = claim("gpu", resources=Resources(gpus_per_worker=1), submitted_at=1)
    assert shares(divide(nodes, [], [claim("cpu", wanted=2), gpu])) == {"cpu": 2, "gpu": 2}


def test_the_last_trials_of_a_study_take_no_more_groups_than_they_are() -> None:
    assert most_groups(None, 10, 0) == 10
    assert most_groups(4, 10, 3) == 4
    assert most_groups(4, 10, 8) == 2
    assert most_groups(4, 10, 10) == 1


# -- in general -----------------------------------------------------------------------------------------------
RESOURCES = st.builds(
    Resources,
    workers=st.integers(1, 3),
    cpus_per_worker=st.sampled_from([0.5, 1.0, 2.0]),
    gpus_per_worker=st.sampled_from([0.0, 0.0, 0.5, 1.0]),
)
NODES = st.lists(
    st.fixed_dictionaries({"CPU": st.integers(1, 8).map(float), "GPU": st.sampled_from([0.0, 1.0, 2.0])}),
    min_size=1,
    max_size=4,
)
QUOTAS = st.builds(
    Quotas,
    max_trials=st.none() | st.integers(0, 6),
    max_gpus=st.none() | st.integers(0, 4).map(float),
    max_studies=st.none() | st.integers(0, 4),
)
PROJECTS = ("p", "q", "r")


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[str, float]], list[Tenant], list[Claim]]:
    tenants = [
        Tenant(name=name, quotas=draw(QUOTAS), weight=draw(st.sampled_from([1.0, 1.0, 2.0]))) for name in PROJECTS
    ]
    claims = [
        claim(
            f"s{number}", draw(st.sampled_from(PROJECTS)), resources=draw(RESOURCES), wanted=draw(st.integers(1, 12)),
            priority=draw(st.integers(0, 2)), submitted_at=draw(st.integers(0, 3)), is_started=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 7)))
    ]  # fmt: skip
    return draw(NODES), tenants, claims


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_never_over_capacity_or_quota_never_idle_and_the_same_in_any_order(case: Any, random: Any) -> None:
    nodes, tenants, claims = case
    found = divide(nodes, tenants, claims)
    shuffled = random.sample(claims, len(claims))
    assert divide(nodes, tenants[::-1], shuffled) == found

    used = [sum(of_group(each.resources)[kind] * found[each.study].share for each in claims) for kind in (0, 1)]
    total = Room(nodes).total
    assert used[0] <= total[0]
    assert used[1] <= total[1]
    free = [most - each for most, each in zip(total, used, strict=True)]

    trials: Counter[str] = Counter()
    gpus: Counter[str] = Counter()
    seats: Counter[str] = Counter()
    for each in claims:
        share = found[each.study].share
        assert share <= each.wanted
        trials[each.project] += share
        gpus[each.project] += of_group(each.resources)[1] * share
        seats[each.project] += each.is_started or share > 0
    for tenant in tenants:
        quotas, started = tenant.quotas, sum(each.is_started for each in claims if each.project == tenant.name)
        assert quotas.max_trials is None or trials[tenant.name] <= quotas.max_trials
        assert quotas.max_gpus is None or gpus[tenant.name] <= quotas.max_gpus * 10_000
        assert quotas.max_studies is None or seats[tenant.name] <= max(quotas.max_studies, started)

    limits = {tenant.name: tenant.quotas for tenant in tenants}
    for each in claims:
        share, need, quotas = found[each.study].share, of_group(each.resources), limits[each.project]
        assert (share == 0) == (found[each.study].waiting is not None)
        # One worker that needs no GPU fits wherever a CPU is free on any node: no packing can hide an idle cluster.
        is_simple = each.resources.workers == 1 and not need[1] and each.resources.cpus_per_worker == 0.5
        if is_simple and free[0] >= need[0] and share < each.wanted:
            at_limit = quotas.max_trials is not None and trials[each.project] >= quotas.max_trials
            assert at_limit or reason(found[each.study]) is WaitReason.MAX_STUDIES


@given(cases())
@settings(max_examples=200, deadline=None)
def test_no_envy_among_equals(case: Any) -> None:
    """Two studies of one project that differ in nothing but who came first: at most one group apart. A queued one that
    has no seat (`max_studies`) is no equal of one at work."""
    nodes, tenants, claims = case
    found = divide(nodes, tenants, claims)
    for a, b in combinations(claims, 2):
        same = (a.project, a.resources, a.priority) == (b.project, b.resources, b.priority)
        if same and WaitReason.MAX_STUDIES not in (reason(found[a.study]), reason(found[b.study])):
            for less, more in ((a, b), (b, a)):
                if found[less.study].share < less.wanted:
                    assert found[more.study].share <= found[less.study].share + 1


@given(st.integers(2, 40), st.lists(st.integers(1, 5), min_size=2, max_size=2))
@settings(max_examples=100, deadline=None)
def test_equal_projects_differ_by_at_most_one_trial_however_many_studies_they_have(
    cpus: int, studies: list[int]
) -> None:
    claims = [
        claim(f"{project}{n}", project) for project, count in zip("pq", studies, strict=True) for n in range(count)
    ]
    found = divide([{"CPU": float(cpus)}], [], claims)
    sums = [sum(found[each.study].share for each in claims if each.project == project) for project in "pq"]
    assert sum(sums) == cpus
    assert abs(sums[0] - sums[1]) <= 1
