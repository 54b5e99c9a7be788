"""The recorder as it hears commands, turn by turn and without its thread, over a store that fails on demand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from conformance.store_values import event, spec

from hpo.engine import recorder as module
from hpo.engine.recorder import Recorder
from hpo.errors import StoreError
from hpo.steering import Command, Verb
from hpo.store.memory import MemoryStore
from hpo.trial import Lease, Row


class Flaky(MemoryStore):
    """Doesn't answer where it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False

    def write(self, lease: Lease, rows: Sequence[Row]) -> None:
        self._answer()
        super().write(lease, rows)

    def commands(self, name: str, *, done: bool = False) -> Sequence[Command]:
        self._answer()
        return super().commands(name, done=done)

    def _answer(self) -> None:
        if self.is_away:
            raise StoreError("it is away")


@pytest.fixture
def store() -> Flaky:
    store = Flaky()
    store.create_study(spec())
    return store


@pytest.fixture
def recorder(store: Flaky, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(module, "LISTEN_SECONDS", 0.0)
    return Recorder(store, store.claim("s", holder="h", lease_seconds=60))


def ask(store: Flaky, *verbs: Verb) -> None:
    for verb in verbs:
        data = {"trial": 0} if verb is Verb.STOP_TRIAL else {"changes": {"priority": store.study("s").version}}
        store.steer("s", verb, data if verb in (Verb.STOP_TRIAL, Verb.CHANGE) else None, who="ann")


def heard(recorder: Recorder) -> list[Verb]:
    found = []
    while (command := recorder.command()) is not None:
        found.append(command.verb)
    return found


def test_each_command_is_heard_once_in_its_order(store: Flaky, recorder: Recorder) -> None:
    ask(store, Verb.STOP_TRIAL, Verb.CHANGE)
    assert recorder._tick()
    ask(store, Verb.PAUSE)
    assert recorder._tick()
    assert recorder._tick()
    assert heard(recorder) == [Verb.STOP_TRIAL, Verb.CHANGE, Verb.PAUSE]
    assert recorder._tick()
    assert heard(recorder) == [], "they wait in the store until their lines are written"
    assert len(store.commands("s")) == 3


def test_what_an_earlier_driver_has_done_is_not_heard_again(store: Flaky, recorder: Recorder) -> None:
    ask(store, Verb.STOP_TRIAL, Verb.CHANGE)
    recorder.write([event("command.done", data={"command": store.commands("s")[0].id})])
    recorder._tick()
    assert heard(recorder) == [Verb.CHANGE]


def test_a_store_that_is_away_costs_no_command_and_doubles_none(store: Flaky, recorder: Recorder) -> None:
    ask(store, Verb.STOP_TRIAL)
    recorder._tick()
    recorder.write([event()])
    store.is_away = True
    ask(store, Verb.CHANGE)
    assert not recorder._tick()
    assert heard(recorder) == [Verb.STOP_TRIAL]
    store.is_away = False
    assert recorder._tick()
    assert recorder._tick()
    assert heard(recorder) == [Verb.CHANGE]
    assert [line.kind for line in store.events("s")].count("trial.reported") == 1


def test_it_does_not_ask_at_every_turn(store: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTEN_SECONDS", 3600.0)
    recorder = Recorder(store, store.claim("s", holder="h", lease_seconds=60))
    ask(store, Verb.STOP_TRIAL)
    monkeypatch.setattr(recorder, "_listened_at", -1e9)  # whatever the machine's clock counts from
    recorder._tick()
    ask(store, Verb.CHANGE)
    recorder._tick()
    assert heard(recorder) == [Verb.STOP_TRIAL]


def test_a_driver_that_has_lost_its_lease_hears_no_more(store: Flaky, recorder: Recorder) -> None:
    store.revoke("s", holder="h")
    store.claim("s", holder="other", lease_seconds=60)
    ask(store, Verb.STOP_TRIAL)
    recorder.write([event()])
    recorder._tick()
    assert (recorder.lost, heard(recorder)) == (True, [])


def test_while_it_closes_it_writes_and_takes_no_more_commands(store: Flaky, recorder: Recorder) -> None:
    with recorder:
        recorder._closing.set()
        ask(store, Verb.CANCEL)
        recorder.write([event("command.done", data={"command": 0})])
    assert heard(recorder) == []
    assert store.events("s")[-1].kind == "command.done"
    assert [command.verb for command in store.commands("s")] == [Verb.CANCEL]
