"""The searchers that learn nothing: how they cover the space."""

from __future__ import annotations

from typing import Any

from conformance.searcher_spaces import CONDITIONAL, FINITE_CONDITIONAL, FORBIDDEN, SQUARE
from conformance.searcher_study import SearcherStudy

from hpo.protocols import Searcher
from hpo.search.draws import draw
from hpo.space import Space
from hpo.trial import Params


def make(algorithm: str, seed: int = 0, **changes: Any) -> tuple[Searcher, Space]:
    study = SearcherStudy()
    study.search = {"algorithm": algorithm}
    study.parameters = SQUARE
    return study.make(seed, **changes), Space.of(study.spec(seed, **changes))


def proposals(searcher: Searcher, numbers: range) -> list[Params]:
    found = [searcher.suggest(number) for number in numbers]
    return [params for params in found if params is not None]


def test_sobol_puts_one_of_32_points_into_each_stripe_of_the_square() -> None:
    for seed in range(3):
        searcher, _ = make("sobol", seed)
        points = proposals(searcher, range(32))
        for name in "xy":
            assert sorted(int(float(params[name]) * 32) for params in points) == list(range(32))
        cells = {(int(float(params["x"]) * 4), int(float(params["y"]) * 8)) for params in points}
        assert len(cells) == 32


def test_sobol_counts_calls_not_trials() -> None:
    first, second = make("sobol")[0], make("sobol")[0]
    second.adopt(0, {"x": 0.5, "y": 0.5})
    assert proposals(first, range(5)) == proposals(second, range(7, 12))


def test_sobol_takes_200_dimensions() -> None:
    many = {f"p{k:03}": {"type": "float", "low": 0.0, "high": 1.0} for k in range(200)}
    searcher, space = make("sobol", parameters=many)
    assert all(space.contains(params) for params in proposals(searcher, range(10)))


def test_sobol_draws_a_configuration_where_nearly_all_is_forbidden() -> None:
    digits: dict[str, Any] = {name: {"type": "int", "low": 1, "high": 200} for name in "ab"}
    searcher, _ = make("sobol", parameters=digits, forbidden=[{"a": list(range(1, 200))}, {"b": list(range(2, 201))}])
    assert proposals(searcher, range(2)) == [{"a": 200, "b": 1}] * 2


def test_sobol_passes_over_forbidden_points() -> None:
    forbidden, _ = make("sobol", parameters=CONDITIONAL, forbidden=FORBIDDEN)
    allowed, _ = make("sobol", parameters=CONDITIONAL)
    _, space = make("sobol", parameters=CONDITIONAL, forbidden=FORBIDDEN)
    expected = [params for params in proposals(allowed, range(100)) if not space.is_forbidden(params)]
    assert len(expected) < 100
    assert proposals(forbidden, range(len(expected))) == expected


def test_grid_is_the_grid_of_the_space() -> None:
    searcher, space = make("grid", parameters=FINITE_CONDITIONAL, forbidden=FORBIDDEN)
    expected = list(space.grid())
    assert proposals(searcher, range(1000)) == expected
    assert len(expected) == space.size()


def test_grid_leaves_out_what_was_adopted_before_its_turn() -> None:
    searcher, space = make("grid", parameters=FINITE_CONDITIONAL)
    expected = list(space.grid())
    first = searcher.suggest(0)
    searcher.adopt(1, expected[7])
    searcher.adopt(2, expected[0])
    assert [first, *proposals(searcher, range(3, 1000))] == [*expected[:7], *expected[8:]]


def test_grid_keeps_values_of_other_types_apart() -> None:
    mixed = {"value": {"type": "categorical", "choices": [True, 1, 1.0]}}
    searcher, _ = make("grid", parameters=mixed)
    searcher.adopt(0, {"value": 1})
    assert [repr(params["value"]) for params in proposals(searcher, range(1, 9))] == ["True", "1.0"]


def test_a_draw_depends_on_the_seed_and_the_number() -> None:
    _, space = make("random")
    draws = [tuple(draw(space, seed, number).values()) for seed in range(5) for number in range(5)]
    assert len(set(draws)) == 25
    assert tuple(draw(space, 3, 2).values()) == draws[17]
