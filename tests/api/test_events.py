"""A study's history, live."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from api.client import Client
from hpo import specfile
from hpo.protocols import Store
from hpo.trial import StudyState

Fill = Callable[..., None]


def frames(response: httpx.Response) -> Iterator[dict[str, str]]:
    frame: dict[str, str] = {}
    for line in response.iter_lines():
        key, _, value = line.partition(":")
        if line and key:
            frame[key] = value.strip()
        elif not line and frame:
            yield frame
            frame = {}


def test_the_stream_replays_everything_and_ends_with_the_study(
    http: httpx.Client, store: Store, fill: Fill, spec: dict[str, Any]
) -> None:
    fill(spec)
    with http.stream("GET", "/v1/studies/mine/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        found = list(frames(response))
    stored = store.events("mine", limit=1000)
    assert [int(frame["id"]) for frame in found] == [event.id for event in stored]
    assert [frame["event"] for frame in found] == [event.kind for event in stored]
    assert found[0]["event"] == "study.created"
    assert found[-1]["event"] == "study.succeeded"


def test_the_stream_goes_on_after_the_last_event_id(
    http: httpx.Client, store: Store, fill: Fill, spec: dict[str, Any]
) -> None:
    fill(spec)
    ids = [event.id for event in store.events("mine", limit=1000)]
    for query, headers in (({}, {"Last-Event-ID": str(ids[2])}), ({"after": str(ids[2])}, {})):
        with http.stream("GET", "/v1/studies/mine/events", params=query, headers=headers) as response:
            assert [int(frame["id"]) for frame in frames(response)] == ids[3:]


def test_events_come_as_a_json_page_too(http: httpx.Client, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec)
    headers = {"Accept": "application/json"}
    first = http.get("/v1/studies/mine/events", headers=headers, params={"limit": 2}).json()
    assert [event["kind"] for event in first["items"]] == ["study.created", "study.running"]
    rest = http.get("/v1/studies/mine/events", headers=headers, params={"after": first["last_id"]}).json()
    assert rest["items"][0]["id"] > first["last_id"]


def test_what_happens_is_seen_while_it_happens(client: Client, store: Store, spec: dict[str, Any]) -> None:
    store.create_study(specfile.parse(spec))
    seen: list[str] = []
    started = threading.Event()

    def read() -> None:
        for event in client.events("mine"):
            seen.append(event.kind)
            started.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert started.wait(10)
    store.set_study_state("mine", StudyState.RUNNING)
    store.set_study_state("mine", StudyState.FAILED, message="no more")
    thread.join(10)
    assert seen == ["study.created", "study.running", "study.failed"]


def test_the_client_takes_up_a_lost_stream_where_it_broke(store: Store, fill: Fill, spec: dict[str, Any]) -> None:
    fill(spec, num_trials=1)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            state = "succeeded" if len(asked) > 1 else "running"
            return httpx.Response(200, json=_detail(spec, state))
        asked.append(request.headers["Last-Event-ID"])
        number = len(asked)
        line = f'{{"id": {number}, "study": "mine", "kind": "x", "trial": null, "data": {{}}, "recorded_at": 1}}'
        return httpx.Response(200, content=_breaking(f"id: {number}\ndata: {line}\n\n", broken=number == 1))

    with Client("http://x", "t", transport=httpx.MockTransport(answer)) as client:
        assert [event.id for event in client.events("mine")] == [1, 2]
    assert asked == ["0", "1"]


def _breaking(text: str, *, broken: bool) -> Iterator[bytes]:
    yield text.encode()
    if broken:
        raise httpx.ReadError("the connection is gone")


def _detail(spec: dict[str, Any], state: str) -> dict[str, Any]:
    return {
        "name": "mine", "project": "default", "spec": spec, "state": state, "message": None, "package": None,
        "attempt": 1, "job": None,
        "version": 1, "created_at": 1, "started_at": None, "ended_at": None,
        "counts": {"trials": {}, "steps": 0}, "incumbent": None,
    }  # fmt: skip
