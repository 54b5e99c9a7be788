"""Lists that are filtered and ordered: by REST, by the client and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import Result

from api.client import Client
from hpo.errors import ServiceError
from hpo.protocols import Store

Fill = Callable[..., None]
Run = Callable[..., Result]


def test_trials_are_filtered_and_ordered_page_by_page(client: Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec, num_trials=9)
    seen, token = [], None
    while True:
        page = client.trials(
            "mine",
            filter="params.units > 2 AND state = completed",
            order_by="value desc",
            page_size=2,
            page_token=token,
        )
        seen += [trial.number for trial in page.items]
        token = page.next_page_token
        if token is None:
            break
    assert seen == [2, 3, 4, 5, 6, 7]


def test_studies_are_filtered_by_their_labels(client: Client, fill: Fill, spec: dict[str, Any]) -> None:
    for name, team in (("a", "nlp"), ("b", "vision"), ("c", "nlp")):
        fill({**spec, "name": name, "labels": {"team": team}}, num_trials=1)
    found = client.studies(filter='labels.team = "nlp" AND state = succeeded', order_by="name desc")
    assert [study.name for study in found.items] == ["c", "a"]


@pytest.mark.parametrize("query", [{"filter": "valu < 3"}, {"order_by": "valu"}])
def test_a_query_that_can_not_be_read_says_where_and_what_helps(
    http: httpx.Client, fill: Fill, spec: dict[str, Any], query: dict[str, str]
) -> None:
    fill(spec)
    answer = http.get("/v1/studies/mine/trials", params=query)
    assert answer.status_code == 422
    [problem] = answer.json()["errors"]
    assert problem["pointer"] == f"/query/{next(iter(query))}"
    assert problem["hint"] == "did you mean 'value'?"


def test_a_token_of_another_filter_is_refused(client: Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    token = client.trials("mine", filter="value > 0", page_size=1).next_page_token
    with pytest.raises(ServiceError, match="first page"):
        client.trials("mine", filter="value > 1", page_size=1, page_token=token)


def test_the_command_filters_and_orders(run: Run, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    result = run("trials", "mine", "--filter", "state != stopped AND value <= 9", "--order", "number desc", "--json")
    assert [trial["number"] for trial in json.loads(result.output)] == [2, 1]
    result = run("ls", "--filter", "name = mine", "--order", "name", "--json")
    assert [study["name"] for study in json.loads(result.output)] == ["mine"]
    for wrong, said in ((("--filter", "value <"), "ends too soon"), (("--order", "luck"), "'luck' is no order")):
        refused = run("trials", "mine", *wrong)
        assert refused.exit_code == 2
        assert said in refused.output


def test_what_is_not_finite_is_named(http: httpx.Client, store: Store, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    metrics = http.get("/v1/studies/mine/trials/0/measurements").json()["items"][0]["metrics"]
    assert metrics == {"loss": 10.0, "odd": "NaN", "far": "Infinity"}
