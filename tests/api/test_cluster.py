"""Who holds how much of the cluster: over the memory store and a fake of `cluster.jobs.Jobs`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import Result

from api import occupancy, tokens
from api.app import create_app
from api.controller import Controller
from api.settings import Settings
from hpo import specfile
from hpo.store.memory import MemoryStore
from hpo.tenancy import Role
from hpo.trial import StudyState, Waiting, WaitReason
from tests.api.test_controller import FakeJobs


class Scene:
    def __init__(self, home: Path, spec: dict[str, Any]) -> None:
        self.store, self.jobs, self._spec = MemoryStore(), FakeJobs(), spec
        self.jobs.have = [{"CPU": 8.0}, {"CPU": 16.0, "GPU": 4.0, "memory": 7e9}, {"CPU": 8.0}]
        settings = Settings(home=home)
        self.controller = Controller(settings, self.store, connect=lambda: self.jobs, entrypoint=str)
        app = create_app(settings, self.store, controller=self.controller)
        self.http = TestClient(app)  # no thread is started: nothing happens by itself
        self.root = app.state.token

    def study(self, name: str, project: str, state: StudyState, share: int = 0, **held: float) -> None:
        self.store.create_study(specfile.parse({**self._spec, "name": name}), project=project)
        if state is not StudyState.QUEUED:
            job = self.store.new_attempt(name, job_prefix=f"hpo-{name}").job
            self.store.set_study_state(name, state)
            self.jobs.groups[job or ""] = held
        waiting = None if share else Waiting(WaitReason.SHARE, f"{name} waits")
        self.store.allot(name, share=share, waiting=waiting)

    def token(self, project: str) -> str:
        issued = tokens.issue()
        self.store.create_token(issued.id, issued.digest, project=project, name="ann", role=Role.SUBMITTER)
        return issued.text

    def ask(self, token: str | None = None, **query: Any) -> Any:
        headers = {"Authorization": f"Bearer {token or self.root}"}
        response = self.http.get("/v1/cluster", params=query, headers=headers)
        assert response.status_code == 200
        return response.json()


@pytest.fixture
def scene(tmp_path: Path, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(occupancy, "FRESH_SECONDS", 0.0)
    made = Scene(tmp_path, spec)
    made.store.create_project("ours", weight=2)
    made.store.create_project("theirs")
    made.study("a", "ours", StudyState.RUNNING, 5, CPU=10.0, GPU=2.5)
    made.study("b", "ours", StudyState.QUEUED)
    made.study("c", "theirs", StudyState.STARTING, 1, CPU=4.0)
    made.study("d", "theirs", StudyState.RUNNING)
    made.study("e", "theirs", StudyState.PAUSED, 1, CPU=0.0)
    made.jobs.groups[""] = {"CPU": 1.0}
    made.jobs.taken = {"CPU": 16.0, "GPU": 2.5}
    return made


def use(project: str | None, weight: float | None, cpus: float, gpus: float, studies: int, waiting: int) -> Any:
    return {
        "project": project, "weight": weight, "cpus": cpus, "gpus": gpus, "studies": studies, "waiting": waiting
    }  # fmt: skip


def test_the_services_own_token_sees_who_holds_what(scene: Scene) -> None:
    found = scene.ask()
    assert found["ray"] == {"ok": True, "detail": "Ray 2.60.0 at http://fake"}
    assert found["nodes"] == [{"cpus": 16.0, "gpus": 4.0, "count": 1}, {"cpus": 8.0, "gpus": 0.0, "count": 2}]
    assert (found["total"], found["held"]) == ({"cpus": 32.0, "gpus": 4.0}, {"cpus": 16.0, "gpus": 2.5})
    assert found["projects"] == [
        use("default", 1, 0, 0, 0, 0),
        use("ours", 2, 10, 2.5, 1, 1),
        use("theirs", 1, 4, 0, 2, 1),
        use(None, None, 1, 0, 0, 0),
    ]
    assert found["waiting"] == dict.fromkeys(WaitReason, 0) | {"share": 2}
    shown = [(each["study"], each["state"], each["share"], each["cpus"], each["gpus"]) for each in found["items"]]
    assert shown == [("a", "running", 5, 10, 2.5), ("b", "queued", 0, 0, 0), ("c", "starting", 1, 4, 0),
                     ("d", "running", 0, 0, 0)]  # fmt: skip
    assert [each["waiting"] and each["waiting"]["message"] for each in found["items"]] == [
        None, "b waits", None, "d waits"
    ]  # fmt: skip


def test_a_projects_token_sees_its_studies_and_of_the_others_only_how_much(scene: Scene) -> None:
    found = scene.ask(scene.token("theirs"))
    assert [each["study"] for each in found["items"]] == ["c", "d"]
    assert found["projects"] == [use("theirs", 1, 4, 0, 2, 1), use(None, None, 11, 2.5, 1, 1)]
    assert found["total"] == scene.ask()["total"]
    assert "ours" not in json.dumps(found)


def test_studies_come_in_pages_that_hold_for_one_project(scene: Scene) -> None:
    first = scene.ask(page_size=3)
    assert [each["study"] for each in first["items"]] == ["a", "b", "c"]
    rest = scene.ask(page_size=3, page_token=first["next_page_token"])
    assert ([each["study"] for each in rest["items"]], rest["next_page_token"]) == (["d"], None)
    headers = {"Authorization": f"Bearer {scene.token('ours')}"}
    query = {"page_token": first["next_page_token"]}
    assert scene.http.get("/v1/cluster", params=query, headers=headers).status_code == 400


def test_a_cluster_that_is_away_is_said_to_be_and_what_waits_is_still_told(scene: Scene) -> None:
    scene.jobs.reachable = False
    found = scene.ask()
    assert found["ray"] == {"ok": False, "detail": "Ray is away"}
    assert (found["nodes"], found["total"], found["held"]) == ([], {"cpus": 0, "gpus": 0}, None)
    assert [each["study"] for each in found["items"]] == ["a", "b", "c", "d"]


def test_a_service_without_a_controller_knows_no_cluster(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path), MemoryStore())
    found = TestClient(app).get("/v1/cluster", headers={"Authorization": f"Bearer {app.state.token}"}).json()
    assert (found["ray"]["ok"], found["items"]) == (False, [])


def test_many_who_ask_at_once_ask_the_cluster_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occupancy, "FRESH_SECONDS", 60.0)
    scene.ask()
    scene.jobs.have = [{"CPU": 1.0}]
    assert scene.ask()["total"]["cpus"] == 32
    monkeypatch.setattr(occupancy, "FRESH_SECONDS", 0.0)
    assert scene.ask()["total"]["cpus"] == 1


def test_while_a_cluster_doesnt_answer_the_others_get_what_was_seen_last(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.ask()
    asked, free = threading.Event(), threading.Event()

    def hang() -> str:
        asked.set()
        assert free.wait(30)
        return "2.60.0"

    monkeypatch.setattr(scene.jobs, "ping", hang)
    waiting = threading.Thread(target=scene.ask)
    waiting.start()
    try:
        assert asked.wait(30)
        assert scene.ask()["total"]["cpus"] == 32
    finally:
        free.set()
        waiting.join(30)


def test_the_command_shows_a_table_or_one_document(
    run: Callable[..., Result], scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.client.Client.cluster", lambda self, **page: occupied(scene, page))
    shown = run("cluster").output
    assert "1 × 16 CPUs and 4 GPUs, 2 × 8 CPUs" in shown
    assert "16 CPUs and 2.5 GPUs of 32 CPUs and 4 GPUs" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["ours", "2", "10", "2.5", "1", "1"] in rows
    assert ["b", "ours", "queued", "0", "0", "0", "0", "b", "waits"] in rows
    document = json.loads(run("cluster", "--json").output)
    assert [each["study"] for each in document["items"]] == ["a", "b", "c", "d"]
    scene.jobs.reachable = False
    assert "ray: Ray is away" in run("cluster").output


def occupied(scene: Scene, page: dict[str, Any]) -> Any:
    from api.schemas.cluster import ClusterAnswer

    return ClusterAnswer.model_validate(scene.ask(**{**page, "page_size": 3}))
