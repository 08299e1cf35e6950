"""What gRPC needs of the answers of an ASGI application: each says how the call ended, where gRPC clients read it."""

import logging
import traceback
from typing import Any
from urllib.parse import quote

from gitpod.server.edge.headers import ASGIApplication, Receive, Scope, Send, protocol_of

logger = logging.getLogger("gitpod.server")

RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 8, 12, 13, 14
"""Status codes of gRPC."""
HTTP_CODES = {
    404: (UNIMPLEMENTED, "there is no such method"),
    415: (UNIMPLEMENTED, "content-type: send application/grpc+proto, or application/grpc+json"),
    429: (UNAVAILABLE, ""),
    503: (UNAVAILABLE, ""),
}
"""The codes of answers that are not gRPC, by HTTP status. Any other status is INTERNAL."""


class NoPlaceError(Exception):
    """A call that needs no token took too long, or had to make place for another one."""


def answering_grpc(app: ASGIApplication) -> ASGIApplication:
    """Wrap an application so that a call over gRPC is always answered. Other requests are passed on."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        content_type = dict(scope["headers"]).get(b"content-type", b"")
        answer = _Answer(send) if protocol_of(content_type) == "grpc" else None
        try:
            await app(scope, receive, answer or send)
        except NoPlaceError:
            if answer:
                await answer.fail(RESOURCE_EXHAUSTED, "the call took too long, or too many others came")
        except Exception as error:
            if not answer:
                raise
            # The message of the exception is left out, as it may quote a value.
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("gRPC %s: %s\n%s", scope["path"], type(error).__name__, frames)  # noqa: TRY400 # `exception` logs the message
            await answer.fail(INTERNAL, "internal error")

    return answered


class _Answer:
    """Sends an answer, or what its HTTP status means to gRPC (ASGI's `send`)."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 0
        self._has_trailers = False
        self._is_ended = False
        self._kept: list[tuple[bytes, bytes]] = []

    async def __call__(self, message: Any) -> None:  # noqa: ANN401 # any message of ASGI
        """Send a part of the answer."""
        is_last = not message.get("more_body", False) and not message.get("more_trailers", False)
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._kept = [header for header in message["headers"] if header[0] == b"x-request-id"]
            self._has_trailers = message.get("trailers", False)
            is_last = False
        elif message["type"] == "http.response.body" and self._has_trailers:
            is_last = False
        if self._status == 200:  # noqa: PLR2004 # the one status that gRPC has
            self._is_ended = is_last
            await self._send(message)
        elif is_last:
            await self.fail(*HTTP_CODES.get(self._status, (INTERNAL, "")))

    async def fail(self, code: int, message: str) -> None:
        """End the answer, unless it has ended."""
        if self._is_ended:
            return
        self._is_ended = True
        status = [(b"grpc-status", str(code).encode()), (b"grpc-message", quote(message, safe=" /+:,").encode())]
        if self._has_trailers and self._status == 200:  # noqa: PLR2004 # the one status that gRPC has
            await self._send({"type": "http.response.body", "body": b""})
            await self._send({"type": "http.response.trailers", "headers": status})
        else:
            headers = [(b"content-type", b"application/grpc"), *self._kept, *status]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send({"type": "http.response.body", "body": b""})
