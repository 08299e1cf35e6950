"""HTTP connections with a timeout and limits, which uvicorn leaves to a proxy in front of it, and its server.

The time for a request's body is bounded elsewhere, by `edge.applications`.
"""

import asyncio
import re
from collections.abc import Callable

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gitpod.server.log import Request

MAX_HEAD_BYTES = 16 * 1024
"""The most bytes of a request's head, as of the metadata of gRPC. A head of short lines takes 1 ms for each KiB."""
MAX_PIECES = 2048
"""The most pieces of a request's body."""
END_OF_HEAD = re.compile(rb"\n\r?\n")


class Server(uvicorn.Server):
    """A server that goes on when the clock says a year after 9999, which no Date header can have."""

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to stop (uvicorn.Server)."""
        try:
            return await super().on_tick(counter)
        except (ValueError, OverflowError):
            return self.should_exit


class _Messages(h11.Connection):
    """Splits what a client sends into requests, and refuses a body of too many pieces.

    A piece is a chunk, or what one read of the socket gets. Each takes some microseconds of the event loop, whatever
    its size: 8 MB in chunks of one byte kept everybody else waiting for 20 s.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self._pieces = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return what comes next (h11.Connection)."""
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._pieces += 1
            if self._pieces > MAX_PIECES:
                raise h11.RemoteProtocolError("the body has too many pieces")
        elif isinstance(event, h11.Request):
            self._pieces = 0
        return event


def or_http2(make: Callable[[], asyncio.Protocol]) -> "type[Connection]":
    """Return the class of connections that speak HTTP/1.1, or HTTP/2 by what `make` returns."""

    class Either(Connection):
        http2 = staticmethod(make)

    return Either


class Connection(H11Protocol):
    """A connection that is cut when a client stalls."""

    stall_timeout = 10.0
    """Seconds in which a request's head must be complete, from its first byte on, or from the beginning of the
    connection; and in which an answer must be read. Between an answer and the next request, uvicorn's
    `timeout_keep_alive` counts."""
    max_connections = 900
    """The most open connections, because many systems allow a process 1,024 file descriptors. One more ends the
    connection that has waited longest for a request, so that nobody can keep others out by connections alone."""
    max_blank = 64
    """Bytes of blank lines that are dropped before each request."""
    max_late = 1024 * 1024
    """Bytes of a body that are dropped after its request was answered. More would be read in vain."""
    http2: Callable[[], asyncio.Protocol] | None = None
    """Makes what goes on with a connection that begins with HTTP/2. None: it is refused."""
    _blank = 0
    _late = 0
    _timer: asyncio.TimerHandle | None = None
    _waits_since: float = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own signature
        """Wait for the first request."""
        self.conn = _Messages()
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.max_connections:
            others: list[Connection] = [each for each in self.connections if isinstance(each, Connection)]
            waiting = [each for each in others if each.is_waiting() and not each.transport.is_closing()]
            # This one waits too, and it is the youngest.
            min(waiting, key=Connection.waits_since, default=self).transport.abort()

    def is_waiting(self) -> bool:
        """Tell whether no request is under way. One whose head is not complete is not under way."""
        return not self.cycle or bool(self.cycle.response_complete)

    def waits_since(self) -> float:
        """Return when this connection began to wait, by the clock of the event loop."""
        return self._waits_since

    def data_received(self, data: bytes) -> None:
        """Read what has arrived (asyncio.Protocol)."""
        if self.http2 and not self.cycle:
            begun = self.conn.trailing_data[0] + data
            # No method of HTTP/1.1 begins so. A client that offers h2 in the handshake of TLS begins so too.
            if begun.startswith(b"PRI "):
                self._hand_over(self.http2(), begun)
                return
        if self.cycle and self.cycle.response_complete and self.conn.their_state is h11.SEND_BODY:
            self._late += len(data)
            if self._late > self.max_late:
                self.transport.abort()
                return
        if self._is_idle():
            self._wait()
        super().data_received(data)

    def handle_events(self) -> None:
        """Read what has arrived, without the blank lines before a request (RFC 9112 section 2.2)."""
        if self.conn.their_state is h11.IDLE:
            self._drop_blank_lines()
            # h11 takes a head of any size that arrives in one piece.
            received, _ = self.conn.trailing_data
            if len(received) > MAX_HEAD_BYTES and not END_OF_HEAD.search(received, 0, MAX_HEAD_BYTES):
                self.send_400_response("the request's head is too long")
                return
        super().handle_events()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._blank = self._late = 0
        super().on_response_complete()
        self._wait()

    def shutdown(self) -> None:
        """Drop a connection without a request: a goodbye in TLS would wait for an answer of the client's."""
        if self.is_waiting():
            self.transport.abort()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """Wait for the client to read the answer."""
        super().pause_writing()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        super().connection_lost(exc)
        if self._timer:
            self._timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request once: not after an answer has begun, and not by the handler too."""
        if self.cycle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            Request(status=400).log()
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _hand_over(self, protocol: asyncio.Protocol, data: bytes) -> None:
        if self._timer:
            self._timer.cancel()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)

    def _drop_blank_lines(self) -> None:
        received, _ = self.conn.trailing_data
        rest = received.lstrip(b"\r\n")
        self._blank += len(received) - len(rest)
        if len(rest) < len(received) and self._blank <= self.max_blank:
            # h11 refuses a blank line, and cannot be made to drop it. Between two requests, a new one does the same.
            self.conn = _Messages()
            if rest:  # an empty piece would mean the end of the connection
                self.conn.receive_data(rest)

    def _should_upgrade(self) -> bool:
        # uvicorn would log two warnings for each request that asks for an upgrade.
        return False

    def _is_idle(self) -> bool:
        """Tell whether nothing has come since the last request was answered."""
        is_between = self.cycle and self.cycle.response_complete and self.conn.their_state is h11.IDLE
        return bool(is_between and not self._blank and not self.conn.trailing_data[0])

    def _wait(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._waits_since = self.loop.time()
        self._timer = self.loop.call_later(self.stall_timeout, self._cut)

    def _cut(self) -> None:
        is_blocked = self.flow.write_paused or self.transport.get_write_buffer_size() > 0
        left = self._waits_since + self.timeout_keep_alive + self.stall_timeout - self.loop.time()
        if left > 0 and self._is_idle() and not is_blocked:
            # uvicorn closes it before that, and then, in TLS, waits for the client's goodbye.
            self._timer = self.loop.call_later(left, self._cut)
        elif self.flow.write_paused or self.is_waiting():
            self.transport.abort()
