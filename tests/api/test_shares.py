"""What the controller makes of quotas and of the cluster: over the memory store and a fake of `cluster.jobs.Jobs`."""

from __future__ import annotations

from typing import Any

import pytest

from api import shares
from api.controller import Controller
from api.settings import Settings
from hpo import specfile
from hpo.errors import ClusterError
from hpo.protocols import Store
from hpo.steering import Verb
from hpo.store import open_store
from hpo.trial import Study, StudyState, Trial, TrialState
from tests.api.test_controller import FakeJobs


class Scene:
    """A controller whose every round looks at all there is."""

    def __init__(self, home: Settings, spec: dict[str, Any]) -> None:
        self.store: Store = open_store("memory://")
        self.jobs = FakeJobs()
        self.jobs.have = [{"CPU": 4.0}]
        self.controller = Controller(home, self.store, connect=lambda: self.jobs, entrypoint=str)
        self._spec = spec

    def submit(self, name: str, project: str = "default", **changes: Any) -> None:
        self.store.create_study(specfile.parse({**self._spec, "name": name, **changes}), project=project)

    def round(self) -> dict[str, Study]:
        self.controller.round()
        return {study.name: study for study in self.store.studies().items}

    def run(self, name: str) -> None:
        """Its driver is there."""
        self.store.claim(name, holder=f"hpo-{name}-1", lease_seconds=60)
        self.store.set_study_state(name, StudyState.RUNNING)
        self.jobs.jobs[f"hpo-{name}-1"] = "RUNNING"

    @property
    def submitted(self) -> list[str]:
        return [job for job, *_ in self.jobs.submitted]


@pytest.fixture
def scene(tmp_path: Any, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(shares, "PERIOD_SECONDS", 0.0)
    return Scene(Settings(home=tmp_path), {**spec, "budget": {"trials": 20}})


def test_a_projects_weight_counts_and_counts_anew_when_it_changes(scene: Scene) -> None:
    scene.store.create_project("ours", weight=3)
    scene.submit("a", "ours")
    scene.submit("b")
    found = scene.round()
    assert (found["a"].share, found["b"].share) == (3, 1)
    scene.store.change_project("ours", weight=1)
    found = scene.round()
    assert (found["a"].share, found["b"].share) == (2, 2)


def reason(study: Study) -> str | None:
    return study.waiting.reason if study.waiting else None


def test_quota_of_studies_keeps_the_next_one_queued_until_a_seat_is_free(scene: Scene) -> None:
    scene.store.create_project("ours", scene.store.project("default").quotas)
    scene.store.change_project("ours", {"max_studies": 1})
    scene.submit("a", "ours")
    scene.submit("b", "ours")
    found = scene.round()
    assert scene.submitted == ["hpo-a-1"]
    assert (found["b"].state, reason(found["b"])) == (StudyState.QUEUED, "max_studies")
    assert found["b"].waiting is not None
    assert found["b"].waiting.message == "quota max_studies of project ours is 1: 1 are at work"
    for _ in range(3):
        scene.round()
    assert len(scene.store.events("b", kind="study.waiting")) == 1
    scene.store.change_project("ours", {"max_studies": None})
    found = scene.round()
    assert scene.submitted == ["hpo-a-1", "hpo-b-1"]
    assert (found["a"].share, found["b"].share, found["b"].waiting) == (2, 2, None)


def test_shares_follow_projects_priorities_and_nodes(scene: Scene) -> None:
    scene.store.create_project("ours")
    scene.submit("a")
    assert scene.round()["a"].share == 4
    scene.run("a")
    scene.jobs.taken = {"CPU": 4.0}
    scene.submit("b", "ours")
    found = scene.round()
    assert (found["a"].share, found["b"].share, found["b"].state) == (2, 2, StudyState.QUEUED)
    assert reason(found["b"]) == "room"
    scene.jobs.taken = {"CPU": 3.0}  # a trial of the first has ended
    assert scene.round()["b"].state is StudyState.STARTING
    scene.jobs.have = [{"CPU": 4.0}, {"CPU": 4.0}]
    found = scene.round()
    assert (found["a"].share, found["b"].share) == (4, 4)
    scene.submit("urgent", priority=3, concurrency=3)
    found = scene.round()
    assert (found["a"].share, found["urgent"].share, found["b"].share) == (1, 3, 4)
    scene.store.steer("urgent", Verb.CANCEL, who="ann")
    assert scene.round()["a"].share == 4


def test_the_last_trials_of_a_study_leave_the_rest_to_others(scene: Scene) -> None:
    scene.submit("a")
    scene.round()
    scene.run("a")
    lease = scene.store.claim("a", holder="hpo-a-1", lease_seconds=60)
    rows = [Trial(study="a", number=n, params={}, state=TrialState.COMPLETED, created_at=0.0) for n in range(19)]
    scene.store.write(lease, rows)
    scene.submit("b")
    found = scene.round()
    assert (found["a"].share, found["b"].share) == (1, 3)


def test_one_that_never_fits_waits_and_says_so_until_a_node_joins(scene: Scene) -> None:
    scene.submit("big", resources={"workers": 2, "cpus_per_worker": 3})
    found = scene.round()["big"]
    assert (found.state, found.attempt, reason(found)) == (StudyState.QUEUED, 0, "too_large")
    scene.jobs.have = [{"CPU": 4.0}, {"CPU": 4.0}]
    assert scene.round()["big"].state is StudyState.STARTING


def test_a_study_under_one_of_rays_schedulers_keeps_its_share_until_its_end(scene: Scene) -> None:
    scene.submit("ray", scheduler={"algorithm": "ray:MedianStoppingRule"}, concurrency=3)
    scene.round()
    scene.run("ray")
    scene.store.create_project("ours")
    scene.submit("b", "ours")
    found = scene.round()
    assert (found["ray"].share, found["b"].share) == (3, 1)


def test_a_cluster_that_stops_saying_what_it_has_changes_no_share(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent() -> list[dict[str, float]]:
        raise ClusterError("no answer")

    monkeypatch.setattr(scene.jobs, "nodes", silent)
    scene.submit("a")
    assert (scene.round()["a"].share, scene.submitted) == (None, [])
    monkeypatch.undo()
    monkeypatch.setattr(shares, "PERIOD_SECONDS", 0.0)
    assert scene.round()["a"].share == 4
    monkeypatch.setattr(scene.jobs, "nodes", silent)
    assert scene.round()["a"].share == 4


def test_workers_of_the_users_own_take_nothing_of_the_cluster(scene: Scene) -> None:
    scene.submit("asked", engine="ask", trainable=None)
    scene.submit("a")
    found = scene.round()
    assert (found["asked"].share, found["asked"].waiting, found["a"].share) == (None, None, 4)
