"""What HyperOpt makes of a space, and what it is told."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from conformance.searcher_play import by_number, completed, end, play, told
from conformance.searcher_spaces import CONDITIONAL, FORBIDDEN, SQUARE
from conformance.searcher_study import SearcherStudy
from hyperopt import rand
from hyperopt.base import Domain, Trials

from hpo import compatibility
from hpo.compatibility import HYPEROPT_ANCESTORS
from hpo.errors import InvalidSpecError
from hpo.search.draws import draw
from hpo.search.hyperopt import HyperoptSearcher
from hpo.search.hyperopt_space import HyperoptSpace
from hpo.space import Space
from hpo.spec import HyperoptSearch

SAMPLERS = ["tpe", "anneal"]


def make(sampler: str = "tpe", seed: int = 0, **changes: Any) -> tuple[HyperoptSearcher, Space]:
    study = SearcherStudy()
    study.search = {"algorithm": "hyperopt", "sampler": sampler}
    study.parameters = SQUARE
    spec = study.spec(seed, **changes)
    assert isinstance(spec.search, HyperoptSearch)
    return HyperoptSearcher(spec, spec.search), Space.of(spec)


def losses(searcher: HyperoptSearcher) -> list[float | None]:
    return [document["result"].get("loss") for document in searcher._documents]


# -- the space ------------------------------------------------------------------------------------------------
def test_hyperopt_draws_no_value_for_an_inactive_parameter() -> None:
    """In its own vectorised sampling, 300 configurations at once."""
    _, space = make(parameters=CONDITIONAL)
    hyperopt_space = HyperoptSpace(space)
    domain = Domain(None, hyperopt_space.expression, pass_expr_memo_ctrl=False)
    idxs, vals = rand.suggest_batch(list(range(300)), domain, Trials(), 1)
    seen = set()
    for k in range(300):
        values = {name: [v for i, v in zip(idxs[name], vals[name], strict=True) if i == k] for name in CONDITIONAL}
        params = hyperopt_space.params(values)
        assert space.contains(params), params
        seen.add(frozenset(params))
    # All but warmup always active; sgd or not; layers = 1 or not; and cosine with nesterov.
    assert len(seen) == 5


def test_what_it_draws_is_as_often_active_as_in_the_space() -> None:
    searcher, space = make(parameters=CONDITIONAL)
    ours = [draw(space, 1, k) for k in range(600)]
    theirs = [searcher._proposed(k, []) for k in range(600)]
    for name in CONDITIONAL:
        a, b = (np.mean([name in params for params in drawn]) for drawn in (ours, theirs))
        assert abs(a - b) < 0.08, name


def test_configurations_are_the_same_there_and_back() -> None:
    _, space = make(parameters=CONDITIONAL, forbidden=FORBIDDEN)
    hyperopt_space = HyperoptSpace(space)
    for k in range(100):
        params = draw(space, 2, k)
        back = hyperopt_space.params(hyperopt_space.values(params))
        assert back == {**params, "lr": pytest.approx(params["lr"])}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_edges_of_the_space_are_taken(sampler: str) -> None:
    edges: dict[str, Any] = {
        "two": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.2},
        "uneven": {"type": "int", "low": 1, "high": 9, "step": 3},
        "huge": {"type": "int", "low": -(2**52), "high": 2**52},
        "tiny": {"type": "float", "low": 1e-300, "high": 1e300, "log": True},
        "one": {"type": "categorical", "choices": ["only"]},
    }
    searcher, space = make(sampler, parameters=edges)
    tracemalloc.start()
    for number in range(30):
        params = searcher.suggest(number)
        assert params is not None
        assert space.contains(params), params
        told(searcher, number, params, by_number(number))
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def chain(length: int) -> dict[str, Any]:
    """Parameters that each hang on the one before, and are active in nine of ten cases."""
    digit: dict[str, Any] = {"type": "int", "low": 0, "high": 9}
    names = [f"level{k:02}" for k in range(length)]
    deeper = {name: {**digit, "when": {parent: list(range(1, 10))}} for parent, name in itertools.pairwise(names)}
    return {names[0]: digit, **deeper}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_conditions_may_go_thirty_levels_deep(sampler: str) -> None:
    searcher, space = make(sampler, parameters=chain(30))
    depths = []
    for number in range(40):
        params = searcher.suggest(number)
        assert params is not None
        assert space.contains(params)
        depths.append(len(params))
        told(searcher, number, params, by_number(number))
    assert max(depths) >= 20


def test_conditions_that_would_end_the_stack_are_refused() -> None:
    assert make(parameters=chain(HYPEROPT_ANCESTORS + 1))[0].suggest(0) is not None
    study = SearcherStudy()
    study.search = {"algorithm": "hyperopt"}
    with pytest.raises(InvalidSpecError, match="depends on 61 others"):
        compatibility.check(study.spec(parameters=chain(HYPEROPT_ANCESTORS + 2)))


def test_a_parameter_may_hang_on_parents_of_different_depth() -> None:
    diamond: dict[str, Any] = {
        "a": {"type": "int", "low": 0, "high": 2},
        "b": {"type": "bool", "when": {"a": [1, 2]}},
        "c": {"type": "categorical", "choices": ["u", "v"], "when": {"a": [0, 1], "b": True}},
        "d": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.5},
        "e": {"type": "float", "low": 0.0, "high": 1.0, "when": {"c": "v", "d": [0.0, 1.0]}},
        "f": {"type": "bool", "when": {"d": 0.5, "a": 2}},
    }
    searcher, space = make(parameters=diamond)
    seen = set()
    for number in range(150):
        params = searcher.suggest(number)
        assert params is not None
        assert space.contains(params), params
        seen.add(frozenset(params))
        told(searcher, number, params, by_number(number))
    assert any("e" in names for names in seen)
    assert any("f" in names for names in seen)


# -- what it is told ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_a_loss_is_the_best_value_or_its_negative(direction: str, sign: float) -> None:
    searcher, _ = make(objective={"metric": "loss", "direction": direction})
    proposals = [searcher.suggest(number) for number in range(5)]
    for kind, params in enumerate(proposals[:4]):
        assert params is not None
        end(searcher, kind, params, kind=kind)  # completed, stopped, failed, failed without a report
    assert losses(searcher) == [sign * by_number(0) / 2, sign * by_number(1) / 2, None, None, None]


def test_a_value_that_is_not_finite_has_failed() -> None:
    searcher, _ = make()
    params = searcher.suggest(0)
    assert params is not None
    searcher.complete(completed(0, params, math.nan))
    assert losses(searcher) == [None]


def test_anneal_sees_only_trials_with_a_value() -> None:
    searcher, _ = make("anneal")
    for number in range(4):
        params = searcher.suggest(number)
        assert params is not None
        if number != 2:
            end(searcher, number, params, kind=number)
    assert losses(searcher) == [by_number(0) / 2, by_number(1) / 2]


def test_pending_trials_are_no_start_up() -> None:
    """While nothing has ended, the next of many proposals is as random as the first."""
    searcher, space = make(search={"algorithm": "hyperopt", "startup_trials": 2})
    for number in range(30):
        searcher.adopt(number, {"x": 0.1, "y": 0.1})
    first = searcher._proposed(1, [])
    fresh, _ = make(search={"algorithm": "hyperopt", "startup_trials": 2})
    assert first == fresh._proposed(1, [])
    assert space.contains(first)


def test_a_value_is_told_with_the_parameters_that_gave_it() -> None:
    searcher, _ = make()
    searcher.suggest(0)
    later, best = {"x": 0.25, "y": 0.5}, {"x": 0.75, "y": 0.125}
    searcher.complete(completed(0, later, 4.0, generation=2, value_generation=1, value_params=best))
    searcher.suggest(1)
    searcher.complete(completed(1, later, 5.0, generation=2, value_generation=2))
    searcher.suggest(2)
    searcher.complete(completed(2, {"x": 2.0, "y": 0.5}, 6.0, generation=2, value_generation=2))
    first, second, _ = searcher._documents
    assert first["misc"]["vals"] == {"x": [0.75], "y": [0.125]}
    assert second["misc"]["vals"] == {"x": [0.25], "y": [0.5]}
    assert losses(searcher) == [4.0, 5.0, None]  # the last gave its value outside of the space


def test_where_nearly_all_is_forbidden_a_configuration_is_drawn() -> None:
    digits: dict[str, Any] = {name: {"type": "int", "low": 1, "high": 30} for name in "ab"}
    searcher, _ = make(parameters=digits, forbidden=[{"a": list(range(1, 30))}, {"b": list(range(2, 31))}])
    assert searcher.suggest(3) == {"a": 30, "b": 1}


def test_forbidden_proposals_are_seen_only_while_it_is_asked_again() -> None:
    digits: dict[str, Any] = {name: {"type": "int", "low": 1, "high": 4} for name in "ab"}
    searcher, _ = make(parameters=digits, forbidden=[{"a": [1, 2, 3], "b": [1, 2, 3]}])
    play(searcher, range(30), lambda params: float(params["a"]))
    assert len(searcher._documents) == 30


def test_a_forbidden_proposal_does_not_come_back_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven of sixteen configurations are left. Without being told, tpe proposes forbidden ones 20 times in a row."""
    asked = []
    ask = HyperoptSearcher._proposed
    monkeypatch.setattr(HyperoptSearcher, "_proposed", lambda *arguments: asked.append(1) or ask(*arguments))
    digits: dict[str, Any] = {name: {"type": "int", "low": 1, "high": 4} for name in "ab"}
    searcher, _ = make(parameters=digits, forbidden=[{"a": [1, 2, 3], "b": [1, 2, 3]}])
    play(searcher, range(40), lambda params: float(params["a"]) + float(params["b"]))
    assert len(asked) < 40 * 8
