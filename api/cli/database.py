"""`hpo db`: the database's schema, and copies of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hpo.store.backup import Copy

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The database: its schema, backup and restore.")

FileArg = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


@app.command()
def current(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say which schema the database has, and which this version of hpo needs. Nothing is changed."""
    from dataclasses import asdict

    from api.settings import Settings
    from hpo.store import schema

    found = schema.look(Settings().database_url)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "is_newest": found.is_newest}, indent=2))
        return
    remedy = "" if found.is_newest else "; `hpo db upgrade` brings it there"
    if not found.is_known:
        remedy = "; a newer hpo has written it: upgrade hpo"
    typer.echo(f"{found.database}: schema {found.current or 'none'}, this version needs {found.newest}{remedy}")


@app.command()
def upgrade() -> None:
    """Bring the database to the newest schema. End the service and its drivers first, and back the database up."""
    from api.settings import Settings
    from hpo.store import schema

    before, after = schema.upgrade(Settings().database_url)
    if before.is_newest:
        typer.echo(f"{after.database}: schema {after.current} is the newest; nothing to do")
    else:
        typer.echo(f"{after.database}: upgraded from schema {before.current or 'none'} to {after.current}")


@app.command()
def backup(file: FileArg) -> None:
    """Write a consistent copy of an SQLite database into a new FILE, also while the service runs.

    For PostgreSQL, print the command that does it, and exit with 1, since nothing was backed up.
    """
    from api.settings import Settings
    from hpo.store import backup as copies

    settings = Settings()
    if not copies.is_sqlite(settings.database_url):
        _print_command(copies.commands(settings.database_url, file)[0], "backed up")
    copy = copies.back_up(settings.database_url, file)
    typer.echo(f"{copy.path}: {_described(copy)}")
    typer.echo(f"next: copy {settings.storage} (checkpoints) and {settings.package_folder}, always after the database")


@app.command()
def restore(
    file: FileArg,
    force: Annotated[bool, typer.Option("--force", help="Replace a database that has studies.")] = False,
) -> None:
    """Put FILE in the place of an SQLite database that nothing has open.

    For PostgreSQL, print the command that does it, and exit with 1, since nothing was restored.
    """
    from api.settings import Settings
    from hpo.store import backup as copies

    url = Settings().database_url
    if not copies.is_sqlite(url):
        _print_command(copies.commands(url, file)[1], "restored")
    typer.echo(f"restored {file}: {_described(copies.restore(url, file, force=force))}")
    typer.echo("next: restore the checkpoints and the packages, then `hpo doctor`")


def _described(copy: Copy) -> str:
    return f"{copy.size_bytes / 1e6:.1f} MB, schema {copy.schema}, {copy.num_studies} studies"


def _print_command(command: str, done: str) -> None:
    typer.echo(command)
    typer.echo(
        f"nothing was {done}: PostgreSQL's own tools do it, by the line above; they take the password from PGPASSWORD "
        "or ~/.pgpass",
        err=True,
    )
    raise typer.Exit(1)
