"""A real S3 server for tests (moto's), and a proxy before it that fails on demand. Both listen on 127.0.0.1 only."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest

KEY, SECRET = "AKIATESTSACCESSKEY", "a-secret-that-must-never-be-seen"
INSTALL = "python -m venv .venv/s3-server && .venv/s3-server/bin/pip install -r tests/s3-server.txt"
# It ends when its standard input closes: also if this process is killed.
PROGRAM = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(["-H", "127.0.0.1", "-p", "0"])
"""
FAULTS = {
    503: "SlowDown",
    500: "InternalError",
    403: "AccessDenied",
    404: "NoSuchBucket",
}


HOP_BY_HOP = ("content-length", "transfer-encoding", "connection", "expect")


class S3Server:
    """A running server that makes buckets."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.url = f"http://{host}"
        self._numbers = count(1)

    def create_bucket(self) -> str:
        name = f"bucket-{next(self._numbers)}"
        with closing(http.client.HTTPConnection(self.host, timeout=30)) as connection:
            connection.request("PUT", f"/{name}")
            assert connection.getresponse().status == 200
        return name


def _python() -> str | None:
    """One that has moto."""
    own = Path(sys.prefix, "s3-server", "bin", "python")
    if own.exists():
        return str(own)
    return sys.executable if importlib.util.find_spec("moto") else None


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """Start a server; end it. Skips where none is installed."""
    if (python := _python()) is None:
        pytest.skip(f"no S3 server is installed: {INSTALL}")
    server = subprocess.Popen(
        [python, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        said = ""
        for line in server.stderr:
            said += line
            if found := re.search(r"Running on http://(127\.0\.0\.1:\d+)", line):
                break
        else:
            raise AssertionError(f"the S3 server has ended:\n{said}")
        reader = threading.Thread(target=server.stderr.read)  # it logs each request, and would wait for a reader
        reader.start()
        yield S3Server(found[1])
    finally:
        server.kill()
        server.wait()
        if said and found:
            reader.join()
        for pipe in (server.stdin, server.stderr):
            if pipe is not None:
                pipe.close()


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server, but for those that it is told to fail."""

    daemon_threads = False

    def __init__(self, server: S3Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = server
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.seen: list[str] = []
        """METHOD PATH of every request."""
        self.status: int | None = None
        """What it answers instead of passing on."""
        self.num_faults = -1
        """How many answers more are faults; -1 for all."""
        self.only = ""
        """Only requests whose METHOD PATH has this."""
        self.open = threading.Event()
        """Requests wait until it is set."""
        self.open.set()

    def fail(self, status: int, *, times: int = -1, only: str = "") -> None:
        self.status, self.num_faults, self.only = status, times, only

    def heal(self) -> None:
        self.status = None

    def fault(self, request: str) -> int | None:
        if self.status is None or self.only not in request or self.num_faults == 0:
            return None
        self.num_faults -= 1
        return self.status


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"
    timeout = 30

    def _answer(self) -> None:
        body = self._body()
        request = f"{self.command} {self.path}"
        self.server.seen.append(request)
        assert self.server.open.wait(30)
        if (status := self.server.fault(request)) is not None:
            text = f"<Error><Code>{FAULTS[status]}</Code><Message>told to fail</Message></Error>".encode()
            self._send(status, {"Content-Type": "application/xml"}, b"" if self.command == "HEAD" else text)
            return
        with closing(http.client.HTTPConnection(self.server.server.host, timeout=30)) as connection:
            named = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(self.command, self.path, body, {**named, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            self._send(answer.status, dict(answer.getheaders()), answer.read())

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return body

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        length = {name.lower(): value for name, value in headers.items()}.get("content-length", str(len(body)))
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.send_header("Connection", "close")
        self.close_connection = True
        with contextlib.suppress(ConnectionError):  # who asked has given up
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer


@contextmanager
def running_proxy(server: S3Server) -> Iterator[Proxy]:
    proxy = Proxy(server)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.open.set()
        proxy.shutdown()
        thread.join()
        proxy.server_close()


def environment(url: str) -> dict[str, str]:
    """What leads a process to a server of the tests, and to nothing else."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
