"""`hpo simulate`: what a study needs, before it runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.specs import NameOption, SetOption, SpecArg, read
from hpo.durations import duration
from hpo.errors import InvalidSpecError, Problem

if TYPE_CHECKING:
    from hpo.plan import Estimate, Span


def simulate(
    spec: SpecArg,
    assignments: SetOption = None,
    name: NameOption = None,
    workers: Annotated[
        list[int] | None,
        typer.Option("--workers", min=1, help="Worker groups, that is trials at once; repeatable. [1, 2, 4, 8, 16]"),
    ] = None,
    step_seconds: Annotated[
        float, typer.Option("--step-seconds", min=1e-6, help="How long one step of a trial takes.")
    ] = 1.0,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Simulated studies, each with a seed of its own.")
    ] = 5,
    failures: Annotated[
        float, typer.Option("--failures", min=0, max=1, help="The share of steps that lose their worker group.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Plan a study: how long it takes, how many steps it trains and how busy its workers are.

    Nothing is trained. Durations vary as on a real cluster (log-normal, some stragglers), and the values follow
    made-up learning curves, so it says what the scheduler and the budget do, not which configuration is best.
    """
    from hpo import compatibility, specfile
    from hpo.plan import estimate
    from hpo.simulate import REALISTIC
    from hpo.spec import RaySchedule

    study = specfile.parse(read(spec, assignments, name))
    compatibility.check(study)
    if isinstance(study.scheduler, RaySchedule):
        name_of_it = study.scheduler.algorithm
        problem = Problem(
            "/scheduler/algorithm", f"{name_of_it!r} is Ray Tune's, and can't be simulated", "simulate one of ours"
        )
        raise InvalidSpecError([problem])
    counts = workers or [count for count in (1, 2, 4, 8, 16) if count <= (study.concurrency or study.budget.trials)]
    conditions = dataclasses.replace(REALISTIC, loss_rate=failures, restart_seconds=30 * step_seconds)

    is_watched = sys.stderr.isatty() and not as_json

    def said(count: int, done: int) -> None:
        if is_watched:
            typer.echo(f"\r{count} worker groups: study {done} of {repeats} simulated", err=True, nl=False)

    found = []
    try:
        for count in counts:
            found.append(
                estimate(
                    study,
                    workers=count,
                    step_seconds=step_seconds,
                    repeats=repeats,
                    conditions=conditions,
                    progress=partial(said, count),
                )
            )
    finally:
        if is_watched:
            typer.echo("\r" + " " * 60 + "\r", err=True, nl=False)
    if as_json:
        typer.echo(
            json.dumps({"study": study.name, "estimates": [dataclasses.asdict(each) for each in found]}, indent=2)
        )
    else:
        _show(found)


def _show(estimates: list[Estimate]) -> None:
    from rich.table import Table

    from api.cli.render import show

    table = Table(box=None, pad_edge=False)
    for heading in ("worker groups", "duration", "steps", "of a full search", "ended early", "busy"):
        table.add_column(heading, justify="right")
    for each in estimates:
        table.add_row(
            str(each.workers),
            f"{duration(each.seconds.median)} ({duration(each.seconds.low)} – {duration(each.seconds.high)})",
            _count(each.steps),
            f"{each.share_of_full:.0%}",
            _count(each.stopped),
            f"{each.busy:.0%}",
        )
    show(table)
    typer.echo("Medians (10 – 90 %) of simulated studies; --step-seconds says how long a step takes.")


def _count(span: Span) -> str:
    if span.low == span.high:
        return f"{span.median:,.0f}"
    return f"{span.median:,.0f} ({span.low:,.0f} – {span.high:,.0f})"
