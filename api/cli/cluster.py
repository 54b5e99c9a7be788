"""`hpo cluster`: what the cluster has, who holds how much of it, and who waits for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from api.cli.saying import echo, print_json
from api.cli.studies import JsonFlag, ProjectOption, connect, display

if TYPE_CHECKING:
    from rich.table import Table

    from api.schemas.cluster import AmountAnswer, ClusterAnswer, StudyUseAnswer


def cluster(project: ProjectOption = None, as_json: JsonFlag = False) -> None:
    """Show what the cluster has, who holds how much of it, and who waits for what."""
    with connect(project) as client:
        found = client.cluster(page_size=1000)
        items, token = list(found.items), found.next_page_token
        while token is not None:
            more = client.cluster(page_size=1000, page_token=token)
            items, token = items + more.items, more.next_page_token
    if as_json:
        print_json(found.model_copy(update={"items": items, "next_page_token": None}).model_dump(mode="json"))
        return
    for line in _lines(found):
        echo(line)
    typer.echo()
    display(_projects(found))
    if items:
        typer.echo()
        display(_studies(items))


def _lines(found: ClusterAnswer) -> list[str]:
    if not found.ray.ok:
        return [f"ray: {found.ray.detail}"]
    nodes = ", ".join(f"{each.count} × {_amount(each)}" for each in found.nodes)
    held = f"{_amount(found.held)} of " if found.held is not None else "unknown of "
    return [f"ray:   {found.ray.detail}", f"nodes: {nodes or 'none'}", f"held:  {held}{_amount(found.total)}"]


def _amount(each: AmountAnswer) -> str:
    return f"{each.cpus:g} CPUs" + (f" and {each.gpus:g} GPUs" if each.gpus else "")


def _projects(found: ClusterAnswer) -> Table:
    from rich.table import Table

    from api.cli.render import number

    table = Table("project", "weight", "CPUs", "GPUs", "at work", "waiting", box=None, pad_edge=False)
    for each in found.projects:
        table.add_row(
            each.project or "[dim]all others[/]", number(each.weight), f"{each.cpus:g}", f"{each.gpus:g}",
            str(each.studies), str(each.waiting),
        )  # fmt: skip
    return table


def _studies(items: list[StudyUseAnswer]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from api.cli.render import coloured, number

    columns = ("study", "project", "state", "priority", "share", "CPUs", "GPUs", "waits for")
    table = Table(*columns, box=None, pad_edge=False)
    for each in items:
        table.add_row(
            each.study, each.project, coloured(each.state), str(each.priority), number(each.share), f"{each.cpus:g}",
            f"{each.gpus:g}", escape(each.waiting.message) if each.waiting is not None else "",
        )  # fmt: skip
    return table
