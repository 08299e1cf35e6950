"""What every request meets first, before the RPC runtime: checks of its headers, a deadline, its log line.

And the probes of those who watch over the service, `/healthz` and `/readyz`.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Executor
from contextlib import closing, nullcontext
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from connectrpc.code import Code

from gitpod.server.log import REQUEST, Request

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

LONGEST_CALL = 30_000
"""Milliseconds that a call may take, the reading of its body included; what a client grants may be less."""

ACCEPTED_ENCODINGS = ("accept-encoding", "connect-accept-encoding", "grpc-accept-encoding")
"""The headers by which a client asks for compressed answers. They are dropped: how well an answer that
holds a secret compresses says something about it (CRIME, BREACH). Compressed requests are welcome."""

ONCE = (
    b"authorization",
    b"connect-timeout-ms",
    b"content-encoding",
    b"content-type",
    b"grpc-encoding",
    b"grpc-timeout",
)
"""Headers of which one reader may take the first and another the last."""
VALID = {
    b"connect-timeout-ms": (re.compile(rb"[0-9]{1,10}"), "a whole number of at most 10 digits"),
    b"grpc-timeout": (re.compile(rb"[0-9]{1,8}[HMSmun]"), "at most 8 digits and a unit, one of HMSmun"),
    b"connect-protocol-version": (re.compile(rb"1"), "1"),
}
"""What the headers may hold that the runtime would quote."""
HTTP_VERSIONS = ("1.0", "1.1", "2", "3")
CLOSE = (b"connection", b"close")
"""For a connection that may be out of step."""
UNITS = {b"H": 3_600_000.0, b"M": 60_000.0, b"S": 1000.0, b"m": 1.0, b"u": 1e-3, b"n": 1e-6}
"""Milliseconds (gRPC over HTTP/2, Requests)."""


def guarded_wsgi(app: WSGIApplication, *, logs: bool) -> WSGIApplication:
    """The application of the embedded client and, with `logs`, of gRPC; both bound calls themselves."""
    dropped = {f"HTTP_{name.upper().replace('-', '_')}" for name in ACCEPTED_ENCODINGS}

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        REQUEST.set(Request(protocol=_protocol(environ.get("CONTENT_TYPE", "").encode())))
        return app({key: value for key, value in environ.items() if key not in dropped}, start_response)

    def logged(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer: Any = guarded(environ, start_response)
        request = REQUEST.get()
        try:
            with closing(answer) if hasattr(answer, "close") else nullcontext():
                yield from answer
        finally:
            request.log()

    return logged if logs else guarded


def guarded_asgi(app: ASGIApplication, *, ready: Callable[[], bool], executor: Executor) -> ASGIApplication:
    """The application of the socket."""
    dropped = {name.encode() for name in ACCEPTED_ENCODINGS}

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in ("/healthz", "/readyz"):
            loop = asyncio.get_running_loop()
            is_well = scope["path"] == "/healthz" or await loop.run_in_executor(executor, ready)
            await _send(send, (200, [], b"ok\n") if is_well else (503, [], b"unavailable\n"))
            return
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        request = Request(protocol=_protocol(dict(headers).get(b"content-type", b"")))
        REQUEST.set(request)

        async def sent(message: Any) -> None:  # noqa: ANN401 # any of ASGI's
            if message["type"] == "http.response.start":
                request.status = message["status"]
                named = {name.lower() for name, _ in message["headers"]}
                if b"x-request-id" not in named:
                    message = {**message, "headers": [*message["headers"], (b"x-request-id", request.id.encode())]}
            await send(message)

        try:
            refusal = _refusal(scope, request.protocol)
            if refusal is not None:
                request.code = "" if refusal[0] == 415 else Code.INVALID_ARGUMENT.value  # noqa: PLR2004 # no call
                await _send(sent, refusal)
                return
            kept = [header for header in headers if header[0] not in dropped]
            await app({**scope, "headers": _with_deadline(kept, request.protocol)}, receive, sent)
        finally:
            request.log()

    return guarded


def _protocol(content_type: bytes) -> str:
    if content_type.startswith(b"application/grpc-web"):
        return "grpc-web"
    return "grpc" if content_type.startswith(b"application/grpc") else "connect"


def _refusal(scope: Scope, protocol: str) -> Answer | None:
    """The answer to headers that the runtime would fail on, or quote in its error."""
    # gRPC needs trailers, which uvicorn does not send; gRPC-Web does without.
    if protocol == "grpc" and "http.response.trailers" not in (scope.get("extensions") or {}):
        return 415, [], b""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    names = [name for name, _ in headers]
    rules = {
        "the HTTP version is not one that this service speaks": scope["http_version"] in HTTP_VERSIONS,
        "a header is not ASCII": all(name.isascii() and value.isascii() for name, value in headers),
        # Or a proxy in front may see another request than this one (RFC 9112 section 11.2).
        "a header contradicts another one": not {b"content-length", b"transfer-encoding"} <= {*names}
        and all(names.count(name) <= 1 for name in ONCE),
        "a parameter of the query occurs twice, or is not base64": _is_unambiguous(scope["query_string"]),
    }
    for name, value in headers:
        if name in VALID:
            pattern, rule = VALID[name]
            rules[f"{name.decode()}: must be {rule}"] = pattern.fullmatch(value) is not None
    return next((_invalid(message, protocol) for message, is_kept in rules.items() if not is_kept), None)


def _is_unambiguous(query: bytes) -> bool:
    """Whether everybody reads a GET's query alike. Python's base64 passes over what it does not know."""
    given = parse_qs(query.decode("ascii", "replace"), keep_blank_values=True)
    message = given.get("message", [""])[0]
    is_base64 = re.fullmatch(r"[\w-]*={0,2}", message, re.ASCII) is not None
    return all(len(values) == 1 for values in given.values()) and (is_base64 or given.get("base64") != ["1"])


def _invalid(message: str, protocol: str) -> Answer:
    """INVALID_ARGUMENT, as the protocol says it."""
    if protocol != "connect":
        status = [(b"grpc-status", b"3"), (b"grpc-message", message.encode())]
        return 200, [(b"content-type", b"application/grpc-web+proto"), *status, CLOSE], b""
    body = json.dumps({"code": Code.INVALID_ARGUMENT.value, "message": message}).encode()
    return 400, [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), CLOSE], body


def _with_deadline(headers: list[tuple[bytes, bytes]], protocol: str) -> list[tuple[bytes, bytes]]:
    """The headers with a deadline that bounds everything, a body that does not come included."""
    name = b"connect-timeout-ms" if protocol == "connect" else b"grpc-timeout"
    granted = [value for key, value in headers if key == name]
    milliseconds = [float(v) if protocol == "connect" else int(v[:-1]) * UNITS[v[-1:]] for v in granted]
    if milliseconds and max(milliseconds) <= LONGEST_CALL:
        return headers
    longest = str(LONGEST_CALL).encode()
    return [*(h for h in headers if h[0] != name), (name, longest if protocol == "connect" else longest + b"m")]


async def _send(send: Send, answer: Answer) -> None:
    status, headers, body = answer
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
