"""Two projects share a real cluster: half of the trials each, and the latecomer needn't wait for the first's end."""

from __future__ import annotations

import time
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
NUM_TRIALS = 100


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
def client(full: Shell) -> Iterator[Callable[[str], Client]]:
    """A client of each project."""
    token = (full.home / "token").read_text().strip()
    with ExitStack() as stack:

        def of(project: str) -> Client:
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
        "budget": {"trials": NUM_TRIALS, "steps_per_trial": 1},
        "fixed": {"seconds": TRIAL_SECONDS},
        "concurrency": CPUS,
        **changes,
    }


def ended(client: Client, name: str) -> list[float]:
    """When its trials ended."""
    found = client.trials(name, state=TrialState.COMPLETED, page_size=1000).items
    return [trial.ended_at for trial in found if trial.ended_at is not None]


def test_two_projects_of_equal_quotas_get_equal_shares_of_a_full_cluster(
    full: Shell, client: Callable[[str], Client]
) -> None:
    for project in ("ours", "theirs"):
        full("hpo", "project", "create", project, f"max_trials={CPUS}")
    ours, theirs = client("ours"), client("theirs")
    package = ours.upload_package(TRAINABLES)
    ours.create_study(spec("first"), package=package)
    until(lambda: len(ended(ours, "first")) >= CPUS, 90, "the first study has the whole cluster")
    assert ours.study("first").share == CPUS

    theirs.create_study(spec("second"), package=theirs.upload_package(TRAINABLES))
    until(lambda: len(ended(theirs, "second")) >= 2, 60, "the second study trains while the first does")
    shares = ours.study("first").share, theirs.study("second").share
    assert shares == (CPUS // 2, CPUS // 2)
    began = time.time()
    until(lambda: ours.study("first").state is not StudyState.RUNNING, 120, "the first study's end")
    over = min(max(ended(ours, "first")), time.time()) - 2 * TRIAL_SECONDS

    both = ended(ours, "first"), ended(theirs, "second")
    counts = [sum(began <= at < over for at in each) for each in both]
    print(f"trials while both ran: {counts} in {over - began:.1f} s")
    assert sum(counts) >= 30
    assert counts[0] == pytest.approx(counts[1], rel=0.1)
    until(lambda: theirs.study("second").share == CPUS, 20, "what the first has left goes to the second")
