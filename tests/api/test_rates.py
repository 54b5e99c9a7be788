"""Who asks too often, and who guesses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api import tokens
from api.app import create_app
from api.auth import FAILURES_A_MINUTE
from api.settings import Settings
from hpo.store.memory import MemoryStore
from hpo.tenancy import Role


@pytest.fixture
def service(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(home=tmp_path, rate_limit=30), MemoryStore())) as client:
        yield client


def ask(service: TestClient, token: str, path: str = "/v1/studies") -> tuple[int, str | None]:
    response = service.get(path, headers={"Authorization": f"Bearer {token}"})
    return response.status_code, response.headers.get("retry-after")


def made(service: TestClient) -> str:
    issued = tokens.issue()
    store: MemoryStore = service.app.state.store  # type: ignore[attr-defined]
    store.create_token(issued.id, issued.digest, project="default", name=issued.id, role=Role.READER)
    return issued.text


def test_a_token_over_its_rate_is_told_when_to_ask_again_and_others_go_on(service: TestClient) -> None:
    token, other = made(service), made(service)
    assert [ask(service, token)[0] for _ in range(5)] == [200] * 5  # ten seconds' worth of 30 a minute
    status, after = ask(service, token)
    assert (status, after) in ((429, "1"), (429, "2"))
    assert ask(service, other)[0] == 200
    assert [ask(service, token, path)[0] for path in ("/healthz", "/metrics")] == [200, 200]


def test_an_address_that_guesses_is_refused_before_its_tokens_are_looked_at(service: TestClient) -> None:
    known, late = made(service), made(service)
    assert ask(service, known)[0] == 200
    guesses = [ask(service, tokens.issue().text)[0] for _ in range(FAILURES_A_MINUTE + 2)]
    assert guesses[:FAILURES_A_MINUTE] == [401] * FAILURES_A_MINUTE
    assert guesses[-1] == 429
    assert ask(service, late)[0] == 429
    assert ask(service, known)[0] == 200, "who was let in before shares the address, and is no guesser"
