"""`hpo work`: a worker of your own, anywhere, for a study with `engine = "ask"`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from api.cli.studies import StudyArg, connect

INTERRUPTED = 130


def work(
    study: StudyArg,
    trainable: Annotated[
        str, typer.Argument(metavar="MODULE:FUNCTION", help="What to train: `train(params, trial)`, as on Ray.")
    ],
    working_dir: Annotated[
        Path, typer.Option("--working-dir", exists=True, file_okay=False, help="The folder that holds the module.")
    ] = Path(),
    storage: Annotated[
        str | None,
        typer.Option("--storage", help="Where checkpoints go: a folder that all workers share, or s3://BUCKET/PREFIX."),
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option("--client-id", help="The worker's name: started anew under it, it gets its trial back at once."),
    ] = None,
    lease_seconds: Annotated[
        float,
        typer.Option("--lease-seconds", min=1, help="How long it may be silent before its trial goes to another."),
    ] = 60.0,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Leave after so many trials.")] = None,
    device: Annotated[str, typer.Option("--device", help="What `trial.device` says: cpu, cuda:0, …")] = "cpu",
) -> None:
    """Train trials of a study with workers of your own, until it ends. Ctrl-C gives the trial back."""
    from hpo import trainables
    from hpo.engine.files import address

    sys.path.insert(0, str(working_dir.absolute()))
    train = trainables.load(trainable)
    place = address(storage) if storage is not None else None
    if isinstance(place, Path):
        place = place.expanduser().absolute()
    signal.signal(signal.SIGTERM, _interrupt)
    with connect() as client:
        try:
            count = client.work(
                study,
                train,
                trials=trials,
                client_id=client_id,
                lease_seconds=lease_seconds,
                storage=place,
                device=device,
            )
        except KeyboardInterrupt:
            typer.echo(f"\nstopped; what was being trained goes to the next worker of study {study}", err=True)
            raise typer.Exit(INTERRUPTED) from None
        typer.echo(f"trained {count} trials; study {study} is {client.study(study).state}")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
