"""The driver is killed; another one goes on with the study on a real Ray head."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from typing import Any

import pytest

from hpo import registry
from hpo.ledger import Ledger
from hpo.replay import Replay
from hpo.specfile import parse
from hpo.store import open_store
from hpo.trial import Decision, Event, Measurement, StudyState

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NUM_KILLS = int(os.environ.get("HPO_TEST_KILLS", "1"))
"""How often each study's driver is killed; 3 takes two minutes more."""
STUDIES: dict[str, dict[str, Any]] = {
    "asha and optuna": {
        "scheduler": {"algorithm": "asha", "reduction_factor": 2},
        "search": {"algorithm": "optuna", "startup_trials": 3},
        "budget": {"trials": 12, "steps_per_trial": 8},
    },
    "pbt and hyperopt": {
        "scheduler": {"algorithm": "pbt", "population": 5, "interval_steps": 2},
        "search": {"algorithm": "hyperopt", "startup_trials": 3},
        "budget": {"trials": 8, "steps_per_trial": 10},
    },
    "genetic": {
        "scheduler": {"algorithm": "genetic", "inherit": False},
        "search": {"algorithm": "genetic"},
        "budget": {"trials": 64, "steps_per_trial": 4},  # the kill leaves more than 50 proposals to make
    },
    "genetic with inheritance": {
        "scheduler": {"algorithm": "genetic", "population": 5, "interval_steps": 2},
        "search": {"algorithm": "genetic"},
        "budget": {"trials": 8, "steps_per_trial": 10},
    },
}
PARAMETERS = {
    "x": {"type": "float", "low": 0, "high": 1, "mutable": True},
    "kind": {"type": "categorical", "choices": ["a", "b"]},
    "depth": {"type": "int", "low": 1, "high": 5, "when": {"kind": ["b"]}},
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("asha and optuna", marks=pytest.mark.long),
        pytest.param("pbt and hyperopt", marks=pytest.mark.long),
        "genetic",
        pytest.param("genetic with inheritance", marks=pytest.mark.long),
    ],
)
def test_a_killed_driver_costs_no_measurement_and_changes_no_decision(runner, tmp_path, name):
    trained = tmp_path / "trained"
    changes = {
        **STUDIES[name],
        "parameters": PARAMETERS,
        "forbidden": [{"kind": "b", "depth": 3}],
        "fixed": {"seconds": 0.15, "trained": str(trained)},
        "concurrency": 2,
    }
    driver = runner.start(**changes)
    store = open_store(runner.url)
    rng = random.Random(name)
    seen = 0
    for _ in range(NUM_KILLS):
        seen += rng.randint(5, 10)
        deadline = time.monotonic() + 120
        while len(store.measurements("probe", page_size=1000).items) < seen and time.monotonic() < deadline:
            time.sleep(0.02)
        assert driver.poll() is None, driver.communicate()[0]
        os.kill(driver.pid, signal.SIGKILL)
        driver.communicate()
        driver = runner.drive()
    store.close()
    done = runner.finish(driver)
    assert done.study.state is StudyState.SUCCEEDED, done.output
    resumed = [row for row in done.history if isinstance(row, Event) and row.kind == "study.resumed"]
    assert [event.data["differences"] for event in resumed] == [0] * NUM_KILLS

    keys = [(row.trial, row.generation, row.step) for row in done.history if isinstance(row, Measurement)]
    decided = [(row.trial, row.generation, row.step) for row in done.history if isinstance(row, Decision)]
    assert len(set(keys)) == len(keys)
    assert keys == decided
    assert len(done.trials) == changes["budget"]["trials"]
    assert all(trial.state.is_final for trial in done.trials)
    again = Counter(trained.read_text().splitlines())
    assert max(again.values()) <= 1 + NUM_KILLS

    # The whole history, told to fresh objects as if nobody had been killed, gives every answer as it is recorded.
    spec = parse(runner.spec(**changes))
    replay = Replay(Ledger(spec, *registry.pair(spec), write=lambda rows: None))
    replay.run(done.history)
    assert replay.differences == []
    if name in ("pbt and hyperopt", "genetic with inheritance"):
        assert done.inheritances, "somebody went on from another's weights"
    left = (runner.folder / "storage" / "probe").rglob("step-*")
    assert {str(path) for path in left} == {checkpoint.path for checkpoint in done.checkpoints}
