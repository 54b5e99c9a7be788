"""A study out of an Optuna storage, as a finished one of ours: what a new study's `warm_start` learns from.

The other way than `to_optuna`: COMPLETE is completed, PRUNED is stopped with its best intermediate value, FAIL is
failed; trials that wait or run are left out. A step counts from 1 here: where Optuna's begin at 0, all are one higher.
A value that no intermediate value gives is reported at one more step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.errors import ExchangeError
from hpo.report.imports import MAX_TRIALS
from hpo.report.optuna_conditions import NONE, parameters, plain_value
from hpo.report.to_optuna import opened
from hpo.space import Space
from hpo.spec import Objective, StudySpec
from hpo.specfile import parse

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial


@dataclass(frozen=True, slots=True)
class Found:
    """A study from elsewhere, as plain data: what `POST /v1/studies:import` takes."""

    study: str
    """Its name in Optuna."""
    spec: StudySpec
    trials: Sequence[Mapping[str, Any]]
    notes: Sequence[str]
    """What became otherwise, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is taken of an Optuna study, and how."""

    study: str | None = None
    """Needed where the storage has several."""
    name: str | None = None
    """Ours; made of Optuna's unless given."""
    metrics: Sequence[str] = ()
    """The names of its objectives; those that Optuna was told, or `value`."""
    widen: bool = False
    """Whether a range that changed between trials becomes the one that holds all of them."""
    complete_only: bool = False
    without: Collection[str] = ()
    """Parameters to leave out."""
    steps: bool = True
    """Whether intermediate values come too."""
    max_trials: int | None = None
    """The first ones."""


def from_optuna(url: str, choice: Choice) -> Found:
    """Read a study. Raises ExchangeError where the storage can't be read, or what it holds can't be said here."""
    with opened(url) as storage:
        study = _chosen(storage, choice.study)
        directions = [each.name.lower() for each in study.directions]
        named = choice.metrics or study.metric_names
        trials = study.get_trials(deepcopy=False)
    unnamed = ["value"] if len(directions) == 1 else [f"value_{k}" for k in range(len(directions))]
    metrics = named or unnamed
    if len(metrics) != len(directions):
        raise ExchangeError(
            f"{study.study_name!r} has {len(directions)} objectives, but {len(metrics)} metrics are named; "
            "name one for each (--metric, once each)"
        )
    objectives = [Objective(metric=m, direction=d) for m, d in zip(metrics, directions, strict=True)]
    return _found(study.study_name, trials, objectives, choice)


def _chosen(storage: RDBStorage, name: str | None) -> optuna.Study:
    import optuna

    names = sorted(each.study_name for each in storage.get_all_studies())
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        asked = f"no study {name!r}" if name is not None else f"{len(names)} studies"
        raise ExchangeError(f"the Optuna storage has {asked}; name one of {', '.join(names[:20]) or 'none'} (--study)")
    return optuna.load_study(study_name=name, storage=storage)


def _found(theirs: str, trials: Sequence[FrozenTrial], objectives: Sequence[Objective], choice: Choice) -> Found:
    ended = [each for each in trials if each.state.is_finished()]
    notes = []
    if len(ended) < len(trials):
        notes.append(f"left out, since they wait or run: {len(trials) - len(ended)} of {len(trials)} trials")
    ended = ended[: choice.max_trials]
    if len(ended) > MAX_TRIALS:
        raise ExchangeError(
            f"{theirs!r} has {len(ended)} trials, but an import takes at most {MAX_TRIALS}; "
            f"--max-trials {MAX_TRIALS} takes the first"
        )
    taken = {"COMPLETE"} if choice.complete_only else {"COMPLETE", "PRUNED"}
    answered = [each for each in ended if each.state.name in taken]
    if not answered:
        raise ExchangeError(f"{theirs!r} has no trial that is complete; there is nothing to learn from")
    space = parameters(answered, without=choice.without, widen=choice.widen)
    name = choice.name or re.sub(r"[^a-z0-9]+", "-", theirs.lower()).strip("-")[:63].strip("-") or "optuna"
    known = Space(space)
    shift = 1 - min((step for each in ended for step in each.intermediate_values), default=1)
    made = []
    for each in ended:
        params = {name: plain_value(space[name], value) for name, value in each.params.items() if name in space}
        if each.state.name in taken or (each.state.name == "FAIL" and known.contains(params)):
            made.append(_trial(each, params, objectives, max(0, shift), steps=choice.steps))
    if len(made) < len(ended):
        notes.append(
            f"left out, since they were pruned or have failed: {len(ended) - len(made)} of {len(ended)} trials"
        )
    if any(value is None for each in answered for value in each.params.values()):
        notes.append(f"the choice None is the text {NONE!r} here")
    if shift > 0:
        notes.append(f"steps count from 1 here: each is {shift} higher")
    steps = max((report["step"] for each in made for report in each["measurements"]), default=1)
    spec = parse({
        "name": name,
        "engine": "ask",  # nothing of ours has trained it; a fork's trials are for the user's own workers
        "parameters": {name: parameter.model_dump(exclude_none=True) for name, parameter in space.items()},
        "objective": [each.model_dump(exclude_none=True) for each in objectives],
        "budget": {"trials": max(each["number"] for each in made) + 1, "steps_per_trial": steps},
        "labels": {"imported-from": "optuna", "optuna-study": theirs},
    })  # fmt: skip
    return Found(theirs, spec, made, notes)


def _trial(
    trial: FrozenTrial, params: Mapping[str, Any], objectives: Sequence[Objective], shift: int, *, steps: bool
) -> dict[str, Any]:
    """As the body of an import has it."""
    first = objectives[0]
    reported = {step + shift: {first.metric: value} for step, value in sorted(trial.intermediate_values.items())}
    value: float | None = None
    value_step: int | None = None
    is_answer = trial.state.name == "COMPLETE" and all(map(math.isfinite, trial.values))
    if is_answer:
        named = dict(zip((each.metric for each in objectives), trial.values, strict=True))
        value = named[first.metric]
        same = [step for step, metrics in reported.items() if metrics[first.metric] == value]
        # With several objectives the last report counts: it has all of them.
        value_step = same[0] if same and len(objectives) == 1 else max(reported, default=0) + 1
        if same and len(objectives) > 1 and same[-1] == max(reported):
            value_step = same[-1]
        reported[value_step] = named
    elif trial.state.name == "PRUNED":
        finite = {step: m[first.metric] for step, m in reported.items() if math.isfinite(m[first.metric])}
        if finite:
            sign = 1 if first.direction == "minimize" else -1
            value_step = min(finite, key=lambda step: (sign * finite[step], step))
            value = finite[value_step]
    if not steps:
        reported = {step: metrics for step, metrics in reported.items() if step == value_step}
    return {
        "number": trial.number,
        "params": dict(params),
        "state": "completed" if is_answer else "stopped" if trial.state.name == "PRUNED" else "failed",
        "value": value,
        "value_step": value_step,
        "message": _why(trial) if not is_answer else None,
        "started_at": trial.datetime_start.timestamp() if trial.datetime_start else None,
        "ended_at": trial.datetime_complete.timestamp() if trial.datetime_complete else None,
        "measurements": [{"step": step, "metrics": metrics} for step, metrics in reported.items()],
    }


def _why(trial: FrozenTrial) -> str | None:
    """Why it is no answer, for people."""
    if trial.state.name == "COMPLETE":
        return f"its values are {trial.values}, but an objective must be finite"
    told = trial.user_attrs.get("message")
    return told if isinstance(told, str) else f"it is {trial.state.name} in Optuna"
