"""Turns a gRPC call of grpcio into a request of ASGI, and the answer back into the answer of the call."""

import asyncio
import struct
from base64 import b64decode, b64encode
from typing import Any, TypeAlias
from urllib.parse import unquote

import grpc.aio  # type: ignore[import-untyped] # it is not marked as typed

from gitpod.server.edge.headers import ASGIApplication, Scope
from gitpod.server.shares import SHARE

MAX_MESSAGE_BYTES, MAX_DETAILS_BYTES = 2 * 1024, 5 * 1024
"""The most bytes of an error's message, and of its details in base64. Clients refuse trailers of more than 8 KiB."""
PREFIX = 5
"""Bytes in front of each message: one flag for compression, four of its length."""
DETAILS = "grpc-status-details-bin"
STATUS = ("grpc-status", "grpc-message", DETAILS)
OWN = frozenset(("grpc-status", "grpc-message", "grpc-encoding", "content-type", "content-length"))
"""Headers that grpcio sends by itself."""
CODES: dict[str, grpc.StatusCode] = {str(code.value[0]): code for code in grpc.StatusCode}
HTTP_CODES: dict[str, grpc.StatusCode] = {
    "404": grpc.StatusCode.UNIMPLEMENTED,
    "429": grpc.StatusCode.UNAVAILABLE,
    "503": grpc.StatusCode.UNAVAILABLE,
}
"""The codes of answers that are not gRPC, by HTTP status. Any other status is INTERNAL."""

LONGEST_CONNECTION = 640
"""Seconds until a connection is closed, with all that it holds: ten minutes, and the time of a call."""
LONGEST_TIMEOUT = 99_999_999
"""The longest deadline that grpc-timeout can say in milliseconds, which has 8 digits."""

Context: TypeAlias = Any
"""A grpc.aio.ServicerContext, whose types are wrong: a call without a deadline has a `time_remaining` of None."""
EOF: Any = grpc.aio.EOF  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType] # it is not typed
"""What `Context.read` returns at the end of the requests."""
Metadata = tuple[tuple[str, str | bytes], ...]
Headers = list[tuple[str, str]]


async def forward(app: ASGIApplication, path: str, context: Context, *, scheme: str) -> None:
    """Answer a call by the application."""
    if not all(value.isascii() for _, value in context.invocation_metadata() if isinstance(value, str)):
        finish(context, grpc.StatusCode.INVALID_ARGUMENT, "metadata must be ASCII")
        return
    answer, is_held = _Answer(context), False
    try:
        await app(_scope(path, context, scheme), _Request(context), answer)
        # Whoever leaves, or has a deadline of its own that passes, lets grpcio drop the message.
        remaining = context.time_remaining()
        is_held = answer.is_stalled and (remaining is None or remaining > 0)
    finally:
        answer.end()
        if share := SHARE.get():
            if is_held:
                asyncio.get_running_loop().call_later(LONGEST_CONNECTION, share.leave)
            else:
                share.leave()


def finish(context: Context, code: grpc.StatusCode, message: str, trailers: Metadata = ()) -> None:
    """Set the status of a call. grpcio sends it when the behaviour returns."""
    context.set_code(code)
    context.set_details(message)
    context.set_trailing_metadata(trailers)


class _Request:
    """The body of the request: the framed messages of the call (ASGI's `receive`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._is_ended = False

    async def __call__(self) -> Any:  # noqa: ANN401 # any message of ASGI
        """Return the next message of the call, or the end of the body. After that, wait until the call ends."""
        if self._is_ended:
            # The application asks whether the client left. In that case grpcio cancels this task.
            await asyncio.Event().wait()
        message = await self._context.read()
        self._is_ended = message is EOF
        body = b"" if self._is_ended else struct.pack(">BI", 0, len(message)) + message
        return {"type": "http.request", "body": body, "more_body": not self._is_ended}


class _Answer:
    """Sends the application's answer as the answer of a call (ASGI's `send`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._status = ""
        self._body = bytearray()
        self._trailers: Headers = []
        self.is_stalled = False
        """Whether a message waits for the client to read it. grpcio keeps it until the connection ends, if the
        client neither reads it nor leaves."""

    async def __call__(self, message: Any) -> None:  # noqa: ANN401 # any message of ASGI
        """Send what is complete of an answer."""
        headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in message.get("headers", ())
        ]
        if message["type"] == "http.response.start":
            self._status = str(message["status"])
            # An answer without messages has its trailers among the headers (Trailers-Only).
            self._trailers = [header for header in headers if header[0] in STATUS]
            rest = [header for header in headers if header[0] not in STATUS]
            await self._context.send_initial_metadata(_metadata(rest))
        elif message["type"] == "http.response.trailers":
            self._trailers += headers
        else:
            self._body += message.get("body", b"")
            # The body of another status is not gRPC, and its status alone says the error.
            while self._status == "200" and len(self._body) >= (end := PREFIX + int.from_bytes(self._body[1:PREFIX])):
                message_bytes = bytes(self._body[PREFIX:end])
                # Before it is sent: it must not be sent again after a deadline that passed meanwhile.
                del self._body[:end]
                self.is_stalled = True
                await self._context.write(message_bytes)
                self.is_stalled = False

    def end(self) -> None:
        """Set the status of the call."""
        given = dict(self._trailers)
        code = CODES.get(given.get("grpc-status", ""), HTTP_CODES.get(self._status, grpc.StatusCode.INTERNAL))
        message = unquote(given.get("grpc-message", "")[:MAX_MESSAGE_BYTES])
        finish(self._context, code, message, _metadata(self._trailers))


def _metadata(headers: Headers) -> Metadata:
    """Return headers or trailers as metadata, without those that grpcio sends by itself or cannot send."""
    kept: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name in OWN or not (value.isascii() and value.isprintable()):
            continue
        if not name.endswith("-bin"):
            kept.append((name, value))
        elif name != DETAILS or len(value) <= MAX_DETAILS_BYTES:
            kept.append((name, b64decode(value + "=" * (-len(value) % 4))))
    return tuple(kept)


def _scope(path: str, context: Context, scheme: str) -> Scope:
    """Return the scope of a call, which is known before the first message."""
    family, _, peer = unquote(context.peer()).partition(":")
    host, _, port = peer.rpartition(":")
    # grpcio does not show the content type of the call. Its clients never send JSON.
    headers = [(b"content-type", b"application/grpc+proto")]
    remaining = context.time_remaining()
    if remaining is not None:
        headers.append((b"grpc-timeout", b"%dm" % min(int(remaining * 1000), LONGEST_TIMEOUT)))
    for name, value in context.invocation_metadata():
        if name.startswith(("grpc-", "content-")):
            continue
        text = value.encode("ascii") if isinstance(value, str) else b64encode(value).rstrip(b"=")
        headers.append((name.encode("ascii"), text))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "2",
        "method": "POST",
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": (host.strip("[]"), int(port)) if family in ("ipv4", "ipv6") else None,
        "extensions": {"http.response.trailers": {}},
    }
