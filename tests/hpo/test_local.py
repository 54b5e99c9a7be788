from __future__ import annotations

import math

import pytest

from hpo.local import checked_report, run_alone
from hpo.trial import trial_seed


def test_a_trainable_runs_alone_and_stops_at_its_last_step(capsys):
    def train(params, trial):
        for step in range(1, 100):
            trial.report(step, {"loss": params["x"] / step}, checkpoint=lambda folder: (folder / "a").touch())

    reports = run_alone(train, {"x": 6.0}, steps=3)
    assert reports == [(1, {"loss": 6.0}), (2, {"loss": 3.0}), (3, {"loss": 2.0})]
    assert capsys.readouterr().out.splitlines()[2] == "step 3: loss 2"


@pytest.mark.parametrize("step", [0, 2, 1.5, True, "3"])
def test_a_step_that_does_not_rise_is_refused(step):
    with pytest.raises(ValueError, match="integers from 1 that rise"):
        checked_report(step, {"loss": 1.0}, after=2)


@pytest.mark.parametrize("metrics", [{"loss": "low"}, {"loss": None}, [1.0]])
def test_metrics_that_are_no_numbers_are_refused(metrics):
    with pytest.raises(TypeError, match="must be"):
        checked_report(1, metrics, after=0)


def test_a_non_finite_metric_passes_here_for_the_ledger_to_judge():
    assert math.isnan(checked_report(1, {"loss": math.nan}, after=0)["loss"])


def test_the_seed_of_a_trial_depends_on_study_and_number_alone():
    assert trial_seed(1, 2) == trial_seed(1, 2)
    assert len({trial_seed(seed, number) for seed in range(10) for number in range(10)}) == 100
