"""A study in an Optuna storage, so that what reads Optuna (optuna-dashboard, its figures) reads it too.

| here | in Optuna |
|---|---|
| completed | COMPLETE, with the value of its best step |
| stopped | PRUNED; with several objectives COMPLETE, for Optuna prunes none there |
| failed | FAIL, with the user attributes `cause` and `message` |
| running, paused | RUNNING |
| pending | WAITING |

What Optuna calls the best is the best of the complete trials. So the trial that is our best is COMPLETE there whatever
its state, and the user attribute `state` of every trial says ours. With several objectives a trial has the values of
its last report, as in our Pareto front. Intermediate values are the first objective's; where a trial went on from other
weights, a step's last value counts, and the parameters are those that gave its value.
"""

from __future__ import annotations

import math
import warnings
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hpo.errors import ExchangeError
from hpo.report.optuna_bulk import add_trials
from hpo.report.optuna_space import distribution, shown
from hpo.spec import StudySpec
from hpo.trial import Measurement, Metrics, Trial, TrialState

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

Steps = tuple["array[int]", "array[float]"]
"""Steps, and the values there."""
MARK = "hpo:study"
"""The attribute of an Optuna study that was exported from here: which one it is."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of an export."""

    name: str
    num_trials: int
    replaced: bool
    """Whether an earlier export was there."""


def to_optuna(
    url: str,
    spec: StudySpec,
    trials: Sequence[Trial],
    measurements: Iterable[Measurement],
    *,
    latest: Mapping[int, Metrics],
    name: str | None = None,
) -> Exported:
    """Write a study; `latest` has what each trial reported last, `name` is Optuna's name for it (the study's unless
    given). An earlier export of the same study is replaced.

    Raises ExchangeError where the storage can't be opened, or has another study of that name.
    """
    import optuna

    target = name or spec.name
    with opened(url) as storage:
        replaced = _make_room(storage, target, spec.name)
        directions = [objective.direction for objective in spec.objectives]
        study = optuna.create_study(storage=storage, study_name=target, directions=directions)
        study.set_metric_names([objective.metric for objective in spec.objectives])
        study.set_user_attr(MARK, spec.name)
        steps = _intermediate(measurements, spec.objective.metric)
        add_trials(storage, study._study_id, _frozen(spec, trials, steps, latest))
    return Exported(target, len(trials), replaced)


@contextmanager
def opened(url: str) -> Iterator[RDBStorage]:
    """An Optuna storage. Raises ExchangeError where it can't be opened, or fails meanwhile."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it logs every study that it creates
    try:
        storage = optuna.storages.RDBStorage(url)
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, ValueError, RuntimeError) as error:
        raise ExchangeError(
            f"{_without_password(url)} can't be used as an Optuna storage ({_reason(error)}); it is a database's "
            "address, such as sqlite:///out.db or postgresql+psycopg://user@host/database"
        ) from None
    try:
        with warnings.catch_warnings():
            # To name the metrics is called experimental, since 2023.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield storage
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise ExchangeError(
            f"the Optuna storage {_without_password(url)} has failed ({_reason(error)}); mend that, and try it again"
        ) from None
    finally:
        storage.remove_session()


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _without_password(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{slashes}{user.partition(':')[0]}{at}{host}"


def _make_room(storage: RDBStorage, name: str, study: str) -> bool:
    """Whether an earlier export of the study was there; it is gone now."""
    known = {each.study_name: each for each in storage.get_all_studies()}
    if name not in known:
        return False
    if known[name].user_attrs.get(MARK) != study:
        raise ExchangeError(
            f"the Optuna storage has a study {name!r} that is no export of {study!r}, and it stays as it is; "
            "export under another name (--name), or into another storage"
        )
    storage.delete_study(known[name]._study_id)
    return True


def _intermediate(measurements: Iterable[Measurement], metric: str) -> dict[int, Steps]:
    """By trial. Kept as plain numbers meanwhile: a million of them are 16 MB so."""
    found: dict[int, Steps] = {}
    for row in measurements:
        if (value := row.metrics.get(metric)) is not None:
            steps, values = found.setdefault(row.trial, (array("q"), array("d")))
            steps.append(row.step)
            values.append(value)
    return found


def _frozen(
    spec: StudySpec, trials: Sequence[Trial], steps: Mapping[int, Steps], latest: Mapping[int, Metrics]
) -> Iterator[FrozenTrial]:
    from optuna.trial import FrozenTrial

    distributions = {name: distribution(parameter) for name, parameter in spec.parameters.items()}
    best = _best(spec, trials)
    for trial in sorted(trials, key=lambda each: each.number):
        params = {name: shown(spec.parameters[name], value) for name, value in trial.best_params.items()}
        values = _values(spec, trial, latest)
        state = _state(spec, trial, has_values=values is not None, is_best=trial is best)
        began = trial.created_at if trial.started_at is None else trial.started_at
        yield FrozenTrial(
            number=trial.number,
            trial_id=-1,  # the storage gives it one
            state=state,
            value=None,
            values=values if state.name == "COMPLETE" else None,
            params=params,
            distributions={each: distributions[each] for each in params},
            datetime_start=None if state.name == "WAITING" else datetime.fromtimestamp(began),
            datetime_complete=datetime.fromtimestamp(trial.ended_at or began) if state.is_finished() else None,
            user_attrs=_attributes(trial),
            system_attrs={},
            intermediate_values=dict(zip(*steps.get(trial.number, ((), ())), strict=True)),
        )


def _best(spec: StudySpec, trials: Iterable[Trial]) -> Trial | None:
    """As `hpo best` has it."""
    sign = 1 if spec.objective.direction == "minimize" else -1
    valued = [(sign * trial.value, trial.number, trial) for trial in trials if trial.value is not None]
    return min(valued)[2] if valued else None


def _values(spec: StudySpec, trial: Trial, latest: Mapping[int, Metrics]) -> list[float] | None:
    if len(spec.objectives) == 1:
        return None if trial.value is None else [trial.value]
    reported = latest.get(trial.number, {})
    found = [reported.get(objective.metric, math.nan) for objective in spec.objectives]
    return found if all(map(math.isfinite, found)) else None


def _state(spec: StudySpec, trial: Trial, *, has_values: bool, is_best: bool) -> Any:
    from optuna.trial import TrialState as Theirs

    several = len(spec.objectives) > 1
    if is_best and has_values and not several:
        return Theirs.COMPLETE
    states = {
        TrialState.COMPLETED: Theirs.COMPLETE,
        TrialState.STOPPED: Theirs.COMPLETE if several else Theirs.PRUNED,
        TrialState.FAILED: Theirs.FAIL,
        TrialState.PENDING: Theirs.WAITING,
    }
    state = states.get(trial.state, Theirs.RUNNING)
    return Theirs.PRUNED if state is Theirs.COMPLETE and not has_values else state


def _attributes(trial: Trial) -> dict[str, Any]:
    """What Optuna has no place for; None where there is nothing to say is left out."""
    said = {
        "trial": trial.number,
        "state": trial.state.value,
        "generation": trial.generation,
        "parent": trial.parent,
        "step": trial.step,
        "value_step": trial.value_step,
        "cause": trial.cause.value if trial.cause else None,
        "message": trial.message,
        "params_at_end": dict(trial.params) if trial.value_params is not None else None,
    }
    return {name: value for name, value in said.items() if value is not None}
