"""Which parameters matter, by PED-ANOVA.

Watanabe, Bansal & Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces"
(IJCAI), in Optuna's implementation, which handles conditional parameters: how far the values of a parameter among the
best tenth of the trials are from its values among all.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpo.report.optuna_space import distribution, shown
from hpo.spec import StudySpec
from hpo.trial import Trial

if TYPE_CHECKING:
    import optuna

MIN_TRIALS = 20
"""With fewer the best tenth is one or two trials, and their places are chance."""
METHOD = "PED-ANOVA: how the best tenth of the trials differ from all (Watanabe et al. 2023)"


@dataclass(frozen=True, slots=True)
class Importance:
    parameter: str
    share: float
    """Of the importance of all parameters, in [0, 1]; they sum to 1."""
    trials: int
    """How many trials had the parameter, and a value."""


@dataclass(frozen=True, slots=True)
class Importances:
    """Falling by share. `note` says why there are none, where there are none."""

    items: Sequence[Importance]
    note: str | None = None


def importances(spec: StudySpec, trials: Sequence[Trial]) -> Importances:
    """For the first objective, from the trials that have a finite value of it (each its best so far)."""
    valued = [trial for trial in trials if trial.value is not None and math.isfinite(trial.value)]
    if len(valued) < MIN_TRIALS:
        return Importances((), f"{len(valued)} trials have a value; importance needs {MIN_TRIALS}")
    if len({trial.value for trial in valued}) == 1:
        return Importances((), "all trials have the same value, so no parameter tells them apart")
    found = _divergences(spec, valued)
    total = sum(found.values())
    if not total > 0:
        return Importances((), "the best trials' parameters are spread as all trials' are")
    counts = {name: sum(name in trial.best_params for trial in valued) for name in found}
    items = [Importance(name, value / total, counts[name]) for name, value in found.items()]
    return Importances(sorted(items, key=lambda each: (-each.share, each.parameter)))


def _divergences(spec: StudySpec, trials: Sequence[Trial]) -> dict[str, float]:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found = evaluator.evaluate(_as_study(spec, trials))
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _as_study(spec: StudySpec, trials: Sequence[Trial]) -> optuna.Study:
    """These trials as an Optuna study, to be read only.

    `Study.add_trials` copies and checks each trial and each of its distributions, which takes five times as long as to
    evaluate them. What a store holds was checked when it was suggested.
    """
    import optuna
    from optuna.trial import FrozenTrial, TrialState

    sign = 1.0 if spec.objective.direction == "minimize" else -1.0
    distributions = {name: distribution(parameter) for name, parameter in spec.parameters.items()}
    frozen = [
        FrozenTrial(
            number=place,
            trial_id=place,
            state=TrialState.COMPLETE,
            value=sign * (trial.value or 0.0),
            params={name: shown(spec.parameters[name], value) for name, value in trial.best_params.items()},
            distributions={name: distributions[name] for name in trial.best_params},
            datetime_start=None,
            datetime_complete=None,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        for place, trial in enumerate(trials)
    ]

    class Held(optuna.storages.InMemoryStorage):
        def get_all_trials(
            self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
        ) -> list[FrozenTrial]:
            return [trial for trial in frozen if states is None or trial.state in states]

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it logs every study that it creates
    try:
        return optuna.create_study(storage=Held(), direction="minimize")
    finally:
        optuna.logging.set_verbosity(verbosity)
