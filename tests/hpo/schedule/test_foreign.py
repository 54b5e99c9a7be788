from __future__ import annotations

import pytest

from hpo import specfile
from hpo.protocols import Start
from hpo.schedule.foreign import ForeignScheduler
from hpo.trial import Action, Measurement


@pytest.fixture
def foreign() -> ForeignScheduler:
    return ForeignScheduler(
        specfile.parse(
            {
                "name": "s",
                "trainable": "tests.nothing:train",
                "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
                "objective": {"metric": "loss", "direction": "minimize"},
                "budget": {"trials": 3, "steps_per_trial": 5},
                "scheduler": {"algorithm": "ray:PB2"},
            }
        )
    )


def report(step: int) -> Measurement:
    return Measurement(study="s", trial=2, generation=1, step=step, metrics={"loss": 1.0}, recorded_at=3.0)


@pytest.mark.parametrize("action", [Action.CONTINUE, Action.PAUSE, Action.STOP])
def test_the_answer_that_was_set_is_the_decision(foreign: ForeignScheduler, action: Action) -> None:
    foreign.answer = action
    decision = foreign.decide(report(4))
    assert decision.action is action
    assert (decision.trial, decision.generation, decision.step) == (2, 1, 4)
    assert decision.reason == ("" if action is Action.CONTINUE else "ray:PB2 says so")


def test_a_trial_is_complete_at_its_last_step_whatever_the_answer_is(foreign: ForeignScheduler) -> None:
    foreign.answer = Action.PAUSE
    assert foreign.decide(report(5)).action is Action.COMPLETE


def test_it_starts_trials_as_long_as_there_are_any(foreign: ForeignScheduler) -> None:
    assert foreign.choose(can_start=True) == Start()
    assert foreign.choose(can_start=False) is None
