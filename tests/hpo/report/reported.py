"""Studies in a store, for the tests of reports: simulated ones, and one by hand."""

from __future__ import annotations

import math
import random
from typing import Any

from hpo import specfile
from hpo.protocols import Store
from hpo.simulate import Conditions, SimulatedCluster
from hpo.spec import StudySpec
from hpo.store.memory import MemoryStore
from hpo.trial import Params, StudyState

SPEC: dict[str, Any] = {
    "name": "headlines",
    "trainable": "mine:train",
    "parameters": {
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        "hidden": {"type": "int", "low": 16, "high": 512, "log": True},
        "dropout": {"type": "float", "low": 0, "high": 0.6},
        "cell": {"type": "categorical", "choices": ["gru", "lstm"]},
        "tied": {"type": "bool"},
    },
    "objective": {"metric": "perplexity", "direction": "minimize"},
    "search": {"algorithm": "random"},
    "scheduler": {"algorithm": "asha", "grace_steps": 1},
    "budget": {"trials": 80, "steps_per_trial": 27},
}


def evaluate(params: Params, from_step: int, to_step: int, rng: random.Random) -> tuple[dict[str, float], float]:
    """The learning rate matters most, then the hidden size; `tied` not at all. One report in 500 isn't finite."""
    lr, hidden = float(params["lr"]), float(params["hidden"])
    value = 35 + 20 * abs(math.log10(lr) + 2.2) + 900 / hidden + 300 * math.exp(-to_step / 4) + rng.gauss(0, 0.7)
    return {"perplexity": math.nan if rng.random() < 0.002 else value, "size": 1000 * hidden}, 20 + hidden / 20


def recorded(**changes: Any) -> tuple[Store, StudySpec]:
    """A study that was simulated to its end, in a store."""
    spec = specfile.parse({**SPEC, **changes})
    # A death after the end, so that the simulator keeps the history.
    cluster = SimulatedCluster(spec, evaluate, 8, seed=1, conditions=Conditions(driver_deaths=(1e12,)))
    cluster.run()
    store = MemoryStore()
    store.create_study(spec)
    lease = store.claim(spec.name, holder="test", lease_seconds=1e6)
    store.set_study_state(spec.name, StudyState.RUNNING)
    store.write(lease, [each.trial for each in cluster.trials()])
    for start in range(0, len(cluster.history), 500):
        store.write(lease, cluster.history[start : start + 500])
    store.set_study_state(spec.name, StudyState.SUCCEEDED)
    return store, spec
