"""The Gaussian process against what it must be by its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from hpo.genetic.gaussian_process import FAR, GaussianProcess, Inputs, _kernel
from hpo.genetic.variation import Genes

MIXED = Genes(np.array([0, 0, 3, 5]), np.array([False, False, True, False]))


def data(num_points: int, num_rungs: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, rungs and scores of a function of the first number, the category and the rung."""
    rng = np.random.default_rng(0)
    points = rng.random((num_points, 4))
    points[:, 2] = (np.floor(points[:, 2] * 3) + 0.5) / 3
    rungs = rng.integers(num_rungs, size=num_points)
    scores = np.sin(3 * points[:, 0]) + (points[:, 2] > 0.5) + 0.1 * rungs + 0.05 * rng.standard_normal(num_points)
    return points, rungs, (scores - scores.mean()) / scores.std()


def test_the_gradient_is_that_of_the_likelihood() -> None:
    points, rungs, scores = data(40)
    process = GaussianProcess(Inputs.of(MIXED, 3))
    features = Inputs.of(MIXED, 3).features(points, rungs)
    theta = process._theta + 0.3 * np.random.default_rng(1).standard_normal(len(process._theta))
    _, gradient = process._negative_log_posterior(theta, features, rungs, scores)
    numeric = approx_fprime(theta, lambda t: process._negative_log_posterior(t, features, rungs, scores)[0], 1e-6)
    assert gradient == pytest.approx(numeric, abs=1e-3)


class TestKernel:
    def test_its_slope_is_its_derivative(self) -> None:
        squares = np.linspace(0.01, 100.0, 50)
        _, slope = _kernel(squares)
        step = 1e-5
        numeric = (_kernel(squares + step)[0] - _kernel(squares - step)[0]) / (2 * step)
        assert slope == pytest.approx(-2 * numeric, rel=1e-5)

    def test_half_of_it_reaches_far(self) -> None:
        """At no distance it is 1; at three short lengths the short half has all but gone, the long one hasn't."""
        assert _kernel(np.zeros(1))[0][0] == 1.0
        assert 0.3 < _kernel(np.array([9.0]))[0][0] < 0.5
        assert _kernel(np.array([(3 * FAR) ** 2]))[0][0] < 0.02


def test_hills_are_learnt_in_several_dimensions() -> None:
    """Two waves across each of three numbers, among six: what is held out comes in about the right order."""
    genes = Genes(np.zeros(6, dtype=np.int64), np.zeros(6, dtype=bool))
    rng = np.random.default_rng(0)
    points, rungs = rng.random((260, 6)), np.zeros(260, dtype=np.intp)
    truth = np.sin(2 * np.pi * 1.5 * points[:, :3]).sum(axis=1)
    scores = (truth - truth.mean()) / truth.std()
    process = GaussianProcess(Inputs.of(genes, 1))
    for count in (100, 160, 200):
        process.fit(points[:count], rungs[:count], scores[:count], rng)
    found = process.predict(points[200:], rungs[200:])
    assert np.corrcoef(found, scores[200:])[0, 1] > 0.9


NONE = np.empty((0, 4))
"""No pending points."""


def test_the_pending_are_as_if_they_had_come_out_as_expected() -> None:
    """The deviations are those of a process that was told the pending with its own means; the means are its own."""
    points, rungs, scores = data(60)
    process = GaussianProcess(Inputs.of(MIXED, 3))
    process.fit(points[:50], rungs[:50], scores[:50], np.random.default_rng(0))
    pending, lowest = points[50:], np.zeros(10, dtype=np.intp)
    mean, sd = process.spread(points, rungs, pending)
    plain, wider = process.spread(points, rungs, NONE)
    told = np.concatenate([points[:50], pending]), np.concatenate([rungs[:50], lowest])
    process.update(*told, np.concatenate([scores[:50], process.predict(pending, lowest)]))
    expected = process.spread(points, rungs, NONE)
    assert mean == pytest.approx(expected[0], abs=1e-6)
    assert (mean == plain).all()
    assert sd == pytest.approx(expected[1], abs=1e-6)
    assert (sd < wider).any()


def test_where_nothing_was_seen_the_prior_remains() -> None:
    points, rungs, scores = data(60)
    process = GaussianProcess(Inputs.of(MIXED, 3))
    process._theta[:] = -3.0
    process.update(points[:10] * 0.1, rungs[:10], scores[:10])
    mean, sd = process.spread(np.full((1, 4), 0.99), np.array([0]), NONE)
    assert mean[0] == pytest.approx(0.0, abs=1e-6)
    assert sd[0] == pytest.approx(1.0, abs=1e-6)


def test_it_is_sure_where_it_has_looked_and_less_so_elsewhere() -> None:
    points, rungs, scores = data(60)
    process = GaussianProcess(Inputs.of(MIXED, 3))
    process.fit(points, rungs, scores, np.random.default_rng(0))
    _, seen = process.spread(points, rungs, NONE)
    _, unseen = process.spread(np.random.default_rng(5).random((60, 4)), rungs, NONE)
    assert seen.max() < np.median(unseen)


def test_what_does_not_matter_gets_a_long_length() -> None:
    """The second number plays no part; the first does, and so does the category."""
    points, rungs, scores = data(120)
    process = GaussianProcess(Inputs.of(MIXED, 3))
    for _ in range(3):
        process.fit(points, rungs, scores, np.random.default_rng(0))
    first, second, category = process._theta[:3]
    assert second > first + 1
    assert second > category + 1


def test_a_rung_that_is_noisy_is_known_to_be() -> None:
    points, rungs, _ = data(200, num_rungs=2)
    scores = points[:, 0] * 3 + np.random.default_rng(2).standard_normal(200) * (rungs == 0)
    process = GaussianProcess(Inputs.of(MIXED, 2))
    for _ in range(3):
        process.fit(points, rungs, (scores - scores.mean()) / scores.std(), np.random.default_rng(0))
    low, top = process._theta[-2:]
    assert low > top + 2


def test_categories_are_all_equally_far_apart() -> None:
    inputs = Inputs.of(MIXED, 3)
    values = (np.arange(3) + 0.5) / 3
    features = inputs.features(np.column_stack([np.zeros((3, 2)), values, np.zeros(3)]), np.zeros(3, dtype=np.intp))
    apart = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    assert apart == pytest.approx(1.0 - np.eye(3))


def test_the_same_configuration_many_times_is_no_trouble() -> None:
    process = GaussianProcess(Inputs.of(MIXED, 1))
    points, rungs = np.full((50, 4), 0.5), np.zeros(50, dtype=np.intp)
    process.fit(points, rungs, np.zeros(50), np.random.default_rng(0))
    assert np.isfinite(process.predict(points[:1], rungs[:1])).all()
