"""The models, the archive, and what they say together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hpo.genetic.archive import Archive
from hpo.genetic.forest import Forest
from hpo.genetic.gaussian_process import GaussianProcess, Inputs
from hpo.genetic.surrogate import Model, Surrogate, subset
from hpo.genetic.variation import Genes

NUMBERS = Genes(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=bool))


def process() -> Model:
    """Of three numbers and two rungs."""
    return GaussianProcess(Inputs.of(NUMBERS, 2))


@pytest.mark.parametrize("model", [Forest(), process()], ids=["forest", "process"])
def test_a_model_orders_what_it_has_not_seen(model: Model) -> None:
    rng = np.random.default_rng(0)
    points, top = rng.random((300, 3)), np.ones(300, dtype=np.intp)
    model.fit(points, top, (points[:, 0] - 0.5) ** 2 + points[:, 1], rng)
    fresh = rng.random((200, 3))
    mean, sd = model.spread(fresh, top[:200], np.empty((0, 3)))
    assert mean.shape == sd.shape == (200,)
    assert (mean == model.predict(fresh, top[:200])).all()
    assert np.corrcoef(mean, (fresh[:, 0] - 0.5) ** 2 + fresh[:, 1])[0, 1] > 0.85
    assert (sd >= 0).all()
    assert sd.max() > 0


def test_a_subset_keeps_the_best_of_the_highest_rung() -> None:
    rng = np.random.default_rng(0)
    rungs, costs = np.repeat([0, 1], [1500, 500]), rng.random(2000)
    kept = subset(rungs, costs, 600, rng)
    assert len(kept) == len(set(kept)) == 600
    best = 1500 + np.argsort(costs[1500:])[:200]
    assert set(best) <= set(kept)
    assert subset(rungs, costs, 2000, rng).tolist() == list(range(2000))


def test_an_observation_counts_once_and_only_of_what_is_known() -> None:
    archive = Archive(2, 3, 1)
    archive.add(7, [0.1, 0.2])
    assert archive.record(7, 0, [1.0])
    assert not archive.record(7, 0, [2.0])
    assert not archive.record(8, 0, [2.0])
    assert archive.costs(0).tolist() == [[1.0]]
    assert archive.num_observations == 1


def test_an_archive_grows_without_losing_anything() -> None:
    archive = Archive(1, 2, 1)
    for number in range(300):
        archive.add(number, [number / 300])
        archive.record(number, number % 2, [float(number)])
    assert archive.points[:, 0].tolist() == [number / 300 for number in range(300)]
    rows, rungs, costs = archive.observations()
    assert costs[:, 0].tolist() == list(map(float, range(300)))
    assert rungs.tolist() == [number % 2 for number in range(300)]
    assert rows.tolist() == list(range(300))
    assert archive.is_observed().all()


def told(seed: int, num_objectives: int = 1, new_model: Callable[[], Model] = process) -> tuple[Archive, Surrogate]:
    """100 configurations at the lower rung, each third at the top: the lower the first gene the better."""
    archive = Archive(3, 2, num_objectives)
    surrogate = Surrogate(archive, seed, new_model)
    rng = np.random.default_rng(seed)
    for number in range(100):
        point = rng.random(3)
        archive.add(number, point)
        for rung in range(1 + (number % 3 == 0)):
            archive.record(number, rung, [point[0] - rung, 1 - point[0] - rung][:num_objectives])
            surrogate.observed(number, rung)
    return archive, surrogate


def test_screening_prefers_what_was_better() -> None:
    archive, surrogate = told(0)
    points = np.array([[0.1, 0.5, 0.5], [0.9, 0.5, 0.5]])
    promise = surrogate.promise(points, np.random.default_rng(0))
    assert promise[0] < promise[1]
    predicted = surrogate.predicted(np.arange(100))
    assert np.corrcoef(predicted[:, 0], archive.points[:, 0])[0, 1] > 0.8


def test_fitness_is_half_what_was_seen_at_the_top() -> None:
    _, surrogate = told(0)
    predicted, fitness = surrogate.predicted(np.arange(100)), surrogate.fitness(np.arange(100))
    at_top = np.arange(100) % 3 == 0
    assert (fitness[~at_top] == predicted[~at_top]).all()
    assert (fitness[at_top] != predicted[at_top]).all()


def test_what_it_says_is_a_function_of_the_seed_and_what_it_was_told() -> None:
    first, second, other = (told(seed, new_model=Forest)[1].predicted(np.arange(100)) for seed in (3, 3, 4))
    assert (first == second).all()
    assert (first != other).any()


def test_two_objectives_have_a_model_each() -> None:
    """They contradict each other, so their predictions do."""
    _, surrogate = told(0, num_objectives=2)
    predicted = surrogate.predicted(np.arange(100))
    assert predicted.shape == (100, 2)
    assert np.corrcoef(predicted.T)[0, 1] < -0.8
    promises = [surrogate.promise(np.eye(3) * 0.9, np.random.default_rng(seed)).argmin() for seed in range(20)]
    assert len(set(promises)) > 1
