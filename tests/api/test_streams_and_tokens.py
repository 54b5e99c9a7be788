"""A stream of events ends soon after its token does."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import pytest

from api import tokens
from api.client import Client
from hpo.errors import ServiceError
from hpo.protocols import Store
from hpo.tenancy import Role
from hpo.trial import Lease


def make(store: Store, name: str, *, expires_at: float | None = None) -> tokens.Issued:
    issued = tokens.issue()
    store.create_token(issued.id, issued.digest, project="default", name=name, role=Role.READER, expires_at=expires_at)
    return issued


def follow(server: str, token: str, started: threading.Event) -> float:
    """How long the stream of the study `mine` stays open."""
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {token}"}
    http = httpx.Client(base_url=server, headers=headers, trust_env=False, timeout=20)
    with http, http.stream("GET", "/v1/studies/mine/events") as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("id:"):
                started.set()
    return time.monotonic() - began


def test_a_stream_ends_within_seconds_after_its_token_is_revoked_and_others_go_on(
    server: str, store: Store, http: httpx.Client, lease: Lease
) -> None:
    revoked, kept = make(store, "revoked"), make(store, "kept")
    ends: dict[str, float] = {}
    streams = []
    for name, issued in (("revoked", revoked), ("kept", kept)):
        started = threading.Event()

        def listen(name: str = name, text: str = issued.text, started: threading.Event = started) -> None:
            follow(server, text, started)
            ends[name] = time.monotonic()

        streams.append(thread := threading.Thread(target=listen, daemon=True))
        thread.start()
        assert started.wait(10)
    assert http.post(f"/v1/projects/default/tokens/{revoked.id}:revoke").status_code == 200
    at = time.monotonic()
    streams[0].join(15)
    assert ends["revoked"] - at < 10
    time.sleep(2.5)  # longer than it takes to be asked
    assert "kept" not in ends
    assert http.post(f"/v1/projects/default/tokens/{kept.id}:revoke").status_code == 200
    streams[1].join(15)
    assert "kept" in ends


def test_a_stream_ends_within_seconds_after_its_token_has_run_out(server: str, store: Store, lease: Lease) -> None:
    issued = make(store, "short", expires_at=time.time() + 1.5)
    assert 1 < follow(server, issued.text, threading.Event()) < 10


def test_a_client_that_follows_is_told_why(server: str, store: Store, lease: Lease) -> None:
    issued = make(store, "told", expires_at=time.time() + 1.5)
    with Client(server, issued.text) as client, pytest.raises(ServiceError, match="the token has run out") as caught:
        list(client.events("mine"))
    assert caught.value.status == 401


def test_the_token_is_checked_before_the_project_is(server: str, http: httpx.Client, store: Store) -> None:
    project: dict[str, Any] = {"X-Hpo-Project": "x" * 300}
    for method, path in (("GET", "/v1/studies"), ("POST", "/v1/studies:import"), ("GET", "/v1/projects")):
        for extra in ({}, {"Authorization": "Bearer wrong"}):
            answer = httpx.request(method, server + path, headers=project | extra, trust_env=False)
            assert answer.status_code == 401
    known = http.get("/v1/studies", headers=project)
    assert known.status_code == 422
    assert known.json()["errors"][0]["pointer"] == "/header/x-hpo-project"
    assert http.get("/v1/studies", headers={"X-Hpo-Project": "nowhere"}).status_code == 404


def test_an_import_goes_into_the_tokens_project_and_needs_one_that_steers(
    http: httpx.Client, server: str, store: Store, spec: dict[str, Any]
) -> None:
    store.create_project("vision")
    trial = {"number": 0, "params": {"lr": 0.01, "units": 3}, "state": "stopped"}
    body = {"spec": spec, "trials": [trial]}
    reader = make(store, "importer")
    headers = {"Authorization": f"Bearer {reader.text}"}
    assert httpx.post(f"{server}/v1/studies:import", json=body, headers=headers, trust_env=False).status_code == 403
    made = http.post("/v1/studies:import", json=body, headers={"X-Hpo-Project": "vision"})
    assert made.status_code == 201, made.text
    assert store.project_of("mine") == "vision"
