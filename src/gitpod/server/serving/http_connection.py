"""Connections that clients cannot hold for ever, which uvicorn leaves to a proxy in front of it.

How long a request's body may take is not set here: it is the request's deadline.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gitpod.server.log import Request


class Connection(H11Protocol):
    """Is cut when, for `patience` seconds, no request's head was completed, or an answer was not read."""

    patience = 10.0
    most = 900
    """How many may be open at once: file descriptors run out at 1,024 on many systems."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.most:
            transport.abort()

    def on_response_complete(self) -> None:
        """Wait for the next request, and for the answer to be read."""
        super().on_response_complete()
        self._wait()

    def shutdown(self) -> None:
        """Drop a connection without a request: a goodbye in TLS would wait for an answer of the client's."""
        if not self.cycle or self.cycle.response_complete:
            self.transport.abort()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """Wait for the answer to be read."""
        super().pause_writing()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        if self._timer:
            self._timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answer a broken request once: not if it was answered already, and not its handler as well."""
        if self.cycle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            Request(status=400).log()
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _should_upgrade(self) -> bool:
        # It would log two lines for each request that asks.
        return False

    def _wait(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.patience, self._cut)

    def _cut(self) -> None:
        if self.flow.write_paused or not self.cycle or self.cycle.response_complete:
            self.transport.abort()
