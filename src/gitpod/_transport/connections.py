"""The connections of a client: opened at the first request, bounded, and closed.

`_http.py` knows how to make HTTP connections; the embedded service is called in process.
"""

import json
import os
from threading import RLock
from weakref import WeakSet

from gitpod._transport.fork import lost_pyqwest
from gitpod._transport.native import connect, leaves_gzip, not_in_a_fork, settle_at_exit
from gitpod.errors import UNKNOWN, APIConnectionError, APIResponseValidationError, GitpodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyqwest import Headers, Request, Response, SyncRequest, SyncResponse
    from typing_extensions import Buffer

    from gitpod._options import Endpoint
    from gitpod.server.app import Embedded

HTTP_OK = 200
CLOSED = "the client is closed"

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""The largest answer to read, decompressed. A page of 100 secrets is some 50 KiB."""


class _Transport:
    """The connections that a client and its copies share."""

    is_async: bool

    def __init__(self, endpoint: "Endpoint") -> None:
        self.endpoint = endpoint
        # What `gitpod.testing` puts around the connections.
        self.wrap: Callable[[Any], Any] = _as_it_is
        # Reentrant, as a signal handler may make a call while the thread that it interrupted opens.
        self.reset_lock()
        _EVERY.add(self)
        self._made_by = os.getpid()
        self._pid: int | None = None
        self._closed = False
        self._http: Any = None
        self._service: Embedded | None = None
        self._from_before_fork: list[object] = []

    def reset_lock(self) -> None:
        """Make a lock that nobody holds."""
        self._lock = RLock()

    @property
    def is_open(self) -> bool:
        """Whether there was a request in this process."""
        return self._pid == os.getpid()

    @property
    def is_punctual(self) -> bool:
        """Whether requests end with their deadline, whatever the peer does."""
        return self.endpoint.is_embedded or (self.endpoint.http_client is None and not lost_pyqwest())

    def _open(self) -> "Any":  # noqa: ANN401 # one of the transports of pyqwest
        """The transport for this process, opened at the first request."""
        http = self._http
        if http is not None and self._pid == os.getpid():
            # Without the lock, which the very thread may hold that a signal handler interrupted.
            return http
        with self._lock:
            if self._closed:
                raise GitpodError(CLOSED)
            if self._pid != os.getpid():
                self._leave_to_the_parent()
                http = self._connect()
                self._http = self._http or self.wrap(http)
                self._pid = os.getpid()
            return self._http

    def _connect(self) -> object:
        """Make the transport."""
        if self.endpoint.is_embedded:
            return self._call_in_process(self._service or self._embed())
        if self.is_async:
            settle_at_exit()
        if self.endpoint.http_client is None:
            return connect(self.endpoint, is_async=self.is_async)
        if self._made_by != os.getpid():
            # Its sockets are the parent's, and answers on them may be to the parent's requests.
            raise not_in_a_fork("the http_client")
        return self.endpoint.http_client

    def _call_in_process(self, service: "Embedded") -> object:
        raise NotImplementedError

    def _leave_to_the_parent(self) -> None:
        if self._pid is None:
            return
        if self._service is not None:
            if self._service.in_memory:
                raise not_in_a_fork("a store in memory")
            # The parent's threads are gone and its SQLite connections must not be used, nor closed, here.
            self._service.abandon()
        self._from_before_fork += [self._http, self._service]
        self._http = self._service = None

    def _take(self) -> "Any":  # noqa: ANN401 # as above
        """Mark the client closed, and take what is left to close."""
        with self._lock:
            self._closed = True
            http, self._http = self._http, None
            own = not self.endpoint.is_embedded and self.endpoint.http_client is None
            return http if own and self._pid == os.getpid() else None

    def _close_service(self) -> None:
        if self._service is not None and self._pid == os.getpid():
            self._service.close()

    def _embed(self) -> "Embedded":
        from gitpod.server.app import Embedded
        from gitpod.server.errors import ServiceError, StoreUnavailableError

        try:
            self._service = Embedded(self.endpoint.store, key=os.environ.get("GITPOD_SECRETS_KEY"))
        except ServiceError as error:
            raise GitpodError(f"base_url: {error}") from None
        except StoreUnavailableError as error:
            why = f"{error}: {error.reason}" if error.reason else error
            raise APIConnectionError(f"unavailable: {why}", code="unavailable", outcome="not_sent") from None
        return self._service


_EVERY: "WeakSet[_Transport]" = WeakSet()


def _after_in_child() -> None:
    # Another thread of the parent may have held a lock as it forked.
    for transport in _EVERY:
        transport.reset_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)


def _as_it_is(http: "Any") -> "Any":  # noqa: ANN401 # as above
    return http


class SyncTransport(_Transport):
    """The connections of `Gitpod` (pyqwest.SyncTransport)."""

    is_async = False

    def execute_sync(self, request: "SyncRequest") -> "SyncResponse":
        """Send a request, and read the answer to its end."""
        from pyqwest import SyncResponse

        http = self._open()
        try:
            response: SyncResponse = http.execute_sync(request)
        except RuntimeError:
            # The embedded service's executor was shut down between the two.
            if self._closed:
                raise GitpodError(CLOSED) from None
            raise
        body = _Body(http, response.headers)
        with response:
            try:
                for chunk in response.content:
                    body.add(chunk)
                body.end()
            except Exception as error:  # noqa: BLE001 # raised again
                raise _broken(error) from None
        content = _checked(response.status, response.headers, bytes(body.data))
        return SyncResponse(
            status=response.status, headers=response.headers, content=content, trailers=response.trailers
        )

    def close(self) -> None:
        """Close every connection, and the embedded service. Safe to repeat."""
        http = self._take()
        if http is not None:
            http.close()
        self._close_service()

    def _call_in_process(self, service: "Embedded") -> object:
        from pyqwest.testing import WSGITransport

        return WSGITransport(service.wsgi, executor=service.executor)


class AsyncTransport(_Transport):
    """The connections of `AsyncGitpod` (pyqwest.Transport)."""

    is_async = True

    async def execute(self, request: "Request") -> "Response":
        """Send a request, and read the answer to its end."""
        from asyncio import wrap_future
        from contextvars import copy_context

        from pyqwest import Response

        from gitpod._transport.interrupts import start

        # Opening a store waits for the disk, in a thread that a loop's end does not wait for.
        waits = self.endpoint.is_embedded and self._http is None
        http = await wrap_future(start(copy_context(), self._open)) if waits else self._open()
        response: Response = await http.execute(request)
        body = _Body(http, response.headers)
        async with response:
            try:
                async for chunk in response.content:
                    body.add(chunk)
                body.end()
            except Exception as error:  # noqa: BLE001 # raised again
                raise _broken(error) from None
        content = _checked(response.status, response.headers, bytes(body.data))
        return Response(status=response.status, headers=response.headers, content=content, trailers=response.trailers)

    async def aclose(self) -> None:
        """Close every connection, and the embedded service. Safe to repeat."""
        from asyncio import to_thread

        # An opening that is under way holds the lock for as long as the disk takes.
        http = await to_thread(self._take)
        if http is not None:
            await http.aclose()
        # Waits for the calls under way, which a cancelled task may have left behind.
        await to_thread(self._close_service)

    def _call_in_process(self, service: "Embedded") -> object:
        from pyqwest.testing import ASGITransport

        return ASGITransport(service.asgi)


class _Body:
    """What there is of an answer; pyqwest itself would read and decompress any amount."""

    def __init__(self, http: object, headers: "Headers") -> None:
        self.data = bytearray()
        self._unzip: Any = None
        if leaves_gzip(http) and headers.get("content-encoding", "") == "gzip":
            # They leave it as it comes, which some gateways compress though they were asked not to.
            import zlib

            self._unzip = zlib.decompressobj(wbits=31)

    def add(self, chunk: "Buffer") -> None:
        """Keep a chunk, unless it is too much."""
        self.data += self._unzip.decompress(chunk, MAX_RESPONSE_BYTES + 1) if self._unzip else chunk
        if len(self.data) > MAX_RESPONSE_BYTES:
            raise APIResponseValidationError(f"the answer is larger than {MAX_RESPONSE_BYTES} bytes{UNKNOWN}")

    def end(self) -> None:
        """See that nothing is missing."""
        if self._unzip and not self._unzip.eof:
            raise ValueError("the compressed answer broke off")


def _broken(error: Exception) -> Exception:
    """The error of an answer that broke off. Whatever it says, the request had been read."""
    from pyqwest import ReadError

    return error if isinstance(error, TimeoutError | GitpodError) else ReadError(str(error))


def _checked(status: int, headers: "Headers", body: bytes) -> bytes:
    """The body. JSON of an error that is no Connect error, as gateways write it, loses its content type.

    connectrpc makes up a code for it, and a gateway's 503 would pass for the word of the service that it
    did nothing.
    """
    from connectrpc.code import Code

    if status == HTTP_OK:
        return body
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
