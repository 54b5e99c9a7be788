"""Commands about studies. All of them ask the service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from api.cli.saying import echo, print_json
from api.cli.specs import NameOption, SetOption, SpecArg, read
from hpo.page import NEWEST_FIRST
from hpo.trial import StudyState, TrialState

if TYPE_CHECKING:
    from api.client import Client
    from api.schemas.base import ListAnswer

T = TypeVar("T")

StudyArg = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")]
ProjectOption = Annotated[
    str | None,
    typer.Option("--project", help="The project, with the service's own token; HPO_PROJECT unless given."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def connect(project: str | None = None) -> Client:
    from api.client import Client
    from api.settings import Settings

    settings = Settings()
    return Client.of(settings, project=project or settings.project)


def display(renderable: object) -> None:
    from api.cli.render import show

    show(renderable)


def collect(fetch: Callable[[int, str | None], ListAnswer[T]], limit: int) -> list[T]:
    """At most `limit` items of a list that comes in pages; all of them for 0."""
    items: list[T] = []
    token: str | None = None
    while True:
        page = fetch(min(limit - len(items), 1000) if limit else 1000, token)
        items += page.items
        token = page.next_page_token
        if token is None or (limit and len(items) >= limit):
            return items


def submit(
    spec: SpecArg,
    assignments: SetOption = None,
    name: NameOption = None,
    working_dir: Annotated[
        Path | None, typer.Option("--working-dir", help="The folder with your own trainable; it is uploaded.")
    ] = None,
    project: ProjectOption = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow the study after it was submitted.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Submit a study."""
    from hpo import specfile

    data = read(spec, assignments, name)
    specfile.parse(data)  # before anything is uploaded
    with connect(project) as client:
        package = client.upload_package(working_dir) if working_dir is not None else None
        study = client.create_study(data, package=package)
        if as_json:
            print_json(study.model_dump(mode="json"))
        else:
            typer.echo(f"study {study.name} is {study.state}; `hpo watch {study.name}` follows it")
        if watch_it:
            _watch(client, study.name, quiet=as_json)


def ls(
    state: Annotated[StudyState | None, typer.Option("--state", help="Only studies in this state.")] = None,
    order: Annotated[
        str, typer.Option("--order", help="created_at, started_at, ended_at or name; with ` desc`, falling.")
    ] = NEWEST_FIRST,
    filter: Annotated[
        str | None,
        typer.Option("--filter", help="Only studies for which it holds: 'state = running AND labels.team = nlp'."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many at most; 0 for all.")] = 50,
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List studies, the newest first unless another order is asked for."""
    with connect(project) as client:
        found = collect(
            lambda size, token: client.studies(
                state=state, filter=filter, order_by=order, page_size=size, page_token=token
            ),
            limit,
        )
    if as_json:
        print_json([study.model_dump(mode="json") for study in found])
    elif not found:
        typer.echo("no studies yet; `hpo submit SPEC` runs one")
    else:
        from api.cli.render import study_table

        display(study_table(found))


def show(study: StudyArg, as_json: JsonFlag = False) -> None:
    """Show where a study stands."""
    with connect() as client:
        found = client.study(study)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    from api.cli.render import study_summary

    display(study_summary(found))


def watch(study: StudyArg) -> None:
    """Follow a study live until it ends. Ctrl-C leaves it running. Exit code 1 if it doesn't succeed."""
    with connect() as client:
        _watch(client, study)


def _watch(client: Client, name: str, *, quiet: bool = False) -> None:
    from api.cli.console import Console
    from api.cli.live import follow

    spec = client.study(name).spec
    console = Console(stderr=quiet)
    try:
        follow(client.events(name), spec, console)
    except KeyboardInterrupt:
        typer.echo(f"\nstudy {name} goes on; `hpo watch {name}` follows it again", err=True)
        raise typer.Exit(0) from None
    ended = client.study(name)
    if not quiet:
        from api.cli.render import study_summary

        display(study_summary(ended))
    if ended.state is not StudyState.SUCCEEDED:
        raise typer.Exit(1)


def trials(
    study: StudyArg,
    order: Annotated[
        str,
        typer.Option(
            "--order",
            help="number, value (the best first), step, created_at, started_at or ended_at; `value desc` and the like "
            "give a direction.",
        ),
    ] = "number",
    state: Annotated[TrialState | None, typer.Option("--state", help="Only trials in this state.")] = None,
    filter: Annotated[
        str | None,
        typer.Option("--filter", help="Only trials for which it holds: 'state = completed AND params.lr < 0.01'."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many at most; 0 for all.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List a study's trials."""
    with connect() as client:
        metric = client.study(study).spec.objective.metric
        found = collect(
            lambda size, token: client.trials(
                study, state=state, filter=filter, order_by=order, page_size=size, page_token=token
            ),
            limit,
        )
    _print_trials(found, metric, as_json)


def best(
    study: StudyArg,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many.")] = 5,
    as_json: JsonFlag = False,
) -> None:
    """List a study's best trials, and where their checkpoints are."""
    with connect() as client:
        metric = client.study(study).spec.objective.metric
        found = client.best(study, count=count)
    _print_trials(found, metric, as_json)
    if not as_json:
        for trial in found:
            if trial.checkpoint is not None:
                echo(f"trial {trial.number}, step {trial.checkpoint.step}: {trial.checkpoint.path}")


def _print_trials(found: Sequence[Any], metric: str, as_json: bool) -> None:
    if as_json:
        print_json([trial.model_dump(mode="json") for trial in found])
    elif not found:
        typer.echo("no trials yet")
    else:
        from api.cli.render import trial_table

        display(trial_table(found, metric))


def rm(study: StudyArg) -> None:
    """Delete a study that has ended, with its trials and checkpoints."""
    with connect() as client:
        client.delete_study(study)
    typer.echo(f"study {study} is deleted")
