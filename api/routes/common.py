"""What all routes share: the store, the parameters of lists, and how values become answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel

from api.schemas.base import ListAnswer
from api.schemas.service import ProblemAnswer
from api.schemas.studies import EventAnswer, StudyAnswer
from api.schemas.trials import BestAnswer, CheckpointAnswer, DecisionAnswer, MeasurementAnswer, TrialAnswer
from api.settings import Settings
from hpo.protocols import MAX_PAGE_SIZE, Page, Store
from hpo.trial import Checkpoint, Decision, Event, Measurement, Study, Trial

T = TypeVar("T")
A = TypeVar("A", bound=BaseModel)

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """The problem documents that a route may answer, for OpenAPI."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}}
    return {status: {"model": ProblemAnswer, "content": content} for status in statuses}


def carries(status: int, *headers: str) -> Responses:
    """The headers of the answer of a route (`api.openapi.HEADERS`), for OpenAPI."""
    return {status: {"headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers}}}


# Async, so that no thread is needed for them.
async def get_store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


async def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


StoreParam = Annotated[Store, Depends(get_store)]
SettingsParam = Annotated[Settings, Depends(get_settings)]
StudyName = Annotated[str, Path(max_length=200, description="The study's name.", examples=["headlines"])]
TrialNumber = Annotated[int, Path(ge=0, lt=2**31, description="The trial's number, from 0.", examples=[3])]
Filter = Annotated[
    str | None,
    Query(description="Only those for which this holds.", examples=["state = completed AND value < 0.3"]),
]
OrderBy = Annotated[str, Query(description="A column; with ` asc` or ` desc` after it, in that direction.")]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="How many at most.")]
PageToken = Annotated[
    str | None,
    Query(
        max_length=2000,
        description="`next_page_token` of the page before.",
        examples=["WyJ0cmlhbHMiLFsiaGVhZGxpbmVzIl0sWzk5XV0"],
    ),
]


def study_answer(study: Study) -> StudyAnswer:
    return StudyAnswer.model_validate(study)


def trial_answer(trial: Trial) -> TrialAnswer:
    return TrialAnswer.model_validate(trial)


def measurement_answer(measurement: Measurement) -> MeasurementAnswer:
    return MeasurementAnswer.model_validate(measurement)


def decision_answer(decision: Decision) -> DecisionAnswer:
    return DecisionAnswer.model_validate(decision)


def checkpoint_answer(checkpoint: Checkpoint) -> CheckpointAnswer:
    return CheckpointAnswer.model_validate(checkpoint)


def event_answer(event: Event) -> EventAnswer:
    return EventAnswer.model_validate(event)


def best_answer(trial: Trial, store: Store) -> BestAnswer:
    kept = [
        checkpoint
        for checkpoint in store.checkpoints(trial.study, trial=trial.number)
        if trial.has_value_at(checkpoint)
    ]
    checkpoint = checkpoint_answer(kept[-1]) if kept else None
    return BestAnswer(**dict(trial_answer(trial)), checkpoint=checkpoint)


def page_answer(page: Page[T], answer: Callable[[T], A]) -> ListAnswer[A]:
    return ListAnswer(items=[answer(item) for item in page.items], next_page_token=page.next_page_token)
