"""Every code block of the documentation: pages for newcomers are followed from their first block to their last."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from docs.generator import DOCS, reference, written
from hpo.errors import InvalidSpecError
from tests.docs.blocks import Reader, blocks, check

ROOT = DOCS.parent
BIN = Path(sys.executable).parent
FOLLOWED = ("tutorial", "how-to")
"""The folders whose pages are followed. Of the others, the commands must exist and the data parse."""
WITH_RAY = {"tutorial/2-this-machine.md", "tutorial/3-service.md", "tutorial/4-checkpoints.md"}
NOT_RUN = {
    "tutorial/1-one-process.md": 1,
    "tutorial/5-cluster.md": 5,
    "how-to/moving.md": 3,
}
"""How many blocks of a followed page are only checked."""

PAGES = {path.relative_to(DOCS).as_posix(): path for path in written()}
FOLLOWED_PAGES = [name for name in PAGES if name.startswith(FOLLOWED)]


def _environment(home: Path) -> dict[str, str]:
    return {
        "HPO_HOME": str(home), "HPO_PORT": str(_port()), "HPO_DASHBOARD_PORT": str(_port()),
        "HPO_URL": "", "COLUMNS": "200",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HPO_REPOSITORY": str(ROOT),
    }  # fmt: skip


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A service of its own, without Ray: what is submitted to Ray waits."""
    home = tmp_path_factory.mktemp("home")
    environment = _environment(home)
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [BIN / "hpo", "serve"], env={**os.environ, **environment}, stdout=log, stderr=log, cwd=home
        )
    try:
        url = f"http://127.0.0.1:{environment['HPO_PORT']}"
        for _ in range(600):
            try:
                httpx.get(f"{url}/healthz", trust_env=False)
                break
            except httpx.TransportError:
                assert process.poll() is None, (home / "log").read_text()
                time.sleep(0.1)
        yield {**environment, "HPO_URL": url, "HPO_TOKEN": (home / "token").read_text().strip()}
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A home with a Ray head and a service, as `hpo up` leaves it."""
    environment = _environment(tmp_path_factory.mktemp("home"))
    subprocess.run([BIN / "hpo", "up", "--num-cpus", "2"], env={**os.environ, **environment}, check=True, timeout=200)
    try:
        yield environment
    finally:
        subprocess.run([BIN / "hpo", "down"], env={**os.environ, **environment}, check=True, timeout=100)


def _follow(name: str, folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(folder)
    _read(Reader(folder, environment), PAGES[name])


def _read(reader: Reader, page: Path) -> None:
    for block in blocks(page):
        reader.follow(block)


@pytest.mark.parametrize("name", [name for name in FOLLOWED_PAGES if name not in WITH_RAY])
def test_a_page_can_be_followed(name: str, service: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _follow(name, tmp_path, service, monkeypatch)


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(WITH_RAY))
def test_a_page_can_be_followed_on_a_cluster(
    name: str, cluster: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _follow(name, tmp_path, cluster, monkeypatch)


@pytest.mark.parametrize(
    "name", [*(name for name in PAGES if name not in FOLLOWED_PAGES or name in WITH_RAY), "../README.md"]
)
def test_a_pages_blocks_are_of_this_version(name: str):
    for block in blocks(DOCS / name):
        check(block)


def test_the_references_blocks_are_of_this_version(tmp_path: Path):
    for name, text in reference.pages().items():
        page = tmp_path / name
        page.parent.mkdir(exist_ok=True)
        page.write_text(text)
        for block in blocks(page):
            check(block)


def test_what_is_not_run_is_known():
    found = {name: sum(block.not_run is not None for block in blocks(PAGES[name])) for name in FOLLOWED_PAGES}
    assert {name: count for name, count in found.items() if count} == NOT_RUN


@pytest.mark.parametrize(
    "text",
    [
        "```bash\nfalse\n```",
        "```bash\necho a\n```\n```text\nb\n```",
        "```bash\nif\n```",
        "```bash\ntrue || hpo no-such\n```",
        "```bash\ntrue || hpo ls --no-such\n```",
        '```toml\nseed = "x"\n```',
        "```python\n1 / 0\n```",
        "```text\nout of nowhere\n```",
        "```ruby\nputs 1\n```",
    ],
)
def test_a_page_that_says_what_is_not_so_fails(text: str, tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises((AssertionError, ZeroDivisionError, InvalidSpecError)):
        _read(Reader(tmp_path, {}), page)
