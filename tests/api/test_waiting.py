"""A client that asks too often waits as long as the service says, with a real one that takes two requests a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth import FAILURES_A_MINUTE
from api.client import Client
from api.settings import Settings
from hpo.errors import ServiceError
from hpo.protocols import Store

AT_ONCE, A_SECOND = 20, 2


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("hpo") / "home", rate_limit=60 * A_SECOND)


@pytest.fixture
def spent(http: httpx.Client) -> None:
    """The token has no request left."""
    for _ in range(AT_ONCE + A_SECOND * 5):
        if http.get("/v1/studies").status_code == 429:
            return
    raise AssertionError("no request was one too many")


def test_a_client_waits_and_asks_again(client: Client, spec: dict[str, Any], spent: None) -> None:
    began = time.monotonic()
    assert client.create_study(spec).name == "mine"
    assert [study.name for study in client.studies().items] == ["mine"]
    assert client.study("mine").version == 1  # once, for nothing happens twice
    assert 2 / A_SECOND <= time.monotonic() - began < 15


def test_uploads_tables_and_streams_wait_too(
    client: Client, store: Store, spec: dict[str, Any], fill: Callable[..., None], http: httpx.Client, tmp_path: Path
) -> None:
    fill(spec, num_trials=2)
    (folder := tmp_path / "folder").mkdir()
    (folder / "mine.py").write_text("def train(params, trial): ...\n")

    def spend() -> None:
        while http.get("/v1/studies").status_code != 429:
            pass

    spend()
    assert client.upload_package(folder).startswith("sha256:")
    spend()
    assert client.export_to("mine", tmp_path / "trials.csv") > 0
    spend()
    assert len(list(client.events("mine"))) == len(store.events("mine", limit=1000))


def test_a_client_that_would_wait_too_long_says_so(server: str, token: str, spent: None) -> None:
    with Client(server, token, wait_seconds=0.2) as impatient:
        began = time.monotonic()
        with pytest.raises(ServiceError, match="too many requests with this token; ask again in 1 s") as caught:
            impatient.studies()
        assert (caught.value.status, caught.value.retry_after) == (429, 1)
        assert time.monotonic() - began < 1


@pytest.mark.parametrize("after", ["3600", "soon", "-1", ""])
def test_no_answer_makes_a_client_wait_for_ever(after: str) -> None:
    asked: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(time.monotonic())
        return httpx.Response(429, headers={"Retry-After": after})

    hasty = Client("http://x", "t", transport=httpx.MockTransport(answer), wait_seconds=1.5)
    with hasty, pytest.raises(ServiceError):
        hasty.studies()
    assert len(asked) == (1 if after == "3600" else 2)


# -- wrong tokens -----------------------------------------------------------------------------------------
@pytest.fixture
def suspected(server: str) -> None:
    """So many wrong tokens were sent that the service looks at no new one from here."""
    with httpx.Client(base_url=server, trust_env=False) as guesser:
        for _ in range(FAILURES_A_MINUTE + 1):
            answer = guesser.get("/v1/studies", headers={"Authorization": "Bearer guess"})
    assert answer.json()["type"] == "urn:hpo:problem:too-many-wrong-tokens"


def test_a_wrong_token_fails_at_once_with_the_reason(server: str, suspected: None) -> None:
    began = time.monotonic()
    with Client(server, "wrong") as wrong:
        asked: list[Callable[[], object]] = [
            lambda: wrong.studies(), lambda: wrong.suggest("mine", client_id="ann"),
            lambda: next(iter(wrong.events("mine"))), lambda: list(wrong.export("mine")),
        ]  # fmt: skip
        for ask in asked:
            with pytest.raises(ServiceError, match="too many wrong tokens from your address") as caught:
                ask()
            assert (caught.value.status, caught.value.kind) == (429, "too-many-wrong-tokens")
    assert time.monotonic() - began < 20  # each would have waited for one minute to ten


def test_a_token_that_was_accepted_before_waits_until_it_is_looked_at_again() -> None:
    refused = httpx.Response(
        429, headers={"Retry-After": "0"},
        json={"type": "urn:hpo:problem:too-many-wrong-tokens", "detail": "too many wrong tokens from your address"},
    )  # fmt: skip
    page = httpx.Response(200, json={"items": [], "next_page_token": None})
    for answers, ends_well in (([page, refused, page], True), ([refused, page], False)):
        coming = iter(answers)
        client = Client("http://x", "t", transport=httpx.MockTransport(lambda request, coming=coming: next(coming)))
        with client:
            if ends_well:
                assert [client.studies().items, client.studies().items] == [[], []]
            else:
                with pytest.raises(ServiceError):
                    client.studies()
