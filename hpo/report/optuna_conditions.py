"""Parameters, and the conditions between them, out of the trials of an Optuna study.

Optuna's spaces are whatever an objective asked for (define-by-run). Here a space is said beforehand: one range for each
parameter, and which values of which other one make it active. That is inferred from all trials; what they don't say is
refused.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from hpo.errors import ExchangeError
from hpo.parameters import CategoricalParameter, FloatParameter, Parameter, index_of, nth_value, num_values
from hpo.table import ParamValue, exact, typed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

NONE = "None"
"""What the choice None becomes: a parameter that is active has a value."""
_parameter: TypeAdapter[Parameter] = TypeAdapter(Parameter)


def parameters(
    trials: Sequence[FrozenTrial], *, without: Collection[str] = (), widen: bool = False
) -> dict[str, Parameter]:
    """The space that the trials span, but for the parameters `without`. With `widen`, a range that changed between
    trials becomes the one that holds all of them.

    Raises ExchangeError for a parameter whose range or condition can't be said.
    """
    data: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for trial in trials for name in trial.params):
        if name not in without:
            data[name] = _data(name, _distribution(name, trials, widen=widen))
    if not data:
        raise ExchangeError("the trials have no parameters; there is nothing to learn from")
    configurations = [
        {name: _told(value) for name, value in trial.params.items() if name in data} for trial in trials
    ]  # fmt: skip
    for name in data:
        if when := _condition(name, configurations, data):
            data[name]["when"] = when
    return {name: _parameter.validate_python(each) for name, each in data.items()}


def plain_value(parameter: Parameter, value: Any) -> ParamValue:
    """Optuna's value as the parameter has it: a float of a grid is the decimal that was meant."""
    if not isinstance(parameter, FloatParameter):
        return _told(value)
    if parameter.step is None:
        return min(max(float(value), parameter.low), parameter.high)
    count = num_values(parameter)
    assert count is not None  # it has steps
    place = round((exact(float(value)) - exact(parameter.low)) / exact(parameter.step))
    return nth_value(parameter, min(max(place, 0), count - 1))


def _told(value: ParamValue | None) -> ParamValue:
    return NONE if value is None else value


# -- ranges -----------------------------------------------------------------------------------------------
def _distribution(name: str, trials: Sequence[FrozenTrial], *, widen: bool) -> BaseDistribution:
    found: BaseDistribution | None = None
    first = 0
    for trial in trials:
        theirs = trial.distributions.get(name)
        if theirs is None or theirs == found:
            continue
        if found is None:
            found, first = theirs, trial.number
            continue
        wider = _wider(found, theirs)
        if wider is None or not widen:
            remedy = (
                "--widen takes the range that holds both"
                if wider is not None
                else f"leave the parameter out (--without {name}), or copy the trials of one kind into a study of "
                "their own"
            )
            raise ExchangeError(
                f"{name} is {found} in trial {first}, but {theirs} in trial {trial.number}, and a parameter has one "
                f"range here; {remedy}"
            )
        found = wider
    assert found is not None  # a trial has it
    return found


def _wider(one: BaseDistribution, other: BaseDistribution) -> BaseDistribution | None:
    """The distribution that holds both, or None where they differ in more than their ends."""
    from optuna.distributions import FloatDistribution, IntDistribution

    for kind in (FloatDistribution, IntDistribution):
        if isinstance(one, kind) and isinstance(other, kind) and (one.log, one.step) == (other.log, other.step):
            low, high = min(one.low, other.low), max(one.high, other.high)
            step = one.step or 0
            if step and (exact(one.low) - exact(other.low)) % exact(step):
                return None  # their grids don't meet
            return kind(low, high, log=one.log, step=one.step)  # type: ignore[arg-type]
    return None


def _data(name: str, found: BaseDistribution) -> dict[str, Any]:
    """The parameter's table as a specification has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(found, CategoricalDistribution):
        choices = [_told(choice) for choice in found.choices]
        if sorted(map(typed, choices), key=repr) == [(bool, False), (bool, True)]:
            return {"type": "bool"}
        if any(isinstance(choice, float) and not math.isfinite(choice) for choice in choices):
            raise ExchangeError(
                f"{name} has the choices {choices}, but a choice is a finite number, a text or a boolean here; "
                f"leave the parameter out (--without {name})"
            )
        return {"type": "categorical", "choices": choices}
    if not isinstance(found, FloatDistribution | IntDistribution):
        raise ExchangeError(f"{name} is {found}, which is not known here; leave it out (--without {name})")
    if found.low == found.high:
        return {"type": "categorical", "choices": [found.low]}
    kind = "float" if isinstance(found, FloatDistribution) else "int"
    data: dict[str, Any] = {"type": kind, "low": found.low, "high": found.high}
    if found.log:
        data["log"] = True
    elif found.step is not None and (kind, found.step) != ("int", 1):
        data["step"] = found.step
    return data


# -- conditions -------------------------------------------------------------------------------------------
def _condition(
    name: str, configurations: Sequence[Mapping[str, ParamValue]], data: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[ParamValue]]:
    """Under which values of one other parameter this one is there; nothing where it is in all trials. A parent with the
    fewest such values is taken, the earlier one of equals."""
    if all(name in params for params in configurations):
        return {}
    candidates = []
    for parent, table in data.items():
        if parent == name or table["type"] == "float":
            continue
        having = [params for params in configurations if name in params]
        lacking = [params for params in configurations if name not in params and parent in params]
        if not all(parent in params for params in having):
            continue
        present = {typed(params[parent]): params[parent] for params in having}
        if present.keys().isdisjoint(typed(params[parent]) for params in lacking):
            candidates.append((len(present), parent, list(present.values())))
    if candidates:
        _, parent, values = min(candidates, key=lambda each: each[0])
        return {parent: sorted(values, key=lambda value: _place(data[parent], value))}
    count = sum(name in params for params in configurations)
    raise ExchangeError(
        f"{name} is in {count} of {len(configurations)} trials, and no other parameter's values say in which, but a "
        "condition here names a parameter and its values; a pruned trial may lack what it would have asked for later: "
        f"take those that are complete (--complete-only), or leave the parameter out (--without {name})"
    )


def _place(table: Mapping[str, Any], value: ParamValue) -> float:
    """Where a value stands in its parameter's order."""
    parameter = _parameter.validate_python(table)
    if isinstance(parameter, CategoricalParameter):
        return parameter.places[typed(value)]
    place = index_of(parameter, value)
    return float(value) if place is None else place
