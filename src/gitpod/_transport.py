"""The connections of a client: the only module that knows pyqwest.

`Pool` is both of pyqwest's transport protocols. It opens what it needs at the first request: HTTP
connections, or the embedded service for a `sqlite:` base URL.
"""

import json
import os
import threading

from gitpod.errors import APIConnectionError, APIResponseValidationError, GitpodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any

    from pyqwest import Headers, HTTPTransport, Request, Response, SyncHTTPTransport, SyncRequest, SyncResponse
    from pyqwest.testing import ASGITransport, WSGITransport

    from gitpod.server.app import Embedded

HTTP_OK = 200
CONNECT_TIMEOUT = 5.0
"""Seconds until a connection that is not established is given up."""

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""The largest answer to read, decompressed. A page of 100 secrets is some 50 KiB."""

_http_pid: int | None = None
"""The process that first opened an HTTP transport. pyqwest's threads do not survive a fork, and every
later call in the child would hang for ever, even on a transport of its own."""


class Pool:
    """The connections that a client and its copies share."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.embedded = base_url.startswith("sqlite:")
        if self.embedded:
            _require_server()
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._closed = False
        self._sync: SyncHTTPTransport | WSGITransport | None = None
        self._async: HTTPTransport | ASGITransport | None = None
        self._service: Embedded | None = None
        self._kept: list[object] = []

    @property
    def address(self) -> str:
        """Where requests go; the embedded service answers to a name of its own."""
        return "http://embedded" if self.embedded else self.base_url

    def execute_sync(self, request: "SyncRequest") -> "SyncResponse":
        """Send a request (pyqwest.SyncTransport)."""
        from pyqwest import SyncResponse

        response = self._open_sync().execute_sync(request)
        body = _bounded(response)
        content = body if response.status == HTTP_OK else _error_body(response.headers, b"".join(body))
        return SyncResponse(
            status=response.status, headers=response.headers, content=content, trailers=response.trailers
        )

    async def execute(self, request: "Request") -> "Response":
        """Send a request (pyqwest.Transport)."""
        from pyqwest import Response

        response = await self._open_async().execute(request)
        body = _abounded(response)
        ok = response.status == HTTP_OK
        content = body if ok else _error_body(response.headers, b"".join([chunk async for chunk in body]))
        return Response(status=response.status, headers=response.headers, content=content, trailers=response.trailers)

    def close(self) -> None:
        """Close every connection, and the embedded service. Safe to repeat."""
        with self._lock:
            self._closed = True
            sync, service = self._sync, self._service
            self._sync = self._async = self._service = None
        if self._pid == os.getpid():
            if sync is not None and not self.embedded:
                sync.close()  # type: ignore[union-attr]  # SyncHTTPTransport, as it is not embedded
            if service is not None:
                service.close()

    async def aclose(self) -> None:
        """`close` for a client that awaits."""
        transport = self._async
        if transport is not None and not self.embedded and self._pid == os.getpid():
            await transport.aclose()  # type: ignore[union-attr]  # HTTPTransport, as it is not embedded
        self.close()

    def _open_sync(self) -> "SyncHTTPTransport | WSGITransport":
        with self._lock:
            self._check()
            if self._sync is None:
                if self.embedded:
                    from pyqwest.testing import WSGITransport

                    self._sync = WSGITransport(self._open_service().wsgi, executor=self._open_service().executor)
                else:
                    from pyqwest import SyncHTTPTransport

                    self._sync = SyncHTTPTransport(**self._http_options())
            return self._sync

    def _open_async(self) -> "HTTPTransport | ASGITransport":
        with self._lock:
            self._check()
            if self._async is None:
                if self.embedded:
                    from pyqwest.testing import ASGITransport

                    self._async = ASGITransport(self._open_service().asgi)
                else:
                    from pyqwest import HTTPTransport

                    self._async = HTTPTransport(**self._http_options())
                    _settle_at_exit()
            return self._async

    def _check(self) -> None:
        """Refuse a closed client and a forked process's HTTP; open the embedded service anew after a fork."""
        pid = os.getpid()
        if self._closed:
            raise GitpodError("the client is closed")
        if not self.embedded and _http_pid not in (None, pid):
            raise APIConnectionError(
                "this process was forked after its parent had made a call, and the HTTP stack does not survive that; "
                "make the first call after the fork, or start processes with the spawn method",
                code="unavailable",
                outcome="not_sent",
            )
        if self._pid != pid:
            # The parent's threads are gone and its SQLite connections must not be used, nor closed, here.
            self._kept += [self._sync, self._async, self._service]
            self._sync = self._async = self._service = None
            self._pid = pid

    def _open_service(self) -> "Embedded":
        if self._service is None:
            from gitpod.server.app import Embedded, ServiceError

            try:
                self._service = Embedded(self.base_url)
            except ServiceError as error:
                raise GitpodError(f"base_url: {error}") from None
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

    connectrpc makes up a code for it from the HTTP status, and a gateway's 503 would pass for the word
    of the service that it did nothing.
    """
    try:
        error: Any = json.loads(body)
        is_connect = isinstance(error["code"], str)
    except (ValueError, LookupError, TypeError):
        is_connect = False
    if not is_connect:
        headers["content-type"] = "application/octet-stream"
    return body


def _bounded(response: "SyncResponse") -> "Iterator[bytes]":
    """The body, chunk by chunk; pyqwest itself would read and decompress any amount."""
    size = 0
    with response:
        for chunk in response.content:
            size = _within(size + len(chunk))
            yield bytes(chunk)


async def _abounded(response: "Response") -> "AsyncIterator[bytes]":
    size = 0
    async with response:
        async for chunk in response.content:
            size = _within(size + len(chunk))
            yield bytes(chunk)


def _within(size: int) -> int:
    if size > MAX_RESPONSE_BYTES:
        raise APIResponseValidationError(f"the answer is larger than {MAX_RESPONSE_BYTES} bytes")
    return size


def _require_server() -> None:
    from importlib.util import find_spec  # only for an embedded service

    if find_spec("sqlalchemy") is None or find_spec("cryptography") is None:
        raise GitpodError("base_url: sqlite: is the embedded service; pip install 'gitpod-connect[server]'")


_settling = False


def _settle_at_exit() -> None:
    """Give pyqwest's threads a moment before the interpreter is finalized.

    One that wakes an event loop after that aborts the process: 3 to 36 of 60 short programs did,
    none of 150 with this.
    """
    global _settling  # noqa: PLW0603
    if not _settling:
        import atexit
        import time

        atexit.register(time.sleep, 0.005)
        _settling = True
