"""Screening: a Gaussian process that predicts how good a configuration is at a rung."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular  # type: ignore[import-untyped]
from scipy.linalg.lapack import dpotri  # type: ignore[import-untyped]
from scipy.optimize import minimize  # type: ignore[import-untyped]

from hpo.genetic.selection import Floats, Ints
from hpo.genetic.variation import Genes

MAX_STEPS = 12
"""Evaluations of the likelihood a fit: the next one goes on from where this one ended."""
JITTER = 1e-6
ROOT5 = math.sqrt(5.0)
FAR = 4.0
"""How much longer the long scale is than the short one."""
LOG_LENGTH, LOG_LENGTH_SD, LOG_NOISE, LOG_NOISE_SD = math.log(1 / 3), 1.0, math.log(0.1), 1.5
"""Of the priors: the length scales' log-normal, a gene's centre for one dimension, and the noise variances'."""
BOUND = 7.0
"""How far theta may go from its priors' centres."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """How configurations become the features of a process: numbers as they are, a category as one of its values."""

    columns: Ints
    """(f,): the gene of each feature; that of the last is d, the rung."""
    values: Floats
    """(f,): of a category the value that the feature stands for; NaN for a number."""
    num_rungs: int

    @staticmethod
    def of(genes: Genes, num_rungs: int) -> Inputs:
        columns: list[int] = []
        values: list[float] = []
        for gene, (count, is_categorical) in enumerate(zip(genes.num_values, genes.is_categorical, strict=True)):
            for k in range(int(count) if is_categorical else 1):
                columns.append(gene)
                values.append((k + 0.5) / int(count) if is_categorical else math.nan)
        columns.append(len(genes.num_values))
        return Inputs(np.array(columns, dtype=np.intp), np.array([*values, math.nan]), num_rungs)

    @property
    def num_lengths(self) -> int:
        """One a gene, and the rung's."""
        return int(self.columns[-1]) + 1

    def features(self, points: Floats, rungs: Ints) -> Floats:
        """points (n, d), rungs (n,), to (n, f): two categories are at distance 1, the first and the last rung too."""
        height = rungs[:, None] / max(self.num_rungs - 1, 1)
        found = np.concatenate([points, height], axis=1)[:, self.columns]
        is_value = ~np.isnan(self.values)
        found[:, is_value] = (np.abs(found[:, is_value] - self.values[is_value]) < 1e-9) / math.sqrt(2.0)
        return found


