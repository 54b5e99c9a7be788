"""TLS, with `hpo serve` as it is started, and certificates of an authority of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from ports import free_port
from typer.testing import CliRunner

from api import tls
from api.cli import app, background
from api.client import Client
from api.settings import Settings
from cluster.processes import start_time
from hpo.errors import ServiceError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ours(folder: Path) -> Authority:
    return Authority(folder, "ours")


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Authority:
    return Authority(folder, "theirs")


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """`hpo serve` with these settings; gives its address."""
    variables = {
        "HPO_HOME": settings.home, "HPO_PORT": settings.port,
        "HPO_TLS_CERT": settings.tls_cert, "HPO_TLS_KEY": settings.tls_key,
    }  # fmt: skip
    environment = {**os.environ, **{name: str(value) for name, value in variables.items() if value is not None}}
    settings.home.mkdir()
    with (settings.home / "log").open("wb") as log:
        command = [sys.executable, "-m", "api.cli", "serve"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            if process.poll() is not None or "Uvicorn running on" in (settings.home / "log").read_text():
                break
            time.sleep(0.05)
        assert process.poll() is None, (settings.home / "log").read_text()
        yield settings.local_url
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def here(folder: Path, ours: Authority) -> Settings:
    """Of a service whose certificate is for 127.0.0.1."""
    cert, key = ours.sign("here", host="127.0.0.1")
    return Settings(home=folder / "home", port=free_port(), tls_cert=cert, tls_key=key)


@pytest.fixture(scope="module")
def url(here: Settings) -> Iterator[str]:
    with serving(here) as address:
        yield address


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[str]:
    with serving(Settings(home=folder / "plain", port=free_port())) as address:
        yield address


def client(url: str, ca: Path | None, token: str | None = None) -> Client:
    return Client(url, token, trust=tls.trust(Settings(url=url, tls_ca=ca)))


def test_who_trusts_the_authority_is_served_over_tls(url: str, here: Settings, ours: Authority) -> None:
    assert url == f"https://127.0.0.1:{here.port}"
    with client(url, ours.path, here.known_token()) as opened:
        assert opened.ready().parts["store"].ok
        assert opened.studies().items == []


def test_the_commands_take_the_authority_of_the_settings(
    url: str, here: Settings, ours: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"URL": url, "TLS_CA": str(ours.path), "TOKEN": here.known_token() or ""}.items():
        monkeypatch.setenv(f"HPO_{name}", value)
    done = CliRunner().invoke(app, ["ls", "--json"])
    assert (done.exit_code, done.output.strip()) == (0, "[]")
    monkeypatch.setenv("HPO_TLS_CA", str(ours.path.with_name("nowhere.pem")))
    refused = CliRunner().invoke(app, ["ls"])
    assert refused.exit_code == 1
    assert "HPO_TLS_CA" in refused.output
    assert "there is no such file; name the PEM file of the certificate of the authority" in refused.output


@pytest.mark.parametrize("trusted", ["nobody", "theirs"])
def test_without_the_authority_the_service_is_refused_before_the_token_is_sent(
    url: str, here: Settings, theirs: Authority, trusted: str
) -> None:
    with client(url, theirs.path if trusted == "theirs" else None, here.known_token()) as opened:
        with pytest.raises(
            ServiceError, match=rf"the certificate of {url} is not trusted \(.+set HPO_TLS_CA"
        ) as caught:
            opened.studies()
        assert caught.value.status is None
        with pytest.raises(ServiceError, match="HPO_TLS_CA"):
            opened.ready()
        with pytest.raises(ServiceError, match="HPO_TLS_CA"):
            list(opened.events("mine", patience_seconds=0))


def test_plain_http_to_a_service_with_tls_is_told(url: str) -> None:
    refusal = "speaks TLS only; write https:// in HPO_URL"
    with Client(url.replace("https", "http"), "x") as opened, pytest.raises(ServiceError, match=refusal):
        opened.studies()


def test_tls_to_a_service_without_it_is_told(plain: str) -> None:
    refusal = "doesn't speak TLS; write http:// in HPO_URL, or set HPO_TLS_CERT"
    with Client(plain.replace("http", "https"), "x") as opened, pytest.raises(ServiceError, match=refusal):
        opened.studies()


def test_on_its_own_machine_a_service_is_trusted_by_its_certificate_whatever_its_name(
    folder: Path, ours: Authority
) -> None:
    cert, key = ours.sign("elsewhere", host="hpo.example.org")
    settings = Settings(home=folder / "elsewhere", port=free_port(), tls_cert=cert, tls_key=key)
    with serving(settings) as address:
        with Client.of(settings) as opened:
            assert opened.studies().items == []
        with (
            client(address, ours.path) as opened,
            pytest.raises(ServiceError, match="name the service in HPO_URL as its"),
        ):
            opened.studies()
        # Another certificate of the same authority isn't this service's.
        other, _ = ours.sign("other", host="hpo.example.org")
        trust = tls.own(Settings(tls_cert=other))
        with Client(address, None, trust=trust) as opened, pytest.raises(ServiceError, match="is not trusted"):
            opened.studies()


def test_a_certificate_that_has_run_out_is_told(folder: Path, ours: Authority) -> None:
    cert, key = ours.sign("old", host="127.0.0.1", days=-1)
    settings = Settings(home=folder / "old", port=free_port(), tls_cert=cert, tls_key=key)
    refusal = pytest.raises(ServiceError, match=r"expired.+HPO_TLS_CERT")
    with serving(settings) as address, client(address, ours.path) as opened, refusal:
        opened.studies()


Files = dict[str, Path]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (lambda f: {"tls_cert": f["cert"]}, "HPO_TLS_CERT is set, but HPO_TLS_KEY isn't.+set HPO_TLS_KEY, or neither"),
        (lambda f: {"tls_key": f["key"]}, "HPO_TLS_KEY is set, but HPO_TLS_CERT isn't"),
        (lambda f: {"tls_cert": f["none"], "tls_key": f["key"]}, "HPO_TLS_CERT: .+none.pem: there is no such file"),
        (lambda f: {"tls_cert": f["cert"], "tls_key": f["none"]}, "HPO_TLS_KEY: .+none.pem: there is no such file"),
        (lambda f: {"tls_cert": f["cert"], "tls_key": f["other"]}, "HPO_TLS_KEY: the key .+ is not that of the cert"),
        (lambda f: {"tls_cert": f["rubbish"], "tls_key": f["key"]}, "HPO_TLS_CERT: .+ holds no certificate; name"),
        (lambda f: {"tls_cert": f["cert"], "tls_key": f["rubbish"]}, "HPO_TLS_KEY: .+ holds no private key"),
        (lambda f: {"tls_cert": f["cert"], "tls_key": f["locked"]}, "HPO_TLS_KEY: .+ without a passphrase; .+chmod"),
        (lambda f: {"tls_cert": f["folder"], "tls_key": f["key"]}, "HPO_TLS_CERT: .+can't be read: Is a directory"),
    ],
)  # fmt: skip
def test_a_certificate_that_cannot_be_shown_keeps_the_service_from_starting(
    folder: Path, ours: Authority, given: Callable[[Files], dict[str, Any]], expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    cert, key = ours.sign("a", host="127.0.0.1")
    _, locked = ours.sign("b", host="127.0.0.1", passphrase=b"secret")
    _, other = ours.sign("c", host="127.0.0.1")
    (rubbish := folder / "rubbish.pem").write_text("-----BEGIN NOTHING-----\n")
    files = {
        "cert": cert, "key": key, "other": other, "locked": locked, "rubbish": rubbish, "folder": folder,
        "none": folder / "none.pem",
    }  # fmt: skip
    settings = Settings(home=folder / "unstarted", **given(files))
    with pytest.raises(ServiceError, match=expected):
        tls.pair(settings)
    for name in ("tls_cert", "tls_key"):
        if getattr(settings, name) is not None:
            monkeypatch.setenv(f"HPO_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("HPO_HOME", str(settings.home))
    done = CliRunner().invoke(app, ["serve"])
    assert done.exit_code == 1
    assert done.output.startswith("error: HPO_TLS_")


def test_an_authoritys_file_without_a_certificate_is_told(folder: Path) -> None:
    (rubbish := folder / "no-ca.pem").write_text("nothing")
    with pytest.raises(ServiceError, match=r"HPO_TLS_CA: .+no-ca.pem holds no certificate; name the authority's PEM"):
        tls.trust(Settings(tls_ca=rubbish))


# -- in the background ------------------------------------------------------------------------------------
@pytest.fixture
def running(here: Settings, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that counts as the service at `url`, started by `hpo up`."""
    with subprocess.Popen(["sleep", "60"]) as process:
        service = background.Service(process.pid, start_time(process.pid), url)
        (here.home / "api.json").write_text(json.dumps(asdict(service)))
        (here.home / "api.log").touch()
        yield process
        process.kill()
    (here.home / "api.json").unlink(missing_ok=True)


