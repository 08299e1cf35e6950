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

ENDED = "gitpod.request_ended"
"""The extension in a scope of a request whose end has come already."""
LONGEST_CALL = 30_000
"""Milliseconds that a call may take, including the time to read its body. A client may allow less."""

ACCEPTED_ENCODINGS = ("accept-encoding", "connect-accept-encoding", "grpc-accept-encoding")
"""The headers that ask for compressed answers. They are dropped, because the length of a compressed answer tells
something about the secret in it (CRIME, BREACH). Requests may be compressed."""

ONCE = frozenset(
    {
        b"authorization",
        b"connect-timeout-ms",
        b"content-encoding",
        b"content-type",
        b"grpc-encoding",
        b"grpc-timeout",
    }
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
HTTP_1_ONLY = "over HTTP/1.1 this service speaks Connect and gRPC-Web; gRPC needs HTTP/2"
"""The answer to gRPC over HTTP/1.1, and to another version of HTTP."""
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
        return 415, [(b"content-type", b"text/plain; charset=utf-8")], f"{HTTP_1_ONLY}\n".encode()
    broken = _broken_rule(scope)
    return None if broken is None else _invalid(broken, protocol)


def _broken_rule(scope: Scope) -> str | None:
    """Return the first rule that a path or headers break, in words."""
    # A proxy may have compared the path as it was sent with its rules. No path of this service needs an escape.
    if b"%" in raw_path(scope):
        return "the path is percent-encoded"
    if scope["http_version"] not in HTTP_VERSIONS:
        return HTTP_1_ONLY
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if not b"".join([part for header in headers for part in header]).isascii():
        return "a header is not ASCII"
    names = [name for name, _ in headers]
    # A proxy in front may read another request than the service does (RFC 9112 section 11.2).
    if any(map(ONCE.__contains__, _repeated(names))) or (b"transfer-encoding" in names and b"content-length" in names):
        return "a header contradicts another one"
    if scope["query_string"] and not _is_unambiguous(scope["query_string"]):
        return "a parameter of the query occurs twice, or is not base64"
    ruled = ((name, value, *VALID[name]) for name, value in headers if name in VALID)
    return next(
        (f"{name.decode()}: must be {rule}" for name, value, it, rule in ruled if not it.fullmatch(value)), None
    )


def _repeated(names: list[bytes]) -> list[bytes]:
    left = {*names}
    return [] if len(left) == len(names) else [name for name in left if names.count(name) > 1]


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
        return 200, [(b"content-type", b"application/" + protocol.encode()), *status, CLOSE], b""
    body = json.dumps({"code": Code.INVALID_ARGUMENT.value, "message": message}).encode()
    return 400, [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), CLOSE], body


def with_deadline(headers: list[tuple[bytes, bytes]], protocol: str) -> list[tuple[bytes, bytes]]:
    """Return the headers with a deadline of at most `LONGEST_CALL`, which also bounds a body that does not come."""
    name = b"connect-timeout-ms" if protocol == "connect" else b"grpc-timeout"
    longest = (name, b"%d" % LONGEST_CALL if protocol == "connect" else b"%dm" % LONGEST_CALL)
    granted = [value for key, value in headers if key == name]
    if not granted:
        return [*headers, longest]
    milliseconds = [float(v) if protocol == "connect" else int(v[:-1]) * UNITS[v[-1:]] for v in granted]
    return headers if max(milliseconds) <= LONGEST_CALL else [*(h for h in headers if h[0] != name), longest]
