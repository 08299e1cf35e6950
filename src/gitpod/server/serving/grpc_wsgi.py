"""Turns a gRPC call of grpcio into a WSGI request, and the WSGI response into the answer of the call."""

import io
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from typing import TypeAlias
from urllib.parse import unquote
from wsgiref.types import WSGIApplication, WSGIEnvironment

import grpc  # type: ignore[import-untyped] # it is not marked as typed
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from typing_extensions import Buffer

MAX_STATUS_BYTES = 3 * 1024
"""The most bytes of an error's message, and of its details. Clients refuse trailers of more than 8 KiB."""
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

Context: TypeAlias = grpc.ServicerContext
Metadata = tuple[tuple[str, str | bytes], ...]
Headers = list[tuple[str, str]]


def forward(
    app: WSGIApplication, path: str, requests: Iterator[bytes], context: Context, *, scheme: str, longest: float
) -> Generator[bytes]:
    """Yield the messages of the application's answer, and set its status. `longest` bounds the deadline, in seconds."""
    if not all(value.isascii() for _, value in context.invocation_metadata() if isinstance(value, str)):
        finish(context, grpc.StatusCode.INVALID_ARGUMENT, "metadata must be ASCII")
        return
    response = _Response(context)
    environ = _environ(path, context) | {
        "HTTP_GRPC_TIMEOUT": f"{int(min(context.time_remaining(), longest) * 1000)}m",
        "wsgi.url_scheme": scheme,
        "wsgi.input": _Body(requests),
        "wsgi.ext.http.send_trailers": response.trailers.extend,
    }
    chunks = app(environ, response.start)
    try:
        yield from response.messages(chunks)
    finally:
        if close := getattr(chunks, "close", None):
            close()


def finish(context: Context, code: grpc.StatusCode, message: str, trailers: Metadata = ()) -> None:
    """Set the status of a call. grpcio sends it when the behaviour returns."""
    context.set_code(code)
    context.set_details(message)
    context.set_trailing_metadata(trailers)


class _Body(io.RawIOBase):
    """The body of the WSGI request: the framed messages of the call. Asks for each message when it is read."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        """True (io.RawIOBase)."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Read from the present message, or wait for the next one. Returns 0 at the end (io.RawIOBase)."""
        if not self._pending:
            try:
                message = next(self._requests, None)
            except grpc.RpcError:
                raise ConnectError(Code.CANCELED, "the call was cancelled") from None
            if message is None:
                return 0
            self._pending = memoryview(struct.pack(">BI", 0, len(message)) + message)
        room = memoryview(buffer)
        size = min(len(room), len(self._pending))
        room[:size], self._pending = self._pending[:size], self._pending[size:]
        return size


class _Response:
    """The WSGI response to a call, which it turns into a gRPC answer."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._status = ""
        self._headers: Headers = []
        self._body = bytearray()
        self.trailers: Headers = []

    def start(self, status: str, headers: Headers, _error: object = None, /) -> Callable[[bytes], object]:
        """Take the status and headers (`start_response` of WSGI)."""
        self._status = status[:3]
        for name, value in headers:
            # An answer without messages has its trailers among the headers (Trailers-Only).
            (self.trailers if name.lower() in STATUS else self._headers).append((name.lower(), value))
        return self._body.extend

    def messages(self, chunks: Iterable[bytes]) -> Generator[bytes]:
        """Yield the messages of the body. Sends the headers before them, and sets the status after them."""
        is_begun = False
        # `start` is called before the first chunk, or before the end of an empty body.
        for chunk in chain(chunks, [b""]):
            if not is_begun:
                self._context.send_initial_metadata(_metadata(self._headers))
            is_begun = True
            self._body += chunk
            # The body of another status is not gRPC, and its status alone says the error.
            while self._status == "200" and len(self._body) >= (end := PREFIX + int.from_bytes(self._body[1:PREFIX])):
                yield bytes(self._body[PREFIX:end])
                del self._body[:end]
        given = dict(self.trailers)
        code = CODES.get(given.get("grpc-status", ""), HTTP_CODES.get(self._status, grpc.StatusCode.INTERNAL))
        message = unquote(given.get("grpc-message", "")[:MAX_STATUS_BYTES])
        finish(self._context, code, message, _metadata(self.trailers))


def _metadata(headers: Headers) -> Metadata:
    """Return headers or trailers as metadata, without those that grpcio sends by itself or cannot send."""
    kept: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name in OWN or not (value.isascii() and value.isprintable()):
            continue
        if not name.endswith("-bin"):
            kept.append((name, value))
        elif name != DETAILS or len(value) <= MAX_STATUS_BYTES:
            kept.append((name, b64decode(value + "=" * (-len(value) % 4))))
    return tuple(kept)


def _environ(path: str, context: Context) -> WSGIEnvironment:
    """Return the WSGI environment of a call, which is known before the first message."""
    family, _, peer = unquote(context.peer()).partition(":")
    host, _, port = peer.rpartition(":")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/2",
        # grpcio does not show the content type of the call. Its clients never send JSON.
        "CONTENT_TYPE": "application/grpc+proto",
        # The runtime writes the messages of exceptions to it, which may quote values, so it is thrown away.
        "wsgi.errors": io.StringIO(),
    }
    if family in ("ipv4", "ipv6"):
        environ |= {"REMOTE_ADDR": host.strip("[]"), "REMOTE_PORT": port}
    for name, value in context.invocation_metadata():
        # In WSGI the names x_y and x-y would be the same.
        if "_" in name or name.startswith(("grpc-", "content-")):
            continue
        key = f"HTTP_{name.upper().replace('-', '_')}"
        text = value if isinstance(value, str) else b64encode(value).decode().rstrip("=")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
