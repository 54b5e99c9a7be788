"""What Optuna is asked and told, looked up in its own study."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from conformance.searcher_play import by_number, completed, play, told
from conformance.searcher_spaces import CONDITIONAL, SQUARE
from conformance.searcher_study import LOSS, SearcherStudy
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo.search.draws import draw
from hpo.search.optuna import OptunaSearcher
from hpo.search.optuna_samplers import MIN_SOURCES
from hpo.search.warm_start import teach
from hpo.space import Space
from hpo.spec import OptunaSearch
from hpo.trial import Measurement, Params, Trial, TrialState

SAMPLERS = ["tpe", "cmaes", "gp", "nsgaii", "qmc", "random"]
SEVERAL = [LOSS, {"metric": "score", "direction": "maximize"}]


def make(sampler: str, **changes: Any) -> tuple[OptunaSearcher, Space]:
    study = SearcherStudy()
    study.search = {"algorithm": "optuna", "sampler": sampler}
    study.parameters = SQUARE
    spec = study.spec(**changes)
    assert isinstance(spec.search, OptunaSearch)
    return OptunaSearcher(spec, spec.search), Space.of(spec)


def known(searcher: OptunaSearcher) -> list[FrozenTrial]:
    return searcher._study.get_trials(deepcopy=False)


def proposed(searcher: OptunaSearcher, number: int) -> Params:
    params = searcher.suggest(number)
    assert params is not None
    return params


def observe(searcher: OptunaSearcher, number: int, step: int, generation: int = 0, **metrics: float) -> None:
    searcher.observe(
        Measurement(study="s", trial=number, generation=generation, step=step, metrics=metrics, recorded_at=0.0)
    )


def test_asking_and_telling_logs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for sampler in SAMPLERS:
        searcher, _ = make(sampler, parameters=CONDITIONAL)
        play(searcher, range(6), lambda params: 0.0)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("optuna").level == logging.WARNING


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_edges_of_the_space_are_taken(sampler: str) -> None:
    edges: dict[str, Any] = {
        "two": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.2},
        "uneven": {"type": "int", "low": 1, "high": 9, "step": 3},
        "tiny": {"type": "float", "low": 1e-300, "high": 1e300, "log": True},
        "one": {"type": "categorical", "choices": ["only"]},
    }
    searcher, space = make(sampler, parameters=edges)
    for number in range(6):
        params = proposed(searcher, number)
        assert space.contains(params), params
        told(searcher, number, params, by_number(number))


# -- conditions and forbidden rules ---------------------------------------------------------------------------
def test_tpe_is_asked_for_active_parameters_only() -> None:
    searcher, _ = make("tpe", parameters=CONDITIONAL)
    proposals = [proposed(searcher, number) for number in range(20)]
    assert [set(trial.params) for trial in known(searcher)] == [set(params) for params in proposals]
    assert len({frozenset(params) for params in proposals}) > 3


@pytest.mark.parametrize("sampler", ["cmaes", "nsgaii", "qmc", "random"])
def test_the_others_are_asked_for_all_parameters(sampler: str) -> None:
    searcher, space = make(sampler, parameters=CONDITIONAL)
    for number in range(12):
        assert space.contains(proposed(searcher, number))
    searcher.adopt(12, draw(space, 0, 0))
    assert {frozenset(trial.params) for trial in known(searcher)} == {frozenset(CONDITIONAL)}


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsgaii", "qmc", "random"])
def test_forbidden_proposals_are_failed(sampler: str) -> None:
    digits: dict[str, Any] = {name: {"type": "int", "low": 1, "high": 4} for name in "ab"}
    searcher, space = make(sampler, parameters=digits, forbidden=[{"a": [1, 2, 3], "b": [1, 2, 3]}])
    proposals = [proposed(searcher, number) for number in range(20)]
    assert not any(space.is_forbidden(params) for params in proposals)
    states = [trial.state for trial in known(searcher)]
    assert states.count(OptunaState.RUNNING) == 20
    assert states.count(OptunaState.FAIL) == len(states) - 20 > 0


def test_where_nearly_all_is_forbidden_a_configuration_is_drawn() -> None:
    digits: dict[str, Any] = {name: {"type": "int", "low": 1, "high": 30} for name in "ab"}
    forbidden = [{"a": list(range(1, 30))}, {"b": list(range(2, 31))}]
    searcher, _ = make("random", parameters=digits, forbidden=forbidden)
    assert proposed(searcher, 3) == {"a": 30, "b": 1}
    assert [trial.state for trial in known(searcher)].count(OptunaState.RUNNING) == 1


# -- how a trial ends -----------------------------------------------------------------------------------------
def stopped(number: int, params: Params, value: float, step: int) -> Trial:
    return replace(completed(number, params, value), state=TrialState.STOPPED, step=step)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_tpe_and_cmaes_learn_from_the_last_value_of_a_stopped_trial(sampler: str) -> None:
    searcher, _ = make(sampler)
    params = proposed(searcher, 0)
    observe(searcher, 0, 1, loss=3.0)
    observe(searcher, 0, 2, loss=5.0)
    searcher.complete(stopped(0, params, 3.0, step=2))
    [trial] = known(searcher)
    assert (trial.state, trial.value, trial.intermediate_values) == (OptunaState.PRUNED, 5.0, {2: 5.0})


@pytest.mark.parametrize("sampler", ["gp", "nsgaii"])
def test_to_gp_and_nsgaii_a_stopped_trial_is_complete_with_its_best_value(sampler: str) -> None:
    searcher, _ = make(sampler)
    params = proposed(searcher, 0)
    observe(searcher, 0, 1, loss=3.0)
    observe(searcher, 0, 2, loss=5.0)
    searcher.complete(stopped(0, params, 3.0, step=2))
    [trial] = known(searcher)
    assert (trial.state, trial.value) == (OptunaState.COMPLETE, 3.0)


def test_tpe_goes_where_stopped_trials_were_good() -> None:
    searcher, _ = make("tpe", parameters={"x": SQUARE["x"]})
    late = []
    for number in range(60):
        params = proposed(searcher, number)
        loss = (float(params["x"]) - 0.8) ** 2
        observe(searcher, number, 1, loss=loss)
        searcher.complete(stopped(number, params, loss, step=1))
        if number >= 40:
            late.append(float(params["x"]))
    assert sum(abs(x - 0.8) < 0.15 for x in late) >= 14  # 6 of 20 at random


@pytest.mark.parametrize(
    ("state", "expected"), [(TrialState.COMPLETED, OptunaState.COMPLETE), (TrialState.STOPPED, OptunaState.PRUNED)]
)
def test_a_value_is_told_with_the_parameters_that_gave_it(state: TrialState, expected: OptunaState) -> None:
    searcher, _ = make("tpe")
    params = proposed(searcher, 0)
    later, best = {"x": 0.25, "y": 0.5}, {"x": 0.75, "y": 0.125}
    trial = completed(0, later, 4.0, generation=2, value_generation=1, value_params=best)
    searcher.complete(replace(trial, state=state))
    first, second = known(searcher)
    assert (first.state, first.params) == (OptunaState.FAIL, params)
    assert (second.state, second.params, second.value) == (expected, best, 4.0)


def test_a_value_that_the_proposal_gave_is_told_as_usual_after_a_change() -> None:
    searcher, _ = make("tpe")
    params = proposed(searcher, 0)
    later = {"x": 0.25, "y": 0.5}
    searcher.complete(completed(0, later, 4.0, generation=1, value_generation=0, value_params=params))
    [trial] = known(searcher)
    assert (trial.state, trial.params, trial.value) == (OptunaState.COMPLETE, params, 4.0)


def test_changed_parameters_outside_of_the_space_are_not_told() -> None:
    searcher, _ = make("tpe")
    proposed(searcher, 0)
    searcher.complete(completed(0, {"x": 2.0, "y": 0.5}, 4.0, generation=1, value_generation=1))
    assert [trial.state for trial in known(searcher)] == [OptunaState.FAIL]


# -- several objectives ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", [TrialState.COMPLETED, TrialState.STOPPED])
@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsgaii", "qmc", "random"])
def test_several_objectives_are_those_of_the_last_measurement(sampler: str, state: TrialState) -> None:
    searcher, _ = make(sampler, objective=SEVERAL)
    params = proposed(searcher, 0)
    observe(searcher, 0, 1, loss=1.0, score=0.1)
    observe(searcher, 0, 2, loss=2.0, score=0.7)
    observe(searcher, 0, 3, loss=3.0)  # without the score
    searcher.complete(replace(completed(0, params, 1.0), state=state))
    [trial] = known(searcher)
    assert (trial.state, trial.values) == (OptunaState.COMPLETE, [2.0, 0.7])


def test_several_objectives_are_told_with_the_parameters_of_their_generation() -> None:
    searcher, _ = make("tpe", objective=SEVERAL)
    first, later = proposed(searcher, 0), {"x": 0.25, "y": 0.5}
    observe(searcher, 0, 2, loss=2.0, score=0.7)
    searcher.complete(completed(0, later, 2.0, generation=1, value_generation=0, value_params=first))
    proposed(searcher, 1)
    observe(searcher, 1, 1, generation=1, loss=4.0, score=0.9)
    searcher.complete(completed(1, later, 2.0, generation=1, value_generation=0, value_params=first))
    complete = [trial for trial in known(searcher) if trial.state is OptunaState.COMPLETE]
    assert [(trial.params, trial.values) for trial in complete] == [(first, [2.0, 0.7]), (later, [4.0, 0.9])]


def test_a_trial_without_all_objectives_has_failed() -> None:
    searcher, _ = make("nsgaii", objective=SEVERAL)
    params = proposed(searcher, 0)
    observe(searcher, 0, 1, loss=1.0, score=float("nan"))
    searcher.complete(completed(0, params, 1.0))
    assert [trial.state for trial in known(searcher)] == [OptunaState.FAIL]


# -- what somebody else chose ---------------------------------------------------------------------------------
@pytest.mark.parametrize(("sampler", "key"), [("cmaes", "cma:generation"), ("nsgaii", "NSGAIISampler:generation")])
def test_adopted_trials_belong_to_the_generation_at_hand(sampler: str, key: str) -> None:
    searcher, space = make(sampler)
    searcher.adopt(0, draw(space, 0, 0))
    assert known(searcher)[-1].system_attrs[key] == 0
    play(searcher, range(1, 61), lambda params: float(params["x"]))
    searcher.adopt(61, draw(space, 0, 1))
    own, adopted = known(searcher)[-2:]
    assert adopted.system_attrs[key] == own.system_attrs[key]
    assert own.system_attrs[key] > 0


def test_a_proposal_whose_place_is_taken_has_failed() -> None:
    searcher, space = make("tpe")
    proposed(searcher, 0)
    other = draw(space, 0, 0)
    searcher.adopt(0, other)
    searcher.complete(completed(0, other, 1.0))
    first, second = known(searcher)
    assert (first.state, second.state, second.params) == (OptunaState.FAIL, OptunaState.COMPLETE, other)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_adopted_trial_is_complete_with_its_value(sampler: str) -> None:
    searcher, space = make(sampler, parameters=CONDITIONAL)
    params = draw(space, 0, 0)
    searcher.adopt(0, params)
    searcher.complete(completed(0, params, 1.5))
    [trial] = known(searcher)
    assert (trial.state, trial.value) == (OptunaState.COMPLETE, 1.5)
    assert trial.params["lr"] == params["lr"]


def test_cmaes_begins_around_the_best_tenth_of_past_trials() -> None:
    searcher, space = make("cmaes")
    pasts = [draw(space, 3, number) for number in range(10 * MIN_SOURCES)]
    losses = [(float(params["x"]) - 0.9) ** 2 + (float(params["y"]) - 0.9) ** 2 for params in pasts]
    trials = [completed(number, params, loss) for number, (params, loss) in enumerate(zip(pasts, losses, strict=True))]
    assert teach(searcher, space, trials) == len(pasts)
    proposals = [proposed(searcher, number) for number in range(6)]
    assert all(float(params["x"]) > 0.5 and float(params["y"]) > 0.5 for params in proposals)  # 1 in 4096 at random


def test_cmaes_takes_few_past_trials_into_its_first_generation() -> None:
    searcher, space = make("cmaes")
    pasts = [draw(space, 3, number) for number in range(MIN_SOURCES - 1)]
    teach(searcher, space, [completed(number, params, by_number(number)) for number, params in enumerate(pasts)])
    proposed(searcher, 0)
    assert [trial.system_attrs.get("cma:generation") for trial in known(searcher)[:-1]] == [0] * len(pasts)
    assert [trial.params for trial in known(searcher)[:-1]] == pasts


def test_gp_leaves_the_number_of_threads_as_it_was() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        searcher, _ = make("gp")
        play(searcher, range(12), lambda params: float(params["x"]))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
