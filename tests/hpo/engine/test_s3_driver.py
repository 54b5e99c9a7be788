"""Checkpoints on S3 when a driver takes a study over, and when one is recorded: a real server that fails on demand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conformance.checkpoint_storage import writes
from conformance.store_values import spec
from s3 import Proxy

from hpo import driver as driver_module
from hpo.driver import drive
from hpo.engine import run as engine
from hpo.engine import s3 as module
from hpo.engine.files import S3Address, StorageError, open_storage, sizes
from hpo.engine.recorder import Recorder
from hpo.store import open_store
from hpo.trial import Checkpoint, StudyState
from tests.hpo.engine.test_resume import Driver
from tests.hpo.ledger_book import StopsAbove


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
