"""One request of HTTP/1.1 and its answer, as `receive` and `send` of ASGI."""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl

from gitpod.server.edge.headers import CLOSE, ENDED, ASGIApplication, Scope

logger = logging.getLogger("gitpod.server")

Headers = list[tuple[bytes, bytes]]
PHRASES = {each.value: each.phrase for each in HTTPStatus}
# Connect answers a call that was cancelled by 499, which has no phrase.
STATUS_LINES = {code: f"HTTP/1.1 {code} {PHRASES.get(code, '')}\r\n".encode() for code in range(200, 600)}
TEXT = (b"content-type", b"text/plain; charset=utf-8")


class Exchange:
    """A request, and its answer, which is written in one piece: every answer of the service is one message.

    Args:
        transport: the connection.
        flow: whether the connection can be read and written to.
        defaults: the headers of every answer.
        done: is called once the answer was written.
        is_last: whether the connection ends with the answer.
        expects_continue: whether the client waits to be asked for the body.
    """

    __slots__ = (
        "_body",
        "_came",
        "_defaults",
        "_done",
        "_expects_continue",
        "_flow",
        "_is_ended",
        "_is_head",
        "_parts",
        "_start",
        "_transport",
        "is_answered",
        "is_gone",
        "is_last",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        flow: FlowControl,
        defaults: Headers,
        done: Callable[[], None],
        *,
        is_last: bool,
        expects_continue: bool,
    ) -> None:
        self._transport = transport
        self._flow = flow
        self._defaults = defaults
        self._done = done
        self._expects_continue = expects_continue
        self._body = b""
        self._is_ended = False
        self._came = asyncio.Event()
        self._start: Any = None
        self._parts: list[bytes] = []
        self._is_head = False
        self.is_last = is_last
        self.is_answered = False
        self.is_gone = False
        """Whether the client is gone, or was given up."""

    async def run(self, app: ASGIApplication, scope: Scope) -> None:
        """Answer the request. Nothing is said of an exception, whose message may quote a value."""
        self._is_head = scope["method"] == "HEAD"
        if self._is_ended:
            scope["extensions"] = {ENDED: {}}
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            # uvicorn ends what takes too long to stop, and logs it.
            pass
        except Exception:
            logger.exception("a request failed")
        if not (self.is_answered or self.is_gone):
            self._write(500, [TEXT, CLOSE], b"Internal Server Error")

    def take(self, data: bytes, *, is_ended: bool) -> None:
        """Take a part of the request's body."""
        self._body += data
        self._is_ended = is_ended
        if len(self._body) > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        self._came.set()

    def leave(self) -> None:
        """End the exchange without an answer."""
        self.is_gone = not self.is_answered
        self._came.set()

    async def receive(self) -> Any:  # noqa: ANN401 # any message of ASGI
        """Return what has come of the request's body, or that the client is gone (ASGI's `receive`)."""
        if self._expects_continue and not self.is_answered and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects_continue = False
        if not (self.is_gone or self.is_answered):
            if not self._is_ended:
                self._flow.resume_reading()
            await self._came.wait()
            self._came.clear()
        if self.is_gone or self.is_answered:
            return {"type": "http.disconnect"}
        body, self._body = self._body, b""
        return {"type": "http.request", "body": body, "more_body": not self._is_ended}

    async def send(self, message: Any) -> None:  # noqa: ANN401 # any message of ASGI
        """Keep a part of the answer, and write the answer with the last one (ASGI's `send`)."""
        if self._flow.write_paused and not self.is_gone:
            await self._flow.drain()
        if self.is_gone:
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            self._write(self._start["status"], self._start["headers"], b"".join(self._parts))

    def _write(self, status: int, headers: Headers, body: bytes) -> None:
        self.is_last = self.is_last or CLOSE in headers
        answer = written(status, [*self._defaults, *headers], body, is_last=self.is_last)
        self.is_answered = True
        self._came.set()
        self._transport.write(answer[: len(answer) - len(body)] if self._is_head else answer)
        if self.is_last:
            self._transport.close()
        self._done()


def written(status: int, headers: Headers, body: bytes, *, is_last: bool) -> bytes:
    """Return an answer as it is sent. Raises ValueError for a header that would break its line."""
    lines = [STATUS_LINES[status]]
    for name, value in headers:
        if name.lower() not in (b"content-length", b"connection"):
            lines.append(b"%b: %b\r\n" % (name, value))
    if is_last:
        lines.append(b"connection: close\r\n")
    lines.append(b"content-length: %d\r\n" % len(body))
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
        raise ValueError("a header of the answer has a line break")
    return b"%b\r\n%b" % (head, body)
