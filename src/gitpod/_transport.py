"""The connections of a client: the only module that knows pyqwest.

A transport opens what it needs at the first request: HTTP connections, or the embedded service for a
`sqlite:` base URL.
"""

import json
import os
import threading
from functools import cache

from gitpod.errors import UNKNOWN, APIConnectionError, APIResponseValidationError, GitpodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any

    from pyqwest import Headers, HTTPTransport, Request, Response, SyncHTTPTransport, SyncRequest, SyncResponse

    from gitpod.server.app import Embedded

HTTP_OK = 200
CLOSED = "the client is closed"
CONNECT_TIMEOUT = 5.0
"""Seconds until a connection that is not established is given up."""

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""The largest answer to read, decompressed. A page of 100 secrets is some 50 KiB."""

_http_pid: int | None = None
"""The process that first opened an HTTP transport. pyqwest's threads do not survive a fork, and every
later call in the child would hang for ever, even on a transport of its own."""


class _Transport:
    """The connections that a client and its copies share."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.embedded = base_url.startswith("sqlite:")
        if self.embedded:
            _require_server()
        # Requests to the embedded service go to a name of its own.
        self.address = "http://embedded" if self.embedded else base_url
        self._lock, self._lock_pid = threading.Lock(), os.getpid()
        self._pid: int | None = None
        self._closed = False
        self._http: Any = None
        self._service: Embedded | None = None
        self._from_before_fork: list[object] = []

    def _open(self) -> "Any":  # noqa: ANN401 # one of four classes of pyqwest
        """The transport for this process, opened at the first request."""
        with self._own_lock():
            if self._closed:
                raise GitpodError(CLOSED)
            if self._pid != os.getpid():
                self._check_fork()
                self._http = self._connect()
                self._pid = os.getpid()
            return self._http

    def _own_lock(self) -> threading.Lock:
        if self._lock_pid != os.getpid():
            # Another thread of the parent may have held the lock as it forked.
            self._lock, self._lock_pid = threading.Lock(), os.getpid()
        return self._lock

    def _connect(self) -> object:
        """Make the transport."""
        raise NotImplementedError

    def _check_fork(self) -> None:
        if not self.embedded and _http_pid not in (None, os.getpid()):
            raise APIConnectionError(
                "this process was forked after its parent had made a call, and the HTTP stack does not survive that; "
                "make the first call after the fork, or start processes with the spawn method",
                code="unavailable",
                outcome="not_sent",
            )
        if self._service is not None:
            if self._service.in_memory:
                raise APIConnectionError(
                    "this process was forked, and a store in memory stays with the parent; keep it in a file",
                    code="unavailable",
                    outcome="not_sent",
                )
            # The parent's threads are gone and its SQLite connections must not be used, nor closed, here.
            self._service.abandon()
            self._from_before_fork += [self._http, self._service]
            self._service = None

    def _take(self) -> "Any":  # noqa: ANN401 # as above
        """Mark the client closed, and take what is left to close."""
        with self._own_lock():
            self._closed = True
            http, self._http = self._http, None
            return None if self.embedded or self._pid != os.getpid() else http

    def _close_service(self) -> None:
        if self._service is not None and self._pid == os.getpid():
            self._service.close()

    def _embed(self) -> "Embedded":
        from gitpod.server.app import Embedded
        from gitpod.server.errors import ServiceError, StoreBusyError

        try:
            self._service = Embedded(self.base_url)
        except ServiceError as error:
            raise GitpodError(f"base_url: {error}") from None
        except StoreBusyError:
            raise APIConnectionError(
                "unavailable: another process keeps the store locked", code="unavailable", outcome="not_sent"
            ) from None
        return self._service

    def _http_options(self) -> "dict[str, Any]":
        global _http_pid  # noqa: PLW0603 # a fact of the process, not of one client
        from pyqwest import Proxy

        _http_pid = _http_pid or os.getpid()
        options: dict[str, Any] = {
            "tls_include_system_certs": True,
            "connect_timeout": CONNECT_TIMEOUT,
            # A 307 would post the secret to wherever the answer points.
            "follow_redirects": False,
            # Both decompress a whole body at once, beyond any bound.
            "enable_brotli": False,
            "enable_zstd": False,
            "enable_otel": False,
        }
        if self.base_url.startswith("http:"):
            # HTTP_PROXY would be handed the token and the value in clear. Any explicit proxy makes pyqwest
            # ignore the environment's; this one is for https requests, of which there are none.
            options["proxy"] = Proxy("http://127.0.0.1:9", scheme="https")
        return options


