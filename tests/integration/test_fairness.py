"""Two projects share a real cluster: half of the trials each, and the latecomer needn't wait for the first's end."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from integration.conftest import TRAINABLES, Shell

from api.client import Client
from hpo.trial import StudyState, TrialState

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CPUS = 4
TRIAL_SECONDS = 0.5
NUM_COUNTED = 40


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A service over a cluster of four logical CPUs, whatever the machine has."""
    shell = Shell(tmp_path_factory.mktemp("fair"))
    shell("hpo", "up", "--num-cpus", str(CPUS))
    try:
        yield shell
    finally:
        shell("hpo", "down")


@pytest.fixture
def client(full: Shell) -> Iterator[Callable[[str | None], Client]]:
    """A client of each project, or of all."""
    token = (full.home / "token").read_text().strip()
    with ExitStack() as stack:

        def of(project: str | None) -> Client:
            url = f"http://127.0.0.1:{full.environment['HPO_PORT']}"
            return stack.enter_context(Client(url, token, project=project))

        yield of


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)
    return found


def spec(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "trainable": "probe:curve",
        "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
        "objective": {"metric": "loss", "direction": "minimize"},
        "budget": {"trials": 10_000, "steps_per_trial": 1},
        "fixed": {"seconds": TRIAL_SECONDS},
        "concurrency": CPUS,
        **changes,
    }


def holding(client: Client, cpus: dict[str, int]) -> bool:
    """Whether Ray says that these studies hold so many CPUs, and no others."""
    found = client.cluster()
    assert found.ray.ok, found.ray.detail
    assert (found.total.cpus, sum(each.count for each in found.nodes)) == (CPUS, 1)
    return {each.study: each.cpus for each in found.items} == cpus


def ended(client: Client, name: str) -> list[float]:
    """When its trials ended."""
    found = client.trials(name, state=TrialState.COMPLETED, page_size=1000).items
    return [trial.ended_at for trial in found if trial.ended_at is not None]


def test_two_projects_of_equal_quotas_get_equal_shares_of_a_full_cluster(
    full: Shell, client: Callable[[str | None], Client]
) -> None:
    for project in ("ours", "theirs"):
        full("hpo", "project", "create", project, f"max_trials={CPUS}")
    ours, theirs = client("ours"), client("theirs")
    package = ours.upload_package(TRAINABLES)
    ours.create_study(spec("first"), package=package)
    until(lambda: len(ended(ours, "first")) >= CPUS, 90, "the first study has the whole cluster")
    assert ours.study("first").share == CPUS

    theirs.create_study(spec("second"), package=theirs.upload_package(TRAINABLES))
    until(lambda: len(ended(theirs, "second")) >= 2, 120, "the second study trains while the first does")
    assert (ours.study("first").share, theirs.study("second").share) == (CPUS // 2, CPUS // 2)
    half = {"first": CPUS // 2, "second": CPUS // 2}
    until(lambda: holding(client(None), half), 60, "each holds the half of the cluster")
    [theirs_alone] = theirs.cluster().items
    assert theirs_alone.study == "second"

    began = time.time()
    until(lambda: sum(at > began for at in ended(ours, "first")) >= NUM_COUNTED, 120, "they train side by side")
    over = time.time()

    both = ended(ours, "first"), ended(theirs, "second")
    counts = [sum(began <= at < over for at in each) for each in both]
    print(f"trials while both ran: {counts} in {over - began:.1f} s")
    assert counts[0] == pytest.approx(counts[1], rel=0.1)
    ours.stop("first")
    until(lambda: theirs.study("second").share == CPUS, 30, "what the first has left goes to the second")
    theirs.stop("second")
    until(lambda: theirs.study("second").state.is_final, 60, "the second study's end")


@pytest.mark.long
def test_an_urgent_study_takes_the_place_of_another_which_goes_on_where_it_was(
    full: Shell, client: Callable[[str | None], Client]
) -> None:
    """The one that makes room keeps its driver, and has no worker for a while; its trials have saved checkpoints."""
    ours = client("default")
    package = ours.upload_package(TRAINABLES)
    steps = {"trials": CPUS, "steps_per_trial": 40}
    ours.create_study(spec("patient", budget=steps), package=package)
    until(lambda: ours.study("patient").counts.steps >= 2 * CPUS, 90, "the patient study trains")
    ours.create_study(spec("huge", resources={"workers": 3, "cpus_per_worker": 2}), package=package)
    ours.create_study(spec("urgent", priority=5, budget={"trials": 8, "steps_per_trial": 1}), package=package)

    until(lambda: ours.study("patient").share == 0, 10, "all is for the urgent one")
    until(lambda: len(ended(ours, "urgent")) == 8, 60, "the urgent study's end")
    patient = ours.study("patient")
    assert patient.state is StudyState.RUNNING
    until(lambda: ours.study("patient").share == CPUS, 20, "all is the patient one's again")
    until(lambda: ours.study("patient").state.is_final, 120, "the patient study's end")

    assert ours.study("patient").state is StudyState.SUCCEEDED
    measured = Counter((each.trial, each.step) for each in ours.measurements("patient", page_size=1000).items)
    assert measured == {(trial, step): 1 for trial in range(CPUS) for step in range(1, 41)}
    events = ours.page_of_events("patient", after=0)
    gave_way = [event for event in events if event.kind == "trial.requeued"]
    assert len(gave_way) == CPUS
    assert all(event.data["from_step"] == event.data["step"] > 0 for event in gave_way), "nothing is trained twice"
    assert {event.data["reason"] for event in gave_way} == {"its workers are for other studies"}
    [waited] = [event.data for event in events if event.kind == "study.waiting"]
    assert waited["reason"] == "priority"

    huge = json.loads(full("hpo", "show", "huge", "--json").stdout)
    assert (huge["state"], huge["attempt"], huge["waiting"]["reason"]) == ("queued", 0, "too_large")
    assert "a trial needs 6 CPUs, the cluster has 4" in full("hpo", "ls").stdout
