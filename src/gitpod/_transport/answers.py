"""Checks an answer, or turns it into a stream, before connectrpc sees it.

This module loads with the first connection: no module can be loaded while the interpreter ends.
"""

import json
from base64 import b64decode
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias

from connectrpc.code import Code
from pyqwest import FullResponse, Headers, Response, SyncResponse

from gitpod._endpoint import is_installed
from gitpod._transport.body import unzstd
from gitpod._transport.failures import IS_TLS, NotSentError

RequestHeaders: TypeAlias = Headers | dict[str, str]
"""The headers of a request: connectrpc's for gRPC and gRPC-Web, a dict with names in lower case for Connect."""

HTTP_OK, BAD_REQUEST = 200, 400
JSON, OTHER = "application/json", "application/octet-stream"
NO_CODE = "application/json; code=none"
"""The content type that `checked` gives to an error without a code of Connect. It is not the service's word."""

PLAIN_TO_TLS = (
    b"The plain HTTP request was sent to HTTPS port",
    b"Client sent an HTTP request to an HTTPS server",
    b"speaking plain HTTP to an SSL-enabled server port",
)
"""The answers of nginx, Go and Apache, in plain text, to plain HTTP on a TLS port."""


class Head(Protocol):
    """Takes the status and the headers of an answer."""

    def take(self, status: int, headers: Headers) -> None:
        """Keep them. The body may hold a secret's value, so it is not kept."""
        ...


ASKED: ContextVar[Head | None] = ContextVar("gitpod_asked", default=None)
"""What takes the head of the answer to the attempt under way; None if nothing asks for it."""

# pyqwest's native code imports modules at its first use: in a daemon thread, that may abort an ending interpreter.
iter(Headers().items())


def streamed(whole: FullResponse) -> SyncResponse:
    """Return an answer that was read to its end as a stream with trailers, for gRPC and gRPC-Web."""
    return SyncResponse(status=whole.status, headers=whole.headers, content=whole.content, trailers=whole.trailers)


def streamed_async(whole: FullResponse) -> Response:
    """`streamed` for asyncio."""
    return Response(status=whole.status, headers=whole.headers, content=whole.content, trailers=whole.trailers)


def checked(answer: FullResponse) -> FullResponse:
    """Return the answer as connectrpc may read it: without zstd, and an error with the members that it must have.

    Gateways send JSON errors of their own. connectrpc would invent a code for them, and a gateway's 503 would look as
    if the service itself said that it did nothing.

    Raises:
        NotSentError: the port expects TLS.
        ValueError: the compressed answer is broken.
        APIResponseValidationError: the answer is too large.
    """
    content = answer.content
    # Gzip is undone before. Many services compress an answer like its request, whatever the client accepts.
    if answer.headers.get("content-encoding", "") == "zstd" and is_installed("zstandard"):
        content = unzstd(content)
        del answer.headers["content-encoding"]
    if answer.status != HTTP_OK:
        if answer.status == BAD_REQUEST and any(text in content for text in PLAIN_TO_TLS):
            raise NotSentError(IS_TLS, permanent=True)
        content_type, content = _error(answer.headers.get("content-type", ""), content)
        answer.headers["content-type"] = content_type
    if (asked := ASKED.get()) is not None:
        asked.take(answer.status, answer.headers)
    return (
        answer if content is answer.content else FullResponse(answer.status, answer.headers, content, answer.trailers)
    )


def _error(content_type: str, content: bytes) -> tuple[str, bytes]:
    """Return the content type and the body of an error, so that connectrpc can read both."""
    if content_type.partition(";")[0].strip().lower() != JSON:
        return content_type, b""
    try:
        given: Any = json.loads(content)
        message: Any = given.get("message") or ""
        details: list[Any] = given.get("details") or []
        if not (isinstance(message, str) and isinstance(details, list)):
            return OTHER, b""
        error: dict[str, Any] = {"message": message, "details": [detail for detail in details if _is_detail(detail)]}
    except (AttributeError, ValueError, TypeError, RecursionError):
        return OTHER, b""
    try:
        error["code"] = Code(given["code"]).value
    except (ValueError, LookupError):
        # Without one, connectrpc takes it from the status.
        content_type = NO_CODE
    return content_type, json.dumps(error).encode()


def _is_detail(given: Any) -> bool:  # noqa: ANN401 # JSON
    """Whether connectrpc can read a detail: it has a type, and a value in base64 with or without padding."""
    try:
        b64decode(given.get("value") + "===")
    except (ValueError, TypeError):
        return False
    return isinstance(given.get("type"), str)
