"""The examples of workers of one's own, against a real service, without Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.client import Client
from hpo import specfile
from hpo.protocols import Store
from hpo.trial import StudyState

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "ask_and_tell"


@pytest.mark.parametrize(
    ("spec", "command"),
    [
        ("study.toml", [sys.executable, EXAMPLES / "sklearn_worker.py"]),
        ("shell.toml", ["sh", EXAMPLES / "worker.sh"]),
    ],
    ids=["scikit-learn", "shell"],
)
def test_an_example_searches_a_study_to_its_end(
    client: Client, store: Store, server: str, token: str, spec: str, command: list[str | Path]
) -> None:
    study = client.create_study(specfile.read_file(EXAMPLES / spec))
    environment = os.environ | {"HPO_URL": server, "HPO_TOKEN": token}
    done = subprocess.run([*command, study.name], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert store.study(study.name).state is StudyState.SUCCEEDED
    trials = store.trials(study.name).items
    assert len(trials) == study.spec.budget.trials
    assert all(trial.value is not None for trial in trials)


def test_no_example_needs_ray() -> None:
    for path in EXAMPLES.iterdir():
        assert "import ray" not in path.read_text(encoding="utf-8")
