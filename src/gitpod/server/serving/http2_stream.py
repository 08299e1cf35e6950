"""One request of HTTP/2 and its answer, as `receive` and `send` of ASGI."""

import asyncio
import logging
import traceback
from typing import Any, Protocol

from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, StreamEnded, StreamReset, WindowUpdated

from gitpod.server.edge.headers import ASGIApplication, Scope
from gitpod.server.serving.http2_heads import Headers, allowed

logger = logging.getLogger("gitpod.server")

STALL = 10.0
"""Seconds in which a client must read something of an answer that waits for it."""
LONGEST_ANSWER = 40.0
"""Seconds in which a client must read the whole of a message."""
MAX_PIECES = 2048
"""The most frames of a request's body. Each costs some microseconds, whatever its size."""


class Connection(Protocol):
    """What a request needs of its connection."""

    def room(self, stream: "Stream") -> int:
        """Return how many bytes of an answer may be sent now."""
        ...

    def send_headers(self, stream: "Stream", headers: Headers, *, is_last: bool) -> None:
        """Send the head of an answer, or its trailers."""

    def send_data(self, stream: "Stream", data: bytes, *, is_last: bool) -> None:
        """Send a part of the body of an answer, for which there is room."""

    def reset(self, stream: "Stream", code: ErrorCodes) -> None:
        """End a call without an answer, or before the end of its request."""


class Stream:
    """A request, and what was sent of its answer."""

    def __init__(self, connection: Connection, stream_id: int, *, is_head: bool) -> None:
        self.id = stream_id
        self.task: asyncio.Task[None] | None = None
        self.is_answered = False
        """Whether the answer was sent to its end."""
        self.is_ended = False
        """Whether the request came to its end."""
        self._connection = connection
        self._is_head = is_head
        self._chunks: list[bytes] = []
        self._pieces = 0
        self._is_told = False
        self.is_gone = False
        """Whether the client gave up, or was given up."""
        self._input, self._room = asyncio.Event(), asyncio.Event()
        self._head: Headers | None = None
        self._has_trailers = False

    async def run(self, app: ASGIApplication, scope: Scope) -> None:
        """Answer the request. Nothing is said of an exception, whose message may quote a value."""
        try:
            await app(scope, self.receive, self.send)
        except Exception as error:  # noqa: BLE001 # the application's
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("HTTP/2 %s: %s\n%s", scope["path"], type(error).__name__, frames)  # noqa: TRY400 # `exception` logs the message

    def take(self, event: Event) -> None:
        """Take what the client sent."""
        if isinstance(event, DataReceived):
            self._pieces += 1
            if self._pieces > MAX_PIECES:
                self._connection.reset(self, ErrorCodes.ENHANCE_YOUR_CALM)
            elif event.data:
                self._chunks.append(event.data)
                self._input.set()
        elif isinstance(event, StreamEnded):
            self.is_ended = True
            self._input.set()
        elif isinstance(event, StreamReset):
            self.leave()
        elif isinstance(event, WindowUpdated):
            self.wake()

    def wake(self) -> None:
        """Go on sending, as the client may have made room."""
        self._room.set()

    def leave(self) -> None:
        """End the call, whose client is gone."""
        self.is_gone = True
        self._chunks.clear()
        self._input.set()
        self._room.set()
        if self.task:
            self.task.cancel()

    async def receive(self) -> Any:  # noqa: ANN401 # any message of ASGI
        """Return what has come of the request's body, or that the client is gone (ASGI's `receive`)."""
        while not (self.is_gone or self._chunks or (self.is_ended and not self._is_told)):
            self._input.clear()
            await self._input.wait()
        if self.is_gone:
            return {"type": "http.disconnect"}
        body = b"".join(self._chunks)
        self._chunks.clear()
        self._is_told = self.is_ended
        return {"type": "http.request", "body": body, "more_body": not self.is_ended}

    async def send(self, message: Any) -> None:  # noqa: ANN401 # any message of ASGI
        """Send a part of the answer, once the client has room for it (ASGI's `send`)."""
        if self.is_gone or self.is_answered:
            return
        if message["type"] == "http.response.start":
            # Kept until it is known whether a body follows.
            self._head = [(b":status", str(message["status"]).encode()), *allowed(message["headers"])]
            self._has_trailers = message.get("trailers", False)
        elif message["type"] == "http.response.body":
            is_last = not message.get("more_body", False) and not self._has_trailers
            # The answer to a HEAD has no body, whatever the application sends (RFC 9110 section 9.3.2).
            await self._send_body(b"" if self._is_head else message.get("body", b""), is_last=is_last)
        else:
            self._send_head()
            self._connection.send_headers(self, allowed(message["headers"]), is_last=True)

    def _send_head(self, *, is_last: bool = False) -> None:
        if self._head is not None:
            self._connection.send_headers(self, self._head, is_last=is_last)
            self._head = None

    async def _send_body(self, body: bytes, *, is_last: bool) -> None:
        has_head = self._head is not None
        self._send_head(is_last=is_last and not body)
        if body:
            rest = self._send_what_fits(body, is_last=is_last)
            if rest:
                await self._send_rest(rest, is_last=is_last)
        elif is_last and not has_head:
            self._connection.send_data(self, b"", is_last=True)

    def _send_what_fits(self, body: bytes, *, is_last: bool) -> bytes:
        """Send as much as there is room for, and return the rest."""
        while body and (size := self._connection.room(self)):
            piece, body = body[:size], body[size:]
            self._connection.send_data(self, piece, is_last=is_last and not body)
        return body

    async def _send_rest(self, body: bytes, *, is_last: bool) -> None:
        try:
            async with asyncio.timeout(LONGEST_ANSWER):
                while body:
                    await self._wait_for_room()
                    if self.is_gone:
                        return
                    body = self._send_what_fits(body, is_last=is_last)
        except TimeoutError:
            self.is_gone = True
            self._connection.reset(self, ErrorCodes.CANCEL)

    async def _wait_for_room(self) -> None:
        """Return when something may be sent, or the client is gone. Raises TimeoutError after `STALL` seconds."""
        while not self.is_gone and not self._connection.room(self):
            self._room.clear()
            async with asyncio.timeout(STALL):
                await self._room.wait()
