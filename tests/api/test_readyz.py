"""Which part keeps the service from running studies. Ray is a fake that only answers or doesn't."""

from __future__ import annotations

import shutil
import threading
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.controller import Controller
from api.settings import Settings
from api.storage import look
from hpo.errors import ClusterError
from hpo.protocols import Store
from hpo.store import migrations, open_store

Usage = namedtuple("Usage", "total used free")


class Ray:
    """A cluster that is here or away, or hangs while `waits` is set."""

    address = "http://fake"

    def __init__(self) -> None:
        self.is_here = True
        self.free = threading.Event()
        self.free.set()

    def ping(self) -> str:
        self.free.wait(30)
        if not self.is_here:
            raise ClusterError("Ray is away; `hpo up` starts it")
        return "2.60.0"


class Bench:
    def __init__(self, home: Path, store: Store) -> None:
        self.ray = Ray()
        self.settings = Settings(home=home)
        self.rounds = threading.Semaphore(0)
        cluster: Any = self.ray

        def connect() -> Any:
            self.rounds.release()
            return cluster

        self.controller = Controller(self.settings, store, connect=connect, entrypoint=str, period_seconds=0.005)
        self.client = TestClient(create_app(self.settings, store, controller=self.controller))

    def wait_for_a_round(self) -> None:
        """Until a round that begins from now on has asked Ray."""
        while self.rounds.acquire(blocking=False):
            pass
        for _ in range(2):  # that one may have begun before; the next one begins when it has ended
            assert self.rounds.acquire(timeout=30)

    def parts(self) -> tuple[int, dict[str, Any]]:
        answer = self.client.get("/readyz")
        assert answer.json()["ready"] == (answer.status_code == 200)
        return answer.status_code, answer.json()["parts"]

    def down(self) -> list[str]:
        return [name for name, part in self.parts()[1].items() if not part["ok"]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/hpo.db"


@pytest.fixture
def bench(tmp_path: Path, url: str) -> Iterator[Bench]:
    with closing(open_store(url)) as store:
        made = Bench(tmp_path / "home", store)
        with made.client:
            yield made
            made.ray.free.set()


def test_a_service_with_all_its_parts_is_ready(bench: Bench) -> None:
    bench.wait_for_a_round()
    status, parts = bench.parts()
    assert (status, set(parts)) == (200, {"store", "storage", "controller", "ray"})
    assert parts["ray"]["detail"] == "Ray 2.60.0 at http://fake"


def test_a_database_that_is_away_is_the_part_that_is_down(bench: Bench, url: str) -> None:
    bench.wait_for_a_round()
    migrations.downgrade(url)
    status, parts = bench.parts()
    assert (status, bench.down()) == (503, ["store"])
    assert "the database doesn't answer" in parts["store"]["detail"]
    assert str(bench.settings.home) not in str(parts)  # open to all: no address


def test_a_ray_cluster_that_is_away_is_the_part_that_is_down(bench: Bench) -> None:
    bench.ray.is_here = False
    bench.wait_for_a_round()
    status, parts = bench.parts()
    assert (status, bench.down()) == (503, ["ray"])
    assert parts["ray"]["detail"] == "Ray is away; `hpo up` starts it"
    bench.ray.is_here = True
    bench.wait_for_a_round()
    assert bench.down() == []


def test_a_controller_that_hangs_is_the_part_that_is_down(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.wait_for_a_round()
    bench.ray.free.clear()
    monkeypatch.setattr("api.controller.HEARTBEAT_SECONDS", -1.0)
    status, parts = bench.parts()
    assert (status, bench.down()) == (503, ["controller"])
    assert "silent for 0 s; restart the service" in parts["controller"]["detail"]


def test_a_controller_that_has_ended_is_the_part_that_is_down(bench: Bench) -> None:
    bench.wait_for_a_round()
    bench.controller.close()
    assert bench.down() == ["controller"]


def test_a_disk_that_is_nearly_full_is_the_part_that_is_down(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.wait_for_a_round()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12 - 10**8, 10**8))
    status, parts = bench.parts()
    assert (status, bench.down()) == (503, ["storage"])
    assert parts["storage"]["detail"].startswith("0.10 GB free, under 0.5 GB")


class TestStorage:
    def test_a_folder_that_is_yet_to_be_made_is_fine_and_isnt_made(self, tmp_path: Path) -> None:
        assert look(tmp_path / "deep" / "storage").ok
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_its_place_is_not(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for folder in (tmp_path / "file", tmp_path / "file" / "deep"):
            assert "correct HPO_STORAGE" in look(folder).detail
            assert not look(folder).ok

    def test_a_folder_that_cant_be_written_is_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # The superuser may write everywhere, so the system's answer is given for it.
        monkeypatch.setattr("os.access", lambda path, mode: False)
        assert "can't be written" in look(tmp_path).detail

    def test_a_file_system_that_doesnt_answer_is_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stale(path: Path) -> Usage:
            raise OSError(116, "Stale file handle")

        monkeypatch.setattr(shutil, "disk_usage", stale)
        assert look(tmp_path).detail.startswith("the storage folder can't be read: Stale file handle")
