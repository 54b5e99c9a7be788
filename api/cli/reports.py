"""`hpo report`: a study as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.saying import print_json
from api.cli.studies import JsonFlag, StudyArg, connect


def report(
    study: StudyArg,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write. [STUDY.html]")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser, too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a study's report: one HTML file with its history, what mattered, its rungs, families and failures."""
    path = output or Path(f"{study}.html")
    with connect() as client:
        size = client.write_report(study, path)
    if as_json:
        print_json({"study": study, "file": str(path), "bytes": size})
    else:
        typer.echo(f"{path}: the report of study {study}, {size:,} bytes")
    if open_it:
        typer.launch(path.resolve().as_uri())
