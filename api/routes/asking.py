"""Ask and tell: workers of the user's own ask for trials, and report what they have reached.

None of these needs an Idempotency-Key: what is sent again gets the same answer, and counts once.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from api.answering import AnswerRoute
from api.asking import (
    CompleteRequest,
    ReleaseRequest,
    RenewRequest,
    ReportRequest,
    SuggestAnswer,
    SuggestRequest,
    TellAnswer,
)
from api.body import Body, checked, described
from api.routes.common import StudyName, TrialNumber, problems
from hpo.asking.desk import Desk

router = APIRouter(prefix="/v1/studies/{study}", tags=["asking"], route_class=AnswerRoute, responses=problems(409))


# Async, so that no thread is needed for it.
async def get_desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


DeskParam = Annotated[Desk, Depends(get_desk)]


@router.post("/trials:suggest", summary="Ask for trials", openapi_extra=described(SuggestRequest))
def suggest_trials(study: StudyName, body: Body, desk: DeskParam) -> SuggestAnswer:
    """What a worker should train: first the trials that this `client_id` holds already, then what is next.

    An empty list says that there is nothing just now (`retry_after_seconds`), or that the study has ended (`done`)."""
    asked = checked(SuggestRequest, body)
    found = desk.suggest(study, asked.client_id, count=asked.count, lease_seconds=asked.lease_seconds)
    return SuggestAnswer.of(found)


@router.post("/trials/{number}:report", summary="Report a step", openapi_extra=described(ReportRequest))
def report_trial(study: StudyName, number: TrialNumber, body: Body, desk: DeskParam) -> TellAnswer:
    """Store what the trial has reached, and say whether it goes on. The report of `max_steps` completes it."""
    told = checked(ReportRequest, body)
    return TellAnswer.of(desk.report(study, number, told.lease, told.step, told.numbers, checkpoint=told.saved))


@router.post("/trials/{number}:renew", summary="Keep a trial", openapi_extra=described(RenewRequest))
def renew_trial(study: StudyName, number: TrialNumber, body: Body, desk: DeskParam) -> TellAnswer:
    """The worker lives, though it has no step to report; it learns whether the trial was stopped meanwhile."""
    return TellAnswer.of(desk.renew(study, number, checked(RenewRequest, body).lease))


@router.post("/trials/{number}:complete", summary="End a trial", openapi_extra=described(CompleteRequest))
def complete_trial(study: StudyName, number: TrialNumber, body: Body, desk: DeskParam) -> TellAnswer:
    """The worker has done with the trial before its last step, or has failed at it."""
    told = checked(CompleteRequest, body)
    return TellAnswer.of(desk.complete(study, number, told.lease, cause=told.failure, message=told.message))


@router.post("/trials/{number}:release", summary="Give a trial back", openapi_extra=described(ReleaseRequest))
def release_trial(study: StudyName, number: TrialNumber, body: Body, desk: DeskParam) -> TellAnswer:
    """The next worker that asks goes on with it, from its last checkpoint."""
    told = checked(ReleaseRequest, body)
    return TellAnswer.of(desk.release(study, number, told.lease, message=told.message))
