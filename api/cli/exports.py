"""`hpo export` and `hpo import`: a study as a file, and to and from an Optuna storage."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.saying import echo, print_json
from api.cli.studies import JsonFlag, StudyArg, connect
from hpo.report.formats import Format
from hpo.report.tables import What, metrics_of, trial_of
from hpo.trial import Measurement

if TYPE_CHECKING:
    from api.client import Client

STDOUT = Path("-")


def export(
    study: StudyArg,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="A .csv, .parquet, .json or .jsonl file; - for stdout."),
    ] = STDOUT,
    what: Annotated[What, typer.Option("--what", help="Which rows.")] = What.TRIALS,
    format: Annotated[Format | None, typer.Option("--format", help="Otherwise than the file's suffix says.")] = None,
    optuna: Annotated[
        str | None,
        typer.Option("--optuna", metavar="URL", help="Into an Optuna storage instead, such as sqlite:///out.db."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The Optuna study's name; else the study's.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Export a study as a table (CSV, Parquet or JSON), or into an Optuna storage for optuna-dashboard."""
    with connect() as client:
        if optuna is not None:
            _to_optuna(client, study, optuna, name, as_json)
            return
        if output == STDOUT:
            if format is Format.PARQUET and sys.stdout.isatty():
                raise typer.BadParameter(
                    "parquet is no text for a terminal; give a file with -o", param_hint="--format"
                )
            for piece in client.export(study, what=what, format=format or Format.CSV):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        size = client.export_to(study, output, what=what, format=format)
    if as_json:
        print_json({"study": study, "what": what, "file": str(output), "bytes": size})
    else:
        typer.echo(f"{output}: the {what} of study {study}, {size:,} bytes")


def _to_optuna(client: Client, study: str, url: str, name: str | None, as_json: bool) -> None:
    from hpo.report.to_optuna import to_optuna

    rows = list(_rows(client, study, What.TRIALS))
    latest = {row["number"]: metrics_of(row) for row in rows}
    reports = (
        Measurement(
            study=study, trial=row["trial"], generation=row["generation"], step=row["step"], metrics=metrics_of(row),
            recorded_at=row["recorded_at"],
        )
        for row in _rows(client, study, What.MEASUREMENTS)
    )  # fmt: skip
    trials = [trial_of(study, row) for row in rows]
    done = to_optuna(url, client.study(study).spec, trials, reports, latest=latest, name=name)
    if as_json:
        print_json({"study": study, "name": done.name, "trials": done.num_trials, "replaced": done.replaced})
    else:
        what = "replaces an earlier export" if done.replaced else "is there now"
        typer.echo(f"Optuna study {done.name} {what}, with {done.num_trials:,} trials; optuna-dashboard {url} shows it")


def _rows(client: Client, study: str, what: What) -> Iterator[dict[str, Any]]:
    """The rows of a table, as they come."""
    rest = b""
    for piece in client.export(study, what=what, format=Format.JSONL):
        *lines, rest = (rest + piece).split(b"\n")
        yield from map(json.loads, lines)


def import_(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="An Optuna storage, such as sqlite:///old.db; #STUDY may follow.")
    ],
    study: Annotated[str | None, typer.Option("--study", help="The Optuna study, where there are several.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Its name here; else made of Optuna's.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="What its value is called; once an objective. [value]")
    ] = None,
    widen: Annotated[
        bool, typer.Option("--widen", help="Where a range has changed, take the one that holds all.")
    ] = False,
    complete_only: Annotated[bool, typer.Option("--complete-only", help="Leave pruned trials out.")] = False,
    without: Annotated[list[str] | None, typer.Option("--without", help="Leave this parameter out.")] = None,
    no_steps: Annotated[bool, typer.Option("--no-steps", help="Leave intermediate values out.")] = False,
    max_trials: Annotated[int | None, typer.Option("--max-trials", min=1, help="The first ones only.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Import an Optuna study as a finished one, for `warm_start` to learn from."""
    from hpo.report.from_optuna import Choice, from_optuna

    address, _, fragment = url.partition("#")
    choice = Choice(
        study=study or fragment or None, name=name, metrics=metric or (), widen=widen, complete_only=complete_only,
        without=without or (), steps=not no_steps, max_trials=max_trials,
    )  # fmt: skip
    found = from_optuna(address, choice)
    with connect() as client:
        made = client.import_study(found.spec, found.trials, source=f"the Optuna study {found.study}")
    for note in found.notes:
        echo(note, err=True)
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        typer.echo(f'study {made.name} has {len(found.trials):,} trials; warm_start = ["{made.name}"] learns from them')
