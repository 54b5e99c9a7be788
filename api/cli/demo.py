"""`hpo demo`: the whole of hpo on this machine in some minutes, from nothing to headlines."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.saying import echo
from hpo.durations import duration
from hpo.errors import SpecFileError

if TYPE_CHECKING:
    from api.client import Client
    from api.schemas.studies import EventAnswer, StudyDetailAnswer
    from api.settings import Settings

MAX_GROUPS = 4
"""Worker groups of the demo, also on a large machine: more would need more memory than a demo should take."""


def demo(
    num_headlines: Annotated[int, typer.Option("--headlines", min=1, help="How many headlines to write.")] = 6,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster and the service running.")] = False,
) -> None:
    """Search SeqGAN headline models on real news, end to end, and show what came out.

    Starts a Ray cluster and the service under .hpo/demo, submits examples/headlines.toml over REST, follows it live,
    and stops what it started. Takes about three minutes on two cores.
    """
    from api.cli import background
    from api.client import Client
    from cluster import local
    from hpo import specfile

    path = _example()
    settings = _settings()
    began = time.monotonic()
    typer.echo("1/4  starting a Ray cluster and the service …")
    settings.ensure_token()
    num_cpus = max(2, os.cpu_count() or 2)
    try:
        head = local.up(
            settings.home,
            dashboard_port=settings.dashboard_port,
            num_cpus=num_cpus,
            settings=settings.job_environment(),
        )
        background.start(settings)
        typer.echo(f"     API docs        {settings.url}/docs   (token: {settings.home / 'token'})")
        typer.echo(f"     Ray dashboard   {head.dashboard_url}   (token: {settings.home / 'ray_token'})")
        typer.echo(f"2/4  submitting {path.name} over REST; the weak half of the trials is stopped at each rung")
        with Client.of(settings) as client:
            data = specfile.override(specfile.read_file(path), [f"concurrency={min(MAX_GROUPS, num_cpus)}"])
            study = client.create_study(data)
            groups = _follow(client, study.name)
            ended = client.study(study.name)
            if ended.state.value != "succeeded":
                echo(f"error: study {ended.name} has {ended.state}: {ended.message}", err=True)
                raise typer.Exit(1)
            _results(client, ended, groups)
            checkpoint = next((best.checkpoint for best in client.best(study.name, count=1)), None)
        typer.echo("\n4/4  headlines by the best trial, for articles that no trial has seen")
        if checkpoint is not None:
            _headlines(checkpoint.path, num_headlines)
        typer.echo(f"\nThe demo took {time.monotonic() - began:.0f} s.")
    finally:
        if not keep:
            background.stop(settings)
            local.down(settings.home)
    _farewell(settings, keep)


def _example() -> Path:
    """The demo's specification, in the checkout or under the current folder."""
    for folder in (Path(__file__).resolve().parents[2], Path.cwd()):
        path = folder / "examples" / "headlines.toml"
        if path.is_file():
            return path
    raise SpecFileError("examples/headlines.toml: no such file here; run the demo from a checkout of hpo")


def _settings() -> Settings:
    """Settings of a service of the demo's own: a fresh home, and free ports where the usual ones are taken."""
    from api.settings import Settings
    from cluster import local

    home = Path(".hpo/demo").absolute()
    local.down(home)  # what a demo that was killed has left
    shutil.rmtree(home, ignore_errors=True)
    for name in ("HPO_DATABASE_URL", "HPO_STORAGE", "HPO_RAY_ADDRESS", "HPO_URL", "HPO_TOKEN", "RAY_ADDRESS"):
        os.environ.pop(name, None)
    os.environ["HPO_HOME"] = str(home)
    for name, usual in (("HPO_PORT", 8000), ("HPO_DASHBOARD_PORT", 8265)):
        os.environ[name] = str(_port(int(os.environ.get(name, usual))))
    return Settings()


def _port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("the system has no free port")


def _follow(client: Client, name: str) -> Counter[int]:
    """Show the study live until it ends; how many reports each worker group has made."""
    from api.cli.console import Console
    from api.cli.live import follow

    groups: Counter[int] = Counter()

    def counted(events: Iterable[EventAnswer]) -> Iterator[EventAnswer]:
        for event in events:
            group = event.data.get("group")
            if event.kind == "trial.reported" and isinstance(group, int):
                groups[group] += 1
            yield event

    follow(counted(client.events(name)), client.study(name).spec, Console())
    return groups


def _results(client: Client, study: StudyDetailAnswer, groups: Counter[int]) -> None:
    """What the search has found: the best trials, who was stopped where, and the gain over the first rung."""
    from api.cli.render import show, trial_table

    metric = study.spec.objective.metric
    took = duration((study.ended_at or 0) - (study.started_at or 0))
    typer.echo(f"\n3/4  {study.spec.budget.trials} trials in {took}; the five best:\n")
    best = client.best(study.name, count=5)
    show(trial_table(best, metric))
    stops: dict[int, list[int]] = {}
    for decision in client.decisions(study.name, page_size=1000).items:
        if decision.action.value == "stop":
            stops.setdefault(decision.step, []).append(decision.trial)
    typer.echo("")
    for step, trials in sorted(stops.items()):
        typer.echo(f"stopped at rung {step}: {len(trials)} trials ({', '.join(map(str, sorted(trials)))})")
    shares = ", ".join(f"group {group} made {count} reports" for group, count in sorted(groups.items()))
    typer.echo(f"worker groups at once: {len(groups)} ({shares})")
    rung = getattr(study.spec.scheduler, "grace_steps", 1)
    reports = client.measurements(study.name, page_size=1000).items
    first = [float(report.metrics[metric]) for report in reports if report.step == rung]
    if best and best[0].value is not None and first:
        median, value = statistics.median(first), float(best[0].value)
        typer.echo(
            f"held-out {metric} a character: best {value:.1f}; median of the {len(first)} trials at the first rung "
            f"(epoch {rung}) {median:.1f}; ratio {value / median:.2f}"
        )


def _headlines(checkpoint: str, count: int) -> None:
    """Written by a process of its own: the command line itself never loads torch."""
    command = [sys.executable, "-m", "models.seqgan.sample", checkpoint, "--n", str(count)]
    subprocess.run(command, check=True)


def _farewell(settings: Settings, keep: bool) -> None:
    typer.echo("\nWhere to look:")
    if keep:
        typer.echo(f"  {settings.url}/docs and the Ray dashboard are up; HPO_HOME={settings.home} hpo down ends them")
    else:
        typer.echo("  `hpo up` starts the service for your own studies: API docs at http://127.0.0.1:8000/docs,")
        typer.echo("  Ray dashboard at http://127.0.0.1:8265; `hpo submit examples/digits/study.toml --working-dir")
        typer.echo("  examples/digits --watch` tunes a PyTorch function of your own.")
    typer.echo(f"  {settings.home}: the study's database, checkpoints and logs")
