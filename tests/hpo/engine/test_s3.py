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
from s3 import KEY, SECRET, Proxy

from hpo.engine import s3 as module
from hpo.engine import worker
from hpo.engine.files import S3Address, StorageError, open_storage, sizes
from hpo.engine.messages import Assignment
from hpo.engine.resume import sweep
from hpo.engine.s3 import S3Storage
from hpo.engine.worker import CheckpointNotWritten, StorageFailed, _failure, _RemoteTrial
from hpo.trial import FailureCause

FILES = {"a": b"first", "model.pt": b"second"}
REMEDY = r"; mend that, then resume the study$"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the worker would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(worker.time, "sleep", slept.append)
    return slept


@pytest.fixture
def leg(tmp_path: Path) -> Callable[..., _RemoteTrial]:
    """A trial on a rank of a worker group, without the group."""

    def leg(rank: int = 0, **starts: str) -> _RemoteTrial:
        at: Any = SimpleNamespace(
            device="cpu", seed=1, max_steps=9, rank=rank, world_size=2, work_folder=tmp_path / "work"
        )
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
    process = SimpleNamespace(begin=lambda seed: None, end=lambda: None)  # a real one would reset pytest's own
    vars(at).update(
        device="cpu", seed=1, max_steps=9, rank=0, world_size=1, work_folder=tmp_path / "work", _process=process
    )
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
