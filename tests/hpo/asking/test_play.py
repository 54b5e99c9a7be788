"""Many workers of every temper, every searcher and scheduler, and a process that keeps the study and dies again and
again: the budget is spent to the trial, and each step counts once."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hpo.asking.keeper import Suggestion
from hpo.errors import TrialLeaseError
from hpo.store import open_store
from hpo.trial import Action, Decision, Event, FailureCause, Measurement, TrialState
from tests.hpo.asking.bench import Bench

MUTABLE = {"x": {"type": "float", "low": 0, "high": 1, "mutable": True}}
STUDIES: dict[str, dict[str, Any]] = {
    "random and asha": {"scheduler": {"algorithm": "asha", "grace_steps": 1, "reduction_factor": 2}},
    "tpe and asha by promotion": {
        "search": {"algorithm": "optuna", "startup_trials": 4},
        "scheduler": {"algorithm": "asha", "variant": "promotion", "reduction_factor": 2},
    },
    "sobol and hyperband": {"search": {"algorithm": "sobol"}, "scheduler": {"algorithm": "hyperband"}},
    "hyperopt and median": {"search": {"algorithm": "hyperopt"}, "scheduler": {"algorithm": "median"}},
    "grid": {
        "search": {"algorithm": "grid"},
        "parameters": {"x": {"type": "categorical", "choices": [0.1, 0.2, 0.3, 0.4, 0.5]}},
    },
    "genetic rungs": {"search": {"algorithm": "genetic"}, "scheduler": {"algorithm": "genetic"}},
    "genetic population": {
        "search": {"algorithm": "genetic"},
        "parameters": MUTABLE,
        "scheduler": {"algorithm": "genetic", "population": 6, "interval_steps": 2},
    },
    "population": {"parameters": MUTABLE, "scheduler": {"algorithm": "pbt", "population": 6, "interval_steps": 2}},
}


class Crowd:
    """Some workers, by their client ids, each with the trial that it believes to hold."""

    def __init__(self, play: Bench, seed: int) -> None:
        self.play, self.rng = play, random.Random(seed)
        self.holds: dict[str, Suggestion | None] = {f"w{number}": None for number in range(6)}
        self.steps: dict[str, int] = {}
        self.num_refused = 0

    def turn(self) -> None:
        play, rng = self.play, self.rng
        play.now += rng.choice([0.5, 0.5, 0.5, 20.0])
        if rng.random() < 0.05:
            play.kill()
        client = rng.choice(sorted(self.holds))
        trial = self.holds[client]
        if trial is None:
            found = play.ask(client)
            if found:
                self.holds[client] = found[0]
                self.steps[client] = found[0].resume.step if found[0].resume else (found[0].inherit or _NONE).step
            return
        match rng.random():
            case luck if luck < 0.08:
                self.holds[client] = None  # it dies, and starts anew under its name
            case luck if luck < 0.11:
                play.now += 61  # all are silent for too long
            case luck if luck < 0.14:
                self._leave(client, lambda: play.desk.release("s", trial.trial, trial.lease))
            case luck if luck < 0.16 and play.events("incumbent.changed"):
                cause = FailureCause.ERROR
                self._leave(client, lambda: play.desk.complete("s", trial.trial, trial.lease, cause=cause))
            case _:
                self._report(client, trial)

    def _report(self, client: str, trial: Suggestion) -> None:
        step = self.steps[client] + 1
        loss = abs(float(trial.params["x"]) - 0.3) + 1 / step
        saved = f"{trial.trial}/{trial.generation}/{step}" if self.rng.random() < 0.7 else None
        try:
            answer = self.play.report(trial, step, loss, saved)
            if self.rng.random() < 0.3:  # the answer was lost, perhaps with the process that gave it
                if self.rng.random() < 0.5:
                    self.play.kill()
                again = self.play.report(trial, step, loss, saved)
                assert (again.action, again.reason) == (answer.action, answer.reason)
        except TrialLeaseError:
            self.num_refused += 1
            self.holds[client] = None
            return
        self.steps[client] = step
        if answer.action is not Action.CONTINUE:
            self.holds[client] = None

    def _leave(self, client: str, how: Any) -> None:
        self.holds[client] = None
        try:
            how()
        except TrialLeaseError:
            self.num_refused += 1


class _None:
    step = 0


_NONE: Any = _None()


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_each_budgeted_trial_runs_once_and_none_is_lost(name: str, seed: int) -> None:
    play = Bench(open_store("memory://"), **STUDIES[name], budget={"trials": 12, "steps_per_trial": 8})
    crowd = Crowd(play, seed)
    turns = 0
    while not play.study.state.is_final:
        turns += 1
        assert turns < 20_000, play.store.counts("s")
        crowd.turn()
    store = play.store
    trials = play.trials()
    assert [trial.number for trial in trials] == list(range(5 if name == "grid" else 12))
    assert all(trial.state.is_final for trial in trials)
    rows: list[Any] = []
    while page := store.history("s", after=rows[-1][0] if rows else 0):
        rows += page
    of = [row for _, row in rows]
    keys = Counter((row.trial, row.generation, row.step) for row in of if isinstance(row, Measurement))
    assert set(keys.values()) == {1}
    assert sum(keys.values()) == store.counts("s").steps
    decided = [row for row in of if isinstance(row, Decision)]
    assert len(decided) == sum(keys.values())
    created = Counter(row.trial for row in of if isinstance(row, Event) and row.kind == "trial.created")
    assert set(created.values()) == {1}
    ends = Counter(row.trial for row in of if isinstance(row, Event) and row.kind in _ENDS)
    assert set(ends.values()) == {1}
    assert len(ends) == len(trials)
    # Every process that took over came to the answers that were recorded.
    resumed = [row for row in of if isinstance(row, Event) and row.kind == "study.resumed"]
    assert resumed
    assert [row.data["differences"] for row in resumed] == [0] * len(resumed)
    assert crowd.num_refused > 0  # leases were lost on the way


_ENDS = [f"trial.{state.value}" for state in TrialState if state.is_final]


def test_it_is_the_same_on_a_database(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/hpo.db")
    play = Bench(store, **STUDIES["random and asha"], budget={"trials": 8, "steps_per_trial": 4})
    crowd = Crowd(play, 3)
    while not play.study.state.is_final:
        crowd.turn()
    assert len(play.trials()) == 8
    steps = [(row.trial, row.generation, row.step) for row in play.rows() if isinstance(row, Measurement)]
    assert len(steps) == len(set(steps))
    store.close()
