"""The controller, over the memory store and a fake of `cluster.jobs.Jobs` (the real one is in tests/cluster)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api.controller import Controller
from api.settings import Settings
from hpo import specfile
from hpo.errors import ClusterError, LeaseLostError, StoreError
from hpo.protocols import Store
from hpo.steering import Verb
from hpo.store import open_store
from hpo.trial import StudyState


class FakeJobs:
    address = "http://fake"

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        self.submitted: list[tuple[str, str, dict[str, str], Path | None]] = []
        self.log = ""
        self.refuses = ""
        self.reachable = True
        self.code: int | None = 1
        self.stopped: list[str] = []
        self.have: list[dict[str, float]] = [{"CPU": 64.0}]
        self.taken: dict[str, float] = {}
        self.groups: dict[str, dict[str, float]] = {}

    def ping(self) -> str:
        if not self.reachable:
            raise ClusterError("Ray is away")
        return "2.60.0"

    def submit(
        self, submission_id: str, entrypoint: str, *, env: dict[str, str] | None = None, working_dir: Path | None = None
    ) -> None:
        if self.refuses:
            raise ClusterError(self.refuses)
        self.submitted.append((submission_id, entrypoint, env or {}, working_dir))
        self.jobs.setdefault(submission_id, "PENDING")

    def status(self, submission_id: str) -> str | None:
        return self.jobs.get(submission_id)

    def statuses(self) -> dict[str, str]:
        return dict(self.jobs)

    def nodes(self) -> list[dict[str, float]]:
        return self.have

    def held(self) -> dict[str, float]:
        return self.taken

    def placed(self) -> dict[str, dict[str, float]]:
        return self.groups

    def stop(self, submission_id: str) -> bool:
        self.stopped.append(submission_id)
        return True

    def message(self, submission_id: str) -> str:
        return "what Ray says"

    def exit_code(self, submission_id: str) -> int | None:
        return self.code

    def logs(self, submission_id: str) -> str:
        return self.log


@pytest.fixture
def jobs() -> FakeJobs:
    return FakeJobs()


@pytest.fixture
def memory() -> Store:
    return open_store("memory://")


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def make(home: Settings, memory: Store, jobs: FakeJobs) -> Controller:
    return Controller(home, memory, connect=lambda: jobs, entrypoint=lambda name: f"run {name}")


@pytest.fixture
def controller(home: Settings, memory: Store, jobs: FakeJobs) -> Any:
    made = make(home, memory, jobs)
    yield made
    made.close()


def queue(memory: Store, spec: dict[str, Any], *names: str, package: str | None = None) -> None:
    for name in names or ("mine",):
        memory.create_study(specfile.parse(spec | {"name": name}), package=package)


def test_queued_studies_are_submitted_once_in_their_order(
    controller: Controller, home: Settings, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    queue(memory, spec, "one", "two")
    controller.round()
    controller.round()
    assert [job for job, *_ in jobs.submitted] == ["hpo-one-1", "hpo-two-1"]
    _, entrypoint, env, folder = jobs.submitted[0]
    assert entrypoint == "run one"
    assert env == {
        "HPO_HOME": str(home.home), "HPO_DATABASE_URL": home.database_url, "HPO_STORAGE": str(home.storage),
        "HPO_JOB": "hpo-one-1",
    }  # fmt: skip
    assert folder is None
    assert memory.study("one").state is StudyState.STARTING
    assert memory.study("one").job == "hpo-one-1"


def test_a_cluster_that_is_away_leaves_studies_queued_and_is_told(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    queue(memory, spec)
    jobs.reachable = False
    controller.round()
    assert memory.study("mine").state is StudyState.QUEUED
    assert memory.study("mine").attempt == 0
    assert controller.health().ray == "Ray is away"
    jobs.reachable = True
    controller.round()
    assert memory.study("mine").state is StudyState.STARTING
    assert controller.health().ray_ok


@pytest.mark.parametrize("status", ["FAILED", "STOPPED", "SUCCEEDED"])
def test_a_study_whose_driver_died_gets_another_at_once(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any], status: str
) -> None:
    queue(memory, spec)
    controller.round()
    lease = memory.claim("mine", holder="hpo-mine-1", lease_seconds=30)
    memory.set_study_state("mine", StudyState.RUNNING, lease=lease)
    jobs.jobs["hpo-mine-1"], jobs.code = status, None
    controller.round()
    assert [job for job, *_ in jobs.submitted] == ["hpo-mine-1", "hpo-mine-2"]
    assert memory.study("mine").state is StudyState.STARTING
    memory.claim("mine", holder="hpo-mine-2", lease_seconds=30)  # the dead one's lease is no obstacle
    with pytest.raises(LeaseLostError):
        memory.renew(lease, lease_seconds=30)


def test_drivers_that_die_without_a_step_fail_the_study_with_the_logs_end(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    queue(memory, spec)
    jobs.code, jobs.log = None, "begin\n" + "x\n" * 20 + "\nMemoryError: no more\n"
    for attempt in range(1, 5):
        controller.round()
        jobs.jobs[f"hpo-mine-{attempt}"] = "FAILED"
    controller.round()
    study = memory.study("mine")
    assert len(jobs.submitted) == 4
    assert study.state is StudyState.FAILED
    assert study.message is not None
    assert study.message.endswith("MemoryError: no more")
    assert "begin" not in study.message


def test_a_study_that_cannot_be_run_fails_at_once(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    queue(memory, spec)
    controller.round()
    jobs.jobs["hpo-mine-1"], jobs.code, jobs.log = "FAILED", 2, "error: no such table"
    controller.round()
    assert memory.study("mine").state is StudyState.FAILED
    assert "no such table" in str(memory.study("mine").message)


def test_a_higher_priority_goes_first(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    queue(memory, spec, "one", "two")
    queue(memory, spec | {"priority": 5}, "urgent")
    controller.round()
    assert [job for job, *_ in jobs.submitted] == ["hpo-urgent-1", "hpo-one-1", "hpo-two-1"]


def test_jobs_that_no_study_needs_are_stopped(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(memory, spec)
    controller.round()
    memory.new_attempt("mine", job_prefix="hpo-mine")
    jobs.jobs |= {"hpo-mine-1": "RUNNING", "hpo-mine-2": "RUNNING", "hpo-others-1": "RUNNING", "mine-1": "RUNNING"}
    monkeypatch.setattr("api.controller.ORPHAN_SECONDS", -1.0)
    controller.round()
    assert jobs.stopped == ["hpo-mine-1"]


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.CANCEL])
def test_a_paused_or_cancelled_study_gets_no_driver(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any], verb: Verb
) -> None:
    queue(memory, spec)
    memory.steer("mine", verb, who="anna")
    controller.round()
    assert jobs.submitted == []
    if verb is Verb.PAUSE:
        memory.steer("mine", Verb.RESUME, who="anna")
        controller.round()
        assert len(jobs.submitted) == 1


def test_a_study_that_has_ended_keeps_its_end(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    queue(memory, spec)
    controller.round()
    memory.set_study_state("mine", StudyState.SUCCEEDED)
    jobs.jobs["hpo-mine-1"] = "FAILED"
    controller.round()
    assert memory.study("mine").state is StudyState.SUCCEEDED


def test_a_study_of_hpo_run_is_left_to_its_driver_and_paused_when_that_is_gone(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.create_study(specfile.parse({**spec, "name": "mine"}), queued=False)
    lease = memory.claim("mine", holder="hpo run", lease_seconds=30)
    memory.set_study_state("mine", StudyState.RUNNING, lease=lease)
    controller.round()
    monkeypatch.setattr("api.controller.UNCLAIMED_SECONDS", -1.0)
    controller.round()
    assert memory.study("mine").state is StudyState.RUNNING
    memory.release(lease)
    controller.round()
    assert memory.study("mine").state is StudyState.PAUSED
    assert "run it again" in (memory.study("mine").message or "")
    assert jobs.jobs == {}


def test_a_starting_study_without_a_job_is_handed_over_again(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    queue(memory, spec)
    memory.new_attempt("mine", job_prefix="hpo-mine")  # and then the controller was killed
    controller.round()
    assert [job for job, *_ in jobs.submitted] == ["hpo-mine-1"]
    assert memory.study("mine").attempt == 1


def test_a_running_study_whose_job_ray_has_lost_gets_another(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    queue(memory, spec)
    controller.round()
    memory.set_study_state("mine", StudyState.RUNNING)
    jobs.jobs.clear()
    controller.round()
    assert list(jobs.jobs) == ["hpo-mine-2"]


def test_a_job_that_found_another_driver_leaves_the_study_to_it(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    queue(memory, spec)
    lease = memory.claim("mine", holder="hpo run", lease_seconds=60)
    controller.round()
    memory.set_study_state("mine", StudyState.RUNNING, lease=lease)
    jobs.jobs["hpo-mine-1"], jobs.code = "FAILED", 3
    controller.round()
    assert memory.study("mine").state is StudyState.RUNNING
    memory.renew(lease, lease_seconds=60)  # still its own
    memory.release(lease)
    controller.round()
    assert list(jobs.jobs) == ["hpo-mine-1", "hpo-mine-2"]


def test_a_study_that_runs_without_the_service_is_left_alone(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    queue(memory, spec)
    memory.set_study_state("mine", StudyState.RUNNING)
    controller.round()
    assert memory.study("mine").state is StudyState.RUNNING


def test_a_job_that_ray_refuses_fails_its_study_after_three_times(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "api.controller")
    queue(memory, spec, "mine", "other")
    jobs.refuses = "no such runtime environment"
    controller.round()
    assert memory.study("mine").state is StudyState.STARTING
    for _ in range(3):
        controller.round()
    assert memory.study("mine").message == "no such runtime environment"
    assert memory.study("other").state is StudyState.FAILED
    assert "study mine failed: no such runtime environment" in caplog.messages
    assert [line for line in caplog.messages if "submitted" in line] == []


def test_a_package_becomes_the_jobs_working_folder(
    controller: Controller, home: Settings, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    here, gone = "0" * 64, "1" * 64
    (home.package_folder / here).mkdir(parents=True)
    queue(memory, spec, "mine", package=f"sha256:{here}")
    queue(memory, spec, "other", package=f"sha256:{gone}")
    controller.round()
    assert [folder for *_, folder in jobs.submitted] == [home.package_folder / here]
    assert "is gone" in str(memory.study("other").message)


def test_of_two_controllers_one_stands_by(
    controller: Controller, home: Settings, memory: Store, jobs: FakeJobs, spec: dict[str, Any]
) -> None:
    other_jobs = FakeJobs()
    other = make(home, memory, other_jobs)
    controller.round()
    queue(memory, spec)
    other.round()
    assert other_jobs.submitted == []
    controller.close()
    other.round()
    assert [job for job, *_ in other_jobs.submitted] == ["hpo-mine-1"]
    other.close()


def test_the_thread_outlives_every_error(home: Settings, spec: dict[str, Any]) -> None:
    calls = []

    def connect() -> FakeJobs:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError
        if len(calls) == 2:
            raise StoreError("away")
        return jobs

    jobs, memory = FakeJobs(), open_store("memory://")
    controller = Controller(home, memory, connect=connect, entrypoint=str, period_seconds=0.01)
    queue(memory, spec)
    controller.start()
    for _ in range(500):
        if jobs.submitted:
            break
        controller._stop.wait(0.01)
    assert controller.health().at_work
    controller.close()
    assert [job for job, *_ in jobs.submitted] == ["hpo-mine-1"]
    assert not controller.health().at_work


def test_a_study_whose_workers_are_the_users_own_gets_no_job(
    controller: Controller, memory: Store, jobs: FakeJobs, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    del spec["trainable"]
    queue(memory, spec | {"engine": "ask"}, "queued", "running")
    memory.set_study_state("running", StudyState.RUNNING)
    monkeypatch.setattr("api.controller.UNCLAIMED_SECONDS", -1.0)
    controller.round()
    assert jobs.submitted == []
    assert [memory.study(name).state for name in ("queued", "running")] == [StudyState.QUEUED, StudyState.RUNNING]
