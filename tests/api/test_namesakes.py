"""A study is deleted while a request about it is on its way, and another project takes its name."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from api import tokens
from hpo import specfile
from hpo.errors import StudyNotFoundError
from hpo.protocols import Store
from hpo.report.formats import Format, export
from hpo.report.tables import What
from hpo.store.memory import MemoryStore
from hpo.tenancy import Role
from hpo.trial import Event, StudyState


@pytest.fixture
def thief(store: Store) -> str:
    """A token of the project that had the name first."""
    for project in ("first", "second"):
        if project not in {each.name for each in store.projects().items}:
            store.create_project(project)
    issued = tokens.issue()
    store.create_token(issued.id, issued.digest, project="first", name=issued.id, role=Role.ADMIN)
    return issued.text


def begin(server: str, token: str, method: str, path: str, body: bytes, *headers: str) -> socket.socket:
    """A request of which the last byte hasn't come yet."""
    parts = urlsplit(server)
    opened = socket.create_connection((parts.hostname, parts.port), timeout=20)
    lines = [
        f"{method} {path} HTTP/1.1", "Host: hpo", f"Authorization: Bearer {token}", "Content-Type: application/json",
        f"Content-Length: {len(body)}", "Connection: close", *headers,
    ]  # fmt: skip
    opened.sendall("\r\n".join([*lines, "", ""]).encode() + body[:-1])
    return opened


def answer(opened: socket.socket, last: bytes) -> str:
    with opened:
        opened.sendall(last)
        return b"".join(iter(lambda: opened.recv(65536), b"")).decode()


@pytest.fixture
def asked(spec: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "trainable"} | {"engine": "ask", "name": "prize"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("POST", "/v1/studies/prize/trials:suggest", {"client_id": "thief"}, []),
        ("PATCH", "/v1/studies/prize", {"labels": {"owned": "yes"}}, ["If-Match: *"]),
        ("POST", "/v1/studies/prize:cancel", {}, ["Idempotency-Key: a-key"]),
        ("POST", "/v1/studies/prize:fork", {"name": "loot"}, []),
    ],
)
def test_a_slow_body_doesnt_reach_another_projects_study(
    server: str, store: Store, thief: str, asked: dict[str, Any], method: str, path: str, body: Any, headers: list[str]
) -> None:
    store.create_study(specfile.parse(asked), project="first")
    sent = json.dumps(body).encode()
    opened = begin(server, thief, method, path, sent, *headers)
    answer(begin(server, thief, "GET", "/v1/studies/prize", b" "), b" ")  # so long the service has had the first one
    store.set_study_state("prize", StudyState.CANCELLED)
    store.delete_study("prize")
    before = store.create_study(specfile.parse(asked), project="second")
    said = answer(opened, sent[-1:])
    assert said.startswith("HTTP/1.1 404")
    assert "urn:hpo:problem:study-not-found" in said
    assert (store.study("prize"), store.trials("prize").items) == (before, [])
    assert [study.name for study in store.studies().items] == ["prize"]


@pytest.mark.parametrize("format", [Format.JSON, Format.JSONL])
def test_an_export_that_is_read_slowly_breaks_off_where_another_study_begins(
    spec: dict[str, Any], format: Format
) -> None:
    store = MemoryStore()

    def fill(kind: str) -> None:
        store.create_study(specfile.parse(spec))
        lease = store.claim("mine", holder="test", lease_seconds=60)
        store.write(lease, [Event(study="mine", kind=kind, recorded_at=1.0, data={"x": "y" * 90})] * 3000)

    fill("ours")
    pieces = export(store, "mine", what=What.EVENTS, format=format)
    read = [next(pieces)]
    store.set_study_state("mine", StudyState.CANCELLED)
    store.delete_study("mine")
    fill("secret")
    with pytest.raises(StudyNotFoundError):
        read.extend(pieces)
    assert b"ours" in b"".join(read)
    assert b"secret" not in b"".join(read)