class SyncTransport(_Transport):
    """The connections of `Gitpod` (pyqwest.SyncTransport)."""

    def execute_sync(self, request: "SyncRequest") -> "SyncResponse":
        """Send a request."""
        from pyqwest import SyncResponse

        try:
            response: SyncResponse = self._open().execute_sync(request)
        except RuntimeError:
            # The embedded service's executor was shut down between the two.
            if self._closed:
                raise GitpodError(CLOSED) from None
            raise
        body = _bounded(response)
        content = body if response.status == HTTP_OK else _error_body(response.headers, b"".join(body))
        return SyncResponse(
            status=response.status, headers=response.headers, content=content, trailers=response.trailers
        )

    def close(self) -> None:
        """Close every connection, and the embedded service. Safe to repeat."""
        http: SyncHTTPTransport | None = self._take()
        if http is not None:
            http.close()
        self._close_service()

    def _connect(self) -> object:
        from pyqwest import SyncHTTPTransport
        from pyqwest.testing import WSGITransport

        if self.embedded:
            service = self._embed()
            return WSGITransport(service.wsgi, executor=service.executor)
        return SyncHTTPTransport(**self._http_options())


class AsyncTransport(_Transport):
    """The connections of `AsyncGitpod` (pyqwest.Transport)."""

    async def execute(self, request: "Request") -> "Response":
        """Send a request."""
        from asyncio import to_thread

        from pyqwest import Response

        # Opening a store waits for the disk.
        http = await to_thread(self._open) if self.embedded and self._http is None else self._open()
        response: Response = await http.execute(request)
        body = _abounded(response)
        ok = response.status == HTTP_OK
        content = body if ok else _error_body(response.headers, b"".join([chunk async for chunk in body]))
        return Response(status=response.status, headers=response.headers, content=content, trailers=response.trailers)

    async def aclose(self) -> None:
        """Close every connection, and the embedded service. Safe to repeat."""
        from asyncio import to_thread

        # An opening that is under way holds the lock for as long as the disk takes.
        http: HTTPTransport | None = await to_thread(self._take)
        if http is not None:
            await http.aclose()
        # Waits for the calls under way, which a cancelled task may have left behind.
        await to_thread(self._close_service)

    def _connect(self) -> object:
        from pyqwest import HTTPTransport
        from pyqwest.testing import ASGITransport

        if self.embedded:
            return ASGITransport(self._embed().asgi)
        _settle_at_exit()
        return HTTPTransport(**self._http_options())


def was_unsent(cause: BaseException | None) -> bool:
    """Whether a failed request's cause proves that the service never saw it.

    By exact type: pyqwest raises the builtin itself when it cannot connect, and the in-process
    transports raise subclasses of it for errors of the application.
    """
    from pyqwest import ConnectTimeout, StreamError, StreamErrorCode

    if type(cause) is StreamError:
        return cause.code is StreamErrorCode.REFUSED_STREAM
    return type(cause) in (ConnectionError, ConnectTimeout)


def _error_body(headers: "Headers", body: bytes) -> bytes:
    """The body of an error. JSON that is no Connect error, as gateways write it, loses its content type.

    connectrpc makes up a code for it, and a gateway's 503 would pass for the word of the service that it
    did nothing.
    """
    from connectrpc.code import Code

    try:
        error: Any = json.loads(body)
        details: list[dict[str, object]] = error.get("details", [])
        texts = [error.get("message", ""), *(detail.get(key, "") for detail in details for key in ("type", "value"))]
        is_connect = bool(Code(error["code"])) and all(isinstance(text, str) for text in texts)
    except (AttributeError, ValueError, LookupError, TypeError, RecursionError):
        is_connect = False
    if not is_connect:
        headers["content-type"] = "application/octet-stream"
    return body


def _bounded(response: "SyncResponse") -> "Iterator[bytes]":
    """The body, chunk by chunk; pyqwest itself would read and decompress any amount."""
    size = 0
    with response:
        try:
            for chunk in response.content:
                size = _within(size + len(chunk))
                yield bytes(chunk)
        except Exception as error:  # noqa: BLE001 # raised again
            raise _broken(error) from None


async def _abounded(response: "Response") -> "AsyncIterator[bytes]":
    size = 0
    async with response:
        try:
            async for chunk in response.content:
                size = _within(size + len(chunk))
                yield bytes(chunk)
        except Exception as error:  # noqa: BLE001 # raised again
            raise _broken(error) from None


def _broken(error: Exception) -> Exception:
    """The error of an answer that broke off. Whatever it says, the request had been read."""
    from pyqwest import ReadError

    return error if isinstance(error, TimeoutError | GitpodError) else ReadError(str(error))


def _within(size: int) -> int:
    if size > MAX_RESPONSE_BYTES:
        raise APIResponseValidationError(f"the answer is larger than {MAX_RESPONSE_BYTES} bytes{UNKNOWN}")
    return size


def _require_server() -> None:
    from importlib.util import find_spec  # only for an embedded service

    if find_spec("sqlalchemy") is None or find_spec("cryptography") is None:
        raise GitpodError("base_url: sqlite: is the embedded service; pip install 'gitpod-connect[server]'")


@cache
def _settle_at_exit() -> None:
    """Give pyqwest's threads a moment before the interpreter is finalized.

    One that wakes an event loop after that aborts the process: 5 of 60 short programs did, none with this.
    """
    import atexit
    import time

    atexit.register(time.sleep, 0.005)
