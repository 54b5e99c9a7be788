"""What a ledger does with a scheduler's choices: pause, resume, inherit, drop; and after a driver's death."""

from __future__ import annotations

from hpo.protocols import Drop, Resume, Start
from hpo.trial import (
    Action,
    Inheritance,
    TrialState,
)
from tests.hpo.ledger_book import Book, Scripted


def test_a_paused_trial_gives_its_place_away_and_goes_on_from_its_checkpoint():
    book = Book(Scripted(Start(), Start(), None, Resume(0, "its turn")))
    book.ledger.next()
    assert book.ledger.report(0, 1, {"loss": 1.0}, checkpoint=("/0", 1)) is Action.PAUSE
    assert book.trial(0).state is TrialState.PAUSED
    second = book.ledger.next()
    assert second is not None
    assert second.trial == 1
    assert book.ledger.next() is None, "the scheduler waits"
    assert book.ledger.progress.error is None
    leg = book.ledger.next()
    assert leg is not None
    assert (leg.trial, leg.resume, leg.inherit) == (0, "/0", None)
    assert book.trial(0).state is TrialState.RUNNING
    assert book.ledger.report(0, 1, {"loss": 99.0}) is Action.CONTINUE, "the step that it repeats counts once"
    assert book.ledger.report(0, 2, {"loss": 0.5}) is Action.CONTINUE


def test_an_inheritance_is_an_edge_of_the_family_tree_and_the_donors_checkpoint_stays_until_it_is_not_needed():
    book = Book(Scripted(Start(), Start(), Resume(0, "worse", donor=1, params={"x": 0.9}), Resume(1)))
    book.ledger.next()
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 5.0}, checkpoint=("/0-1", 1))
    book.ledger.report(1, 1, {"loss": 1.0}, checkpoint=("/1-1", 1))
    leg = book.ledger.next()
    assert leg is not None
    assert (leg.trial, leg.generation, leg.params, leg.resume, leg.inherit) == (0, 1, {"x": 0.9}, None, "/1-1")
    (edge,) = book.of(Inheritance)
    assert (edge.trial, edge.generation, edge.donor, edge.donor_generation, edge.step) == (0, 1, 1, 0, 1)
    trial = book.trial(0)
    assert (trial.parent, trial.generation, trial.step, trial.params) == (1, 1, 1, {"x": 0.9})
    assert (trial.value, trial.best_params) == (5.0, {"x": 0.0}), "its best value is of its old configuration"
    book.ledger.next()
    book.ledger.report(1, 2, {"loss": 0.9}, checkpoint=("/1-2", 1))
    assert "/1-1" not in book.dropped, "trial 0 has nothing else to start from"
    assert book.ledger.report(0, 1, {"loss": 3.0}, generation=0) is Action.STOP, "a report of its former life"
    book.ledger.report(0, 2, {"loss": 0.8}, generation=1, checkpoint=("/0-2", 1))
    assert "/1-1" in book.dropped
    trial = book.trial(0)
    assert (trial.value, trial.value_generation, trial.best_params) == (0.8, 1, {"x": 0.9})


def test_without_a_checkpoint_of_the_donors_a_trial_goes_on_with_its_own_weights_and_says_why():
    book = Book(Scripted(Start(), Start(), Resume(0, "worse", donor=1, params={"x": 0.9})))
    book.ledger.next()
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 5.0})
    leg = book.ledger.next()
    assert leg is not None
    assert (leg.trial, leg.generation, leg.params) == (0, 0, {"x": 0.0})
    (event,) = book.events("trial.resumed")
    assert event.data["message"] == "trial 1 has no checkpoint to inherit"


def test_a_dropped_trial_is_stopped_with_the_schedulers_reason():
    book = Book(Scripted(Start(), Drop(0, "not among the best"), Start()))
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 1.0})
    leg = book.ledger.next()
    assert leg is not None
    assert leg.trial == 1
    assert (book.trial(0).state, book.trial(0).message) == (TrialState.STOPPED, "not among the best")


def test_a_scheduler_that_waits_for_nothing_fails_the_study_instead_of_hanging():
    book = Book(Scripted(Start()))
    book.ledger.next()
    book.ledger.report(0, 1, {"loss": 1.0})
    assert book.ledger.next() is None
    assert "waits for ever" in (book.ledger.progress.error or "")


def test_what_a_dead_driver_was_training_comes_first_and_from_its_last_checkpoint():
    book = Book()
    book.ledger.next()
    book.ledger.next()
    book.ledger.report(1, 1, {"loss": 1.0}, checkpoint=("/1", 1))
    assert book.ledger.requeue() == [0, 1]
    legs = [book.ledger.next() for _ in range(3)]
    assert [(leg.trial, leg.resume) for leg in legs if leg] == [(0, None), (1, "/1"), (2, None)]
