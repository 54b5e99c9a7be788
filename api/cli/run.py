"""`hpo run`: a study on the cluster at hand, without the service."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.saying import echo, print_json
from api.cli.specs import NameOption, SetOption, SpecArg, read

if TYPE_CHECKING:
    from api.settings import Settings
    from hpo.protocols import Store
    from hpo.spec import StudySpec
    from hpo.trial import Event

INTERRUPTED = 130
LEASE_SECONDS, DEAD_SECONDS = 30.0, 35.0
"""How long the study stays this process's without a sign of life, and how long to wait for one that was killed."""


def run(
    spec: SpecArg,
    assignments: SetOption = None,
    name: NameOption = None,
    working_dir: Annotated[
        Path | None,
        typer.Option("--working-dir", exists=True, file_okay=False, help="The folder with your own trainable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the best trials as one JSON document.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Show what the workers print.")] = False,
) -> None:
    """Run a study here and now, on the cluster at hand, without the service.

    The cluster is RAY_ADDRESS (set inside a Ray job), else the one of `hpo up`, else one that is started for the study
    and ended with it. Ctrl-C ends the study in order; what it has measured stays. A study of the same name and the same
    specification that was left in mid-study, or paused, goes on from what is recorded.
    """
    from api.settings import Settings
    from api.submission import accept
    from cluster.session import connected
    from hpo.driver import drive_when_free
    from hpo.errors import StudyStateError
    from hpo.store import open_store
    from hpo.trial import StudyState

    settings = Settings()
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        data = read(spec, assignments, name)
        store = stack.enter_context(contextlib.closing(open_store(settings.database_url)))
        checked, note = accept(data, store, working_dir=working_dir)
        if checked.engine == "ask":
            raise StudyStateError(
                f"study {checked.name!r} is trained by workers of your own (engine = 'ask'), who ask a service: "
                "`hpo submit` it, then `hpo work` trains it"
            )
        if note and not as_json:
            echo(note)
        environment = stack.enter_context(_cluster(settings))
        if working_dir is not None:
            sys.path.insert(0, str(working_dir))
        stack.enter_context(connected(environment, working_dir=working_dir, show_logs=logs))
        _create_or_take_up(store, checked)
        stack.enter_context(_interruptible(stop))
        with _shown(store, checked.name, quiet=as_json):
            study = drive_when_free(store, checked.name, settings.storage, LEASE_SECONDS, DEAD_SECONDS, stop)
        _print_best(store, checked.name, as_json)
    if study.message:
        echo(study.message, err=True)
    if study.state is StudyState.CANCELLED:
        raise typer.Exit(INTERRUPTED)
    if study.state is not StudyState.SUCCEEDED:
        raise typer.Exit(1)


def _create_or_take_up(store: Store, spec: StudySpec) -> None:
    """Raises StudyExistsError for a study of that name that has ended, is the service's, or is another one."""
    from hpo.errors import StudyExistsError
    from hpo.steering import original
    from hpo.trial import StudyState

    try:
        store.create_study(spec, queued=False)
    except StudyExistsError:
        left = store.study(spec.name)
        same = original(left.spec, store.commands(spec.name, done=True)) == spec
        if left.state.is_final or left.job is not None or not same:
            raise
        if left.state is StudyState.PAUSED:
            store.set_study_state(spec.name, StudyState.STARTING)
        typer.echo(f"study {spec.name} was left in mid-study: it goes on from what is recorded", err=True)


@contextlib.contextmanager
def _cluster(settings: Settings) -> Iterator[dict[str, str]]:
    """What leads to the cluster at hand; starts one, and ends it, where there is none."""
    import os

    from cluster import local

    if os.environ.get("RAY_ADDRESS"):
        yield {}
        return
    head = local.status(settings.home)
    if head is not None:
        yield local.environment(head)
        return
    typer.echo("no cluster is up (`hpo up` keeps one): starting one for this study", err=True)
    head = local.up(settings.home, dashboard_port=settings.dashboard_port, settings=settings.job_environment())
    try:
        yield local.environment(head)
    finally:
        local.down(settings.home)


@contextlib.contextmanager
def _interruptible(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM end the study in order; a second one ends the process."""

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        typer.echo("\nending the study in order; once more to leave at once", err=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _shown(store: Store, name: str, *, quiet: bool) -> Iterator[None]:
    """Show the study's events beside the study itself."""
    from api.cli.console import Console
    from api.cli.live import follow

    over = threading.Event()

    def events() -> Iterator[Event]:
        after = 0
        while True:
            last_look = over.is_set()
            found = store.events(name, after=after, limit=500)
            yield from found
            after = found[-1].id if found else after
            if last_look and not found:
                return
            time.sleep(0.25)

    console = Console(stderr=quiet)
    thread = threading.Thread(target=lambda: follow(events(), store.study(name).spec, console), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=10)


def _print_best(store: Store, name: str, as_json: bool) -> None:

    from api.cli.render import show, trial_table
    from api.schemas.trials import TrialAnswer

    trials = [trial for trial in store.trials(name, order_by="value", page_size=5).items if trial.value is not None]
    best = [TrialAnswer.model_validate(trial) for trial in trials]
    if as_json:
        print_json([trial.model_dump(mode="json") for trial in best])
        return
    show(trial_table(best, store.study(name).spec.objective.metric))
    for trial in trials[:1]:
        for checkpoint in store.checkpoints(name, trial=trial.number):
            if trial.has_value_at(checkpoint):
                echo(f"best checkpoint: {checkpoint.path}")
