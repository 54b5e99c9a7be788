"""A study's history, live."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx

from api.client.connection import at, error_of, query_of
from api.client.studies import Studies
from api.schemas.studies import EventAnswer, EventsAnswer
from hpo.errors import ServiceError

MAX_RECONNECT_SECONDS = 5.0


class Events(Studies):
    """Events as they happen, and as a page."""

    def events(self, study: str, *, after: int = 0, patience_seconds: float = 60.0) -> Iterator[EventAnswer]:
        """Everything that happens in the study, until it is final. A lost connection is taken up again where it
        broke, for `patience_seconds` without an answer at most."""
        pause, given_up = 0.2, time.monotonic() + patience_seconds
        while True:
            try:
                for event in self._stream(study, after):
                    after = event.id
                    pause, given_up = 0.2, time.monotonic() + patience_seconds
                    yield event
                if self.study(study).state.is_final:
                    return
            except ServiceError as error:
                if error.status == 429:
                    self._wait(error, given_up)
                elif error.status is not None and error.status < 500:
                    raise
                if time.monotonic() > given_up:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, MAX_RECONNECT_SECONDS)

    def page_of_events(self, study: str, *, after: int = 0, limit: int = 1000) -> list[EventAnswer]:
        """What has happened so far, after an id; at most `limit` lines."""
        answer = self._send(
            "GET",
            at(study, "events"),
            params=query_of(after=after, limit=limit),
            headers={"Accept": "application/json"},
        )
        return self._parse(EventsAnswer, answer).items

    def _stream(self, study: str, after: int) -> Iterator[EventAnswer]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        # The service says something every 15 s.
        timeout = httpx.Timeout(30.0, read=45.0)
        try:
            with self._http.stream("GET", at(study, "events"), headers=headers, timeout=timeout) as response:
                if response.status_code != 200:
                    response.read()
                    raise error_of(response)
                data: list[str] = []
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        data.append(line[5:].removeprefix(" "))
                    elif not line and data:
                        yield EventAnswer.model_validate_json("\n".join(data))
                        data = []
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self._unreachable(error) from None
