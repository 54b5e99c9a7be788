"""A real Chromium, for the tests of pages: opens a file, and tells what it said and whom it asked.

By its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/).
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = "no Chromium is installed here: apt-get install chromium"


def binary() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Visit:
    """A page that was opened."""

    complaints: list[str] = field(default_factory=list)
    """Errors and warnings on the console, and exceptions that nobody caught."""
    requests: list[str] = field(default_factory=list)
    """All addresses that were asked for anything, but for `data:` ones."""
    answers: dict[str, Any] = field(default_factory=dict)
    """To the expressions, by themselves."""


def visit(address: str, *expressions: str, profile: Path, dark: bool = False, timeout: float = 60.0) -> Visit:
    """Open an address in a new browser, and evaluate expressions of JavaScript once the page has loaded."""
    with _tab(profile, timeout) as tab:
        for domain in ("Network", "Runtime", "Log", "Page"):
            tab.call(f"{domain}.enable")
        if dark:
            media = [{"name": "prefers-color-scheme", "value": "dark"}]
            tab.call("Emulation.setEmulatedMedia", features=media)
        tab.call("Page.navigate", url=address)
        tab.wait("Page.loadEventFired")
        found = Visit()
        for expression in expressions:
            answer = tab.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
            found.answers[expression] = answer["result"].get("value")
        tab.listen(0.5)  # what comes a moment later
        for event in tab.events:
            _note(found, event["method"], event["params"])
        return found


def _note(found: Visit, method: str, params: dict[str, Any]) -> None:
    if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
        found.complaints.append(" ".join(str(each.get("value", each.get("description"))) for each in params["args"]))
    elif method == "Runtime.exceptionThrown":
        found.complaints.append(json.dumps(params["exceptionDetails"])[:500])
    elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
        found.complaints.append(params["entry"]["text"])
    elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
        found.requests.append(params["request"]["url"])


class _Tab:
    def __init__(self, socket: ClientConnection, timeout: float) -> None:
        self._socket, self._timeout, self._numbers = socket, timeout, itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(self._timeout))
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def wait(self, event: str) -> None:
        while not any(each["method"] == event for each in self.events):
            self.events.append(json.loads(self._socket.recv(self._timeout)))

    def listen(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self.events.append(json.loads(self._socket.recv(left)))
            except TimeoutError:
                return


@contextmanager
def _tab(profile: Path, timeout: float) -> Iterator[_Tab]:
    path = binary()
    assert path is not None, MISSING
    # Its sandbox needs namespaces, which containers don't give.
    command = [path, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "--no-first-run", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = _port(profile / "DevToolsActivePort", timeout)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=timeout) as answer:
            page = next(each for each in json.load(answer) if each["type"] == "page")
        with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            yield _Tab(socket, timeout)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(file: Path, timeout: float) -> int:
    """Chromium writes it when it listens."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise TimeoutError("Chromium has not started")
