"""Drivers that die between reports and commands: the next one goes on as if nothing had happened."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hpo.trial import TrialState
from tests.hpo.steered_play import Play
from tests.hpo.test_replay import SCHEDULERS, SEARCHERS, study

GENETIC: dict[str, Any] = {"algorithm": "genetic"}
COMBINATIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *((f"{name} random", scheduler, SEARCHERS["random"]) for name, scheduler in SCHEDULERS.items()),
    *((f"asha {name}", SCHEDULERS["asha"], search) for name, search in SEARCHERS.items() if name != "random"),
    ("hyperband optuna", SCHEDULERS["hyperband"], SEARCHERS["optuna"]),
    ("pbt hyperopt", SCHEDULERS["pbt"], SEARCHERS["hyperopt"]),
    ("asha genetic", SCHEDULERS["asha"], GENETIC),
    ("genetic genetic", {"algorithm": "genetic", "inherit": False}, GENETIC),
]
NUM_LIVES, TURNS_A_LIFE, TURNS_TOGETHER = 6, 20, 20


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("scheduler", "search"), [each[1:] for each in COMBINATIONS], ids=[e[0] for e in COMBINATIONS])
def test_a_driver_that_takes_over_a_steered_study_decides_as_the_dead_one_would_have(
    scheduler: dict[str, Any], search: dict[str, Any], seed: int
) -> None:
    spec = study(scheduler, search, trials=30)
    play = Play(spec, random.Random(f"{scheduler} {search} {seed}"))
    for _ in range(NUM_LIVES):
        for _ in range(TURNS_A_LIFE):
            play.turn()
        heir = play.heir()
        assert heir.replay.differences == []
        assert heir.knows() == play.knows()
        for each in (play, heir):
            each.lose_groups()
            for _ in range(TURNS_TOGETHER):
                each.turn()
        assert heir.rows == play.rows
        play = heir
    for _ in range(3000):
        if play.ledger.is_done:
            break
        play.turn(commands=False)
    ledger = play.ledger
    assert ledger.progress.error is None
    assert (ledger.next_number >= ledger.spec.budget.trials, dict(ledger.trials)) == (True, {}), "it never hangs"
    assert play.states() <= {TrialState.STOPPED, TrialState.COMPLETED, TrialState.FAILED}
    assert set(play.commands()) == {"enqueue", "change", "stop_trial"}
