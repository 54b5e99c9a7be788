"""Studies and their trials: submitting, reading, deleting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.client.connection import Connection, at, body_of, query_of
from api.schemas.base import ListAnswer
from api.schemas.studies import PreviewAnswer, StudyAnswer, StudyDetailAnswer, ValidAnswer
from api.schemas.trials import (
    BestAnswer,
    BestListAnswer,
    CheckpointAnswer,
    CheckpointsAnswer,
    DecisionAnswer,
    IncumbentAnswer,
    IncumbentsAnswer,
    InheritanceAnswer,
    InheritancesAnswer,
    MeasurementAnswer,
    SeriesListAnswer,
    TrialAnswer,
)
from hpo.spec import StudySpec
from hpo.trial import StudyState, TrialState


class Studies(Connection):
    """Studies, and what was tried in them."""

    def create_study(self, spec: StudySpec | Mapping[str, Any], *, package: str | None = None) -> StudyAnswer:
        """Submit a study; `package` is what `upload_package` gave."""
        return self._parse(StudyAnswer, self._send("POST", "/v1/studies", json=body_of(spec, package)))

    def validate(self, spec: StudySpec | Mapping[str, Any], *, package: str | None = None) -> StudySpec:
        """The specification as it would run; creates nothing."""
        return self._parse(ValidAnswer, self._send("POST", "/v1/studies:validate", json=body_of(spec, package))).spec

    def study(self, name: str) -> StudyDetailAnswer:
        return self._parse(StudyDetailAnswer, self._send("GET", at(name)))

    def studies(
        self,
        *,
        state: StudyState | None = None,
        filter: str | None = None,
        order_by: str | None = None,
        page_size: int = 100,
        page_token: str | None = None,
    ) -> ListAnswer[StudyAnswer]:
        """The newest first, unless another order is given (`hpo.filters` says how filters are written)."""
        query = query_of(state=state, filter=filter, order_by=order_by, page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[StudyAnswer], self._send("GET", "/v1/studies", params=query))

    def delete_study(self, name: str) -> None:
        self._send("DELETE", at(name))

    def preview(
        self, spec: StudySpec | Mapping[str, Any], *, package: str | None = None, step_seconds: float = 1.0
    ) -> PreviewAnswer:
        """How long a study would take, simulated; creates nothing."""
        query = query_of(step_seconds=step_seconds)
        answer = self._send("POST", "/v1/studies:preview", json=body_of(spec, package), params=query)
        return self._parse(PreviewAnswer, answer)

    # -- trials -------------------------------------------------------------------------------------------
    def trials(
        self,
        study: str,
        *,
        state: TrialState | None = None,
        filter: str | None = None,
        order_by: str = "number",
        page_size: int = 100,
        page_token: str | None = None,
    ) -> ListAnswer[TrialAnswer]:
        """By number, value (the best first), step, created_at, started_at or ended_at; `value desc` and the like give
        a direction. `hpo.filters` says how filters are written."""
        query = query_of(state=state, filter=filter, order_by=order_by, page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[TrialAnswer], self._send("GET", at(study, "trials"), params=query))

    def trial(self, study: str, number: int) -> TrialAnswer:
        return self._parse(TrialAnswer, self._send("GET", at(study, "trials", number)))

    def measurements(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> ListAnswer[MeasurementAnswer]:
        path = at(study, "measurements") if trial is None else at(study, "trials", trial, "measurements")
        query = query_of(page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[MeasurementAnswer], self._send("GET", path, params=query))

    def decisions(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> ListAnswer[DecisionAnswer]:
        query = query_of(trial=trial, page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[DecisionAnswer], self._send("GET", at(study, "decisions"), params=query))

    def checkpoints(self, study: str, trial: int) -> list[CheckpointAnswer]:
        return self._parse(CheckpointsAnswer, self._send("GET", at(study, "trials", trial, "checkpoints"))).items

    def inheritances(self, study: str, *, trial: int | None = None) -> list[InheritanceAnswer]:
        """The family tree, in the order in which it grew; of one trial if given."""
        answer = self._send("GET", at(study, "inheritances"), params=query_of(trial=trial))
        return self._parse(InheritancesAnswer, answer).items

    def best(self, study: str, *, count: int = 5) -> list[BestAnswer]:
        """The best trials, the best first."""
        return self._parse(BestListAnswer, self._send("GET", at(study, "best"), params={"count": count})).items

    def series(
        self,
        study: str,
        *,
        metric: str | None = None,
        trials: Sequence[int] | None = None,
        best: int = 10,
        points: int = 500,
    ) -> SeriesListAnswer:
        """What the best trials (or those given) reported of a metric (or of the objective), step by step: curves of at
        most so many points each."""
        query = query_of(metric=metric, best=best, points=points) | ({} if trials is None else {"trial": list(trials)})
        return self._parse(SeriesListAnswer, self._send("GET", at(study, "series"), params=query))

    def incumbents(self, study: str, *, points: int = 500) -> list[IncumbentAnswer]:
        """How the best value came about, the last one being the best."""
        answer = self._send("GET", at(study, "incumbent"), params=query_of(points=points))
        return self._parse(IncumbentsAnswer, answer).items
