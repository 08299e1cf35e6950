"""Reads requests of HTTP/1.1 by uvicorn's protocol on httptools, which bounds nothing and takes what h11 does not."""

import asyncio
from contextvars import Context
from typing import Any, cast
from urllib.parse import unquote

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gitpod.server.edge.headers import ENDED
from gitpod.server.serving.http_head import MAX_HEAD_BYTES, MalformedError, checked_head, length_of_body

MAX_PIECES = 2048
"""The most pieces of a request's body: chunks, reads of the socket, and blank lines in chunks. Each takes some
microseconds of the event loop, whatever its size: 8 MB in chunks of one byte kept everybody else waiting for 20 s."""


class _Flow(FlowControl):
    """Does not go on reading for a request that has come to its end: what comes then is another one."""

    is_full = False

    def resume_reading(self) -> None:
        """Go on reading (FlowControl)."""
        if not self.is_full:
            super().resume_reading()


class Requests(HttpToolsProtocol):
    """What has arrived on a connection, and the request under way.

    httptools does not say where a request ends, so it is fed one head, or what has come of one body, at a time.
    """

    _received: bytearray
    """What has arrived, and was not read yet."""
    _is_in_body = False
    _left: int | None = 0
    """The bytes of the body that are still to come. None: it comes in chunks."""
    _pieces = 0
    _beside = 0
    """Bytes since the beginning of the last chunk that are none of its data."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own signature
        """Wait for the first request."""
        super().connection_made(transport)
        self._received = bytearray()
        self.flow = self._flow = _Flow(transport)

    def is_waiting(self) -> bool:
        """Tell whether no request is under way. One whose head is not complete is not under way."""
        return not self.cycle or self.cycle.response_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header (httptools), but no trailer."""
        if self._is_in_body:
            return
        name, value = name.lower(), value.rstrip()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin with a request (httptools)."""
        # It is None once the connection is lost.
        parser: Any = self.parser
        version = parser.get_http_version()
        self._left = length_of_body(self.headers, version)
        self._is_in_body = True
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode()
        self.scope["http_version"] = version
        self.scope["method"] = parser.get_method().decode()
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = raw_path
        self.scope["query_string"] = query
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        # uvicorn has types of its own for what an application is.
        app = cast("Any", self.app)  # pyright: ignore[reportUnknownMemberType]
        # A request that was sent right behind another one has nothing of its context.
        task = self.loop.create_task(self.cycle.run_asgi(app), context=Context())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_chunk_header(self) -> None:
        """Begin with a chunk (httptools)."""
        self._beside = 0
        self._count_piece()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body (httptools)."""
        self._beside -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request (httptools)."""
        self._is_in_body = False
        # An application that runs already has no use for it.
        self.cycle.scope["extensions"] = {ENDED: {}}
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def _feed_head(self, head: bytes) -> None:
        self._pieces = self._beside = 0
        self._feed(checked_head(head))

    def _feed_body(self) -> bool:
        """Feed what has come of a body, up to where it may end. False: more must come first."""
        received = self._received
        if self._left is None:
            # Chunks end with a blank line. Their data may have blank lines too, which are fed one by one.
            end = received.find(b"\r\n\r\n")
            size = end + 4 if end >= 0 else len(received) - 3
        else:
            size = min(self._left, len(received))
            self._left -= size
        if size <= 0:
            return False
        self._count_piece()
        piece = bytes(received[:size])
        del received[:size]
        self._beside += size
        self._feed(piece)
        if self._beside > MAX_HEAD_BYTES:
            raise MalformedError("a line between chunks is too long")
        return True

    def _feed(self, data: bytes) -> None:
        parser: Any = self.parser
        parser.feed_data(data)

    def _count_piece(self) -> None:
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            raise MalformedError("the body has too many pieces")
