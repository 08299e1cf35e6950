"""HTTP connections: pyqwest's by default, or what the caller has; and what their errors prove.

`_httpx.py` and `_forked.py` make the other two kinds look like pyqwest's transports.
"""

import sys
from contextlib import AsyncExitStack, ExitStack
from functools import cache

from gitpod._transport.fork import lost_pyqwest, pyqwest_threads
from gitpod.errors import APIConnectionError, GitpodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any

    from pyqwest import Client, Request, Response, SyncClient, SyncRequest, SyncResponse
    from pyqwest.testing import ASGITransport

    from gitpod._options import Endpoint
    from gitpod.errors import Outcome

CONNECT_TIMEOUT = 5.0
"""Seconds until a connection that is not established is given up."""

ENOUGH_CALM, LONGEST_SETTLING = 3, 0.1
"""Looks at pyqwest's threads at exit that must find all at rest, and the seconds that this may take."""


def connect(endpoint: "Endpoint", *, is_async: bool) -> "Any":  # noqa: ANN401 # a pyqwest transport of either kind
    """Connections of this process's own to a service on the network."""
    if lost_pyqwest():
        if endpoint.http2:
            raise not_in_a_fork("HTTP/2 (http2=True, and gRPC)")
        from gitpod._transport.forked import ForkedTransport

        return ForkedTransport(endpoint)
    from pyqwest import HTTPTransport, HTTPVersion, Proxy, SyncHTTPTransport

    options: dict[str, Any] = {
        # Loading them takes 5 ms.
        "tls_include_system_certs": endpoint.ca_cert is None and endpoint.base_url.startswith("https:"),
        "connect_timeout": CONNECT_TIMEOUT,
        # A 307 would post the secret to wherever the answer points.
        "follow_redirects": False,
        # Both decompress a whole body at once, beyond any bound.
        "enable_brotli": False,
        "enable_zstd": False,
        "enable_otel": False,
    }
    if endpoint.ca_cert is not None:
        options["tls_ca_cert"] = endpoint.ca_cert
    if endpoint.client_cert is not None:
        options["tls_cert"], options["tls_key"] = endpoint.client_cert
    if endpoint.http2:
        options["http_version"] = HTTPVersion.HTTP2
    if endpoint.base_url.startswith("http:"):
        # HTTP_PROXY would be handed the token and the value in clear. Any explicit proxy makes pyqwest
        # ignore the environment's; this one is for https requests, of which there are none.
        options["proxy"] = Proxy("http://127.0.0.1:9", scheme="https")
    return HTTPTransport(**options) if is_async else SyncHTTPTransport(**options)


def adapt(http_client: "Any", *, is_async: bool) -> object:  # noqa: ANN401 # whatever the caller gave
    """What the caller gave as `http_client`, as a pyqwest transport."""
    pyqwest: Any = sys.modules.get("pyqwest")
    if is_httpx(http_client, is_async=is_async):
        from gitpod._transport import given

        return (given.AsyncHTTPXTransport if is_async else given.HTTPXTransport)(http_client)
    if pyqwest and isinstance(http_client, pyqwest.Client if is_async else pyqwest.SyncClient):
        return (_AsyncClientTransport if is_async else _ClientTransport)(http_client)
    if is_app(http_client, is_async=is_async):
        from pyqwest.testing import ASGITransport, WSGITransport

        return _AppTransport(ASGITransport(http_client)) if is_async else WSGITransport(http_client)
    is_client = pyqwest and isinstance(http_client, pyqwest.Client | pyqwest.SyncClient)
    is_transport = hasattr(http_client, "execute" if is_async else "execute_sync")
    if is_transport and not is_client and not isinstance(http_client, type):
        return http_client
    raise GitpodError(
        "http_client: must be an httpx.AsyncClient (pip install 'gitpod-connect[httpx]'), a pyqwest.Client or "
        "transport, or an ASGI application"
        if is_async
        else "http_client: must be an httpx.Client (pip install 'gitpod-connect[httpx]'), a pyqwest.SyncClient or "
        "sync transport, or a WSGI application"
    )


def is_app(http_client: "Any", *, is_async: bool) -> bool:  # noqa: ANN401 # whatever the caller gave
    """Whether this is an ASGI application, or a WSGI application."""
    from inspect import iscoroutinefunction  # only for an http_client

    if not callable(http_client) or isinstance(http_client, type):
        return False
    called = getattr(http_client, "__call__", None)  # noqa: B004 # which may be a coroutine function
    return (iscoroutinefunction(http_client) or iscoroutinefunction(called)) == is_async