class GaussianProcess:
    """A sum of two Matérn-5/2 processes with a length scale a gene, and a noise a rung (Rasmussen & Williams 2006, ch.
    2, 4 and 5). One falls off within the lengths, the other, with as much variance, within FAR times them: details, and
    trends that reach to where nothing was seen.

    theta = (log lengths (d + 1), log noise variances (rungs)) is what maximises the posterior. A gene's length is
    log-normal around sqrt(d) / 3, the rung's around 1: the shorter, the less a rung says about another. That lengths
    grow with sqrt(d) is Hvarfner et al. 2024 ("Vanilla Bayesian optimization performs great in high dimensions"); they
    have one scale, around 4.1 sqrt(d). Scores are normal, so a mean of 0 and a variance of 1 are given. O(n^3),
    n <= max_observations.
    """

    max_observations = 400

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        num_lengths = inputs.num_lengths
        lengths = np.full(num_lengths, LOG_LENGTH + 0.5 * math.log(max(num_lengths - 1, 1)))
        lengths[-1] = 0.0
        self._centre = np.concatenate([lengths, np.full(inputs.num_rungs, LOG_NOISE)])
        self._spread = np.concatenate([np.full(num_lengths, LOG_LENGTH_SD), np.full(inputs.num_rungs, LOG_NOISE_SD)])
        self._theta = np.minimum(self._centre, 0.0)
        self._features = np.empty((0, len(inputs.columns)))
        self._root, self._weights = np.empty((0, 0)), np.empty(0)

    def fit(self, points: Floats, rungs: Ints, scores: Floats, rng: np.random.Generator) -> None:
        """See Model. theta is sought from where it was."""
        features = self._inputs.features(points, rungs)
        low, high = self._centre - BOUND, self._centre + BOUND
        found = minimize(
            self._negative_log_posterior, self._theta, args=(features, rungs, scores), jac=True, method="L-BFGS-B",
            bounds=list(zip(low, high, strict=True)), options={"maxfun": MAX_STEPS},
        )  # fmt: skip
        if np.isfinite(found.fun):
            self._theta = found.x
        self.update(points, rungs, scores)

    def update(self, points: Floats, rungs: Ints, scores: Floats) -> None:
        """See Model. theta stays as it is."""
        self._features = self._scaled(self._inputs.features(points, rungs), self._theta)
        covariance = _kernel(_squares(self._features, self._features))[0]
        noise = self._noise(self._theta, rungs)
        self._root = _root(covariance, noise)
        self._weights = cho_solve((self._root, True), scores, check_finite=False)

    def predict(self, points: Floats, rungs: Ints) -> Floats:
        """See Model."""
        mean: Floats = self._weights @ self._shared(points, rungs)
        return mean

    def spread(self, points: Floats, rungs: Ints, pending: Floats) -> tuple[Floats, Floats]:
        """See Model; the noise is left out. What comes of the pending is taken to be what is expected of them, so the
        means stay as they are and the deviations shrink (Ginsbourger et al. 2010, "Kriging is well-suited to
        parallelize optimization": the believer)."""
        shared = self._shared(points, rungs)
        explained = solve_triangular(self._root, shared, lower=True, check_finite=False)
        variance = 1.0 - np.einsum("ij,ij->j", explained, explained)
        if len(pending):
            variance -= self._told(points, rungs, explained, pending)
        return self._weights @ shared, np.sqrt(np.maximum(variance, 1e-9))

    def _told(self, points: Floats, rungs: Ints, explained: Floats, pending: Floats) -> Floats:
        """How much of the variance at the points goes when the pending (p, d) come to the lowest rung. (k,)."""
        lowest = np.zeros(len(pending), dtype=np.intp)
        at = self._scaled(self._inputs.features(pending, lowest), self._theta)
        theirs = solve_triangular(self._root, self._shared(pending, lowest), lower=True, check_finite=False)
        among = _kernel(_squares(at, at))[0] - theirs.T @ theirs
        across = _kernel(_squares(at, self._scaled(self._inputs.features(points, rungs), self._theta)))[0]
        solved = solve_triangular(
            _root(among, self._noise(self._theta, lowest)),
            across - theirs.T @ explained,
            lower=True,
            check_finite=False,
        )
        told: Floats = np.einsum("ij,ij->j", solved, solved)
        return told

    def _shared(self, points: Floats, rungs: Ints) -> Floats:
        return _kernel(_squares(self._features, self._scaled(self._inputs.features(points, rungs), self._theta)))[0]

    def _scaled(self, features: Floats, theta: Floats) -> Floats:
        return features / np.exp(theta[self._inputs.columns])

    def _noise(self, theta: Floats, rungs: Ints) -> Floats:
        return np.exp(theta[self._inputs.num_lengths + rungs]) + JITTER

    def _negative_log_posterior(
        self, theta: Floats, features: Floats, rungs: Ints, scores: Floats
    ) -> tuple[float, Floats]:
        scaled = self._scaled(features, theta)
        covariance, slope = _kernel(_squares(scaled, scaled))
        noise = self._noise(theta, rungs)
        root = _root(covariance, noise)
        weights = cho_solve((root, True), scores, check_finite=False)
        outer = np.outer(weights, weights) - _inverse(root)
        likelihood = -0.5 * scores @ weights - np.log(np.diag(root)).sum()
        # d K / d log l_j = slope * (x_j - x_j')^2 / l_j^2, summed over pairs with weights `outer`
        pulls = outer * slope
        each = scaled.T**2 @ pulls.sum(axis=1) - np.einsum("if,if->f", scaled, pulls @ scaled)
        lengths = np.bincount(self._inputs.columns, weights=each, minlength=self._inputs.num_lengths)
        noises = 0.5 * np.bincount(rungs, weights=np.diag(outer) * (noise - JITTER), minlength=self._inputs.num_rungs)
        away = (theta - self._centre) / self._spread
        value = likelihood - 0.5 * float(away @ away)
        return -value, -(np.concatenate([lengths, noises]) - away / self._spread)


def _root(covariance: Floats, noise: Floats) -> Floats:
    """The lower Cholesky factor of covariance (n, n) + diag(noise); `covariance` is changed. Where rounding has made it
    indefinite, the noise is increased until it isn't."""
    diagonal = np.diag_indices(len(noise))
    covariance[diagonal] += noise
    for jitter in (0.0, 1e-6, 1e-4, 1e-2):
        covariance[diagonal] += jitter
        try:
            root: Floats = cholesky(covariance, lower=True, check_finite=False)
        except LinAlgError:
            continue
        return root
    raise AssertionError("a Matérn kernel with noise .01 is positive definite")


def _inverse(root: Floats) -> Floats:
    """Of root @ root.T, in a third of the time that solving for the identity takes."""
    lower: Floats = np.tril(dpotri(root, lower=1)[0])
    return lower + np.tril(lower, -1).T


def _squares(left: Floats, right: Floats) -> Floats:
    squares: Floats = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None] - 2 * left @ right.T
    return np.maximum(squares, 0.0)


def _kernel(squares: Floats) -> tuple[Floats, Floats]:
    """The covariance of both scales, and its derivative by -r^2/2, of r^2 in short lengths."""
    (near, near_slope), (far, far_slope) = _matern(squares), _matern(squares / FAR**2)
    return (near + far) / 2, (near_slope + far_slope / FAR**2) / 2


def _matern(squares: Floats) -> tuple[Floats, Floats]:
    """The kernel, and its derivative by -r^2/2 (both of the shape of r^2): (1 + sqrt5 r + 5/3 r^2) e^(-sqrt5 r)."""
    far = ROOT5 * np.sqrt(squares)
    decay = np.exp(-far)
    return (1.0 + far + 5.0 / 3.0 * squares) * decay, 5.0 / 3.0 * (1.0 + far) * decay
