"""Projects with their quotas, and the tokens that let people and programs into them."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response, status

from api import tokens
from api.answering import AnswerRoute
from api.auth import AccessParam, Gate
from api.body import Body, checked, described
from api.errors import ApiError
from api.routes.common import PageSize, PageToken, StoreParam, page_answer, problems
from api.schemas.base import ListAnswer
from api.tenants import NewTokenAnswer, ProjectAnswer, ProjectChange, ProjectCreate, TokenAnswer, TokenCreate
from hpo.errors import Problem
from hpo.page import Page
from hpo.tenancy import Project, Quotas, Token

router = APIRouter(prefix="/v1/projects", tags=["projects"], route_class=AnswerRoute)

ProjectName = Annotated[str, Path(max_length=200, description="The project's name.", examples=["vision"])]
TokenId = Annotated[str, Path(max_length=200, description="The token's id.", examples=["k3v9q0d2m7xa"])]

_PAGED = problems(400)
_CONFLICT = problems(409)


async def get_gate(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


GateParam = Annotated[Gate, Depends(get_gate)]


def project_answer(project: Project) -> ProjectAnswer:
    return ProjectAnswer.model_validate(project)


def token_answer(token: Token) -> TokenAnswer:
    return TokenAnswer.model_validate(token)


@router.get("", responses=_PAGED, summary="List projects")
def list_projects(
    store: StoreParam, access: AccessParam, page_size: PageSize = 100, page_token: PageToken = None
) -> ListAnswer[ProjectAnswer]:
    """By name: all with the service's own token, with another the one that it is for."""
    if access.project is None:
        page = store.projects(page_size=page_size, page_token=page_token)
    else:
        page = Page([store.project(access.project)])
    return page_answer(page, project_answer)


@router.post(
    "", status_code=status.HTTP_201_CREATED, responses=_CONFLICT, openapi_extra=described(ProjectCreate),
    summary="Make a project",
)  # fmt: skip
def create_project(body: Body, response: Response, store: StoreParam) -> ProjectAnswer:
    """With the service's own token only."""
    asked = checked(ProjectCreate, body)
    project = store.create_project(asked.name, Quotas.of(asked.quotas.model_dump()), weight=asked.weight)
    response.headers["Location"] = f"/v1/projects/{project.name}"
    return project_answer(project)


@router.get("/{project}", summary="Show a project")
def show_project(project: ProjectName, store: StoreParam) -> ProjectAnswer:
    """A project, its quotas and its weight."""
    return project_answer(store.project(project))


@router.patch("/{project}", openapi_extra=described(ProjectChange), summary="Change a project")
def change_project(project: ProjectName, body: Body, store: StoreParam) -> ProjectAnswer:
    """The quotas that are named (null takes a limit away), and its weight. With the service's own token only."""
    asked = checked(ProjectChange, body)
    return project_answer(
        store.change_project(project, asked.quotas.model_dump(exclude_unset=True), weight=asked.weight)
    )


@router.delete(
    "/{project}", status_code=status.HTTP_204_NO_CONTENT, responses=_CONFLICT, summary="Delete a project"
)  # fmt: skip
def delete_project(project: ProjectName, store: StoreParam, gate: GateParam) -> None:
    """An empty one, with its tokens. With the service's own token only."""
    store.delete_project(project)
    gate.refresh()


@router.get("/{project}/tokens", responses=_PAGED, summary="List a project's tokens")
def list_tokens(
    project: ProjectName, store: StoreParam, page_size: PageSize = 100, page_token: PageToken = None
) -> ListAnswer[TokenAnswer]:
    """The newest first, also those that are revoked or have run out. No secret is among them."""
    return page_answer(store.tokens(project, page_size=page_size, page_token=page_token), token_answer)


@router.post(
    "/{project}/tokens", status_code=status.HTTP_201_CREATED, responses=_CONFLICT, openapi_extra=described(TokenCreate),
    summary="Make a token",
)  # fmt: skip
def create_token(project: ProjectName, body: Body, response: Response, store: StoreParam) -> NewTokenAnswer:
    """The answer has its secret, which is kept nowhere: take it now."""
    asked = checked(TokenCreate, body)
    expires_at = asked.expires_at
    if expires_at is not None and expires_at <= time.time():
        fault = Problem("/expires_at", f"{expires_at} is past, and a token lives until then", "give a time to come")
        raise ApiError(422, "invalid-request", str(fault), problems=[fault])
    issued = tokens.issue()
    made = store.create_token(
        issued.id, issued.digest, project=project, name=asked.name, role=asked.role, expires_at=expires_at
    )
    response.headers["Cache-Control"] = "no-store"
    return NewTokenAnswer(**dict(token_answer(made)), token=issued.text)


@router.post("/{project}/tokens/{token}:revoke", summary="Revoke a token")
def revoke_token(project: ProjectName, token: TokenId, store: StoreParam, gate: GateParam) -> TokenAnswer:
    """It lets nobody in any more: here from now on, in other processes of the service within seconds."""
    revoked = store.revoke_token(project, token)
    gate.refresh()
    return token_answer(revoked)
