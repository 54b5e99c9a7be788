"""A driver that takes over is another process, with other hashes of strings: it must propose the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
SCRIPT = """
from conformance.searcher_play import typed
from conformance.searcher_spaces import CONDITIONAL, FINITE_CONDITIONAL, FORBIDDEN
from conformance.searcher_study import SearcherStudy

for search in [
    {"algorithm": "random"}, {"algorithm": "grid"}, {"algorithm": "sobol"},
    {"algorithm": "optuna", "sampler": "tpe", "startup_trials": 2},
    {"algorithm": "optuna", "sampler": "cmaes"},
    {"algorithm": "optuna", "sampler": "nsgaii"},
    {"algorithm": "optuna", "sampler": "gp", "startup_trials": 2},
    {"algorithm": "hyperopt", "sampler": "tpe", "startup_trials": 2},
    {"algorithm": "hyperopt", "sampler": "anneal"},
]:
    study = SearcherStudy()
    study.search = search
    parameters = FINITE_CONDITIONAL if search["algorithm"] == "grid" else CONDITIONAL
    searcher = study.make(3, parameters=parameters, forbidden=FORBIDDEN)
    num_trials = 7 if search.get("sampler") == "gp" else 30
    for params in study.drive(searcher, num_trials):
        print(search, typed(params))
"""


def proposals(hash_seed: str) -> list[str]:
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
    }
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_another_process_proposes_the_same() -> None:
    first = proposals("1")
    assert len(first) == 8 * 30 + 7
    assert proposals("2") == first
