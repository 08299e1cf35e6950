"""Checks the path and the headers of a request before the RPC runtime reads them, and bounds its deadline."""

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from connectrpc.code import Code

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
Response = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""

LONGEST_CALL = 30_000
"""Milliseconds that a call may take, including the time to read its body. A client may allow less."""

ACCEPTED_ENCODINGS = ("accept-encoding", "connect-accept-encoding", "grpc-accept-encoding")
"""The headers that ask for compressed answers. They are dropped, because the length of a compressed answer tells
something about the secret in it (CRIME, BREACH). Requests may be compressed."""

ONCE = (
    b"authorization",
    b"connect-timeout-ms",
    b"content-encoding",
    b"content-type",
    b"grpc-encoding",
    b"grpc-timeout",
)
"""Headers that may occur once: of two, a proxy may read the first and the service the last."""
VALID = {
    b"connect-timeout-ms": (re.compile(rb"[0-9]{1,10}"), "a whole number of at most 10 digits"),
    b"grpc-timeout": (re.compile(rb"[0-9]{1,8}[HMSmun]"), "at most 8 digits and a unit, one of HMSmun"),
    b"connect-protocol-version": (re.compile(rb"1"), "1"),
}
"""Rules of headers that the runtime would quote in its error."""
HTTP_VERSIONS = ("1.0", "1.1", "2", "3")
CLOSE = (b"connection", b"close")
"""Ends a connection on which client and service may disagree where the next request begins."""
NEEDS_HTTP_2 = "this connection speaks HTTP/1.1, for Connect and gRPC-Web; gRPC needs HTTP/2, as at --grpc-port"
"""The answer to gRPC. A client that begins with HTTP/2 says that the port speaks HTTP/1.1, and shows no text. It would
show that of a GOAWAY, but grpcio opens one connection after the other when it gets one."""
UNITS = {b"H": 3_600_000.0, b"M": 60_000.0, b"S": 1000.0, b"m": 1.0, b"u": 1e-3, b"n": 1e-6}
"""Milliseconds in each unit of grpc-timeout (gRPC over HTTP/2, Requests)."""


def protocol_of(content_type: bytes) -> str:
    """Return the protocol of a request: `connect`, `grpc` or `grpc-web`."""
    if content_type.startswith(b"application/grpc-web"):
        return "grpc-web"
    return "grpc" if content_type.startswith(b"application/grpc") else "connect"


def raw_path(scope: Scope) -> bytes:
    """Return the path as it was sent. `path` of a scope is decoded, so `/%68ealthz` would be `/healthz` there."""
    sent: bytes | None = scope.get("raw_path")
    return sent if sent is not None else str(scope["path"]).encode()


def refusal(scope: Scope, protocol: str) -> Response | None:
    """Return the answer to a path or headers that are refused here, or None if the runtime may read them."""
    # gRPC needs trailers, which uvicorn does not send. gRPC-Web needs none.
    if protocol == "grpc" and "http.response.trailers" not in (scope.get("extensions") or {}):
        return 415, [(b"content-type", b"text/plain; charset=utf-8")], f"{NEEDS_HTTP_2}\n".encode()
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    names = [name for name, _ in headers]
    rules = {
        # A proxy may have compared the path as it was sent with its rules. No path of this service needs an escape.
        "the path is percent-encoded": b"%" not in raw_path(scope),
        NEEDS_HTTP_2: scope["http_version"] in HTTP_VERSIONS,
        "a header is not ASCII": all(name.isascii() and value.isascii() for name, value in headers),
        # A proxy in front may read another request than the service does (RFC 9112 section 11.2).
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
    """Check that every reader reads the query alike. Python's base64 ignores characters that it does not know."""
    given = parse_qs(query.decode("ascii", "replace"), keep_blank_values=True)
    message = given.get("message", [""])[0]
    is_base64 = re.fullmatch(r"[\w-]*={0,2}", message, re.ASCII) is not None
    return all(len(values) == 1 for values in given.values()) and (is_base64 or given.get("base64") != ["1"])


def _invalid(message: str, protocol: str) -> Response:
    """Return INVALID_ARGUMENT in the form of the protocol."""
    if protocol != "connect":
        status = [(b"grpc-status", b"3"), (b"grpc-message", message.encode())]
        return 200, [(b"content-type", b"application/grpc-web+proto"), *status, CLOSE], b""
    body = json.dumps({"code": Code.INVALID_ARGUMENT.value, "message": message}).encode()
    return 400, [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), CLOSE], body


def with_deadline(headers: list[tuple[bytes, bytes]], protocol: str) -> list[tuple[bytes, bytes]]:
    """Return the headers with a deadline of at most `LONGEST_CALL`, which also bounds a body that does not come."""
    name = b"connect-timeout-ms" if protocol == "connect" else b"grpc-timeout"
    granted = [value for key, value in headers if key == name]
    milliseconds = [float(v) if protocol == "connect" else int(v[:-1]) * UNITS[v[-1:]] for v in granted]
    if milliseconds and max(milliseconds) <= LONGEST_CALL:
        return headers
    longest = str(LONGEST_CALL).encode()
    return [*(h for h in headers if h[0] != name), (name, longest if protocol == "connect" else longest + b"m")]
