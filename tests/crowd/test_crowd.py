"""Worker processes that are killed and restarted at random, and the service with them, over a real PostgreSQL:
`pytest -m long -s tests/crowd` runs all of it and says what was seen."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from crowd.scene import Crowd
from postgres import running_postgres


@pytest.mark.parametrize(
    ("workers", "trials", "api_kills", "kill_seconds"),
    [
        pytest.param(8, 60, 1, 0.3, id="8 workers", marks=pytest.mark.slow),
        pytest.param(50, 2000, 3, 0.5, id="50 workers", marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
    ],
)
def test_each_budgeted_trial_runs_once_and_none_is_lost_whoever_is_killed(
    tmp_path: Path, workers: int, trials: int, api_kills: int, kill_seconds: float
) -> None:
    with running_postgres() as postgres, Crowd(tmp_path, postgres.create_database(), workers=workers) as crowd:
        found = crowd.play(trials=trials, api_kills=api_kills, kill_seconds=kill_seconds, limit_seconds=1000)
    print(asdict(found))
    assert found.faults == []
    assert (found.trials, found.api_kills) == (trials, api_kills)
    assert found.worker_kills > 0
