"""Studies: create, validate, list, show, delete."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response, status
from pydantic import Field

from api import packages
from api.answering import AnswerRoute
from api.auth import AccessParam
from api.body import Body, described
from api.errors import ApiError
from api.requests import KeyParam, WhoParam
from api.routes.common import (
    Filter,
    OrderBy,
    PageSize,
    PageToken,
    SettingsParam,
    StoreParam,
    StudyName,
    carries,
    page_answer,
    problems,
    study_answer,
    trial_answer,
)
from api.schemas.base import ListAnswer
from api.schemas.service import DIGEST
from api.schemas.studies import (
    CountsAnswer,
    EstimateAnswer,
    PreviewAnswer,
    StudyAnswer,
    StudyCreate,
    StudyDetailAnswer,
    ValidAnswer,
)
from api.settings import Settings
from api.submission import accept
from api.turns import RECKONS, SUBMITS
from hpo.engine.files import StorageError, open_storage
from hpo.errors import InvalidSpecError, Problem
from hpo.page import NEWEST_FIRST
from hpo.plan import estimate
from hpo.spec import RaySchedule, suggest
from hpo.trial import StudyState

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1", tags=["studies"], route_class=AnswerRoute)

_BODY = described(StudyCreate)


def _parts(body: Any) -> tuple[Any, str | None]:
    """The specification and the package of a request's body; the specification isn't checked here."""
    known = list(StudyCreate.model_fields)
    faults: list[Problem] = []
    if not isinstance(body, dict):
        faults.append(Problem("", f"the body is {type(body).__name__}, but must be an object", 'send {"spec": …}'))
        body = {"spec": None}
    for key in body.keys() - set(known):
        pointer = "/" + key.replace("~", "~0").replace("/", "~1")
        faults.append(Problem(pointer, f"{key!r} is no key here", suggest(key, known) or "known: spec, package"))
    if "spec" not in body:
        faults.append(Problem("/spec", "is missing, but required", "add the specification under spec"))
    package = body.get("package")
    if package is not None and not (isinstance(package, str) and packages.is_digest(package)):
        faults.append(
            Problem("/package", f"{package!r} is no package; it is of the form {DIGEST}", "upload the folder first")
        )
    if faults:
        raise ApiError(422, "invalid-request", "\n".join(map(str, faults)), problems=faults)
    return body["spec"], package


def _folder(settings: Settings, package: str | None) -> Path | None:
    if package is None:
        return None
    packages.check_taken(settings.rules)
    return packages.checked_folder(settings.package_folder, package)


@router.post(
    "/studies", status_code=status.HTTP_201_CREATED, responses=problems(409) | carries(201, "ETag", "Location"),
    openapi_extra=_BODY, summary="Submit a study", dependencies=SUBMITS,
)  # fmt: skip
def create_study(
    body: Body,
    response: Response,
    store: StoreParam,
    settings: SettingsParam,
    access: AccessParam,
    who: WhoParam,
    key: KeyParam,
) -> StudyAnswer:
    """Check a specification and queue the study. Nothing is created if anything is wrong. With an Idempotency-Key it
    is safe to send again: the study is created once."""
    data, package = _parts(body)
    folder = _folder(settings, package)
    spec = accept(data, store, project=access.home, working_dir=folder, rules=settings.rules).spec
    study = store.create_study(spec, project=access.home, who=who, package=package, request=key)
    response.headers["Location"] = f"/v1/studies/{study.name}"
    response.headers["ETag"] = f'"{study.version}"'
    return study_answer(study)


@router.post(
    "/studies:validate", openapi_extra=_BODY,
    summary="Check a specification", dependencies=SUBMITS,
)  # fmt: skip
def validate_study(body: Body, settings: SettingsParam, store: StoreParam, access: AccessParam) -> ValidAnswer:
    """Say what is wrong with a specification, or how it would run. Nothing is created."""
    data, package = _parts(body)
    folder = _folder(settings, package)
    spec = accept(data, store, project=access.home, working_dir=folder, rules=settings.rules).spec
    return ValidAnswer(spec=spec)


@router.post(
    "/studies:preview", openapi_extra=_BODY, summary="Plan a study", dependencies=RECKONS,
)  # fmt: skip
def preview_study(
    body: Body,
    settings: SettingsParam,
    store: StoreParam,
    access: AccessParam,
    workers: Annotated[
        list[Annotated[int, Field(ge=1, le=10_000)]] | None,
        Query(description="Trials at once; repeatable. 1, 2, 4, 8 unless given.", max_length=8, examples=[[2, 4]]),
    ] = None,
    step_seconds: Annotated[
        float, Query(gt=0, le=1e6, description="How long one step of a trial takes.", examples=[2.5])
    ] = 1.0,
) -> PreviewAnswer:
    """Simulate the study before it runs: how long it takes and how many steps it trains, by the number of trials at
    once. Nothing is created, and nothing is trained. A study that takes longer to simulate than the service allows
    (HPO_PREVIEW_SECONDS) is refused: `hpo simulate` takes its time."""
    data, package = _parts(body)
    folder = _folder(settings, package)
    spec = accept(data, store, project=access.home, working_dir=folder, rules=settings.rules).spec
    if isinstance(spec.scheduler, RaySchedule):
        hint = "simulate one of ours"
        raise InvalidSpecError(
            [
                Problem(
                    "/scheduler/algorithm", f"{spec.scheduler.algorithm!r} is Ray Tune's: it can't be simulated", hint
                )
            ]
        )
    most = spec.concurrency or spec.budget.trials
    counts = [min(each, most) for each in workers] if workers else [n for n in (1, 2, 4, 8) if n <= most]
    end = time.monotonic() + settings.preview_seconds
    found = [
        estimate(spec, workers=count, step_seconds=step_seconds, repeats=3, within=end - time.monotonic())
        for count in dict.fromkeys(counts)
    ]
    return PreviewAnswer(spec=spec, estimates=[EstimateAnswer.model_validate(each) for each in found])


@router.get("/studies", responses=problems(400), summary="List studies")
def list_studies(
    store: StoreParam,
    access: AccessParam,
    state: Annotated[StudyState | None, Query(description="Only those in this state.")] = None,
    filter: Filter = None,
    order_by: OrderBy = NEWEST_FIRST,
    page_size: PageSize = 100,
    page_token: PageToken = None,
) -> ListAnswer[StudyAnswer]:
    """The project's, the newest first, or by created_at, started_at, ended_at or name in either direction.

    A filter is a subset of AIP-160: `state = running AND labels.team = "nlp"`. Its fields are name, state, trainable,
    priority, attempt, created_at, started_at, ended_at and labels.NAME.
    """
    page = store.studies(
        project=access.project, state=state, filter=filter, order_by=order_by, page_size=page_size,
        page_token=page_token,
    )  # fmt: skip
    return page_answer(page, study_answer)


@router.get("/studies/{study}", responses=carries(200, "ETag"), summary="Show a study")
def show_study(study: StudyName, response: Response, store: StoreParam) -> StudyDetailAnswer:
    """A study with its counts and its best trial so far."""
    found = store.study(study)
    best = store.trials(study, order_by="value", page_size=1).items
    response.headers["ETag"] = f'"{found.version}"'
    return StudyDetailAnswer(
        **dict(study_answer(found)),
        counts=CountsAnswer.model_validate(store.counts(study)),
        incumbent=trial_answer(best[0]) if best and best[0].value is not None else None,
    )


@router.delete(
    "/studies/{study}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(409),
    summary="Delete a study",
)  # fmt: skip
def delete_study(study: StudyName, store: StoreParam, settings: SettingsParam) -> None:
    """Remove a study that is final, with its trials, reports and checkpoints."""
    store.delete_study(study)
    folder = settings.storage / study
    try:
        open_storage(folder).clear()
    except StorageError as error:
        log.warning("study %s is deleted, but its checkpoints stay in %s: %s", study, folder, error)
