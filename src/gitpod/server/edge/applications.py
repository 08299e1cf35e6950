"""The service's applications with what each request meets first: header checks, a deadline, a log line.

Also answers the probes of load balancers, `/healthz` and `/readyz`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing, nullcontext
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from connectrpc.code import Code
from connectrpc.errors import ConnectError

from gitpod.server.edge.headers import (
    ACCEPTED_ENCODINGS,
    ENDED,
    ASGIApplication,
    Receive,
    Response,
    Scope,
    Send,
    protocol_of,
    raw_path,
    refusal,
    with_deadline,
)
from gitpod.server.edge.pagination import QUERY
from gitpod.server.log import REQUEST, Request
from gitpod.server.shares import SHARE

NO_RPC = 415
"""The status of a request that is no call of the service."""
LONGEST_REQUEST = 5.0
"""Seconds until the end of a request's body, over HTTP and gRPC. A call that waits for it holds no thread."""


def guarded_wsgi(app: WSGIApplication) -> WSGIApplication:
    """Wrap the application of embedded clients, which set a deadline themselves."""
    dropped = {f"HTTP_{name.upper().replace('-', '_')}" for name in ACCEPTED_ENCODINGS}

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        protocol = protocol_of(environ.get("CONTENT_TYPE", "").encode())
        _begin(Request(protocol=protocol), environ["REQUEST_METHOD"], environ.get("QUERY_STRING", ""))
        kept = {key: value for key, value in environ.items() if key not in dropped}
        return app(kept, start_response) if protocol == "grpc" else _with_length(app, kept, start_response)

    return guarded


def guarded_asgi(app: ASGIApplication, *, ready: Callable[[], Awaitable[bool]]) -> ASGIApplication:
    """Wrap an application that is called over HTTP or gRPC. `/readyz` answers what `ready` returns."""
    dropped = {name.encode() for name in ACCEPTED_ENCODINGS}

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        path = raw_path(scope)
        if path in (b"/healthz", b"/readyz"):
            is_well = path == b"/healthz" or await ready()
            await _send(send, (200, [], b"ok\n") if is_well else (503, [], b"unavailable\n"))
            return
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        request = Request(protocol=protocol_of(dict(headers).get(b"content-type", b"")))
        _begin(request, scope["method"], scope["query_string"].decode("ascii", "replace"))
        answer = _Answer(send, request, is_whole=scope["http_version"] != "2")
        try:
            refused = refusal(scope, request.protocol)
            if refused is not None:
                request.code = "" if refused[0] == NO_RPC else Code.INVALID_ARGUMENT.value
                await _send(answer, refused)
                return
            kept = [header for header in headers if header[0] not in dropped]
            await app({**scope, "headers": with_deadline(kept, request.protocol)}, receive, answer)
        finally:
            request.log()
            if share := SHARE.get():
                share.leave()

    return guarded


def prompt(app: ASGIApplication) -> ASGIApplication:
    """Wrap an application of unary calls: a request must have ended `LONGEST_REQUEST` seconds after it began."""

    async def prompted(scope: Scope, receive: Receive, send: Send) -> None:
        if ENDED in (scope.get("extensions") or {}):
            await app(scope, receive, send)
            return
        until = asyncio.get_running_loop().time() + LONGEST_REQUEST
        is_ended = False

        async def received() -> Any:  # noqa: ANN401 # any message of ASGI
            nonlocal is_ended
            if is_ended:
                # The RPC runtime waits for a disconnect, for as long as the call takes.
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                text = f"the request had not ended after {LONGEST_REQUEST:g} s; nothing was done"
                raise ConnectError(Code.DEADLINE_EXCEEDED, text) from None
            is_ended = not message.get("more_body", False)
            return message

        await app(scope, received, send)

    return prompted


def checked(app: ASGIApplication) -> ASGIApplication:
    """Wrap an application whose requests are not logged, so that its runtime reads no header that is refused here."""

    async def checking(scope: Scope, receive: Receive, send: Send) -> None:
        refused = refusal(scope, protocol_of(dict(scope["headers"]).get(b"content-type", b"")))
        await (app(scope, receive, send) if refused is None else _send(send, refused))

    return checking


def _begin(request: Request, method: str, query: str) -> None:
    """Set the context variables of a request. The query of a GET is its message, so it has no pagination."""
    REQUEST.set(request)
    # A server may begin a request that was sent right behind another one in the context of that one.
    SHARE.set(None)
    QUERY.set(query if (method, request.protocol) == ("POST", "connect") else "")


class _Answer:
    """Sends an answer with its request id and content-length, which the RPC runtime does not set.

    Keeps the body until it is whole. That is bounded, as every RPC is unary: an answer is one message. In HTTP/2 an
    answer needs no length, and reflection answers each message when it comes, so there nothing is kept.
    """

    def __init__(self, send: Send, request: Request, *, is_whole: bool) -> None:
        self._send = send
        self._request = request
        self._is_whole = is_whole
        self._start: dict[str, Any] = {}
        self._body = b""

    async def __call__(self, message: Any) -> None:  # noqa: ANN401 # any message of ASGI
        """Send a message, or keep it until the body is whole (ASGI's `send`)."""
        if message["type"] == "http.response.start":
            # gRPC has a status of its own.
            self._request.status = 0 if self._request.protocol == "grpc" else message["status"]
            self._start = message
            if not self._is_whole:
                await self._send({**message, "headers": self._headers()})
        elif not self._is_whole:
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                length = (b"content-length", _length(self._body))
                await self._send({**self._start, "headers": self._headers(length)})
                await self._send({"type": "http.response.body", "body": self._body})
        else:
            await self._send(message)

    def _headers(self, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        given = {name.lower() for name, _ in self._start["headers"]}
        added = [(b"x-request-id", self._request.id.encode()), *more]
        return [*self._start["headers"], *(header for header in added if header[0] not in given)]


def _with_length(app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Return the body of an answer, which is started with its content-length."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start(status: str, headers: list[tuple[str, str]], _error: object = None, /) -> Callable[[bytes], object]:
        started.append((status, headers))
        return written.append

    chunks: Any = app(environ, start)
    with closing(chunks) if hasattr(chunks, "close") else nullcontext():
        body = b"".join([*written, *chunks])
    status, headers = started[-1]
    start_response(status, [*headers, ("content-length", str(len(body)))])
    return [body]


def _length(body: bytes) -> bytes:
    return b"%d" % len(body)


async def _send(send: Send, response: Response) -> None:
    status, headers, body = response
    await send(
        {"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", _length(body))]}
    )
    await send({"type": "http.response.body", "body": body})
