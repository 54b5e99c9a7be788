"""Whatever a machine makes up from the OpenAPI document, each answer is one that the document describes.

Schemathesis sends what the schema allows and what it forbids, at its boundaries and at random, and checks the status,
the type, the headers and the body of each answer. The studies are real ones in different states, which are put right
again before each request, so that most requests find what they are for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as running
from schemathesis import Case
from schemathesis.schemas import BaseSchema

from api import tokens
from api.app import create_app
from api.settings import Settings
from hpo.protocols import Store
from hpo.store.memory import MemoryStore
from tests.api.schema_scene import NUM_TRIALS, PROJECT, STUDIES, TOKEN, Scene

Json = dict[str, Any]
DOCUMENT: Json = create_app(Settings(home=Path("nowhere"), token="none"), MemoryStore()).openapi()
SPECIFIED = ("create_study", "validate_study", "preview_study")
"""Operations that take a specification, whose boundaries are 900 requests."""
OPEN = "^/(healthz|readyz|metrics)$"


DATA_CHECKS = ("positive_data_acceptance", "negative_data_rejection", "missing_required_header", "ignored_auth")


def rules(operation: Json, *, whole: bool) -> Json:
    """What an operation may answer to a request that is as the schema has it, since no schema says all: a token of a
    page must be one that the list gave, a filter must name columns, a version must be the study's, and low must be
    below high."""
    name, body = operation["operationId"], operation.get("requestBody")
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    right, wrong = {"2xx", "404", "409"}, {"400", "401", "404", "405", "409", "413", "415", "422", "428"}
    if {"page_token", "filter", "order_by"} & parameters:
        right |= {"400", "422"}
    if "if-match" in parameters:
        right.add("412")
        wrong.add("412")  # RFC 9110, section 13.2.2: a precondition comes before the body
    if body:
        right.add("422")
    return {
        "include-operation-id": name,
        "request-timeout": 0.7 if name == "follow_study" else 30.0,  # the stream of a study at work has no end
        "phases": {"coverage": {"enabled": whole or name not in SPECIFIED}},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": sorted(right)},
            "negative_data_rejection": {
                "enabled": name
                != "put_package",  # all bytes are a body: the digest says whether they are the right ones
                "expected-statuses": sorted(wrong),
            },
            "missing_required_header": {"expected-statuses": ["401", "404", "428"]},
            # Each request once more without a token and with a wrong one: `closed` does it with fewer.
            "ignored_auth": {"enabled": whole},
        },
    }


def loaded(*, whole: bool = False, unauthorized: bool = False) -> BaseSchema:
    operations = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]
    config = {
        "seed": 7,
        "max-stream-events": 3,
        "dictionaries": {
            "studies": {"values": list(STUDIES)},
            "trials": {"values": list(range(NUM_TRIALS))},
            "projects": {"values": [PROJECT]},
            "tokens": {"values": [TOKEN]},
        },
        "parameters": {
            "path.study": {"dictionary": "studies", "probability": 0.8},
            "path.number": {"dictionary": "trials", "probability": 0.8},
            "path.project": {"dictionary": "projects", "probability": 0.8},
            "path.token": {"dictionary": "tokens", "probability": 0.8},
        },
        "operations": [] if unauthorized else [rules(operation, whole=whole) for operation in operations],
        "checks": {name: {"enabled": not unauthorized} for name in DATA_CHECKS},
        "phases": {"coverage": {"enabled": not unauthorized}},
    }
    return schemathesis.openapi.from_dict(DOCUMENT, config=schemathesis.Config.from_dict(config))


brief, whole, closed = loaded(), loaded(whole=True), loaded(unauthorized=True).exclude(path_regex=OPEN)
few = running(
    max_examples=5, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
many = running(few, max_examples=200)


@schemathesis.serializer("application/zip")
def as_it_is(context: schemathesis.SerializationContext, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Of a service that lets a token be guessed as often as one likes: each request is tried without one, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.auth.FAILURES_A_MINUTE", 0)
        yield Settings(home=tmp_path_factory.mktemp("hpo") / "home", rate_limit=0)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


@pytest.fixture(scope="module")
def scene(http: httpx.Client, store: Store, fill: Callable[..., None]) -> Iterator[Scene]:
    """One for all tests: what a request leaves as it was needn't be made anew for the next."""
    made = Scene(store, fill, post=lambda path, body: http.post(path, json=body).raise_for_status().json())
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _empty() -> None:
    """Nothing is removed after a test: the scene puts right what has changed."""


@pytest.fixture
def send(server: str, token: str, session: requests.Session, scene: Scene) -> Iterator[Callable[[Case], None]]:
    """Sends a request and checks its answer. Of all requests of a test, one must reach what it is for."""
    answered = Counter[int]()

    def check(case: Case) -> None:
        scene.restore()
        # A token of ours in the place of one that was made up. What is no token, or none, is sent as it is: to put it
        # right would leave a request in which nothing is wrong.
        is_token = str(case.headers.get("Authorization", "")).startswith("Bearer ")
        headers = {"Authorization": f"Bearer {token}"} if is_token else None
        answer = scene.meant(case).call_and_validate(base_url=server, session=session, headers=headers)
        answered[answer.status_code] += 1

    yield check
    assert any(status < 300 for status in answered), answered


@brief.parametrize()
@few
def test_every_answer_is_as_the_schema_says(case: Case, send: Callable[[Case], None]) -> None:
    send(case)


@pytest.mark.long
@pytest.mark.timeout(3600)
@whole.parametrize()
@many
def test_every_answer_to_very_many_requests_is_as_the_schema_says(case: Case, send: Callable[[Case], None]) -> None:
    send(case)


@closed.parametrize()
@few
def test_without_a_token_of_ours_every_answer_is_a_refusal_as_the_schema_says(
    case: Case, server: str, session: requests.Session
) -> None:
    case.headers.pop("x-hpo-project", None)  # which is checked with the token, and 422 where it breaks its rule
    for headers in (None, {"Authorization": f"Bearer {tokens.issue().text}"}):
        assert case.call_and_validate(base_url=server, session=session, headers=headers).status_code == 401
