"""Connections on which no request comes are closed, and slow requests and answers aren't."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from api import prompt
from api.prompt import Prompt, PromptProtocol

REQUEST = b"GET / HTTP/1.1\r\nHost: hpo\r\n\r\n"


class PromptH11(Prompt, H11Protocol):
    """Where there is no httptools."""


async def patient(scope: Any, receive: Any, send: Any) -> None:
    """Answers once all of the body has come, and takes its time."""
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * prompt.HEAD_SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module", params=[PromptProtocol, PromptH11])
def address(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    with pytest.MonkeyPatch.context() as patch, socket.socket() as listener:
        patch.setattr(prompt, "HEAD_SECONDS", 0.3)
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(patient, http=request.param, log_level="error", ws="none", lifespan="off")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not running.started:
            time.sleep(0.01)
        yield listener.getsockname()
        running.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def connection(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=3) as opened:
        yield opened


def answered(connection: socket.socket) -> bool:
    text = b""
    while not text.endswith(b"\r\n\r\nok"):
        text += (piece := connection.recv(1000))
        if not piece:
            return False
    return True


def is_closed(connection: socket.socket) -> bool:
    """Raises TimeoutError where it stays open."""
    return connection.recv(100) == b""


def test_one_that_says_nothing_is_closed(connection: socket.socket) -> None:
    assert is_closed(connection)


def test_one_that_says_a_little_at_a_time_is_closed(connection: socket.socket) -> None:
    began = time.monotonic()
    connection.sendall(REQUEST[:20])
    connection.settimeout(0.05)
    while time.monotonic() - began < 5:
        try:
            if is_closed(connection):
                return
        except TimeoutError:
            connection.sendall(b"x")
    pytest.fail("it is open after 5 s")


def test_one_that_begins_another_request_after_an_answer_is_closed(connection: socket.socket) -> None:
    connection.sendall(REQUEST)
    assert answered(connection)
    connection.sendall(REQUEST[:-2])
    assert is_closed(connection)


def test_a_body_and_an_answer_may_take_longer(connection: socket.socket) -> None:
    for _ in range(2):
        connection.sendall(b"POST /slow HTTP/1.1\r\nHost: hpo\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            time.sleep(0.2)
            connection.sendall(b"x")
        assert answered(connection)
