"""Optuna's samplers, through its own ask and tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.search import optuna_samplers
from hpo.search.draws import draw
from hpo.search.optuna_samplers import calm
from hpo.search.optuna_space import OptunaSpace
from hpo.space import Space
from hpo.spec import OptunaSearch, StudySpec
from hpo.table import typed
from hpo.trial import Measurement, Params, Trial, TrialState

if TYPE_CHECKING:
    import optuna

MAX_REFUSALS = 50
"""Forbidden proposals in a row, after which a configuration is drawn at random."""
MAX_REFUSALS_GP = 5
"""The same for gp, whose proposals take long and lie close together."""
_LEARNS_FROM_PRUNED = frozenset({"tpe", "cmaes"})
_HAS_GENERATIONS = frozenset({"cmaes", "nsgaii"})
_CMAES_GENERATION = "cma:generation"
"""Where CmaEsSampler writes which generation a trial is of; it learns from no others."""


@dataclass(slots=True)
class _Pending:
    trial: optuna.Trial
    params: Params
    last: Measurement | None = None
    """The last with all objectives."""


class OptunaSearcher:
    """An Optuna study in memory; what it knows is what it was told here.

    Akiba et al. 2019 (arXiv:1907.10902). tpe is the multivariate one with the constant liar, which keeps
    parallel workers apart; cmaes, gp, nsgaii and qmc (scrambled Sobol') are Optuna's with its defaults.

    Deviations:
    - Discrete parameters are handed over as indices (see OptunaSpace).
    - Conditions: tpe is asked for active parameters only, and models each group of parameters that are active
      together. The others are asked for all parameters in every trial, and inactive ones are left out of the
      proposal: to them they are parameters without effect.
    - A forbidden proposal is asked again, while Optuna still believes that it is being tried, and is failed then;
      after MAX_REFUSALS of them a configuration is drawn at random.
    - Trials that the scheduler stopped are told as pruned, and tpe and cmaes learn from their last value; gp and
      nsgaii ignore pruned trials and would go on proposing what was stopped, so to them such a trial is complete
      with its best value.
    - With several objectives a trial is told with those of its last measurement. Optuna knows no pruning there:
      stopped trials are complete.
    - Where a trial's parameters changed on the way, the trial that Optuna proposed has failed, and another one is
      complete with the parameters that gave the value.
    - What is adopted is a trial of the generation at hand to cmaes and nsgaii: an injected solution (Hansen 2011,
      arXiv:1110.4181), without that paper's limit to the step. From MIN_SOURCES past trials on, cmaes begins with
      a distribution that is fitted to their best tenth (Nomura et al. 2021, arXiv:2012.06932).
    """

    def __init__(self, spec: StudySpec, options: OptunaSearch) -> None:
        import optuna  # here: it takes most of a second, and the API's process needs none of it

        self._spec, self._options = spec, options
        self._space = Space.of(spec)
        self._optuna_space = OptunaSpace(self._space, by_run=options.sampler == "tpe")
        self._pending: dict[int, _Pending] = {}
        self._past: list[tuple[Params, float]] = []
        """What cmaes was taught, until it begins."""
        # Optuna logs every study that it creates to stderr; the study's history is the store's events.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            sampler=optuna_samplers.make(spec, options),
            directions=[objective.direction for objective in spec.objectives],
        )

    def suggest(self, number: int) -> Params | None:
        self._begin()
        refused: list[optuna.Trial] = []
        params: Params | None = None
        with calm(self._options.sampler):
            for _ in range(MAX_REFUSALS_GP if self._options.sampler == "gp" else MAX_REFUSALS):
                trial, proposed = self._optuna_space.ask(self._study)
                if not self._space.is_forbidden(proposed):
                    params, self._pending[number] = proposed, _Pending(trial, proposed)
                    break
                refused.append(trial)
        for trial in refused:
            self._fail(trial)
        if params is None:
            params = draw(self._space, self._spec.seed, number)
            self.adopt(number, params)
        return params

    def adopt(self, number: int, params: Params) -> None:
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        if number < 0 and self._options.sampler == "cmaes":
            return  # see _begin
        self._begin()
        if number in self._pending:
            self._fail(self._pending.pop(number).trial)
        attributes: dict[str, Any] = {"fixed_params": self._optuna_space.values(params)}  # as Study.enqueue_trial
        if self._options.sampler == "cmaes":
            attributes[_CMAES_GENERATION] = 0  # until it proposes: then relative_params overwrites it
        with calm(self._options.sampler):
            self._study.add_trial(create_trial(state=OptunaState.WAITING, system_attrs=attributes))
            trial, _ = self._optuna_space.ask(self._study)
            if self._options.sampler in _HAS_GENERATIONS:
                _ = trial.relative_params  # lets the sampler count the trial among the generation
        self._pending[number] = _Pending(trial, params)

    def observe(self, measurement: Measurement) -> None:
        pending = self._pending.get(measurement.trial)
        if pending is not None and self._values(measurement) is not None:
            pending.last = measurement

    def complete(self, trial: Trial) -> None:
        if trial.number < 0 and self._options.sampler == "cmaes":
            if trial.value is not None:
                self._past.append((trial.best_params, trial.value))
            return
        pending = self._pending.pop(trial.number, None)
        if pending is None:
            return
        if trial.state is TrialState.FAILED:
            self._fail(pending.trial)
        elif len(self._spec.objectives) > 1:
            self._complete_several(pending, trial)
        elif trial.value is None:
            # Stopped without a report: TPE ranks it last among the pruned ones.
            self._fail(pending.trial, pruned=trial.state is TrialState.STOPPED)
        elif not math.isfinite(trial.value):
            self._fail(pending.trial)
        elif trial.state is TrialState.STOPPED and self._options.sampler in _LEARNS_FROM_PRUNED:
            self._prune(pending, trial, trial.value)
        else:
            self._tell(pending, trial.best_params, [trial.value])

    def _complete_several(self, pending: _Pending, trial: Trial) -> None:
        last = pending.last
        values = None if last is None else self._values(last)
        if last is None or values is None or last.generation not in (0, trial.generation):
            self._fail(pending.trial)  # the parameters of a generation in between are not known here
        else:
            params = trial.params if last.generation == trial.generation else pending.params
            self._tell(pending, params, values)

    def _prune(self, pending: _Pending, trial: Trial, value: float) -> None:
        from optuna.trial import TrialState as OptunaState

        if not _same(pending.params, trial.best_params):
            self._replace(
                pending, trial.best_params, state=OptunaState.PRUNED, value=value,
                intermediate_values={trial.step: value},
            )  # fmt: skip
            return
        step, last = trial.step, pending.last
        values = None if last is None else self._values(last)
        if last is not None and values is not None and trial.generation == 0:
            step, value = last.step, values[0]
        with calm(self._options.sampler):
            pending.trial.report(value, step)
            self._study.tell(pending.trial, state=OptunaState.PRUNED)

    def _tell(self, pending: _Pending, params: Params, values: list[float]) -> None:
        from optuna.trial import TrialState as OptunaState

        if not _same(pending.params, params):
            self._replace(pending, params, state=OptunaState.COMPLETE, values=values)
            return
        with calm(self._options.sampler):
            self._study.tell(pending.trial, values)

    def _replace(self, pending: _Pending, params: Params, **outcome: Any) -> None:
        """Fail the trial that Optuna proposed, and add its outcome with the parameters that gave it."""
        from optuna.trial import create_trial

        frozen = self._study.get_trials(deepcopy=False)[pending.trial.number]
        self._fail(pending.trial)
        if not self._space.contains(params):
            return
        values = self._optuna_space.values(params)
        self._study.add_trial(
            create_trial(
                params=values,
                distributions=self._optuna_space.distributions_of(values),
                system_attrs=dict(frozen.system_attrs),  # the generation is among them
                **outcome,
            )
        )

    def _fail(self, trial: optuna.Trial, *, pruned: bool = False) -> None:
        from optuna.trial import TrialState as OptunaState

        with calm(self._options.sampler):
            self._study.tell(trial, state=OptunaState.PRUNED if pruned else OptunaState.FAIL)

    def _values(self, measurement: Measurement) -> list[float] | None:
        """The objectives, or None unless all are there and finite."""
        values = [measurement.metrics.get(objective.metric) for objective in self._spec.objectives]
        found = [float(value) for value in values if value is not None and math.isfinite(value)]
        return found if len(found) == len(values) else None

    def _begin(self) -> None:
        """Before cmaes is first asked: what past trials it was taught."""
        if not self._past:
            return
        past, self._past = self._past, []
        sources = [self._frozen(params, value, numeric=True) for params, value in past]
        enough = len(sources) >= optuna_samplers.MIN_SOURCES
        if enough:
            self._study.sampler = optuna_samplers.make(self._spec, self._options, sources)
        for params, value in past:
            self._study.add_trial(self._frozen(params, value, generation=None if enough else 0))

    def _frozen(
        self, params: Params, value: float, *, numeric: bool = False, generation: int | None = None
    ) -> optuna.trial.FrozenTrial:
        """A complete trial; `numeric` leaves out what cmaes draws on its own."""
        from optuna.distributions import CategoricalDistribution
        from optuna.trial import create_trial

        values = self._optuna_space.values(params)
        kinds = self._optuna_space.distributions_of(values)
        if numeric:
            kinds = {name: kind for name, kind in kinds.items() if not isinstance(kind, CategoricalDistribution)}
        return create_trial(
            params={name: values[name] for name in kinds},
            distributions=kinds,
            value=value,
            system_attrs={} if generation is None else {_CMAES_GENERATION: generation},
        )


def _same(a: Params, b: Params) -> bool:
    return a.keys() == b.keys() and all(typed(a[name]) == typed(b[name]) for name in a)
