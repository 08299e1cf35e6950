"""What becomes of an answer on its way up to the stub.

Loaded with the first connection, as an interpreter that is ending loads no module any more.
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
"""What nginx, Go and Apache answer in plain text, where they expect TLS."""

# At its first use pyqwest imports modules from native code, which a daemon thread must not be in at the end.
iter(Headers().items())


def streamed(whole: FullResponse) -> SyncResponse:
    """An answer that was read to its end, as a stream with its trailers, for gRPC and gRPC-Web."""
    return SyncResponse(status=whole.status, headers=whole.headers, content=whole.content, trailers=whole.trailers)


def streamed_async(whole: FullResponse) -> Response:
    """`streamed` for asyncio."""
    return Response(status=whole.status, headers=whole.headers, content=whole.content, trailers=whole.trailers)


def checked(answer: FullResponse) -> FullResponse:
    """The answer. JSON of an error that is no Connect error, as gateways write it, loses its content type.

    connectrpc makes up a code for it, and a gateway's 503 would pass for the word of the service that it did nothing.
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
