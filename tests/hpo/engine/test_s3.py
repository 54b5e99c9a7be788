"""Checkpoints on S3 when the server fails, and what worker, recorder, resume and driver do then. A real server behind a
proxy that fails on demand. Needs no Ray."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conformance.checkpoint_storage import files_in, writes
from conformance.store_values import spec
from s3 import KEY, SECRET, Proxy

from hpo import driver as driver_module
from hpo.driver import drive
from hpo.engine import run as engine
from hpo.engine import s3 as module
from hpo.engine import worker
from hpo.engine.conductor import Assignment
from hpo.engine.files import S3Address, StorageError, open_storage, sizes
from hpo.engine.recorder import Recorder
from hpo.engine.resume import sweep
from hpo.engine.s3 import S3Storage
from hpo.engine.worker import CheckpointNotWritten, StorageFailed, _failure, _RemoteTrial
from hpo.store import open_store
from hpo.trial import Checkpoint, FailureCause, StudyState
from tests.hpo.engine.test_resume import Driver
from tests.hpo.ledger_book import StopsAbove

FILES = {"a": b"first", "model.pt": b"second"}
REMEDY = r"; mend that, then resume the study$"


@pytest.fixture
def study(bucket: str) -> S3Address:
    return S3Address(bucket, "p") / "s"


@pytest.fixture
def trial(study: S3Address) -> S3Address:
    return study / "trials-1" / "00007"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the worker would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(worker.time, "sleep", slept.append)
    return slept


@pytest.fixture
def leg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., _RemoteTrial]:
    """A trial on a rank of a worker group, without the group."""
    monkeypatch.setattr(worker.ray.train.torch, "get_device", lambda: "cpu")

    def leg(rank: int = 0, **starts: str) -> _RemoteTrial:
        at: Any = SimpleNamespace(seed=1, max_steps=9, rank=rank, world_size=2, work_folder=tmp_path / "work")
        common: dict[str, Any] = {"checkpoint": None, "inherit": None, **starts}
        return _RemoteTrial(at, Assignment(turn=1, job=1, trial=7, params={}, generation=0, **common))

    return leg


@pytest.fixture
def closed() -> str:
    """The address of a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1.0)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


# -- writing ----------------------------------------------------------------------------------------------
def test_a_server_that_is_busy_for_a_while_costs_some_tries(
    s3: Proxy, trial: S3Address, leg: Callable[..., _RemoteTrial], pauses: list[float], tmp_path: Path
) -> None:
    s3.fail(503, times=2 * module.ATTEMPTS)
    saved = leg()._save(trial, 3, writes(FILES))
    assert pauses == list(worker.SAVE_RETRY_SECONDS[:2])
    assert files_in(open_storage(saved.path).fetch(saved.path, tmp_path / "into")) == FILES
    assert saved.size_bytes == 11


@pytest.mark.parametrize(("status", "why"), [
    (503, "S3 says SLOW_DOWN: told to fail"),
    (500, "S3 says INTERNAL_FAILURE: told to fail"),
    (403, "access is denied; check the keys and what the bucket's policy allows them"),
    (404, "there is no such bucket; make it, or correct HPO_STORAGE"),
])  # fmt: skip
def test_a_server_that_refuses_is_the_storages_fault_and_says_why(
    s3: Proxy, trial: S3Address, leg: Callable[..., _RemoteTrial], pauses: list[float], status: int, why: str
) -> None:
    s3.fail(status)
    with pytest.raises(
        CheckpointNotWritten, match=rf"its checkpoint of step 3 can't be written to {trial}: "
    ) as caught:
        leg()._save(trial, 3, writes(FILES))
    assert pauses == list(worker.SAVE_RETRY_SECONDS)
    failure = _failure(caught.value)
    assert failure.cause is FailureCause.STORAGE
    assert failure.message.endswith(f"{trial}: {why}; mend that, then resume the study")
    s3.heal()
    assert list(open_storage(trial).found()) == []


