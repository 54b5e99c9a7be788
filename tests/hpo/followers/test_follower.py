"""What befalls a follower: never the study's matter, always a line of its history."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo import followers, specfile
from hpo.driver import drive
from hpo.engine import run as engine
from hpo.engine.run import Outcome
from hpo.errors import InvalidSpecError
from hpo.followers import follower as follower_module
from hpo.followers.follower import Follower
from hpo.followers.sink import Run
from hpo.store.memory import MemoryStore
from hpo.trial import Event, Lease, Measurement, Params, Study, StudyState
from tests.hpo.followers.logged import HISTORY, SPEC, event, report, running


class Listed:
    """A sink that keeps a list, as long as `fails` lets it."""

    kept: list[str]
    last_id = 0

    def __init__(self, kept: list[str], fails: Callable[[str], bool] = lambda _: False) -> None:
        self.kept, self.fails = kept, fails
        self.waiting: list[str] = []

    def begin(self) -> int:
        return Listed.last_id

    def started(self, run: Run, params: Params, *, parent: int | None, at: float) -> None:
        self._note(f"{run.name} started from {parent}")

    def reported(self, run: Run, measurement: Measurement) -> None:
        self._note(f"{run.name} step {measurement.step}")

    def ended(self, run: Run, state: str, *, message: str | None, at: float) -> None:
        self._note(f"{run.name} {state}")

    def commit(self, last_id: int) -> None:
        self.kept += self.waiting
        self.waiting = []
        Listed.last_id = last_id

    def close(self) -> None: ...

    def _note(self, what: str) -> None:
        if self.fails(what):
            raise ConnectionError("the server is away")
        self.waiting.append(what)


ALL = [
    "trial-00000 started from None", "trial-00001 started from None", "trial-00000 step 1", "trial-00001 step 1",
    "trial-00000 step 2", "trial-00000 step 3", "trial-00000 completed", "trial-00001 step 2", "trial-00001 inherited",
    "trial-00001.1 started from 0", "trial-00001.1 step 2", "trial-00001.1 step 3", "trial-00001.1 failed",
    "trial-00002 started from None", "trial-00002 step 1", "trial-00002 stopped",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(Listed, "last_id", 0)


@pytest.fixture
def study(tmp_path: Path) -> tuple[MemoryStore, Study, Lease]:
    return running(tmp_path)


def lines(store: MemoryStore) -> list[Event]:
    return [row for row in store.events("mine", limit=1000) if "logging" in row.kind]


def until(met: Callable[[], bool]) -> None:
    """Wait for a thread; fails after half a minute."""
    for _ in range(3000):
        if met():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


def test_all_that_is_recorded_is_told_in_its_order(study: tuple[MemoryStore, Study, Lease]) -> None:
    store, _, lease = study
    kept: list[str] = []
    with Follower(*study, "list", lambda: Listed(kept), lease_seconds=60):
        for row in HISTORY[:9]:
            store.write(lease, [row])
        until(lambda: len(kept) >= 9)
        store.write(lease, HISTORY[9:])
    assert kept == ALL


def test_a_sink_that_fails_is_tried_again_and_the_history_says_both(study: tuple[MemoryStore, Study, Lease]) -> None:
    store, _, lease = study
    kept: list[str] = []
    away = threading.Event()
    away.set()
    with Follower(*study, "list", lambda: Listed(kept, lambda _: away.is_set()), lease_seconds=60):
        store.write(lease, HISTORY)
        until(lambda: len(lines(store)) == 1)
        away.clear()
        until(lambda: len(lines(store)) == 2)
    assert kept == ALL
    failed, resumed = lines(store)
    assert failed.kind == "study.logging_failed"
    assert dict(failed.data) == {"to": "list", "message": "ConnectionError: the server is away"}
    assert resumed.kind == "study.logging_resumed"


def test_a_sink_that_never_answers_ends_with_the_study_and_its_line(study: tuple[MemoryStore, Study, Lease]) -> None:
    store, _, lease = study
    gone = threading.Event()
    kept: list[str] = []
    store.write(lease, HISTORY)
    stuck = Follower(*study, "list", lambda: Listed(kept, lambda _: gone.wait(60)), lease_seconds=60, close_seconds=0.1)
    with stuck:
        pass
    assert [dict(line.data) for line in lines(store)] == [
        {"to": "list", "message": "not all was logged within 0.1 s of the end"}
    ]
    gone.set()


def test_a_driver_that_has_lost_its_study_logs_nothing_more(study: tuple[MemoryStore, Study, Lease]) -> None:
    store, _, lease = study
    kept: list[str] = []
    follower = Follower(*study, "list", lambda: Listed(kept), lease_seconds=0.0)  # so that it looks each time
    store.write(lease, HISTORY)
    store.revoke("mine", holder="test")
    store.claim("mine", holder="another", lease_seconds=60)
    with follower:
        pass
    assert kept == []
    assert lines(store) == []


def test_a_sink_that_can_not_be_made_leaves_the_study_alone(study: tuple[MemoryStore, Study, Lease]) -> None:
    def make() -> Listed:
        raise ImportError("no such package")

    store, _, lease = study
    with Follower(*study, "list", make, lease_seconds=60, close_seconds=0.1):
        store.write(lease, HISTORY)
    assert lines(store)[0].data["message"] == "ImportError: no such package"


def test_the_end_of_a_trial_that_another_driver_told_of_finds_its_run(study: tuple[MemoryStore, Study, Lease]) -> None:
    from hpo.trial import Trial, TrialState

    store, _, lease = study
    store.write(lease, [
        Trial(study="mine", number=5, params={}, state=TrialState.COMPLETED, generation=2, created_at=0.0),
        event("trial.completed", 5, step=3, best=1.0),
    ])  # fmt: skip
    kept: list[str] = []
    with Follower(*study, "list", lambda: Listed(kept), lease_seconds=60):
        pass
    assert kept == ["trial-00005.2 completed"]


def test_a_driver_logs_its_study_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    monkeypatch.setattr(followers, "sinks", lambda study: {"list": lambda: Listed(kept)})

    def run_study(study: Study, store: MemoryStore, lease: Lease, *_: Any, **__: Any) -> Outcome:
        store.write(lease, HISTORY)
        return Outcome(None, None, "it is only a test")

    monkeypatch.setattr(engine, "run_study", run_study)
    store = MemoryStore()
    store.create_study(specfile.parse(SPEC))
    assert drive(store, "mine", tmp_path).state is StudyState.FAILED
    assert kept == ALL


def test_a_study_without_logging_has_no_follower(study: tuple[MemoryStore, Study, Lease]) -> None:
    before = threading.active_count()
    with followers.following(*study, lease_seconds=60):
        assert threading.active_count() == before


@pytest.mark.parametrize(
    ("logging", "pointer", "said"),
    [
        ({"tensorboard": "logs"}, "/logging/tensorboard", "no absolute path"),
        ({"tensorboard": "s3://bucket/logs"}, "/logging/tensorboard", "no absolute path"),
        ({"mlflow": "./mlruns"}, "/logging/mlflow", "no tracking server or database"),
        ({"mlflow": "file:///mlruns"}, "/logging/mlflow", "no tracking server or database"),
        ({"mlflow": "sqlite:///mlflow.db"}, "/logging/mlflow", "four slashes"),
        ({"mlflow": "https://anna:secret@host"}, "/logging/mlflow", "MLFLOW_TRACKING_PASSWORD"),
        ({"mlflw": "http://host"}, "/logging/mlflw", "did you mean 'mlflow'?"),
    ],
)
def test_a_place_that_no_driver_finds_is_refused(logging: dict[str, str], pointer: str, said: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        specfile.parse({**SPEC, "logging": logging})
    [problem] = caught.value.problems
    assert problem.pointer == pointer
    assert said in str(problem)
    assert "secret" not in str(problem)


def test_a_package_that_is_missing_is_refused_at_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "find_spec", lambda name: None)
    spec = specfile.parse({**SPEC, "logging": {"mlflow": "http://host:5000", "tensorboard": "/logs"}})
    with pytest.raises(InvalidSpecError) as caught:
        followers.check(spec)
    assert [problem.pointer for problem in caught.value.problems] == ["/logging/tensorboard", "/logging/mlflow"]
    assert "pip install 'hpo[mlflow]'" in str(caught.value)
    followers.check(specfile.parse(SPEC))


def test_workers_of_the_users_own_log_themselves() -> None:
    data = {key: value for key, value in SPEC.items() if key != "trainable"}
    spec = specfile.parse({**data, "engine": "ask", "logging": {"tensorboard": "/logs"}})
    with pytest.raises(InvalidSpecError, match="workers of your own"):
        followers.check(spec)


def test_a_report_of_a_later_step_is_no_row_of_an_ended_run(study: tuple[MemoryStore, Study, Lease]) -> None:
    """What is told of a trial after a restart is told of the run that it was in."""
    store, _, lease = study
    kept: list[str] = []
    for part in ([event("trial.created", 0, params={}), report(0, 1, loss=1.0)], [report(0, 2, loss=1.0)]):
        store.write(lease, part)
        with Follower(*study, "list", lambda: Listed(kept), lease_seconds=60):
            pass
    assert kept == ["trial-00000 started from None", "trial-00000 step 1", "trial-00000 step 2"]
