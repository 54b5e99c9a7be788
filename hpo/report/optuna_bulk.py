"""Many trials into an Optuna database at once.

Optuna's own way asks the database several times for each value that it writes: about 50 ms a trial, however many are
written. Here its tables get what it would have written in a few statements. That its tables are those that this file
knows is checked by their version; where they aren't, Optuna writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

KNOWN_SCHEMA = 12
"""Optuna's, since 3.0."""
TRIALS_AT_ONCE = 500


def add_trials(storage: RDBStorage, study_id: int, trials: Iterable[FrozenTrial]) -> None:
    """Append trials to a study that nobody else writes to; on tables that are known all or none. They are numbered in
    their order, whatever their numbers were."""
    from optuna.storages._rdb import models

    if models.SCHEMA_VERSION != KNOWN_SCHEMA:
        for trial in trials:
            storage.create_new_trial(study_id, template_trial=trial)
        return
    session = storage.scoped_session()
    try:
        numbered = enumerate(trials)
        while page := list(islice(numbered, TRIALS_AT_ONCE)):
            made = [
                models.TrialModel(
                    study_id=study_id, number=number, state=trial.state, datetime_start=trial.datetime_start,
                    datetime_complete=trial.datetime_complete,
                )
                for number, trial in page
            ]  # fmt: skip
            session.add_all(made)
            session.flush()  # the trials have their ids now
            for row, (_, trial) in zip(made, page, strict=True):
                session.add_all(_parts(models, row.trial_id, trial))
            session.flush()
            session.expunge_all()
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        storage.scoped_session.remove()


def _parts(models: Any, trial_id: Any, trial: FrozenTrial) -> Iterator[Any]:
    """The rows of other tables that a trial has."""
    from optuna.distributions import distribution_to_json

    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield models.TrialValueModel(trial_id=trial_id, objective=objective, value=stored, value_type=kind)
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        yield models.TrialParamModel(
            trial_id=trial_id, param_name=name, param_value=distribution.to_internal_repr(value),
            distribution_json=distribution_to_json(distribution),
        )  # fmt: skip
    for key, value in trial.user_attrs.items():
        yield models.TrialUserAttributeModel(trial_id=trial_id, key=key, value_json=json.dumps(value))
    for step, value in trial.intermediate_values.items():
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        yield models.TrialIntermediateValueModel(
            trial_id=trial_id, step=step, intermediate_value=stored, intermediate_value_type=kind
        )
