"""A space and its configurations as Optuna knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpo.parameters import (
    BoolParameter,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    decode_value,
    index_of,
    nth_value,
    num_values,
)
from hpo.space import Space
from hpo.spec import ParamValue
from hpo.trial import Params

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


class OptunaSpace:
    """Optuna's distributions, and the way to and from its values.

    A discrete parameter is handed over as the index of its value (float steps don't drift, and True stays apart
    from 1). With `by_run`, Optuna is asked for the active parameters only, parents first (define-by-run); without,
    for all of them, and what it says of inactive ones is left out.
    """

    def __init__(self, space: Space, *, by_run: bool) -> None:
        self._space = space
        self._by_run = by_run and any(parameter.when for parameter in space.parameters.values())
        self.distributions = {name: _distribution(space.parameters[name]) for name in space.names}

    def ask(self, study: optuna.Study) -> tuple[optuna.Trial, dict[str, ParamValue]]:
        """A new pending trial, and its configuration."""
        if not self._by_run:
            trial = study.ask(self.distributions)
            values = trial.params
            return trial, self._params(values)
        trial = study.ask()
        params: dict[str, ParamValue] = {}
        for name in self._space.names:
            if self._space.is_active(name, params):
                proposed = _suggest(trial, name, self.distributions[name])
                params[name] = _value(self._space.parameters[name], proposed)
        return trial, params

    def values(self, params: Params) -> dict[str, Any]:
        """A configuration in Optuna's values. Without `by_run` an inactive parameter has its middle one."""
        values = {}
        for name in self._space.names:
            parameter = self._space.parameters[name]
            if name in params:
                values[name] = _proposed(parameter, params[name])
            elif not self._by_run:
                values[name] = _proposed(parameter, decode_value(parameter, 0.5))
        return values

    def distributions_of(self, values: dict[str, Any]) -> dict[str, BaseDistribution]:
        """The distributions of the parameters that have a value."""
        return {name: self.distributions[name] for name in values}

    def _params(self, values: dict[str, Any]) -> dict[str, ParamValue]:
        return self._space.canonical(
            {name: _value(parameter, values[name]) for name, parameter in self._space.parameters.items()}
        )


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match distribution:
        case FloatDistribution(low=low, high=high, log=log):
            return trial.suggest_float(name, low, high, log=log)
        case IntDistribution(low=low, high=high, log=log):
            return trial.suggest_int(name, low, high, log=log)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
    raise TypeError(f"{distribution!r} is none that `_distribution` makes")


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, IntParameter) and parameter.log:
        return IntDistribution(parameter.low, parameter.high, log=True)
    count = num_values(parameter)
    assert count is not None  # only a float without a step has none
    if isinstance(parameter, CategoricalParameter | BoolParameter):
        return CategoricalDistribution(range(count))
    return IntDistribution(0, count - 1)


def _value(parameter: Parameter, proposed: Any) -> ParamValue:
    """Back from what `_distribution` made of the parameter, as a plain Python value within its bounds."""
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return min(max(float(proposed), parameter.low), parameter.high)
    if isinstance(parameter, IntParameter) and parameter.log:
        return int(proposed)
    return nth_value(parameter, int(proposed))


def _proposed(parameter: Parameter, value: ParamValue) -> Any:
    """The inverse of `_value`."""
    if isinstance(parameter, FloatParameter | IntParameter) and (
        parameter.log or (isinstance(parameter, FloatParameter) and parameter.step is None)
    ):
        return value
    return index_of(parameter, value)
