"""`hpo project` and `hpo token`: who shares the service, how much they may take, and what lets them in."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.saying import print_json
from api.cli.studies import JsonFlag, collect, connect, display
from hpo.tenancy import DEFAULT_PROJECT, MAX_WEIGHT, MIN_WEIGHT, Role

if TYPE_CHECKING:
    from api.tenants import ProjectAnswer

project_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Projects and their quotas.")
token_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Tokens that let people and programs in.")

NameArg = Annotated[str, typer.Argument(metavar="PROJECT", help="The project's name.")]
ProjectOption = Annotated[str, typer.Option("--project", envvar="HPO_PROJECT", help="The project of the token.")]
QuotaArgs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[QUOTA=NUMBER]...", help="max_trials, max_gpus or max_studies; `none` takes a limit away."),
]
WeightOption = Annotated[
    float | None,
    typer.Option(
        "--weight",
        min=MIN_WEIGHT,
        max=MAX_WEIGHT,
        help="Of two projects that want more than there is, one of weight 2 gets twice as much as one of weight 1.",
    ),
]
_SECONDS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


@project_app.command("create")
def create_project(
    name: NameArg, quotas: QuotaArgs = None, weight: WeightOption = None, as_json: JsonFlag = False
) -> None:
    """Make a project: `hpo project create vision max_trials=8 max_gpus=4`."""
    with connect() as client:
        made = client.create_project(name, _quotas(quotas or []), weight=1.0 if weight is None else weight)
    _say(made, as_json)


@project_app.command("ls")
def list_projects(as_json: JsonFlag = False) -> None:
    """List the projects that the token is for, with their weights and their quotas."""
    with connect() as client:
        found = collect(lambda size, token: client.projects(page_size=size, page_token=token), 0)
    if as_json:
        print_json([project.model_dump(mode="json") for project in found])
        return
    from api.cli.render import project_table

    display(project_table(found))


@project_app.command("change")
def change_project(
    name: NameArg, quotas: QuotaArgs = None, weight: WeightOption = None, as_json: JsonFlag = False
) -> None:
    """Change a project's quotas and its weight; what isn't named stays."""
    with connect() as client:
        changed = client.change_project(name, _quotas(quotas or []), weight=weight)
    _say(changed, as_json)


@project_app.command("rm")
def remove_project(name: NameArg) -> None:
    """Delete an empty project, with its tokens."""
    with connect() as client:
        client.delete_project(name)
    typer.echo(f"project {name} is deleted")


@token_app.command("create")
def create_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; the history of studies says it.")],
    role: Annotated[Role, typer.Option("--role", help="What it may do.")] = Role.SUBMITTER,
    project: ProjectOption = DEFAULT_PROJECT,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="After so long: 12h, 90d, 52w; never by default."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a token. Its secret is shown once; who has it sets HPO_TOKEN to it."""
    expires_at = None if expires is None else time.time() + _duration(expires)
    with connect() as client:
        made = client.create_token(project, name, role, expires_at=expires_at)
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    typer.echo(made.token)
    typer.echo(f"token {made.id} of {name}: {role} in project {project}; its secret is not shown again", err=True)


@token_app.command("ls")
def list_tokens(project: ProjectOption = DEFAULT_PROJECT, as_json: JsonFlag = False) -> None:
    """List a project's tokens, the newest first, without their secrets."""
    with connect() as client:
        found = collect(lambda size, token: client.tokens(project, page_size=size, page_token=token), 0)
    if as_json:
        print_json([token.model_dump(mode="json") for token in found])
        return
    now = time.time()
    for token in found:
        if token.revoked_at is not None:
            state = f"revoked {_date(token.revoked_at)}"
        elif token.expires_at is not None:
            state = f"{'ran out' if token.expires_at <= now else 'until'} {_date(token.expires_at)}"
        else:
            state = "live"
        used = "never used" if token.last_used_at is None else f"used {_date(token.last_used_at)}"
        typer.echo(f"{token.id}  {token.name}  {token.role}  {state}, {used}")


@token_app.command("revoke")
def revoke_token(
    id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as `hpo token ls` shows it.")],
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Let a token in no more, from now on."""
    with connect() as client:
        revoked = client.revoke_token(project, id)
    if as_json:
        print_json(revoked.model_dump(mode="json"))
    else:
        typer.echo(f"token {revoked.id} of {revoked.name} is revoked")


def _quotas(assignments: list[str]) -> dict[str, float | None]:
    """`max_trials=8` as a number, `none` as no limit; the service knows which quotas there are."""
    found: dict[str, float | None] = {}
    for each in assignments:
        name, is_assigned, text = each.partition("=")
        try:
            value = None if text == "none" else float(text)
        except ValueError:
            is_assigned = ""
        if not is_assigned:
            raise typer.BadParameter(f"{each!r} is no QUOTA=NUMBER, such as max_trials=8 or max_gpus=none")
        found[name] = int(value) if value is not None and value.is_integer() else value
    return found


def _duration(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time, such as 12h, 90d or 52w", param_hint="--expires")
    return int(found[1]) * _SECONDS[found[2]]


def _say(project: ProjectAnswer, as_json: bool) -> None:
    if as_json:
        print_json(project.model_dump(mode="json"))
    else:
        typer.echo(_line(project))


def _line(project: ProjectAnswer) -> str:
    limits = [f"{name}={value:g}" for name, value in project.quotas.model_dump().items() if value is not None]
    return f"{project.name}  weight={project.weight:g}  {' '.join(limits) or 'no limits'}"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")
