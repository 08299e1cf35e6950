"""Connections of HTTP/1.1 with a timeout and limits, and uvicorn's server, which serves them.

The time for a request's body is bounded elsewhere, by `edge.applications`.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from gitpod.server.log import Request
from gitpod.server.serving.http_body import Body, Chunks
from gitpod.server.serving.http_exchange import TEXT, Exchange, written
from gitpod.server.serving.http_head import END_OF_HEAD, MAX_HEAD_BYTES, MalformedError, read_head, scope_of


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


class Connection(asyncio.Protocol):
    """A connection that is cut when a client stalls.

    uvicorn calls it as it calls its own protocols. Of these, the one on h11 takes four times the processor's time, and
    the one on httptools bounds no head and is lenient where readers of a request may disagree.

    Args:
        config: has the application, and `timeout_keep_alive`: the seconds between an answer and the next request.
        server_state: has what all connections share.
        app_state: of the application's lifespan, which the service has not.
        _loop: the event loop.
    """

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
    transport: asyncio.Transport
    flow: FlowControl

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002 # uvicorn passes it
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_running_loop()
        # uvicorn has types of its own for what an application is.
        self._app: Any = config.loaded_app  # pyright: ignore[reportUnknownMemberType]
        self._keep_alive = config.timeout_keep_alive
        self._state = server_state
        self._connections = cast("set[Connection]", server_state.connections)
        self._received = bytearray()
        """What has arrived, and was not read yet."""
        self._searched = 0
        """How much of it has no end of a head."""
        self._blank = 0
        self._late = 0
        self._exchange: Exchange | None = None
        """The last request, under way or answered."""
        self._body: Body | None = None
        """What is still to come of its body."""
        self._timer: asyncio.TimerHandle | None = None
        self._waits_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of TCP always
        """Wait for the first request."""
        self.transport = transport
        self.flow = FlowControl(transport)
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "server": get_local_addr(transport),
            "client": get_remote_addr(transport),
            "scheme": "https" if is_ssl(transport) else "http",
            "root_path": "",
        }
        self._connections.add(self)
        self._wait()
        if len(self._connections) > self.max_connections:
            waiting = [each for each in self._connections if each.is_waiting() and not each.transport.is_closing()]
            # This one waits too, and it is the youngest.
            min(waiting, key=Connection.waits_since, default=self).transport.abort()

    def is_waiting(self) -> bool:
        """Tell whether no request is under way. One whose head is not complete is not under way."""
        return self._exchange is None or self._exchange.is_answered

    def waits_since(self) -> float:
        """Return when this connection began to wait, by the clock of the event loop."""
        return self._waits_since

    def data_received(self, data: bytes) -> None:
        """Read what has arrived (asyncio.Protocol)."""
        if self._is_idle():
            self._wait()
        if self._body and self.is_waiting():
            self._late += len(data)
            if self._late > self.max_late:
                self.transport.abort()
                return
        self._received += data
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request under way (asyncio.Protocol)."""
        self._connections.discard(self)
        if self._exchange:
            self._exchange.leave()
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        if self._timer:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """Wait for the client to read the answer (asyncio.Protocol)."""
        self.flow.pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """Go on, as the client has read some of it (asyncio.Protocol)."""
        self.flow.resume_writing()

    def shutdown(self) -> None:
        """End after the request under way (uvicorn's protocols).

        Without one, the connection is dropped: a goodbye in TLS would wait for an answer of the client's.
        """
        if self._exchange and not self._exchange.is_answered:
            self._exchange.is_last = True
        else:
            self.transport.abort()

    def _read(self) -> None:
        """Read bodies and heads, up to the end of the request under way."""
        try:
            while self._received and not self.transport.is_closing():
                if self._body and self._exchange:
                    data = self._body.take(self._received)
                    is_ended = self._body.is_ended
                    if is_ended:
                        self._body = None
                    if not self._exchange.is_answered:
                        self._exchange.take(data, is_ended=is_ended)
                    if not is_ended:
                        return
                elif not self.is_waiting():
                    self.flow.pause_reading()
                    return
                elif not self._begin():
                    return
        except MalformedError as error:
            self._refuse(str(error))

    def _begin(self) -> bool:
        """Begin with the next request. False: its head is not complete."""
        received = self._received
        if self.http2 and not self._exchange and received.startswith(b"PRI "):
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
        head = read_head(bytes(received[: end.end()]))
        del received[: end.end()]
        self._searched = 0
        self._exchange = Exchange(
            self.transport,
            self.flow,
            self._state.default_headers,
            self._answered,
            is_last=head.is_last,
            expects_continue=head.expects_continue,
        )
        self._body = Chunks() if head.length is None else Body(head.length) if head.length else None
        if self._body is None:
            self._exchange.take(b"", is_ended=True)
        run = self._exchange.run(self._app, {**self._scope, **scope_of(head)})
        # A request that was sent right behind another one has nothing of its context.
        task = self.loop.create_task(run, context=Context())
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)
        return True

    def _answered(self) -> None:
        """Wait for the next request, or go on with it."""
        self._state.total_requests += 1
        self._blank = self._late = 0
        self._wait()
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._read()

    def _refuse(self, reason: str) -> None:
        """Answer what is malformed, unless an answer was sent already, and end the connection."""
        if self._exchange and not self._exchange.is_answered:
            self._exchange.leave()
        elif self._body:
            # The body of a request that was answered.
            self.transport.close()
            return
        Request(status=400).log()
        self.transport.write(written(400, [*self._state.default_headers, TEXT], reason.encode(), is_last=True))
        self.transport.close()

    def _hand_over(self, protocol: asyncio.Protocol) -> None:
        if self._timer:
            self._timer.cancel()
        self._connections.discard(self)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(bytes(self._received))

    def _is_idle(self) -> bool:
        """Tell whether nothing has come since the last request was answered."""
        is_answered = self._exchange is not None and self._exchange.is_answered
        return is_answered and not (self._received or self._body or self._blank)

    def _wait(self) -> None:
        """Begin to wait. The timer is left alone while it comes early enough: a new one for each request costs more."""
        self._waits_since = self.loop.time()
        patience = min(self.stall_timeout, self._keep_alive)
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
        left = self._waits_since + (self._keep_alive if may_stay else self.stall_timeout) - self.loop.time()
        if left > 0:
            self._set_timer(left)
        elif may_stay:
            self.transport.close()
            # In TLS it waits for the client's goodbye.
            self._wait()
        else:
            self.transport.abort()
