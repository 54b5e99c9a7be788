"""Connections on which no request comes: uvicorn keeps one for ever whose request doesn't begin, or stays half-said.

So whoever reaches the service could hold all the files that it may open, without a token. A body is another matter: it
is waited for only where its sender has a token.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_SECONDS = 20.0
"""How long the head of a request may take, from the connection or from its first byte on."""

if TYPE_CHECKING:
    from asyncio import Protocol
else:
    Protocol = object


class Prompt(Protocol):
    """Before one of uvicorn's protocols: gives up on heads that are slow."""

    cycle: Any
    """uvicorn's: the request that came last and its response; None before the first."""
    transport: asyncio.Transport
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    @property
    def _awaits_head(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _watch(self) -> None:
        if not self._awaits_head:
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._awaits_head:
            self.transport.close()


class PromptProtocol(Prompt, AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """With whichever library uvicorn finds."""
