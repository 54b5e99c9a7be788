"""Operators: what a child can be, given its parents."""

from __future__ import annotations

import numpy as np

from hpo.genetic.credit import Credit, Operator, Origin
from hpo.genetic.offspring import MAX_SIGMA, MIN_SIGMA, offspring
from hpo.genetic.variation import Genes, crossover, differential_evolution, mutate

GENES = Genes(np.array([0, 0, 5, 3]), np.array([False, False, False, True]))
"""Two numbers, an ordinal of five values, a category of three."""
COUNT = 500


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def points(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((COUNT, 4))


def test_all_operators_stay_in_the_cube() -> None:
    a, b, c, d = map(points, range(4))
    full, wild = np.full(COUNT, 1.0), np.full(COUNT, 1.2)
    for made in (
        differential_evolution(rng(), GENES, a, b, c, d, wild, full),
        crossover(rng(), GENES, a, b),
        mutate(rng(), GENES, a, probability=1.0, sigma=np.full(COUNT, 0.4)),
    ):
        assert ((made >= 0) & (made < 1)).all()


def test_differential_evolution_is_its_formula_where_all_genes_are_taken() -> None:
    base, best, other, another = (np.full((COUNT, 4), value) for value in (0.5, 0.6, 0.4, 0.3))
    made = differential_evolution(rng(), GENES, base, best, other, another, np.full(COUNT, 0.5), np.ones(COUNT))
    np.testing.assert_allclose(made[:, :3], 0.5 + 0.5 * 0.1 + 0.5 * 0.1)
    values, counts = np.unique(made[:, 3], return_counts=True)
    assert values.tolist() == [0.3, 0.4, 0.6]
    assert counts[2] > 0.4 * COUNT


def test_differential_evolution_takes_one_gene_at_least_and_the_others_at_the_rate() -> None:
    a, b, c, d = map(points, range(4))
    made = differential_evolution(rng(), GENES, a, b, c, d, np.full(COUNT, 0.5), np.zeros(COUNT))
    assert ((made != a).sum(axis=1) == 1).all()


def test_crossover_keeps_what_both_parents_share() -> None:
    same = points(0)
    np.testing.assert_allclose(crossover(rng(), GENES, same, same), same)


def test_crossover_takes_categories_from_either_and_numbers_from_their_line() -> None:
    mother, father = np.full((COUNT, 4), 0.4), np.full((COUNT, 4), 0.6)
    made = crossover(rng(), GENES, mother, father)
    assert set(np.unique(made[:, 3])) == {0.4, 0.6}
    assert made[:, 0].min() >= 0.4 - 0.05
    assert made[:, 0].max() <= 0.6 + 0.05
    assert len(np.unique(made[:, 0])) > 100


def test_a_mutation_changes_a_gene_at_least_and_an_ordinal_by_whole_values() -> None:
    start = np.tile([0.5, 0.5, 0.5, 1 / 6], (COUNT, 1))
    made = mutate(rng(), GENES, start, probability=0.0, sigma=np.full(COUNT, 0.05))
    assert ((made != start).sum(axis=1) == 1).all()
    assert set(np.round((made[:, 2] - 0.5) * 5)) == {-2, -1, 0, 1, 2}
    moved = made[:, 0][made[:, 0] != 0.5]
    assert 0.03 < moved.std() < 0.07


def test_an_operator_that_succeeds_gets_more_children_and_none_dies_out() -> None:
    credit = Credit(frozenset(Operator))
    for _ in range(300):
        credit.tell(Origin(Operator.LOCAL, 0.1, 0.6, 0.7), success=True)
        credit.tell(Origin(Operator.CROSSOVER, 0.1, 0.6, 0.7), success=False)
    shares = credit.shares()
    assert shares[Operator.LOCAL] > 2 * shares[Operator.DIFFERENTIAL_EVOLUTION]
    assert 0.02 < shares[Operator.CROSSOVER] < shares[Operator.DIFFERENTIAL_EVOLUTION]
    np.testing.assert_allclose(shares.sum(), 1)


def test_an_operator_that_is_left_out_makes_no_children() -> None:
    credit = Credit(frozenset({Operator.LOCAL, Operator.UNIFORM}))
    operators, scale, rate = credit.draw(rng(), COUNT)
    assert set(operators) == {Operator.LOCAL, Operator.UNIFORM}
    assert ((scale >= 0.05) & (scale <= 1.2) & (rate >= 0.05) & (rate <= 1)).all()


def test_the_scale_follows_the_successful() -> None:
    credit = Credit(frozenset(Operator))
    for _ in range(50):
        credit.tell(Origin(Operator.DIFFERENTIAL_EVOLUTION, 0.1, 0.2, 0.9), success=True)
    assert abs(credit.scale - 0.2) < 0.01
    assert abs(credit.rate - 0.9) < 0.01


def test_children_of_a_good_corner_lie_near_it_but_not_all() -> None:
    ranked = np.vstack([np.full((12, 4), 0.1), points(3)[:48]])
    children = offspring(rng(), GENES, ranked, np.full(60, 0.1), Credit(frozenset(Operator)), COUNT)
    near = np.abs(children.points[:, 0] - 0.1) < 0.2
    assert 0.6 < near.mean() < 0.98
    assert ((children.sigma >= MIN_SIGMA) & (children.sigma <= MAX_SIGMA)).all()
    assert children.origin(0).operator == children.operators[0]