def test_a_server_that_is_away_is_the_storages_fault(
    s3: Proxy, trial: S3Address, leg: Callable[..., _RemoteTrial], pauses: list[float], closed: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", closed)
    with pytest.raises(
        CheckpointNotWritten, match=rf"S3 can't be reached \(Could not connect.*AWS_ENDPOINT_URL.*{REMEDY}"
    ):
        leg()._save(trial, 3, writes(FILES))


@pytest.mark.slow
def test_a_server_that_never_answers_ends_the_tries(
    s3: Proxy, trial: S3Address, leg: Callable[..., _RemoteTrial], pauses: list[float], silent: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", silent)
    monkeypatch.setattr(worker, "TRY_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(CheckpointNotWritten, match=rf"S3 can't be reached \(Timeout was reached\).*{REMEDY}"):
        leg()._save(trial, 3, writes(FILES))
    assert (pauses, time.monotonic() - began < 60) == ([], True)


def test_no_message_has_a_key(s3: Proxy, trial: S3Address, tmp_path: Path) -> None:
    for status in (503, 403, 404):
        s3.fail(status)
        for ask in (
            lambda: open_storage(trial).save(1, writes(FILES), tmp_path / "scratch"),
            lambda: list(open_storage(trial).found()),
            lambda: open_storage(trial).remove(str(trial)),
        ):
            with pytest.raises(StorageError) as caught:
                ask()
            text = "".join(map(str, (caught.value, caught.value.__cause__, caught.value.args)))
            assert KEY not in text
            assert SECRET not in text


def test_an_upload_that_broke_off_counts_for_nothing_and_is_swept(
    s3: Proxy, study: S3Address, trial: S3Address, leg: Callable[..., _RemoteTrial], pauses: list[float], tmp_path: Path
) -> None:
    """Between its two files."""
    s3.fail(503, times=module.ATTEMPTS, only="/model.pt")
    saved = leg()._save(trial, 3, writes(FILES))
    found = {each.path: each.measure() for each in open_storage(study).found()}
    assert len(found) == 2
    half = next(path for path in found if path != saved.path)
    assert open_storage(half).size_of(half) == 5
    assert files_in(open_storage(saved.path).fetch(saved.path, tmp_path / "into")) == FILES
    assert sweep(study, {saved.path}) == 1
    assert sizes([half, saved.path], study) == {half: None, saved.path: 11}


# -- reading ----------------------------------------------------------------------------------------------
def test_every_rank_has_its_own_copy_and_leaves_nothing(
    trial: S3Address, leg: Callable[..., _RemoteTrial], tmp_path: Path
) -> None:
    saved = leg()._save(trial, 3, writes(FILES))
    ranks = [leg(rank, checkpoint=saved.path) for rank in (0, 1)]
    for each in ranks:
        each.fetch()
        assert each.resume is not None
        assert (files_in(each.resume), each.inherit) == (FILES, None)
    assert len({each.resume for each in ranks}) == 2
    heir = leg(inherit=saved.path)
    heir.fetch()
    assert heir.inherit is not None
    assert (files_in(heir.inherit), heir.resume) == (FILES, None)


def test_what_a_trial_has_fetched_goes_with_it(
    trial: S3Address, leg: Callable[..., _RemoteTrial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = leg()._save(trial, 3, writes(FILES))
    at = object.__new__(worker._Worker)
    vars(at).update(seed=1, max_steps=9, rank=0, world_size=1, work_folder=tmp_path / "work", _modules=10**9)
    seen: list[dict[str, bytes]] = []
    assignment = Assignment(turn=1, job=2, trial=7, params={}, generation=0, checkpoint=saved.path, inherit=None)
    assert at._train(lambda params, trial: seen.append(files_in(trial.resume)), assignment) is None
    assert seen == [FILES]
    assert list((tmp_path / "work").glob("*-2-*")) == []


def test_a_busy_server_costs_tries_and_leaves_no_half_copy(
    s3: Proxy, trial: S3Address, leg: Callable[..., _RemoteTrial], pauses: list[float]
) -> None:
    saved = leg()._save(trial, 3, writes(FILES))
    s3.fail(503, times=module.ATTEMPTS, only="GET /")
    each = leg(checkpoint=saved.path)
    each.fetch()
    assert each.resume is not None
    assert (files_in(each.resume), pauses) == (FILES, [worker.SAVE_RETRY_SECONDS[0]])
    s3.fail(403)
    with pytest.raises(
        StorageFailed, match=rf"the checkpoint {saved.path} can't be read: access is denied.*{REMEDY}"
    ) as caught:
        each.fetch()
    assert _failure(caught.value).cause is FailureCause.STORAGE


def test_a_checkpoint_that_is_gone_is_no_fault_of_the_storage(
    trial: S3Address, leg: Callable[..., _RemoteTrial], pauses: list[float]
) -> None:
    with pytest.raises(FileNotFoundError, match="holds no files") as caught:
        leg(checkpoint=f"{trial}/step-000001-gone").fetch()
    assert (pauses, _failure(caught.value).cause) == ([], FailureCause.ERROR)


# -- a bucket that is gone --------------------------------------------------------------------------------
def test_without_its_bucket_no_checkpoint_looks_lost(s3: Proxy, bucket: str) -> None:
    gone = S3Address("no-such-bucket", "p") / "s"
    for ask in (
        lambda: sizes([f"{gone}/trials-1/00001/step-000001"], gone),
        lambda: open_storage(gone).size_of(f"{gone}/trials-1/00001/step-000001"),
        lambda: list(open_storage(gone).found()),
        lambda: S3Storage(gone, quick=True).ping(),
    ):
        with pytest.raises(StorageError, match="no such bucket"):
            ask()
    S3Storage(S3Address(bucket), quick=True).ping()


def test_an_endpoint_that_is_no_address_is_refused_without_what_it_holds(s3: Proxy, monkeypatch: Any) -> None:
    for url in ("localhost:9000", "http://key:hush@127.0.0.1:1"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StorageError, match="AWS_ENDPOINT_URL is no address of a server") as caught:
            S3Storage(S3Address("bucket")).ping()
        assert "hush" not in str(caught.value)


# -- a driver takes over ----------------------------------------------------------------------------------
class S3Driver(Driver):
    """Its checkpoints are on S3."""

    def report(self, number: int, step: int, loss: float, generation: int = 0) -> Any:
        trial = self.folder / f"trials-{self.lease.token}" / f"{number:05d}"
        saved = open_storage(trial).save(step, writes({"model.pt": b"0123456789"}), Path(self.scratch))
        return self.ledger.report(number, step, {"loss": loss}, generation=generation, checkpoint=saved)

    def drop(self, checkpoint: Checkpoint) -> None:
        self.store.forget_checkpoints(self.lease, [checkpoint.path])
        open_storage(checkpoint.path).remove(checkpoint.path)

    def names(self, number: int = 0) -> list[str]:
        return [checkpoint.path for checkpoint in self.store.checkpoints("s", trial=number)]


@pytest.fixture
def two_steps(study: S3Address, tmp_path: Path) -> S3Driver:
    """A driver whose one trial has reported two steps, the first the better one."""
    S3Driver.scratch = tmp_path / "scratch"  # type: ignore[attr-defined]
    found = S3Driver(study, lambda: StopsAbove(100.0, 9))  # type: ignore[arg-type]
    found.ledger.next()
    found.report(0, 1, 5.0)
    found.report(0, 2, 6.0)
    return found


def cut_short(path: str) -> None:
    place = S3Address(*path.removeprefix("s3://").split("/", 1))
    with module._client(False).open_output_stream(f"{place.key}/model.pt") as file:
        file.write(b"012")


def test_a_trial_goes_on_from_a_whole_checkpoint_and_what_no_row_names_is_swept(
    two_steps: S3Driver, study: S3Address, tmp_path: Path
) -> None:
    unrecorded = open_storage(study / "trials-1" / "00000").save(3, writes({"a": b"1"}), tmp_path)[0]
    last = two_steps.names()[1]
    leg = two_steps.begin().next()
    assert leg is not None
    assert (leg.trial, leg.resume) == (0, last)
    assert two_steps.events("checkpoint.damaged") == []
    assert [event.data["removed"] for event in two_steps.events("study.resumed")] == [1]
    assert open_storage(unrecorded).size_of(unrecorded) is None


@pytest.mark.parametrize(("harm", "why"), [
    (lambda path: open_storage(path).remove(path), "is gone"),
    (cut_short, "has 3 bytes"),
], ids=["gone", "cut short"])  # fmt: skip
def test_a_trial_whose_last_checkpoint_is_damaged_goes_on_from_its_best(
    two_steps: S3Driver, harm: Callable[[str], None], why: str
) -> None:
    best, last = two_steps.names()
    harm(last)
    leg = two_steps.begin().next()
    assert leg is not None
    assert (leg.trial, leg.resume, leg.inherit) == (0, best, None)
    [line] = two_steps.events("checkpoint.damaged")
    assert line.data["message"] == f"{last} {why}, but 10 were written; it is not used any more"
    assert two_steps.names() == [best]
    assert sizes([best, last], two_steps.folder) == {best: 10, last: None}
    two_steps.report(0, 2, 6.0)
    assert two_steps.store.counts("s").steps == 2


def test_a_storage_that_is_away_changes_nothing_and_a_later_driver_goes_on(s3: Proxy, two_steps: S3Driver) -> None:
    before = (two_steps.names(), [event.kind for event in two_steps.store.events("s")])
    for status in (503, 403, 404):
        s3.fail(status)
        with pytest.raises(StorageError):
            two_steps.begin()
        assert (two_steps.names(), [event.kind for event in two_steps.store.events("s")]) == before
    s3.heal()
    leg = two_steps.begin().next()
    assert leg is not None
    assert leg.resume == before[0][1]


def test_a_study_whose_storage_is_away_as_its_driver_begins_is_paused(
    s3: Proxy, study: S3Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*given: Any, **options: Any) -> Any:
        list(open_storage(study).found())

    monkeypatch.setattr(engine, "run_study", away)
    monkeypatch.setenv("HPO_JOB", "hpo-s-1")
    store = open_store("memory://")
    store.create_study(spec())
    s3.fail(403)
    found = drive(store, "s", S3Address(study.bucket, "p"))
    assert found.state is StudyState.PAUSED
    assert found.message == (
        f"the checkpoints in {study} can't be looked at: access is denied; check the keys and what the bucket's policy "
        "allows them; mend that, then resume the study"
    )


def test_a_driver_does_not_start_with_an_address_that_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"HPO_DATABASE_URL": "memory://", "HPO_STORAGE": "gs://bucket"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(driver_module.signal, "signal", lambda *given: None)
    monkeypatch.setattr(driver_module.logs, "configure", lambda *given, **options: None)
    assert driver_module.main(["s"]) == 2
    assert "'gs://bucket' is no storage" in capsys.readouterr().err


# -- the recorder -----------------------------------------------------------------------------------------
class TestRecorder:
    @pytest.fixture
    def saved(self, trial: S3Address, tmp_path: Path) -> list[Checkpoint]:
        paths = [open_storage(trial).save(step, writes({"a": b"1"}), tmp_path)[0] for step in range(1, 4)]
        return [
            Checkpoint(study="s", trial=7, step=n, path=path, size_bytes=1, recorded_at=0.0)
            for n, path in enumerate(paths, 1)
        ]

    @pytest.fixture
    def recorder(self) -> Recorder:
        store = open_store("memory://")
        store.create_study(spec())
        return Recorder(store, store.claim("s", holder="h", lease_seconds=60))

    def test_a_slow_server_does_not_keep_it_from_its_turn(
        self, s3: Proxy, recorder: Recorder, saved: list[Checkpoint]
    ) -> None:
        """It renews the lease in each turn."""
        s3.open.clear()
        for checkpoint in saved:
            recorder.drop(checkpoint)
        began = time.monotonic()
        assert recorder._tick()
        assert time.monotonic() - began < 5
        s3.open.set()
        recorder._remover.shutdown(wait=True)
        assert [open_storage(each.path).size_of(each.path) for each in saved] == [None, None, None]

    def test_what_can_not_be_removed_is_told_and_stays_for_the_sweep(
        self, s3: Proxy, recorder: Recorder, saved: list[Checkpoint], caplog: pytest.LogCaptureFixture
    ) -> None:
        s3.fail(403)
        recorder.drop(saved[0])
        with recorder:
            pass
        assert f"{saved[0].path} stays until the study is swept: access is denied" in caplog.text
        s3.heal()
        assert open_storage(saved[0].path).size_of(saved[0].path) == 1
