"""Tells a caller who sends what is no call (status 404, 405 or 415) what the service takes.

The RPC runtime answers these with an empty body.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from protobuf import DescService

from gitpod.server.edge.headers import ASGIApplication, Receive, Scope, Send, protocol_of

CODES: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "unimplemented",
    HTTPStatus.METHOD_NOT_ALLOWED: "unknown",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unknown",
}
"""The code of each status, which is the one that a client makes of the status alone (connectrpc.com, Protocol)."""


def directed(app: ASGIApplication, service: DescService) -> ASGIApplication:
    """Wrap the application of a service, so that its empty answers get a body.

    The body is an error of Connect, or plain text for callers of gRPC-Web, who read no JSON. Nothing of the request is
    repeated in it.
    """
    methods = ",".join(method.name for method in service.methods)
    paths = f"there is no such path; is the base URL right? the calls are POST /{service.type_name}/{{{methods}}}"

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""

        async def directing(message: Any) -> None:  # noqa: ANN401 # any message of ASGI
            nonlocal body
            if message["type"] == "http.response.start":
                status = message["status"]
                sent = {name.lower(): value for name, value in message["headers"]} if status in CODES else {}
                # An error of the service itself has a content type, as `not_found`, whose status is 404 too.
                if status in CODES and b"content-type" not in sent:
                    text = paths if status == HTTPStatus.NOT_FOUND else _rule(status, scope["method"], sent)
                    content_type = dict(scope["headers"]).get(b"content-type", b"")
                    kind, body = _written(status, text, protocol_of(content_type))
                    added = [(b"content-type", kind), (b"cache-control", b"no-store")]
                    message = {**message, "headers": [*message["headers"], *added]}
            elif body and message["type"] == "http.response.body":
                message, body = {**message, "body": message.get("body", b"") + body}, b""
            await send(message)

        await app(scope, receive, directing)

    return answered


def _rule(status: int, method: str, headers: Mapping[bytes, bytes]) -> str:
    """Return what was wrong with the method, or with the type of the body."""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"the HTTP method must be {headers[b'allow'].decode().replace(', ', ' or ')}"
    if method == "GET":
        return "encoding, in the query, must be json or proto; for GET, the query also has message=..."
    return (
        "content-type must be application/json or application/proto for Connect, "
        "or application/grpc-web+json or application/grpc-web+proto for gRPC-Web"
    )


def _written(status: int, text: str, protocol: str) -> tuple[bytes, bytes]:
    """Return the content type of an answer, and its body."""
    if protocol == "connect":
        return b"application/json", json.dumps({"code": CODES[status], "message": text}).encode()
    return b"text/plain; charset=utf-8", f"{text}\n".encode()
