"""Curves for charts: reduced here, so that a page of any study stays small."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.answering import AnswerRoute
from api.routes.common import StoreParam, StudyName, problems
from api.schemas.trials import IncumbentAnswer, IncumbentsAnswer, SeriesAnswer, SeriesListAnswer
from hpo.report.tables import events
from hpo.series import MAX_POINTS, MAX_SERIES, MIN_POINTS, Reducer
from hpo.trial import Event

router = APIRouter(
    prefix="/v1/studies/{study}", tags=["trials"], responses=problems(401, 404, 422, 503), route_class=AnswerRoute
)

Points = Annotated[int, Query(ge=MIN_POINTS, le=MAX_POINTS, description="How many at most, of each curve.")]
TrialNumbers = Annotated[
    list[Annotated[int, Query(ge=0, lt=2**31)]] | None,
    Query(
        alias="trial",
        max_length=MAX_SERIES,
        examples=[[0, 3]],
        description="Of these trials; repeatable. The best ones unless given.",
    ),
]


@router.get("/series", summary="Curves of trials")
def list_series(
    study: StudyName,
    store: StoreParam,
    metric: Annotated[
        str | None, Query(max_length=200, description="The objective's unless given.", examples=["perplexity"])
    ] = None,
    trials: TrialNumbers = None,
    best: Annotated[int, Query(ge=1, le=MAX_SERIES, description="How many of the best, where none is named.")] = 10,
    points: Points = 500,
) -> SeriesListAnswer:
    """What trials reported of a metric, step by step.

    Where a trial reported more often than there are points, those stay that make the chart: the first, the last, the
    lowest and the highest of each stretch. What isn't finite is left out.
    """
    metric = metric or store.study(study).spec.objective.metric
    if trials is None:
        found = store.trials(study, order_by="value", page_size=best).items
        trials = [trial.number for trial in found if trial.value is not None]
    series = store.series(study, metric, list(dict.fromkeys(trials)), points=points)
    return SeriesListAnswer(metric=metric, items=[SeriesAnswer.model_validate(each) for each in series])


@router.get("/incumbent", summary="The best value over time")
def incumbent_curve(study: StudyName, store: StoreParam, points: Points = 500) -> IncumbentsAnswer:
    """Each trial that was the best so far, when it became so, and with what. The last one is the best there is."""
    metric = store.study(study).spec.objective.metric
    reducer: Reducer[Event] = Reducer(points)
    for event in events(store, study, "incumbent.changed"):
        value = event.data.get("value")
        if isinstance(value, int | float):
            reducer.add(value, event)
    items = [
        IncumbentAnswer.model_validate({**event.data, "trial": event.trial, "recorded_at": event.recorded_at})
        for event in reducer.points()
    ]
    return IncumbentsAnswer(metric=metric, items=items)
