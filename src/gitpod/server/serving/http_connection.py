"""Connections of HTTP/1.1 with a timeout and limits, and uvicorn's server, which serves them.

The time for a request's body is bounded elsewhere, by `edge.applications`.
"""

import asyncio
from collections.abc import Callable

import uvicorn
from httptools import HttpParserError

from gitpod.server.log import Request
from gitpod.server.serving.http_head import END_OF_HEAD, MAX_HEAD_BYTES, MalformedError
from gitpod.server.serving.http_requests import Requests


class Server(uvicorn.Server):
    """A server that goes on when the clock says a year after 9999, which no Date header can have."""

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to stop (uvicorn.Server)."""
        try:
            return await super().on_tick(counter)
        except (ValueError, OverflowError):
            return self.should_exit


def or_http2(make: Callable[[], asyncio.Protocol]) -> "type[Connection]":
    """Return the class of connections that speak HTTP/1.1, or HTTP/2 by what `make` returns."""

    class Either(Connection):
        http2 = staticmethod(make)

    return Either


class Connection(Requests):
    """A connection that is cut when a client stalls."""

    stall_timeout = 10.0
    """Seconds in which a request's head must be complete, from its first byte on, or from the beginning of the
    connection; and in which an answer must be read."""
    max_connections = 900
    """The most open connections, because many systems allow a process 1,024 file descriptors. One more ends the
    connection that has waited longest for a request, so that nobody can keep others out by connections alone."""
    max_blank = 64
    """Bytes of blank lines that are dropped before each request (RFC 9112 section 2.2)."""
    max_late = 1024 * 1024
    """Bytes of a body that are dropped after its request was answered. More would be read in vain."""
    http2: Callable[[], asyncio.Protocol] | None = None
    """Makes what goes on with a connection that begins with HTTP/2. None: it is refused."""
    _searched = 0
    """How much of what was received has no end of a head."""
    _blank = 0
    _late = 0
    _timer: asyncio.TimerHandle | None = None
    _waits_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own signature
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.max_connections:
            others: list[Connection] = [each for each in self.connections if isinstance(each, Connection)]
            waiting = [each for each in others if each.is_waiting() and not each.transport.is_closing()]
            # This one waits too, and it is the youngest.
            min(waiting, key=Connection.waits_since, default=self).transport.abort()

    def waits_since(self) -> float:
        """Return when this connection began to wait, by the clock of the event loop."""
        return self._waits_since

    def data_received(self, data: bytes) -> None:
        """Read what has arrived (asyncio.Protocol)."""
        if self._is_idle():
            self._wait()
        if self._is_in_body and self.is_waiting():
            self._late += len(data)
            if self._late > self.max_late:
                self.transport.abort()
                return
        self._received += data
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer (asyncio.Protocol)."""
        super().connection_lost(exc)
        if self._timer:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """Wait for the client to read the answer (asyncio.Protocol)."""
        super().pause_writing()
        self._wait()

    def shutdown(self) -> None:
        """Drop a connection without a request: a goodbye in TLS would wait for an answer of the client's."""
        if self.is_waiting():
            self.transport.abort()
        else:
            super().shutdown()

    def on_response_complete(self) -> None:
        """Wait for the next request, or go on with it."""
        self.server_state.total_requests += 1
        self._blank = self._late = 0
        self._wait()
        self._flow.is_full = False
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._read()

    def _read(self) -> None:
        """Read bodies and heads, up to the end of the request under way."""
        try:
            while self._received and not self.transport.is_closing():
                if self._is_in_body:
                    if not self._feed_body():
                        return
                elif not self.is_waiting():
                    self.flow.pause_reading()
                    self._flow.is_full = True
                    return
                elif not self._begin():
                    return
        except MalformedError as error:
            self._refuse(str(error))
        except HttpParserError as error:
            # It has what a callback raised.
            is_ours = isinstance(error.__context__, MalformedError)
            self._refuse(str(error.__context__) if is_ours else "the request is malformed")

    def _begin(self) -> bool:
        """Begin with the next request. False: its head is not complete."""
        received = self._received
        if self.http2 and not self.cycle and received.startswith(b"PRI "):
            # No method of HTTP/1.1 begins so. A client that offers h2 in the handshake of TLS begins so too.
            self._hand_over(self.http2())
            return False
        if received[0] in b"\r\n":
            size = len(received) - len(received.lstrip(b"\r\n"))
            self._blank += size
            if self._blank > self.max_blank:
                raise MalformedError("there are too many blank lines")
            del received[:size]
        end = END_OF_HEAD.search(received, self._searched, MAX_HEAD_BYTES)
        if end is None:
            self._searched = max(0, len(received) - 2)
            if len(received) > MAX_HEAD_BYTES:
                raise MalformedError("the request's head is too long")
            if received and received[0] <= 0x20:  # noqa: PLR2004 # a space
                # Of TLS, for example: what follows may never have the end of a head.
                raise MalformedError("the request line is malformed")
            return False
        head = bytes(received[: end.end()])
        del received[: end.end()]
        self._searched = 0
        self._feed_head(head)
        return True

    def _refuse(self, reason: str) -> None:
        """Answer what is malformed once: not after an answer has begun, and not by the application too."""
        if not self.is_waiting():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self._is_in_body and self.cycle.response_started:
            self.transport.close()
            return
        Request(status=400).log()
        self.send_400_response(reason)

    def _hand_over(self, protocol: asyncio.Protocol) -> None:
        if self._timer:
            self._timer.cancel()
        self.connections.discard(self)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(bytes(self._received))

    def _is_idle(self) -> bool:
        """Tell whether nothing has come since the last request was answered."""
        is_answered = bool(self.cycle) and self.cycle.response_complete
        return is_answered and not (self._received or self._is_in_body or self._blank)

    def _wait(self) -> None:
        """Begin to wait. The timer is left alone while it comes early enough: a new one for each request costs more."""
        self._waits_since = self.loop.time()
        patience = min(self.stall_timeout, self.timeout_keep_alive)
        if self._timer is None or self._timer.when() > self._waits_since + patience:
            self._set_timer(patience)

    def _set_timer(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._check)

    def _check(self) -> None:
        """End the connection if it has waited for too long."""
        self._timer = None
        if not (self.is_waiting() or self.flow.write_paused):
            return
        is_idle = self._is_idle() and not self.transport.is_closing()
        may_stay = is_idle and not self.flow.write_paused and not self.transport.get_write_buffer_size()
        left = self._waits_since + (self.timeout_keep_alive if may_stay else self.stall_timeout) - self.loop.time()
        if left > 0:
            self._set_timer(left)
        elif may_stay:
            self.transport.close()
            # In TLS it waits for the client's goodbye.
            self._wait()
        else:
            self.transport.abort()
