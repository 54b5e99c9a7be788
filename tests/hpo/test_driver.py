"""What a driver does with the commands that wait for it. The store is one in memory, and the engine is a stub that
says how a run came to its end: `run_study` itself needs a cluster (`tests/integration`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conformance.store_values import spec, trial

from hpo.driver import drive
from hpo.engine import run as engine
from hpo.engine.run import Outcome
from hpo.errors import LeaseHeldError, LeaseLostError
from hpo.orders import Ending
from hpo.protocols import Store
from hpo.steering import Verb
from hpo.store import open_store
from hpo.trial import Lease, Study, StudyState, TrialState


@dataclass
class Engine:
    """In the place of `run_study`."""

    meanwhile: Callable[[], None] = lambda: None
    outcome: Outcome = field(default_factory=lambda: Outcome(trial(0, value=1.0), None, None))
    runs: list[Study] = field(default_factory=list)

    def __call__(self, study: Study, store: Store, lease: Lease, storage: Path, **options: Any) -> Outcome:
        self.runs.append(study)
        self.meanwhile()
        return self.outcome


@pytest.fixture
def store() -> Store:
    store = open_store("memory://")
    store.create_study(spec())
    return store


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Engine:
    stub = Engine()
    monkeypatch.setattr(engine, "run_study", stub)
    monkeypatch.setenv("HPO_JOB", "hpo-s-1")
    return stub


def asked(store: Store, *verbs: Verb, value: float | None = None) -> None:
    """Leave commands that wait, as a driver does that dies before it hears of them."""
    lease = store.claim("s", holder="hpo-s-1", lease_seconds=60)
    store.set_study_state("s", StudyState.RUNNING, lease=lease)
    store.write(lease, [trial(0, state=TrialState.RUNNING, value=value)])
    for verb in verbs:
        store.steer("s", verb, who="ann")
    assert len(store.commands("s")) == len(verbs)
    store.release(lease)


def states(store: Store) -> list[str]:
    return [event.kind.removeprefix("study.") for event in store.events("s") if event.kind.startswith("study.")]


def is_free(store: Store) -> bool:
    store.release(store.claim("s", holder="another", lease_seconds=60))
    return True


@pytest.mark.parametrize(("verbs", "value", "ends", "message"), [
    ([Verb.PAUSE], None, ["paused"], "pause was asked for by ann"),
    ([Verb.CANCEL], 1.0, ["cancelled"], "cancel was asked for by ann"),
    ([Verb.STOP], 1.0, ["succeeded"], "stop was asked for by ann"),
    ([Verb.STOP], None, ["cancelled"], "stop was asked for by ann"),
    ([Verb.PAUSE, Verb.CANCEL], 1.0, ["paused", "cancelled"], "cancel was asked for by ann"),
    ([Verb.CANCEL, Verb.PAUSE], 1.0, ["cancelled"], "cancel was asked for by ann"),
])  # fmt: skip
def test_a_study_that_is_to_pause_or_end_is_not_begun_again(
    store: Store, run: Engine, tmp_path: Path, verbs: list[Verb], value: float | None, ends: list[str], message: str
) -> None:
    asked(store, *verbs, value=value)
    study = drive(store, "s", tmp_path)
    assert (study.state, study.message) == (ends[-1], message)
    assert states(store)[2:] == ends
    assert (run.runs, is_free(store)) == ([], True)
    done = [event.data["verb"] for event in store.events("s") if event.kind == "command.done"]
    assert sorted(done) == sorted(verbs), "also what came too late"


def test_other_commands_wait_for_the_run(store: Store, run: Engine, tmp_path: Path) -> None:
    lease = store.claim("s", holder="dead", lease_seconds=60)
    store.steer("s", Verb.CHANGE, {"changes": {"priority": 1}}, who="ann")
    store.release(lease)
    run.meanwhile = lambda: waiting.extend(store.commands("s"))
    waiting: list[Any] = []
    assert drive(store, "s", tmp_path).state is StudyState.SUCCEEDED
    assert [command.verb for command in waiting] == [Verb.CHANGE]
    assert [study.state for study in run.runs] == ["running"]


@pytest.mark.parametrize("state", [StudyState.PAUSED, StudyState.FAILED])
def test_a_study_that_is_paused_or_over_is_left_as_it_is(
    store: Store, run: Engine, tmp_path: Path, state: StudyState
) -> None:
    before = store.set_study_state("s", state, message="why"), store.events("s")
    assert drive(store, "s", tmp_path) == before[0]
    assert (store.study("s"), store.events("s"), run.runs, is_free(store)) == (*before, [], True)


@pytest.mark.parametrize(("verb", "best", "state"), [
    (Verb.PAUSE, 1.0, StudyState.PAUSED), (Verb.STOP, 1.0, StudyState.SUCCEEDED),
    (Verb.STOP, None, StudyState.CANCELLED), (Verb.CANCEL, 1.0, StudyState.CANCELLED),
])  # fmt: skip
def test_a_command_is_done_in_the_write_of_the_state_that_it_asked_for(
    store: Store, run: Engine, tmp_path: Path, verb: Verb, best: float | None, state: StudyState
) -> None:
    def meanwhile() -> None:
        store.steer("s", verb, who="ann")
        [command] = store.commands("s")
        ending = Ending(verb, "so it was asked", command)
        run.outcome = Outcome(trial(0, value=best) if best is not None else None, ending.message, None, ending)

    run.meanwhile = meanwhile
    study = drive(store, "s", tmp_path)
    assert (study.state, study.message) == (state, "so it was asked")
    assert [event.kind for event in store.events("s")][-2:] == [f"study.{state}", "command.done"]
    assert (list(store.commands("s")), is_free(store)) == ([], True)


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.CANCEL])
def test_a_study_that_is_ended_while_it_is_about_to_pause_ends(
    store: Store, run: Engine, tmp_path: Path, verb: Verb
) -> None:
    """The driver listens no more by then, and a paused study gets no other driver."""

    def meanwhile() -> None:
        store.steer("s", Verb.PAUSE, who="ann")
        [command] = store.commands("s")
        store.steer("s", verb, who="bob")
        run.outcome = Outcome(None, None, None, Ending(Verb.PAUSE, "paused by ann", command))

    run.meanwhile = meanwhile
    assert drive(store, "s", tmp_path).state is StudyState.CANCELLED
    assert states(store)[-2:] == ["paused", "cancelled"]
    assert list(store.commands("s")) == []


def test_a_study_that_pauses_by_itself_takes_a_pause_that_waits_along_and_can_be_resumed(
    store: Store, run: Engine, tmp_path: Path
) -> None:
    run.meanwhile = lambda: store.steer("s", Verb.PAUSE, who="ann") and None
    run.outcome = Outcome(None, None, None, Ending(Verb.PAUSE, "the disk is full"))
    study = drive(store, "s", tmp_path)
    assert study.state is StudyState.PAUSED
    assert list(store.commands("s")) == []
    assert store.steer("s", Verb.RESUME, who="ann").state is StudyState.QUEUED


def test_a_driver_that_was_taken_over_writes_nothing_more(store: Store, run: Engine, tmp_path: Path) -> None:
    run.outcome = Outcome(None, None, None, Ending(Verb.CANCEL, "cancelled"), taken_over=True)
    with pytest.raises(LeaseLostError, match="another driver has taken over"):
        drive(store, "s", tmp_path)
    assert states(store)[-1] == "running"


def test_a_study_that_another_drives_is_left_to_it(store: Store, run: Engine, tmp_path: Path) -> None:
    lease = store.claim("s", holder="another", lease_seconds=60)
    with pytest.raises(LeaseHeldError):
        drive(store, "s", tmp_path)
    store.write(lease, [trial(0)])
    assert run.runs == []
