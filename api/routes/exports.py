"""A study as a table, to take away, and a finished study made of trials from elsewhere."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response, status
from fastapi.responses import StreamingResponse

from api import examples
from api.auth import AccessParam
from api.bodies import StudyImport
from api.body import Body, checked, described
from api.errors import ApiError
from api.requests import KeyParam, WhoParam
from api.routes.common import StoreParam, StudyName, carries, problems, study_answer
from api.schemas.studies import StudyAnswer
from api.turns import SUBMITS
from hpo import compatibility, specfile
from hpo.errors import Problem
from hpo.report import imports
from hpo.report.formats import Format, export
from hpo.report.tables import What

router = APIRouter(prefix="/v1", tags=["exports"])

MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.JSON: "application/json",
    Format.JSONL: "application/x-ndjson",
}

_TABLES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The table. It is sent as it is read, so an answer that breaks off has failed.",
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": "number,state,value,params.lr\n0,completed,61.2,0.003\n",
            },
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {"type": "array", "items": {"type": "object"}}, "example": [examples.EXPORTED],
            },
            "application/x-ndjson": {"schema": {"type": "string"}, "example": json.dumps(examples.EXPORTED) + "\n"},
        },
    }
}  # fmt: skip


@router.get(
    "/studies/{study}/export", response_class=StreamingResponse, responses=_TABLES, summary="Export a study",
)  # fmt: skip
def export_study(
    study: StudyName,
    store: StoreParam,
    format: Annotated[Format, Query(description="`json` is one array, `jsonl` an object a line.")] = Format.CSV,
    what: Annotated[What, Query(description="Which rows.")] = What.TRIALS,
) -> StreamingResponse:
    """All trials, measurements, decisions, … as one table, whatever its size. Parameters are columns `params.NAME`,
    metrics `metrics.NAME`. Times are timestamps in CSV and Parquet, and seconds since the epoch in JSON."""
    name = f'attachment; filename="{study}-{what}.{format}"'
    content = export(store, study, what=what, format=format)
    return StreamingResponse(content, media_type=MEDIA_TYPES[format], headers={"Content-Disposition": name})


@router.post(
    "/studies:import", status_code=status.HTTP_201_CREATED, responses=problems(409) | carries(201, "ETag", "Location"),
    openapi_extra=described(StudyImport), summary="Import a finished study", dependencies=SUBMITS,
)  # fmt: skip
def import_study(
    body: Body, response: Response, store: StoreParam, access: AccessParam, who: WhoParam, key: KeyParam
) -> StudyAnswer:
    """Make a study that has succeeded out of trials that were run elsewhere, so that `warm_start` can learn from it.
    All or nothing; at most 10,000 trials and 20 MB."""
    given = checked(StudyImport, body)
    spec = specfile.parse(given.spec)
    compatibility.check(spec)
    trials = [trial.model_dump() for trial in given.trials]
    faults = [Problem(f"/trials{each.pointer}", each.detail, each.hint) for each in imports.check(spec, trials)][:100]
    if faults:
        raise ApiError(422, "invalid-request", "\n".join(map(str, faults)), problems=faults)
    study = imports.import_study(store, spec, trials, source=given.source, project=access.home, who=who, request=key)
    response.headers["Location"] = f"/v1/studies/{study.name}"
    response.headers["ETag"] = f'"{study.version}"'
    return study_answer(study)