def is_httpx(http_client: object, *, is_async: bool) -> bool:
    """Whether this is a client of httpx, which whoever has one has loaded."""
    httpx: Any = sys.modules.get("httpx")
    return bool(httpx) and isinstance(http_client, httpx.AsyncClient if is_async else httpx.Client)


def leaves_gzip(http: object) -> bool:
    """Whether a transport is of `_httpx.py` or `_forked.py`, and gives answers as they come."""
    return getattr(http, "leaves_gzip", False)


def seconds_left(request: "Request | SyncRequest") -> float:
    """The seconds that a request's own deadline leaves it, for HTTP clients that take a timeout."""
    if milliseconds := request.headers.get("connect-timeout-ms", ""):
        return int(milliseconds) / 1000
    text = request.headers.get("grpc-timeout", f"{CONNECT_TIMEOUT:.0f}S")
    return int(text[:-1]) / (1000 if text.endswith("m") else 1)


def not_in_a_fork(what: str, outcome: "Outcome" = "not_sent") -> APIConnectionError:
    """The error for what a forked process cannot use."""
    return APIConnectionError(
        f"this process was forked, and {what} does not survive that; make the client after the fork, or start "
        "processes with the spawn method",
        code="unavailable",
        outcome=outcome,
    )


class _ClientTransport:
    """A `pyqwest.SyncClient` as a transport."""

    def __init__(self, client: "SyncClient") -> None:
        self._client = client

    def execute_sync(self, request: "SyncRequest") -> "SyncResponse":
        from pyqwest import SyncResponse

        stack = ExitStack()
        stream = self._client.stream(request.method, request.url, request.headers, request.content)
        response = stack.enter_context(stream)

        def content() -> "Iterator[Any]":
            with stack:
                yield from response.content

        return SyncResponse(
            status=response.status, headers=response.headers, content=content(), trailers=response.trailers
        )


class _AppTransport:
    """An ASGI application, whose own errors prove nothing."""

    def __init__(self, transport: "ASGITransport") -> None:
        self._transport = transport

    async def execute(self, request: "Request") -> "Response":
        from pyqwest import ReadError

        try:
            return await self._transport.execute(request)
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 # whatever an application raises
            raise ReadError(f"the application raised {type(error).__name__}") from None


class _AsyncClientTransport:
    """A `pyqwest.Client` as a transport."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    async def execute(self, request: "Request") -> "Response":
        from pyqwest import Response

        stack = AsyncExitStack()
        stream = self._client.stream(request.method, request.url, request.headers, request.content)
        response = await stack.enter_async_context(stream)

        async def content() -> "AsyncIterator[Any]":
            async with stack:
                async for chunk in response.content:
                    yield chunk

        return Response(status=response.status, headers=response.headers, content=content(), trailers=response.trailers)


def was_unsent(cause: BaseException | None) -> bool:
    """Whether a failed request's cause proves that the service never saw it.

    By exact type: pyqwest raises the builtin itself when it cannot connect, and the in-process
    transports raise subclasses of it for errors of the application.
    """
    from pyqwest import ConnectTimeout, StreamError, StreamErrorCode

    if type(cause) is StreamError:
        return cause.code is StreamErrorCode.REFUSED_STREAM
    return type(cause) in (ConnectionError, ConnectTimeout)


def is_permanent(cause: BaseException | None) -> bool:
    """Whether another connection will fail for the same reason: a certificate that is not trusted."""
    # What comes before is the URL, which may have the word in it.
    return type(cause) is ConnectionError and "certificate" in str(cause).rpartition("client error")[2].lower()


def is_connection_error(cause: BaseException | None) -> bool:
    """Whether a failed request's cause is the connection, whatever came of it before."""
    from pyqwest import ReadError, RemoteProtocolError, WriteError

    return isinstance(cause, ReadError | WriteError | RemoteProtocolError | OSError)


@cache
def settle_at_exit() -> None:
    """Wait for pyqwest's threads before the interpreter is finalized.

    One that wakes an event loop after that aborts the process: 1 to 5 of 60 short programs did, and with a fixed
    5 ms still 1 of 150 on a busy machine.
    """
    import atexit

    atexit.register(_settle)


def _settle() -> None:
    from time import monotonic, sleep

    # Without /proc a fixed time has to do.
    tasks = pyqwest_threads() or []
    calm, deadline = 0, monotonic() + LONGEST_SETTLING
    while calm < ENOUGH_CALM and monotonic() < deadline:
        # Those that wait for the interpreter's lock get it meanwhile.
        sleep(0.002)
        try:
            # One that would run, if the machine let it, is not done.
            running = any((task / "stat").read_text().rpartition(") ")[2].startswith("R") for task in tasks)
        except OSError:
            # One that has just ended.
            running = True
        calm = 0 if running else calm + 1
