"""Which web pages may call, and what they may send and read (the Fetch standard's CORS)."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware

from gitpod.server.edge.headers import ASGIApplication
from gitpod.server.errors import ServiceError

REQUEST_HEADERS = [
    "authorization",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-type",
    "grpc-timeout",
    "x-grpc-web",
    "x-user-agent",
    # Of tracing.
    "traceparent",
    "tracestate",
    "x-request-id",
]
"""The request headers that pages may send (connectrpc.com, CORS)."""
ANSWER_HEADERS = ["grpc-message", "grpc-status", "grpc-status-details-bin", "x-request-id"]
"""The headers of an answer that pages may read, beside `content-type` and `content-length`, which every page may."""
PREFLIGHT_SECONDS = 7200
"""How long a browser remembers what it may send. Chromium remembers nothing for longer."""
NAME = re.compile(r"[!#$%&'+.^_`|~0-9A-Za-z-]+")
"""The name of a header (RFC 9110 section 5.1), without the asterisk, which would allow every header."""


def check(origins: Sequence[str], headers: Sequence[str]) -> None:
    """Check what `with_cors` takes. Raises ServiceError if an origin or a name is not one, or no page may send them."""
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("https", "http") or not parts.hostname or origin != f"{parts.scheme}://{parts.netloc}":
            raise ServiceError("an origin must be as browsers send it: https://host[:port] and no path; not *")
    if not all(map(NAME.fullmatch, headers)):
        raise ServiceError("--allow-header: must be the name of a header, without a colon or a value; not *")
    if headers and not origins:
        raise ServiceError("--allow-header is for web pages, and no --allow-origin names any")


def with_cors(app: ASGIApplication, origins: Sequence[str], headers: Sequence[str]) -> ASGIApplication:
    """Wrap an application, so that pages of the origins may call it.

    Args:
        app: the application.
        origins: web origins, as browsers send them. Without one, no page may call.
        headers: names of request headers that pages may send, besides `REQUEST_HEADERS`.
    """
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=[*REQUEST_HEADERS, *headers],
        expose_headers=ANSWER_HEADERS,
        max_age=PREFLIGHT_SECONDS,
    )
