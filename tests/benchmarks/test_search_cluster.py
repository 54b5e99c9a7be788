"""The simulated cluster, worked by hand on a tiny task; and the policies that run on it."""

from __future__ import annotations

import importlib.util
from typing import ClassVar

import numpy as np
import pytest

from benchmarks.search import cluster
from benchmarks.search.cluster import Job, simulate
from benchmarks.search.policies import POLICIES, study
from benchmarks.search.references import Reference
from hpo.parameters import CategoricalParameter, FloatParameter, IntParameter
from hpo.space import Space


class Tiny:
    """Rungs of 1, 3 and 9 seconds; the loss is x, plus what is missing to the last rung, over 10."""

    name = "tiny"
    parameters: ClassVar = {"x": FloatParameter(type="float", low=0.0, high=1.0)}
    num_rungs = 3
    best_loss = 0.0
    num_reference_draws = 10

    def __init__(self, *, resumable=True):
        self.resumable = resumable

    def evaluate(self, params, rung, rng):
        return self.true_loss(params) + (self.num_rungs - 1 - rung) / 10, float(3**rung)

    def true_loss(self, params):
        return params["x"]


REFERENCE = Reference(best=0.0, random_median=0.5, full_seconds=9.0)


class Script:
    """Asks for jobs from a list, in order; says what it was told."""

    def __init__(self, *jobs):
        self.jobs = list(jobs)
        self.told = []

    def ask(self, now):
        return Job({"x": self.jobs[0][0]}, self.jobs.pop(0)[1]) if self.jobs else None

    def tell(self, job, loss, now):
        self.told.append((job.params["x"], job.rung, pytest.approx(loss), pytest.approx(now)))


@pytest.fixture
def exact(monkeypatch):
    """Durations without noise and overhead."""
    for name in ("SIGMA", "STRAGGLER_RATE", "OVERHEAD"):
        monkeypatch.setattr(cluster, name, 0.0)


def run(policy, *, workers=1, horizon=10.0, seed=0, task=None):
    return simulate(task or Tiny(), REFERENCE, policy, workers=workers, seed=seed, horizon=horizon)


@pytest.mark.usefixtures("exact")
class TestByHand:
    def test_workers_take_jobs_in_turn_and_the_incumbent_is_scored_by_its_true_loss(self):
        policy = Script((0.4, 2), (0.3, 1), (0.2, 2), (0.1, 2))
        found = run(policy, workers=2, horizon=2.0)  # ends at 18
        # worker 0: 0.4 until 9, then 0.1 until 18; worker 1: 0.3 until 3, then 0.2 until 12
        assert policy.told == [(0.3, 1, 0.4, 3.0), (0.4, 2, 0.4, 9.0), (0.2, 2, 0.2, 12.0), (0.1, 2, 0.1, 18.0)]
        # 0.4 is worse than 0.3, but it was seen at a higher rung
        assert found.curve == ((3 / 18, 0.6), (9 / 18, 0.8), (12 / 18, 0.4), (18 / 18, 0.2))
        assert (found.jobs, found.full_jobs) == (4, 3)
        assert found.utilization == pytest.approx((3 + 9 + 9 + 9) / 36)

    def test_going_on_costs_the_difference(self):
        policy = Script((0.4, 0), (0.4, 1), (0.4, 2), (0.3, 2))
        run(policy)
        assert [told[-1] for told in policy.told] == [1.0, 3.0, 9.0, 18.0]

    def test_training_the_same_again_costs_a_fiftieth(self):
        policy = Script((0.4, 2), (0.4, 2), (0.4, 0))
        run(policy)
        assert [told[-1] for told in policy.told] == [9.0, 9.18, 9.20]

    def test_what_can_not_resume_costs_all_of_it(self):
        policy = Script((0.4, 0), (0.4, 1), (0.4, 2))
        run(policy, task=Tiny(resumable=False))
        assert [told[-1] for told in policy.told] == [1.0, 4.0, 13.0]

    def test_what_ends_after_the_horizon_is_not_seen(self):
        policy = Script((0.4, 2), (0.1, 2))
        found = run(policy, horizon=1.9)
        assert len(policy.told) == 1
        assert found.jobs == 2
        assert found.utilization == pytest.approx(1.0)

    def test_a_policy_with_nothing_to_do_ends_the_run(self):
        assert run(Script()).curve == ()
        assert run(Script((0.4, 0))).jobs == 1


def test_durations_are_log_normal_with_one_straggler_in_fifty():
    policy = Script(*[(k / 5000, 2) for k in range(5000)])
    run(policy, horizon=1e6, task=Tiny(resumable=False))
    ends = [0.0] + [told[-1].expected for told in policy.told]
    factors = (np.diff(ends) - 0.002 * 9.0) / 9.0
    assert np.median(factors) == pytest.approx(1.0, abs=0.02)
    usual = factors[factors < 3]
    assert np.log(usual).std() == pytest.approx(0.25, abs=0.01)
    assert np.mean(factors > 3) == pytest.approx(0.02, abs=0.005)


