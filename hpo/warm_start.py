"""What past studies found, for a new study's searcher to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.errors import InvalidSpecError, Problem, StudyNotFoundError
from hpo.protocols import Store
from hpo.space import Space
from hpo.spec import StudySpec
from hpo.tenancy import DEFAULT_PROJECT
from hpo.trial import Trial, TrialState

MAX_PAST_TRIALS = 1000
"""Of each past study, its first ones: a model-based searcher's cost grows with what it knows."""


def check(store: Store, spec: StudySpec, project: str = DEFAULT_PROJECT) -> None:
    """Raise InvalidSpecError where a past study can't be learned from. One of another project than `project` is as if
    it weren't there."""
    problems = []
    for place, name in enumerate(spec.warm_start):
        try:
            study = store.study(name)
            if study.project != project:
                raise StudyNotFoundError(name)
        except StudyNotFoundError:
            problems.append(
                Problem(f"/warm_start/{place}", f"no study is named {name!r}", "`hpo ls` lists the studies; drop it")
            )
            continue
        past, ours = study.spec.objective, spec.objective
        if (past.metric, past.direction) != (ours.metric, ours.direction):
            problems.append(
                Problem(
                    f"/warm_start/{place}",
                    f"study {name!r} is to {past.direction} {past.metric}, but this one to {ours.direction} "
                    f"{ours.metric}: its values say nothing here",
                    "drop it, or choose a study with the same objective",
                )
            )
    if problems:
        raise InvalidSpecError(problems)


def past_trials(store: Store, spec: StudySpec, project: str = DEFAULT_PROJECT) -> list[Trial]:
    """The ended trials of the past studies that lie in this study's space and have a value, by study and number.

    Raises InvalidSpecError, as `check`: a past study may have gone since the study was submitted.
    """
    check(store, spec, project)
    space = Space.of(spec)
    found = []
    for name in spec.warm_start:
        token, taken = None, 0
        while True:
            page = store.trials(name, page_size=500, page_token=token)
            for trial in page.items:
                fits = trial.state.is_final and trial.value is not None and space.contains(trial.best_params)
                if fits and taken < MAX_PAST_TRIALS:
                    found.append(trial)
                    taken += 1
            token = page.next_page_token
            if token is None or taken >= MAX_PAST_TRIALS:
                break
    return found


def to_data(trial: Trial) -> dict[str, Any]:
    """A past trial as JSON, for the study's own history: the past study may be deleted before a replay."""
    return {
        "study": trial.study,
        "number": trial.number,
        "params": dict(trial.best_params),
        "state": trial.state.value,
        "step": trial.step,
        "value": trial.value,
        "value_step": trial.value_step,
    }


def from_data(data: Mapping[str, Any]) -> Trial:
    """Back from `to_data`."""
    return Trial(
        study=data["study"],
        number=data["number"],
        params=data["params"],
        state=TrialState(data["state"]),
        step=data["step"],
        value=data["value"],
        value_step=data["value_step"],
        created_at=0.0,
    )
