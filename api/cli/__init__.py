"""The `hpo` command. Modules that take long to load are imported by the commands that need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from api.cli import (
    cluster,
    database,
    demo,
    env,
    exports,
    headline,
    projects,
    reports,
    run,
    series,
    service,
    simulate,
    steering,
    studies,
    work,
)
from api.cli.failures import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hyperparameter search as a service, on Ray. `hpo up` starts it, `hpo submit SPEC` runs a study.",
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"hpo {metadata.version('hpo')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


_COMMANDS: tuple[Callable[..., None], ...] = (
    service.up, service.down, service.status, service.serve, env.env, cluster.cluster, studies.submit, run.run,
    simulate.simulate,
    studies.ls, studies.show, studies.watch, studies.trials, studies.best, series.series, series.incumbents,
    steering.pause, steering.resume, steering.stop, steering.cancel, steering.change, steering.fork,
    exports.export, reports.report, studies.rm, headline.headline,
    demo.demo, service.doctor, work.work,
)  # fmt: skip
for _command in _COMMANDS:
    app.command()(_command)
app.command("import")(exports.import_)
app.add_typer(steering.trial_app, name="trial")
app.add_typer(projects.project_app, name="project")
app.add_typer(projects.token_app, name="token")
app.add_typer(database.app, name="db")


def main() -> None:
    """The console script."""
    app()
