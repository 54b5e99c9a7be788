"""Trials, and what was reported, decided and saved in them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.answering import AnswerRoute
from api.routes.common import (
    Filter,
    OrderBy,
    PageSize,
    PageToken,
    StoreParam,
    StudyName,
    TrialNumber,
    best_answer,
    checkpoint_answer,
    decision_answer,
    measurement_answer,
    page_answer,
    problems,
    trial_answer,
)
from api.schemas.base import ListAnswer
from api.schemas.trials import (
    BestListAnswer,
    CheckpointsAnswer,
    DecisionAnswer,
    InheritanceAnswer,
    InheritancesAnswer,
    MeasurementAnswer,
    TrialAnswer,
)
from hpo.trial import TrialState

router = APIRouter(prefix="/v1/studies/{study}", tags=["trials"], route_class=AnswerRoute)

_PAGED = problems(400)

OnlyTrial = Annotated[int | None, Query(ge=0, lt=2**31, description="Only this trial's.", examples=[3])]


@router.get("/trials", responses=_PAGED, summary="List trials")
def list_trials(
    study: StudyName,
    store: StoreParam,
    state: Annotated[TrialState | None, Query(description="Only those in this state.")] = None,
    filter: Filter = None,
    order_by: OrderBy = "number",
    page_size: PageSize = 100,
    page_token: PageToken = None,
) -> ListAnswer[TrialAnswer]:
    """By number, value, step, created_at, started_at or ended_at: rising, or with ` desc` falling; those that have none
    come last. By `value` alone the best come first.

    A filter is a subset of AIP-160: `state = completed AND value < 0.3 AND params.lr >= 1e-3`. Its fields are number,
    state, cause, value, step, generation, parent, created_at, started_at, ended_at and params.NAME; its operators
    = != < <= > >=, `:*` (has a value), AND, OR, NOT and parentheses.
    """
    page = store.trials(
        study, state=state, filter=filter, order_by=order_by, page_size=page_size, page_token=page_token
    )
    return page_answer(page, trial_answer)


@router.get("/trials/{number:unverbed}", summary="Show a trial")
def show_trial(study: StudyName, number: TrialNumber, store: StoreParam) -> TrialAnswer:
    """One configuration and what became of it."""
    return trial_answer(store.trial(study, number))


@router.get("/trials/{number}/measurements", responses=_PAGED, summary="What a trial reported")
def trial_measurements(
    study: StudyName, number: TrialNumber, store: StoreParam, page_size: PageSize = 100, page_token: PageToken = None
) -> ListAnswer[MeasurementAnswer]:
    """In the order in which it was recorded."""
    store.trial(study, number)  # an unknown trial is an error, not an empty list
    page = store.measurements(study, trial=number, page_size=page_size, page_token=page_token)
    return page_answer(page, measurement_answer)


@router.get("/trials/{number}/checkpoints", summary="What a trial saved")
def trial_checkpoints(study: StudyName, number: TrialNumber, store: StoreParam) -> CheckpointsAnswer:
    """The checkpoints that are kept, in the order in which they were recorded."""
    store.trial(study, number)
    return CheckpointsAnswer(items=[checkpoint_answer(c) for c in store.checkpoints(study, trial=number)])


@router.get("/measurements", responses=_PAGED, summary="What all trials reported")
def list_measurements(
    study: StudyName, store: StoreParam, page_size: PageSize = 100, page_token: PageToken = None
) -> ListAnswer[MeasurementAnswer]:
    """In the order in which it was recorded."""
    return page_answer(store.measurements(study, page_size=page_size, page_token=page_token), measurement_answer)


@router.get("/decisions", responses=_PAGED, summary="What the scheduler decided")
def list_decisions(
    study: StudyName,
    store: StoreParam,
    trial: OnlyTrial = None,
    page_size: PageSize = 100,
    page_token: PageToken = None,
) -> ListAnswer[DecisionAnswer]:
    """In the order in which it was recorded, each with its reason."""
    page = store.decisions(study, trial=trial, page_size=page_size, page_token=page_token)
    return page_answer(page, decision_answer)


@router.get("/inheritances", summary="Who went on from whose weights")
def list_inheritances(study: StudyName, store: StoreParam, trial: OnlyTrial = None) -> InheritancesAnswer:
    """The family tree, whole, in the order in which it grew, each edge with its reason."""
    rows = store.inheritances(study, trial=trial)
    return InheritancesAnswer(items=[InheritanceAnswer.model_validate(row) for row in rows])


@router.get("/best", summary="The best trials")
def best_trials(
    study: StudyName,
    store: StoreParam,
    count: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 5,
) -> BestListAnswer:
    """The best first, each with the checkpoint of its best step, if that is kept."""
    page = store.trials(study, order_by="value", page_size=count)
    return BestListAnswer(items=[best_answer(trial, store) for trial in page.items if trial.value is not None])
