"""Commands that steer a study while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.saying import print_json
from api.cli.studies import JsonFlag, StudyArg, connect
from hpo.specfile import override

if TYPE_CHECKING:
    from api.schemas.studies import StudyAnswer

trial_app = typer.Typer(no_args_is_help=True, help="Stop, retry and enqueue trials of a study that runs.")
TrialArg = Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="The trial's number.")]


def pause(study: StudyArg, as_json: JsonFlag = False) -> None:
    """Pause a study: its workers are given back, and nothing is lost."""
    with connect() as client:
        _say(client.pause(study), as_json, f"`hpo resume {study}` lets it go on")


def resume(study: StudyArg, as_json: JsonFlag = False) -> None:
    """Let a paused study go on."""
    with connect() as client:
        _say(client.resume(study), as_json, f"`hpo watch {study}` follows it")


def stop(study: StudyArg, as_json: JsonFlag = False) -> None:
    """End a study early and keep its result."""
    with connect() as client:
        _say(client.stop(study), as_json, f"`hpo best {study}` shows what it found")


def cancel(study: StudyArg, as_json: JsonFlag = False) -> None:
    """Cancel a study. What is recorded stays."""
    with connect() as client:
        _say(client.cancel(study), as_json, f"`hpo rm {study}` deletes it once it has ended")


def change(
    study: StudyArg,
    assignments: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="budget.trials, budget.total_steps, budget.wall_seconds, concurrency, priority or labels.NAME; "
            "`none` takes a limit or a label away.",
        ),
    ],
    version: Annotated[
        int | None, typer.Option("--version", help="Only if the study is at this version; any unless given.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Change a study's budget, concurrency, priority or labels, also while it runs: `hpo change s budget.trials=64`."""
    changes = _without_limits(override({}, assignments))
    with connect() as client:
        if isinstance(labels := changes.get("labels"), dict):
            merged = {**client.study(study).spec.labels, **labels}
            changes["labels"] = {name: label for name, label in merged.items() if label is not None}
        _say(client.change(study, changes, version=version), as_json, "it is version {version} now")


def fork(
    study: StudyArg,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new study's name.")],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the specification; repeatable.")
    ] = None,
    learn: Annotated[bool, typer.Option("--learn/--no-learn", help="Learn from the old study's trials first.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Start another study with this one's specification, changed where you say so."""
    patch = override({}, assignments or [])
    with connect() as client:
        _say(client.fork(study, name, spec=patch, warm_start=learn), as_json, f"`hpo watch {name}` follows it")


@trial_app.command("stop")
def stop_trial(study: StudyArg, number: TrialArg, as_json: JsonFlag = False) -> None:
    """Stop one trial; the others go on."""
    with connect() as client:
        _say(client.stop_trial(study, number), as_json, f"trial {number} stops")


@trial_app.command("retry")
def retry_trial(
    study: StudyArg,
    number: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", min=0, help="All failed ones unless given.")
    ] = None,
    cause: Annotated[str | None, typer.Option("--cause", help="Only those that failed by this cause.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Try the configurations of failed trials again."""
    if number is not None and cause is not None:
        raise typer.BadParameter("a trial has one cause; give a number or a cause", param_hint="--cause")
    with connect() as client:
        _say(client.retry(study, number, cause=cause), as_json, "they are tried next")


@trial_app.command("enqueue")
def enqueue(
    study: StudyArg,
    assignments: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="A value for each active parameter.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Try a configuration next: `hpo trial enqueue s lr=0.01 layers=2`."""
    with connect() as client:
        _say(client.enqueue(study, [override({}, assignments)]), as_json, "it is tried next")


def _say(study: StudyAnswer, as_json: bool, hint: str) -> None:
    if as_json:
        print_json(study.model_dump(mode="json"))
    else:
        typer.echo(f"study {study.name} is {study.state}; {hint.format(version=study.version)}")


def _without_limits(changes: dict[str, Any]) -> dict[str, Any]:
    """`none` as the null that takes a value back to its default."""
    return {
        name: _without_limits(value) if isinstance(value, dict) else None if value == "none" else value
        for name, value in changes.items()
    }