def test_the_same_seed_gives_the_same_run():
    def once(seed):
        task = Tiny()
        found = run(POLICIES["asha"](task, seed, 4), workers=4, seed=seed, horizon=5.0)
        return found.curve, found.jobs

    assert once(1) == once(1)
    assert once(1) != once(2)


class TestStudyPolicy:
    def test_promotion_goes_rung_by_rung_and_skips_none(self):
        policy = POLICIES["asha"](Tiny(), 0, 1)
        asked = []
        for _ in range(13):
            job = policy.ask(0.0)
            asked.append((job.token.trial, job.rung))
            policy.tell(job, float(job.token.trial), 0.0)  # the older, the better
        # After every three new trials one more is in the best third: 0, then 1, then 2; the best of those goes on.
        first_three, next_three, last_three = ([(k, 0) for k in range(start, start + 3)] for start in (0, 3, 6))
        assert asked == [*first_three, (0, 1), *next_three, (1, 1), *last_three, (2, 1), (0, 2)]

    def test_a_trial_that_continues_is_asked_for_before_all_else(self):
        task = Tiny()
        policy = study({"algorithm": "random"}, {"algorithm": "asha", "reduction_factor": 3})(task, 0, 2)
        first, second = policy.ask(0.0), policy.ask(0.0)
        policy.tell(second, 0.5, 1.0)
        again = policy.ask(1.0)
        assert (again.token.trial, again.rung) == (second.token.trial, 1)
        assert again.params == second.params
        policy.tell(first, 0.9, 2.0)  # below the best third of its rung: stopped
        assert policy.ask(2.0).token.trial == 2

    def test_without_pauses_a_trial_is_one_job_to_the_last_rung(self):
        policy = POLICIES["random"](Tiny(), 0, 1)
        for trial in range(3):
            job = policy.ask(0.0)
            assert (job.token.trial, job.rung) == (trial, 2)
            policy.tell(job, 0.5, 1.0)


class Conditional(Tiny):
    """All kinds of parameters, some of them conditional on two others."""

    num_rungs = 2
    parameters: ClassVar = {
        "kind": CategoricalParameter(type="categorical", choices=("linear", "deep", "wide")),
        "depth": IntParameter(type="int", low=1, high=64, log=True, when={"kind": ("deep", "wide")}),
        "level": IntParameter(type="int", low=0, high=4),
        "lr": FloatParameter(type="float", low=1e-4, high=1.0, log=True, when={"kind": "deep", "level": (0, 1, 2)}),
        "bit": CategoricalParameter(type="categorical", choices=(0, 1)),
        "x": FloatParameter(type="float", low=0.0, high=1.0),
    }

    def true_loss(self, params):
        return params["x"] + 0.1 * params["level"] + (params["kind"] == "linear")


PACKAGES = {"dehb": "dehb", "smac": "smac"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["random", "asha", "tpe", "nsga2", "cma", "dehb", "smac"])
class TestEveryPolicy:
    def make(self, name, seed):
        package = PACKAGES.get(name)
        if package and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'hpo[bench]'")
        return POLICIES[name](Conditional(), seed, 4)

    def proposals(self, name, seed):
        """27 in all, four at once; told in the order of asking."""
        task, policy = Conditional(), self.make(name, seed)
        pending, found = [], []
        for _ in range(27):
            job = policy.ask(0.0)
            pending.append(job)
            found.append((dict(job.params), job.rung))
            if len(pending) == 4:
                first = pending.pop(0)
                policy.tell(first, task.true_loss(first.params), 0.0)
        return found

    def test_it_proposes_what_the_space_contains_and_the_same_again_by_the_same_seed(self, name):
        space = Space(Conditional.parameters)
        found = self.proposals(name, 0)
        for params, rung in found:
            assert space.contains(params), params
            assert rung in (0, 1)
        assert any("lr" in params for params, _ in found)
        assert found == self.proposals(name, 0)
        assert found != self.proposals(name, 1)


@pytest.mark.filterwarnings("ignore")
def test_tpe_learns_what_random_search_does_not():
    task, ends = Conditional(), {}
    for name in ("tpe", "random"):
        runs = [
            simulate(task, REFERENCE, POLICIES[name](task, seed, 4), workers=4, seed=seed, horizon=25.0)
            for seed in range(2)
        ]
        ends[name] = np.mean([run.curve[-1][1] for run in runs])
    assert ends["tpe"] < 0.7 * ends["random"], ends
