"""What a study comes to: as one page, and its parts as data."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from api.answering import AnswerRoute
from api.reports import (
    CandidateAnswer,
    ImportanceAnswer,
    ImportancesAnswer,
    ParetoAnswer,
    RungAnswer,
    RungsAnswer,
    RungValueAnswer,
)
from api.routes.common import PageSize, PageToken, StoreParam, StudyName, page_answer, problems
from api.schemas.base import ListAnswer
from api.turns import RECKONS
from hpo.report.tables import pages
from hpo.store import paging

router = APIRouter(
    prefix="/v1/studies/{study}", tags=["reports"], responses=problems(401, 404, 503), route_class=AnswerRoute
)

RungStep = Annotated[int, Path(ge=1, lt=2**63, description="The step at which the rung is.", examples=[3])]
_PAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The page.",
        "content": {"text/html": {"schema": {"type": "string"}, "example": "<!doctype html>…"}},
    }
}


@router.get("/report", response_class=HTMLResponse, responses=_PAGE, summary="Report a study", dependencies=RECKONS)
def report(study: StudyName, store: StoreParam) -> HTMLResponse:
    """One HTML file with everything in it: what was found, and how. It asks nobody for anything; 5 MB."""
    from hpo.report.page import page  # loads Optuna and Plotly, which no other route needs
    from hpo.report.reading import read

    content = "".join(page(read(store, study)))  # whole, as long as its turn lasts
    headers = {"Content-Disposition": f'inline; filename="{study}.html"'}
    return HTMLResponse(content, headers=headers)


@router.get("/importance", summary="Which parameters matter", dependencies=RECKONS)
def importance(study: StudyName, store: StoreParam) -> ImportancesAnswer:
    """How far a parameter's values among the best tenth of the trials are from its values among all (PED-ANOVA)."""
    from hpo.report.importance import METHOD, importances

    spec = store.study(study).spec
    found = importances(spec, list(pages(lambda **page: store.trials(study, **page))))
    items = [ImportanceAnswer.model_validate(each) for each in found.items]
    return ImportancesAnswer(metric=spec.objective.metric, method=METHOD, note=found.note, items=items)


@router.get("/pareto", summary="The Pareto front", dependencies=RECKONS)
def pareto(study: StudyName, store: StoreParam) -> ParetoAnswer:
    """The trials that no other one dominates, by what they reported last; with one objective, the best."""
    from hpo.report.analysis import candidates
    from hpo.report.reading import latest

    of = store.study(study)
    spec = of.spec
    found = candidates(spec, list(pages(lambda **page: store.trials(study, **page))), latest(store, of))
    front = sorted((each for each in found if each.is_best), key=lambda each: (each.values, each.trial))
    items = [CandidateAnswer(trial=each.trial, values=list(each.values)) for each in front]
    return ParetoAnswer(metrics=[each.metric for each in spec.objectives], items=items)


@router.get("/rungs", summary="The rungs", dependencies=RECKONS)
def rungs(study: StudyName, store: StoreParam) -> RungsAnswer:
    """How many trials reached each rung, and how many went on from there."""
    from hpo.report import analysis
    from hpo.report.reading import judgements

    found = store.study(study)
    items = [RungAnswer.model_validate(each) for each in analysis.rungs(found.spec, judgements(store, found))]
    return RungsAnswer(metric=found.spec.objective.metric, items=items)


@router.get("/rungs/{step}", responses=problems(400), summary="A rung's trials", dependencies=RECKONS)
def rung(
    study: StudyName, step: RungStep, store: StoreParam, page_size: PageSize = 100, page_token: PageToken = None
) -> ListAnswer[RungValueAnswer]:
    """What each trial had at a rung, and whether it went on from there, by the trial's number: what the report draws.
    None where there is no such rung."""
    from hpo.report.analysis import judged
    from hpo.report.reading import judgements

    found = judged(judgements(store, store.study(study)))
    window = paging.window(("rung", study, step), (int,), lambda row: (row["trial"],), page_size, page_token)
    after = -1 if window.after is None else window.after[0]
    rows = [
        {"trial": each.trial, "value": each.value, "went_on": went_on}
        for each, went_on in sorted(found, key=lambda pair: pair[0].trial)
        if each.rung == step and each.trial > after
    ]
    return page_answer(window.page(rows, lambda row: row), RungValueAnswer.model_validate)
