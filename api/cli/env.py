"""`hpo env`: what lets Ray's own commands talk to the cluster of `hpo up`."""

from __future__ import annotations

import shlex

import typer

from hpo.errors import ClusterError


def env() -> None:
    """Print the shell lines that let `ray job submit` and the like find the cluster: eval "$(hpo env)"."""
    from api.settings import Settings
    from cluster import local

    settings = Settings()
    head = local.status(settings.home)
    if head is None:
        raise ClusterError(f"no cluster is up for HPO_HOME={settings.home}; `hpo up` starts one")
    variables = {**local.environment(head), "RAY_API_SERVER_ADDRESS": head.dashboard_url}
    for name, value in {**variables, **settings.job_environment()}.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
