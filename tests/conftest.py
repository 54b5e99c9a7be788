"""An S3 server, and a log of their own, for the tests that ask for them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from s3 import Proxy, S3Server, environment, running_proxy, running_s3


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The environment leads to the server, by a proxy that can fail."""
    with running_proxy(s3_server) as proxy:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def bucket(s3: Proxy) -> str:
    """The name of a new one."""
    return s3.server.create_bucket()


@pytest.fixture
def root_log_as_it_was() -> Iterator[None]:
    """For tests that configure the log."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()  # pytest's own are needed later, and to configure closes what it finds
    yield
    root.handlers[:], root.level = handlers, level
