"""HyperOpt's algorithms, asked and told one trial at a time."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from hyperopt import anneal, rand, tpe
from hyperopt.base import JOB_STATE_DONE, STATUS_FAIL, STATUS_NEW, STATUS_OK, Domain, Trials, trials_from_docs

from hpo.search.draws import draw
from hpo.search.hyperopt_space import HyperoptSpace
from hpo.space import Space
from hpo.spec import HyperoptSearch, StudySpec
from hpo.trial import Measurement, Params, Trial, TrialState

MAX_REFUSALS = 50
"""Forbidden proposals in a row, after which a configuration is drawn at random."""
STARTUP_TRIALS = 20

Document = dict[str, Any]
"""A trial as HyperOpt keeps it."""


class HyperoptSearcher:
    """tpe or anneal, with their defaults, on HyperOpt's Trials and Domain.

    Bergstra et al. 2011, "Algorithms for hyper-parameter optimization"; Bergstra, Yamins & Cox 2013. Proposals are
    keyed by (seed, number) and what was told before. A trial's loss is its best value, also if it was stopped.

    tpe sees the trials at work and the failed ones with an infinite loss, as in HyperOpt's own loop, which keeps
    parallel workers apart. Deviation: only trials with a value count as start-up trials, so that the model isn't
    asked before there is anything to learn. anneal sees only trials with a value: its best ones are where it goes on.

    A forbidden proposal is asked again with another seed; tpe sees it with an infinite loss meanwhile, or it would
    come back: where nothing was tried, tpe expects the most. After MAX_REFUSALS of them a configuration is drawn at
    random.

    A suggestion takes O(trials x parameters), which is HyperOpt's own cost.
    """

    def __init__(self, spec: StudySpec, options: HyperoptSearch) -> None:
        self._space = Space.of(spec)
        self._seed = spec.seed
        self._sign = 1.0 if spec.objective.direction == "minimize" else -1.0
        self._is_tpe = options.sampler == "tpe"
        self._startup_trials = STARTUP_TRIALS if options.startup_trials is None else options.startup_trials
        self._hyperopt_space = HyperoptSpace(self._space)
        self._domain = Domain(None, self._hyperopt_space.expression, pass_expr_memo_ctrl=False)
        self._documents: list[Document] = []
        """What the algorithm sees."""
        self._pending: dict[int, Document] = {}
        self._num_documents = 0
        self._num_valued = 0

    def suggest(self, number: int) -> Params | None:
        refused: list[Document] = []
        for attempt in range(MAX_REFUSALS):
            params = self._proposed(_seed(self._seed, number, attempt), refused)
            if not self._space.is_forbidden(params):
                break
            refused.append(self._document(self._num_documents + attempt, params))
        else:
            params = draw(self._space, self._seed, number)
        self.adopt(number, params)
        return params

    def adopt(self, number: int, params: Params) -> None:
        if number in self._pending:
            self._end(self._pending.pop(number), None)
        # Counted by call, not by the trial's number: tpe forgets the smallest ids first.
        self._pending[number] = document = self._document(self._num_documents, params)
        self._num_documents += 1
        if self._is_tpe:
            self._documents.append(document)

    def observe(self, measurement: Measurement) -> None:
        pass

    def complete(self, trial: Trial) -> None:
        document = self._pending.pop(trial.number, None)
        if document is None:
            return
        value, params = trial.value, trial.best_params
        if trial.state is TrialState.FAILED or value is None or not math.isfinite(value):
            self._end(document, None)
        elif not self._space.contains(params):
            self._end(document, None)  # changed on the way to what HyperOpt can't be told
        else:
            document["misc"].update(self._observed(document["tid"], params))
            self._end(document, value)

    def _proposed(self, seed: int, refused: list[Document]) -> Params:
        new_ids = [self._num_documents + len(refused)]
        known = trials_from_docs(self._documents + (refused if self._is_tpe else []), validate=False)
        if not self._is_tpe:
            documents = anneal.suggest(new_ids, self._domain, known, seed)
        elif self._num_valued < self._startup_trials:
            documents = rand.suggest(new_ids, self._domain, known, seed)
        else:
            documents = tpe.suggest(new_ids, self._domain, known, seed, n_startup_jobs=0, verbose=False)
        return self._hyperopt_space.params(documents[0]["misc"]["vals"])

    def _document(self, tid: int, params: Params) -> Document:
        misc = {"tid": tid, "cmd": self._domain.cmd, "workdir": None, **self._observed(tid, params)}
        [document] = Trials().new_trial_docs([tid], [None], [{"status": STATUS_NEW}], [misc])
        return dict(document)

    def _observed(self, tid: int, params: Params) -> Document:
        values = self._hyperopt_space.values(params)
        return {"vals": values, "idxs": {name: [tid] * len(found) for name, found in values.items()}}

    def _end(self, document: Document, value: float | None) -> None:
        document["state"] = JOB_STATE_DONE
        if value is None:
            document["result"] = {"status": STATUS_FAIL}
            return
        document["result"] = {"status": STATUS_OK, "loss": self._sign * value}
        self._num_valued += 1
        if not self._is_tpe:
            self._documents.append(document)


def _seed(seed: int, number: int, attempt: int) -> int:
    """63 bits."""
    digest = hashlib.sha256(f"{seed}:{number}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
