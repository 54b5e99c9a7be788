"""Curves on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from api.cli.saying import print_json
from api.cli.studies import JsonFlag, StudyArg, connect, display

BARS = "▁▂▃▄▅▆▇█"


def series(
    study: StudyArg,
    metric: Annotated[str | None, typer.Option("--metric", help="The objective's unless given.")] = None,
    trial: Annotated[
        list[int] | None, typer.Option("--trial", min=0, help="Of this trial; repeatable. The best ones unless given.")
    ] = None,
    best: Annotated[int, typer.Option("--best", min=1, max=100, help="How many of the best.")] = 10,
    points: Annotated[int, typer.Option("--points", min=8, max=2000, help="How many at most, of each curve.")] = 60,
    as_json: JsonFlag = False,
) -> None:
    """Show what trials reported of a metric, step by step."""
    with connect() as client:
        found = client.series(study, metric=metric, trials=trial or None, best=best, points=points)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    from rich.markup import escape
    from rich.table import Table

    from api.cli.render import number

    table = Table("trial", "reports", "first", "last", "lowest", "highest", escape(found.metric), box=None)
    for each in found.items:
        values = [value for _, value in each.points]
        figures = (values[0], values[-1], min(values), max(values)) if values else (None,) * 4
        table.add_row(str(each.trial), str(each.reports), *map(number, figures), sparkline(values))
    display(table)


def incumbents(study: StudyArg, as_json: JsonFlag = False) -> None:
    """Show how a study's best value came about."""
    with connect() as client:
        found = client.incumbents(study, points=2000)
        began = client.study(study).started_at
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
        return
    from rich.markup import escape
    from rich.table import Table

    from api.cli.render import number, params
    from hpo.durations import duration

    table = Table("after", "trial", "step", "value", "parameters", box=None)
    for each in found:
        after = duration(each.recorded_at - began if began is not None else None)
        table.add_row(after, str(each.trial), str(each.step), number(each.value), escape(params(each.params)))
    display(table)


def sparkline(values: Sequence[float]) -> str:
    """A curve in one line of text, from the lowest value to the highest."""
    if not values:
        return ""
    low, span = min(values), max(values) - min(values)
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1)) if span else 0] for value in values)