def test_up_with_other_settings_says_so_at_once_and_leaves_the_service_as_it_is(
    here: Settings, url: str, running: subprocess.Popen[bytes]
) -> None:
    plain = Settings(home=here.home, port=here.port)
    with pytest.raises(
        ServiceError, match=rf"runs already, at {url}, but these settings are for http://.*HPO_TLS_CERT"
    ):
        background.start(plain, timeout_seconds=1)
    assert running.poll() is None


def test_a_service_that_was_running_is_never_ended_for_not_being_ready(
    here: Settings, running: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(ServiceError, match="is not ready in time"):  # there is no Ray cluster
        background.start(here, timeout_seconds=0.1)
    assert running.poll() is None


def test_status_says_why_a_service_that_runs_doesnt_answer(
    here: Settings, running: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_HOME", str(here.home))
    monkeypatch.setenv("HPO_PORT", str(here.port))
    shown = CliRunner().invoke(app, ["status"])
    assert shown.exit_code == 1
    assert "speaks TLS only; write https:// in HPO_URL" in shown.output


def test_up_looks_at_the_certificate_before_it_starts_a_cluster(
    here: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    monkeypatch.setenv("HPO_TLS_CERT", str(here.tls_cert))
    done = CliRunner().invoke(app, ["up"])
    assert (done.exit_code, done.output.startswith("error: HPO_TLS_CERT is set, but HPO_TLS_KEY isn't")) == (1, True)
