"""Population-based training of the headline model on a real Ray head: six members on two groups of two workers."""

from __future__ import annotations

import statistics

import pytest

from hpo.trial import StudyState

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TINY = {
    "hidden": 16, "embedding": 12, "article_length": 24, "headline_length": 16, "batch_size": 64, "d_channels": 4,
    "mle_epochs": 9,
}  # fmt: skip


def test_a_trial_goes_on_from_anothers_weights_where_that_one_was(runner):
    done = runner.run(
        trainable="headlines",
        parameters={
            "lr": {"type": "float", "low": 1e-4, "high": 3e-2, "log": True, "mutable": True},
            "dropout": {"type": "float", "low": 0.0, "high": 0.5, "mutable": True},
        },
        objective={"metric": "perplexity", "direction": "minimize"},
        budget={"trials": 6, "steps_per_trial": 5},
        scheduler={"algorithm": "pbt", "population": 6},
        resources={"workers": 2},
        fixed=TINY,
        concurrency=2,
    )
    assert done.study.state is StudyState.SUCCEEDED, done.output
    assert done.inheritances, "the family tree has an edge"
    perplexity = {(row.trial, row.generation, row.step): row.metrics["perplexity"] for row in done.measurements}
    fresh = statistics.median(value for (_, _, step), value in perplexity.items() if step == 1)
    for edge in done.inheritances:
        first = perplexity[edge.trial, edge.generation, edge.step + 1]
        donor = perplexity[edge.donor, edge.donor_generation, edge.step]
        assert abs(first - donor) < abs(first - fresh), "it begins where the donor was, not as a new model"
        assert edge.trial != edge.donor
    assert {row.metrics["phase"] for row in done.measurements} == {0.0}
