"""Ray Tune's controller over leases: its real loop, a real Conductor and Ledger, and workers that train in one thread.

What it rests on in Tune fails here when Tune changes.
"""

from __future__ import annotations

import inspect
import re
import types
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ray.tune.execution.tune_controller import TuneController

from hpo import registry, specfile
from hpo.engine.adapters import ScheduleAdapter, SearchAdapter
from hpo.engine.conductor import Caller, Conductor
from hpo.engine.lease import TrialLease
from hpo.engine.messages import Assignment, Failure, Hello, Left, Next, Reported
from hpo.engine.tuner import Leases, _Controller, tune
from hpo.ledger import Ledger
from hpo.spec import StudySpec
from hpo.trial import Event, FailureCause, Measurement, Row, Trial, TrialState


def spec(scheduler: dict[str, Any], *, trials: int = 12, steps: int = 9) -> StudySpec:
    return specfile.parse(
        {
            "name": "s",
            "trainable": "probe:curve",
            "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": trials, "steps_per_trial": steps},
            "search": {"algorithm": "random"},
            "scheduler": scheduler,
        }
    )


class Workers:
    """Groups of one worker each; each turn all of them take what they have been given, and train one step."""

    def __init__(self, num_groups: int, fails: frozenset[int] = frozenset()) -> None:
        self.conductor = Conductor(self._send, world_size=1, max_losses=0)
        self._fails = fails
        self._given: list[tuple[Caller, object]] = []
        self._at: dict[Caller, tuple[Assignment, int]] = {}
        self._turns: Counter[Caller] = Counter()
        self._greeted: set[Caller] = set()
        self.most_at_once = 0
        self.home = 0
        """Groups that were sent home."""
        self.start(range(num_groups))

    def start(self, groups: Iterable[int]) -> None:
        for group in groups:
            self._ask(Caller(group, self.conductor.begin(group), 0), Hello())

    def _send(self, caller: Caller, answer: object) -> None:
        self._given.append((caller, answer))

    def _ask(self, caller: Caller, request: Any) -> None:
        self.conductor.ask(caller, request)

    def turn(self, seconds: float) -> None:
        given, self._given = self._given, []
        for caller, answer in given:
            self._step(caller, answer)

    def _step(self, caller: Caller, answer: object) -> None:
        assignment, step = self._at.get(caller, (None, 0))
        if isinstance(answer, Assignment):
            assignment, step = answer, int(answer.checkpoint or 0)
            self._turns[caller] = answer.turn
        elif answer is None and caller in self._greeted:
            self.home += 1
            return
        elif assignment is None or answer is None:
            self._greeted.add(caller)
            self._ask(caller, Next(self._turns[caller]))
            return
        elif answer is False:  # it must leave, or has left
            del self._at[caller]
            self._ask(caller, Left(assignment.job, None) if step else Next(self._turns[caller]))
            return
        if assignment.trial in self._fails and step == 1:
            self._at[caller] = assignment, 0
            self._ask(caller, Left(assignment.job, Failure(message="it fails", cause=FailureCause.ERROR)))
            return
        self._at[caller] = assignment, step + 1
        self.most_at_once = max(self.most_at_once, len(self._at))
        loss = float(assignment.params["x"]) + 1 / (step + 1)
        self._ask(caller, Reported(job=assignment.job, step=step + 1, metrics={"loss": loss}, checkpoint=None))


