"""The cluster: what it has, who holds how much of it, and who waits for what."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.answering import AnswerRoute
from api.auth import AccessParam
from api.occupancy import Occupancy, answer
from api.routes.common import PageSize, PageToken, StoreParam, problems
from api.schemas.cluster import ClusterAnswer
from hpo.report.tables import pages
from hpo.store import paging

router = APIRouter(prefix="/v1/cluster", tags=["cluster"], route_class=AnswerRoute)


@router.get("", responses=problems(400), summary="Show who holds the cluster")
def show_cluster(
    request: Request, store: StoreParam, access: AccessParam, page_size: PageSize = 100, page_token: PageToken = None
) -> ClusterAnswer:
    """What the cluster has, what each project and each study holds of it, and what those wait for that may train
    nothing. Of projects that the token isn't for, only totals."""
    occupancy: Occupancy = request.app.state.occupancy
    seen = occupancy.look()
    if access.project is None:
        projects, shown = list(pages(store.projects)), seen.studies
    else:
        projects = [store.project(access.project)]
        shown = [study for study in seen.studies if study.project == access.project]
    window = paging.window(("cluster", access.project), (str,), lambda row: (row["name"],), page_size, page_token)
    rows = [{"name": each.name, "study": each} for each in shown if window.after is None or each.name > window.after[0]]
    return answer(seen, projects, window.page(rows, lambda row: row["study"]))
