"""Checks an answer, or turns it into a stream, before connectrpc sees it.

This module loads with the first connection: no module can be loaded while the interpreter ends.
"""

import json
from typing import Any

from connectrpc.code import Code
from pyqwest import FullResponse, Headers, Response, SyncResponse

from gitpod._transport.failures import IS_TLS, NotSentError

HTTP_OK, BAD_REQUEST = 200, 400
PLAIN_TO_TLS = (
    b"The plain HTTP request was sent to HTTPS port",
    b"Client sent an HTTP request to an HTTPS server",
    b"speaking plain HTTP to an SSL-enabled server port",
)
"""The answers of nginx, Go and Apache, in plain text, to plain HTTP on a TLS port."""

# pyqwest's native code imports modules at its first use: in a daemon thread, that may abort an ending interpreter.
iter(Headers().items())


def streamed(whole: FullResponse) -> SyncResponse:
    """Return an answer that was read to its end as a stream with trailers, for gRPC and gRPC-Web."""
    return SyncResponse(status=whole.status, headers=whole.headers, content=whole.content, trailers=whole.trailers)


def streamed_async(whole: FullResponse) -> Response:
    """`streamed` for asyncio."""
    return Response(status=whole.status, headers=whole.headers, content=whole.content, trailers=whole.trailers)


def checked(answer: FullResponse) -> FullResponse:
    """Return the answer, and remove the JSON content type if it is an error but not a Connect error.

    Gateways send such JSON. connectrpc would invent a code for it, and a gateway's 503 would look as if the service
    itself said that it did nothing.

    Raises:
        NotSentError: the port expects TLS.
    """
    if answer.status == HTTP_OK:
        return answer
    if answer.status == BAD_REQUEST and any(text in answer.content for text in PLAIN_TO_TLS):
        raise NotSentError(IS_TLS, permanent=True)
    try:
        error: Any = json.loads(answer.content)
        details: list[dict[str, object]] = error.get("details", [])
        texts = [error.get("message", ""), *(detail.get(key, "") for detail in details for key in ("type", "value"))]
        is_connect = bool(Code(error["code"])) and all(isinstance(text, str) for text in texts)
    except (AttributeError, ValueError, LookupError, TypeError, RecursionError):
        is_connect = False
    if not is_connect:
        answer.headers["content-type"] = "application/octet-stream"
    return answer
