"""A new driver takes over: the specification it begins with, and checkpoints that are gone or cut short. No Ray."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conformance.store_values import spec

from hpo.engine.resume import resume
from hpo.ledger import Ledger
from hpo.protocols import Resume, Scheduler, Start
from hpo.steering import Command, Verb
from hpo.store import open_store
from hpo.tenure import begin_spec, pause
from hpo.trial import Action, Checkpoint, Event, Lease, Study, StudyState, TrialState
from tests.hpo.ledger_book import Book, Listed, Scripted, StopsAbove


class Driver:
    """One driver of the study `s`: its ledger writes to the store at once, and drops folders as the recorder does."""

    def __init__(self, folder: Path, scheduler: Callable[[], Scheduler]) -> None:
        self.store = open_store("memory://")
        self.folder, self.scheduler = folder, scheduler
        self.store.create_study(Book().ledger.spec)
        self.begin()

    def begin(self) -> Ledger:
        """The next driver."""
        self.lease: Lease = self.store.claim("s", holder="h", lease_seconds=60)
        study: Study = self.store.set_study_state("s", StudyState.RUNNING)
        self.ledger = Ledger(
            begin_spec(study, self.store),
            Listed(),
            self.scheduler(),
            write=lambda rows: self.store.write(self.lease, rows),
            drop_checkpoint=self.drop,
            started_at=study.started_at,
        )
        resume(self.ledger, self.store, self.folder)
        return self.ledger

    def drop(self, checkpoint: Checkpoint) -> None:
        self.store.forget_checkpoints(self.lease, [checkpoint.path])
        shutil.rmtree(checkpoint.path, ignore_errors=True)

    def report(self, number: int, step: int, loss: float, generation: int = 0) -> Action:
        """With a checkpoint of ten bytes."""
        path = (
            self.folder / f"trials-{self.lease.token}" / f"{number:05d}" / f"generation-{generation}" / f"step-{step}"
        )
        path.mkdir(parents=True)
        (path / "model.pt").write_bytes(b"0123456789")
        return self.ledger.report(number, step, {"loss": loss}, generation=generation, checkpoint=(str(path), 10))

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.store.events("s", limit=1000) if event.kind == kind]

    def paths(self, number: int) -> list[Path]:
        return [Path(checkpoint.path) for checkpoint in self.store.checkpoints("s", trial=number)]


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(tmp_path, lambda: StopsAbove(100.0, 9))


# -- damaged checkpoints ----------------------------------------------------------------------------------
def test_whole_checkpoints_are_gone_on_from(driver: Driver) -> None:
    driver.ledger.next()
    driver.report(0, 1, 5.0)
    driver.report(0, 2, 6.0)
    ledger = driver.begin()
    leg = ledger.next()
    assert leg is not None
    assert (leg.trial, leg.resume) == (0, str(driver.paths(0)[1]))
    assert driver.events("checkpoint.damaged") == []
    assert [event.data["from_step"] for event in driver.events("trial.requeued")] == [2]


@pytest.mark.parametrize(("harm", "why"), [
    (shutil.rmtree, "is gone"),
    (lambda folder: (folder / "model.pt").write_bytes(b"012"), "has 3 bytes"),
], ids=["gone", "cut short"])  # fmt: skip
def test_a_trial_whose_last_checkpoint_is_damaged_goes_on_from_its_best_and_no_step_counts_twice(
    driver: Driver, harm: Callable[[Path], Any], why: str
) -> None:
    driver.ledger.next()
    driver.report(0, 1, 5.0)
    driver.report(0, 2, 6.0)
    best, last = driver.paths(0)
    harm(last)
    ledger = driver.begin()
    [line] = driver.events("checkpoint.damaged")
    assert (line.trial, line.data["step"]) == (0, 2)
    assert line.data["message"] == f"{last} {why}, but 10 were written; it is not used any more"
    assert [(event.data["step"], event.data["from_step"]) for event in driver.events("trial.requeued")] == [(2, 1)]
    assert driver.paths(0) == [best], "its row and what is left of it are gone; the best one stays"
    assert (last.exists(), best.exists()) == (False, True)
    leg = ledger.next()
    assert leg is not None
    assert (leg.trial, leg.resume, leg.inherit) == (0, str(best), None)
    shutil.rmtree(last, ignore_errors=True)
    assert driver.report(0, 2, 6.0) is Action.CONTINUE
    assert driver.store.counts("s").steps == 2
    assert driver.store.trial("s", 0).value == 5.0
    driver.report(0, 3, 7.0)
    leg = driver.begin().next()
    assert leg is not None
    assert leg.resume == str(driver.paths(0)[-1]) != str(best)
    assert best.exists()


def test_a_trial_without_a_whole_checkpoint_begins_anew(driver: Driver) -> None:
    driver.ledger.next()
    driver.report(0, 1, 5.0)
    driver.report(0, 2, 6.0)
    for path in driver.paths(0):
        shutil.rmtree(path)
    leg = driver.begin().next()
    assert leg is not None
    assert (leg.trial, leg.resume, leg.inherit) == (0, None, None)
    assert [event.data["from_step"] for event in driver.events("trial.requeued")] == [0]
    assert driver.paths(0) == []


def test_a_trial_does_not_go_on_from_the_best_of_another_life(tmp_path: Path) -> None:
    """Trial 0 has inherited: its best checkpoint has other weights than those that its life began with."""
    script = (Start(), Start(), Resume(0, "worse", donor=1, params={"x": 0.9}))
    driver = Driver(tmp_path, lambda: Scripted(*script))
    driver.ledger.next()
    driver.ledger.next()
    driver.report(0, 1, 5.0)
    driver.report(1, 1, 1.0)
    driver.ledger.next()
    driver.report(0, 2, 6.0, generation=1)
    best, last = driver.paths(0)
    assert "generation-1" in str(last)
    shutil.rmtree(last)
    ledger = driver.begin()
    assert best.exists()
    assert ledger.trials[0].last is None


def test_a_damaged_best_checkpoint_is_told_and_the_trial_goes_on_from_its_last(driver: Driver) -> None:
    driver.ledger.next()
    driver.report(0, 1, 5.0)
    driver.report(0, 2, 6.0)
    best, last = driver.paths(0)
    shutil.rmtree(best)
    leg = driver.begin().next()
    assert leg is not None
    assert leg.resume == str(last)
    assert [event.data["step"] for event in driver.events("checkpoint.damaged")] == [1]
    driver.report(0, 3, 4.0)
    assert driver.paths(0)[-1].name == "step-3"


def test_a_damage_is_told_once(driver: Driver) -> None:
    driver.ledger.next()
    driver.report(0, 1, 5.0)
    shutil.rmtree(driver.paths(0)[0])
    for _ in range(3):
        driver.begin()
    assert len(driver.events("checkpoint.damaged")) == 1
    assert [event.data["differences"] for event in driver.events("study.resumed")] == [0, 0, 0]


def test_an_heir_whose_donors_checkpoint_is_damaged_has_nothing_to_start_from(tmp_path: Path) -> None:
    script = (Start(), Start(), Resume(0, "worse", donor=1, params={"x": 0.9}))
    driver = Driver(tmp_path, lambda: Scripted(*script))
    driver.ledger.next()
    driver.ledger.next()
    driver.report(0, 1, 5.0)
    driver.report(1, 1, 1.0)
    leg = driver.ledger.next()
    assert leg is not None
    assert leg.inherit == str(driver.paths(1)[0])
    shutil.rmtree(driver.paths(1)[0])
    ledger = driver.begin()
    assert sorted(event.trial or 0 for event in driver.events("checkpoint.damaged")) == [0, 1]
    leg = ledger.next()
    assert leg is not None
    assert (leg.trial, leg.generation, leg.params, leg.resume, leg.inherit) == (0, 1, {"x": 0.9}, None, None)


# -- the specification ------------------------------------------------------------------------------------
def test_a_driver_begins_with_the_first_specification_and_changes_it_where_the_last_one_did(driver: Driver) -> None:
    driver.ledger.next()
    for trials in (7, 6):
        driver.store.steer("s", Verb.CHANGE, {"changes": {"budget.trials": trials}}, who="ann")
    first, second = driver.store.commands("s")
    driver.ledger.orders.obey(first)
    study = driver.store.study("s")
    assert (study.spec.budget.trials, begin_spec(study, driver.store).budget.trials) == (6, 5)
    ledger = driver.begin()
    assert ledger.spec.budget.trials == 7
    assert list(driver.store.commands("s")) == [second]
    ledger.orders.obey(second)
    assert driver.begin().spec == study.spec


def test_a_study_that_nobody_changed_begins_with_its_own_specification() -> None:
    store = open_store("memory://")
    study = store.create_study(spec())
    store.steer("s", Verb.ENQUEUE, {"params": [{"lr": 0.5, "size": 1}], "retry_of": [None]}, who="ann")
    assert begin_spec(study, store) == study.spec


# -- a pause ----------------------------------------------------------------------------------------------
def test_trials_at_work_are_shown_as_paused_and_the_next_driver_takes_them_up_first(tmp_path: Path) -> None:
    driver = Driver(tmp_path, lambda: Scripted(Start(), Start(), Start(), None))
    for _ in range(3):
        driver.ledger.next()
    driver.report(0, 1, 5.0)  # its scheduler has paused it
    driver.report(1, 1, 5.0)
    driver.ledger.apply(Resume(1))
    driver.report(1, 2, 4.0)
    driver.ledger.orders.obey(Command(study="s", verb=Verb.PAUSE, who="ann", requested_at=0.0, id=1))
    pause(driver.ledger)
    assert {trial.state for trial in driver.store.trials("s").items} == {TrialState.PAUSED}
    reasons = {event.trial: event.data["reason"] for event in driver.events("trial.paused")}
    assert (reasons[1], reasons[2]) == ("the study is paused by ann",) * 2
    driver.store.set_study_state("s", StudyState.PAUSED)
    ledger = driver.begin()
    states = {trial.number: trial.state for trial in driver.store.trials("s").items}
    assert states == {0: TrialState.PAUSED, 1: TrialState.RUNNING, 2: TrialState.PENDING}
    assert [event.data["requeued"] for event in driver.events("study.resumed")] == [[1, 2]]
    legs = [ledger.next(), ledger.next()]
    assert [leg.trial for leg in legs if leg] == [1, 2]
