"""Commands about the service and its cluster: up, down, status, serve, doctor."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from api.cli.saying import echo
from hpo.errors import ServiceError


def up(
    num_cpus: Annotated[int | None, typer.Option("--num-cpus", min=1, help="CPUs of the head; all by default.")] = None,
    num_gpus: Annotated[int | None, typer.Option("--num-gpus", min=0, help="GPUs of the head; all by default.")] = None,
) -> None:
    """Start a Ray cluster on this machine and the service, both in the background."""
    from api import tls
    from api.cli import background
    from api.settings import Settings
    from cluster import local

    settings = Settings()
    tls.pair(settings)  # before a cluster is started for it
    settings.ensure_token()
    started = None
    if settings.ray_address:
        typer.echo(f"cluster: {settings.ray_address} (HPO_RAY_ADDRESS)")
    else:
        head = local.up(
            settings.home, dashboard_port=settings.dashboard_port, num_cpus=num_cpus, num_gpus=num_gpus,
            settings=settings.job_environment(),
        )  # fmt: skip
        started = None if head.already_running else head
        typer.echo(f"cluster: {'is running already' if started is None else 'is up'}, dashboard {head.dashboard_url}")
    already = background.find(settings) is not None
    try:
        service = background.start(settings)
    except BaseException:
        if started is not None:
            local.down(settings.home)
        raise
    typer.echo(f"service: {'is running already' if already else 'is up'}, {service.url}/docs")
    typer.echo(f"tokens:  {settings.home}/token (service), {settings.home}/ray_token (dashboard)")
    typer.echo("next:    hpo submit SPEC --watch, hpo ls, hpo down")


def down(
    keep_cluster: Annotated[bool, typer.Option("--keep-cluster", help="End the service only.")] = False,
) -> None:
    """End the service and the Ray cluster, with all that runs there."""
    from api.cli import background
    from api.settings import Settings
    from cluster import local

    settings = Settings()
    typer.echo(f"service: {'ended' if background.stop(settings) else 'was not running'}")
    if keep_cluster or settings.ray_address:
        typer.echo("cluster: left as it is")
        return
    ended = local.down(settings.home)
    typer.echo(f"cluster: ended, {ended.num_ended} processes" if ended.num_ended else "cluster: was not running")


def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say what runs. Exit code 1 unless the service is ready."""
    from dataclasses import asdict

    from api.cli import background
    from api.client import Client
    from api.settings import Settings
    from cluster import local

    settings = Settings()
    head = local.status(settings.home)
    parts: dict[str, dict[str, object]] = {}
    with Client.of(settings, timeout_seconds=5) as client:
        try:
            answer = client.ready()
            ready, parts = answer.ready, {name: part.model_dump() for name, part in answer.parts.items()}
            service = "is ready" if ready else "answers, but is not ready"
        except ServiceError as error:
            running = background.find(settings)
            ready, service = False, f"doesn't answer: {error}" if running else "doesn't answer; `hpo up` starts it"
    if as_json:
        found = {
            "ready": ready, "url": settings.url, "parts": parts,
            "cluster": asdict(head) if head else None,
        }  # fmt: skip
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo(f"service: {settings.url} {service}")
        for name, part in parts.items():
            echo(f"  {name}: {'ok' if part['ok'] else 'DOWN'}, {part['detail']}")
        typer.echo(f"cluster: {head.dashboard_url}, process {head.pid}" if head else "cluster: none on this machine")
    if not ready:
        raise typer.Exit(1)


def serve() -> None:
    """Run the service in the foreground, on HPO_HOST (127.0.0.1 unless set) and HPO_PORT."""
    import logging

    import uvicorn

    from api import tls
    from api.app import create_app, make_controller
    from api.ports import check_free
    from api.prompt import PromptProtocol
    from api.settings import Settings
    from hpo import logs
    from hpo.store import open_store

    settings = Settings()
    pair = tls.pair(settings)
    logs.configure(settings.log_format)
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    check_free(settings.host, settings.port, "HPO_PORT", "the service")
    store = open_store(settings.database_url)
    try:
        app = create_app(settings, store, controller=make_controller(settings, store))
        uvicorn.run(
            app, http=PromptProtocol, host=settings.host, port=settings.port, log_level="info", log_config=None,
            access_log=False, server_header=False, timeout_graceful_shutdown=3, ssl_certfile=pair and pair.cert,
            ssl_keyfile=pair and pair.key,
        )  # fmt: skip
    finally:
        store.close()


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Check everything that hpo needs, with a remedy for what is wrong. Exit code 1 if something is."""
    from dataclasses import asdict

    from api.cli.checks import all_checks
    from api.settings import Settings

    try:
        checks = all_checks(Settings())
    except ValueError as error:  # pydantic: a setting that can't be read
        raise ServiceError(f"a setting can't be read: {error}") from None
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        from rich.table import Table

        from api.cli.console import Console

        table = Table("", "what", "found", "remedy", box=None, pad_edge=False)
        for check in checks:
            mark = "[green]ok[/]" if check.ok else "[red]WRONG[/]"
            table.add_row(mark, check.what, check.found, check.remedy)
        Console().print(table, highlight=False)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