def search(spec: StudySpec, folder: Path, *, groups: int = 3, fails: frozenset[int] = frozenset()) -> list[Row]:
    rows: list[Row] = []
    searcher, scheduler = registry.pair(spec)
    ledger = Ledger(spec, searcher, scheduler, write=rows.extend, drop_checkpoint=print)
    workers = Workers(groups, fails)
    leases = Leases(workers.conductor, workers.turn, TrialLease)
    turns = iter(range(10_000))

    def poll() -> None:
        assert next(turns, None) is not None, "it does not come to its end"

    tune(
        SearchAdapter(ledger, {}, lambda: groups),
        ScheduleAdapter(ledger, workers.conductor.cancel, poll, lambda: groups),
        leases,
        folder / "tune",
    )
    assert ledger.is_done
    assert leases.num_total_actors == 0
    assert workers.most_at_once == groups
    return rows


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what asks a cluster for its resources is left out."""
    nothing = types.SimpleNamespace(update_avail_resources=lambda: None)
    monkeypatch.setattr("ray.tune.execution.tune_controller._ResourceUpdater", lambda seconds: nothing)


def test_every_trial_is_trained_to_its_end_once(tmp_path: Path) -> None:
    rows = search(spec({"algorithm": "fifo"}), tmp_path)
    steps = Counter((row.trial, row.step) for row in rows if isinstance(row, Measurement))
    assert steps == {(trial, step): 1 for trial in range(12) for step in range(1, 10)}
    last = {row.number: row.state for row in rows if isinstance(row, Trial)}
    assert set(last.values()) == {TrialState.COMPLETED}


def test_what_a_scheduler_stops_trains_nothing_past_its_stop(tmp_path: Path) -> None:
    rows = search(spec({"algorithm": "asha", "reduction_factor": 3}), tmp_path)
    last = {row.number: row for row in rows if isinstance(row, Trial)}
    stopped = [trial for trial in last.values() if trial.state is TrialState.STOPPED]
    assert len(last) == 12
    assert stopped
    for trial in stopped:
        reported = [row.step for row in rows if isinstance(row, Measurement) and row.trial == trial.number]
        assert reported == list(range(1, trial.step + 1))


def test_a_trial_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    rows = search(spec({"algorithm": "fifo"}), tmp_path, fails=frozenset({4, 7}))
    last = {row.number: row.state for row in rows if isinstance(row, Trial)}
    assert {number for number, state in last.items() if state is TrialState.FAILED} == {4, 7}
    assert len(last) == 12
    assert [row.kind for row in rows if isinstance(row, Event) and row.kind == "trial.failed"] == ["trial.failed"] * 2


def test_a_study_that_may_train_nothing_lets_its_groups_go_and_hears_when_it_may_again(tmp_path: Path) -> None:
    rows: list[Row] = []
    given = spec({"algorithm": "fifo"})
    searcher, scheduler = registry.pair(given)
    ledger = Ledger(given, searcher, scheduler, write=rows.extend, drop_checkpoint=print)
    workers, groups, polls = Workers(3), [3], [0]

    def poll() -> None:
        polls[0] += 1
        assert polls[0] < 10_000, "it does not come to its end"
        if groups == [3] and ledger.progress.steps > 10:
            groups[0] = 0
            workers.conductor.retire(3)
            schedule.preempt(0)
        elif groups == [0] and workers.home == 3:
            groups[0] = 2
            workers.start(range(3, 5))

    schedule = ScheduleAdapter(ledger, workers.conductor.cancel, poll, lambda: groups[0])
    leases = Leases(workers.conductor, workers.turn, TrialLease)
    tune(SearchAdapter(ledger, {}, lambda: groups[0]), schedule, leases, tmp_path / "tune")
    assert workers.home == 3
    assert ledger.is_done


def test_tune_uses_no_more_of_its_manager_of_actors_than_leases_have() -> None:
    used = set(re.findall(r"self\._actor_manager\.(\w+)", inspect.getsource(TuneController)))
    missing = {name for name in used if not hasattr(Leases, name)}
    assert missing == {"_actor_task_events"}, "that is for exports, which we have none of"


def test_tune_writes_no_state_of_its_own(tmp_path: Path) -> None:
    search(spec({"algorithm": "fifo"}, trials=3, steps=1), tmp_path)
    assert _Controller.checkpoint is not TuneController.checkpoint
    assert list(tmp_path.rglob("experiment_state*")) == []
