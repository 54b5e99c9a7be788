"""Connect this process to a Ray cluster for as long as a study runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from hpo.errors import ClusterError


@contextlib.contextmanager
def connected(
    environment: Mapping[str, str], *, working_dir: Path | None = None, show_logs: bool = False
) -> Iterator[None]:
    """`ray.init` to the cluster that `environment` names (RAY_ADDRESS, RAY_AUTH_MODE …), shut down at the end.

    `working_dir` goes to all workers. Raises ClusterError if the cluster doesn't answer.
    """
    os.environ.update(environment)  # Ray's core reads its settings from there
    import ray

    runtime = {"working_dir": str(working_dir)} if working_dir is not None else None
    try:
        ray.init(
            address=os.environ.get("RAY_ADDRESS", "auto"),
            runtime_env=runtime,
            log_to_driver=show_logs,
            logging_level="INFO" if show_logs else "ERROR",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"no Ray cluster answers at {os.environ.get('RAY_ADDRESS', 'auto')}: {error}; "
            "start one with `hpo up`, or correct RAY_ADDRESS and the token"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
