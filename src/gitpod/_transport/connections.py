"""The connections that a client and its copies share: opened at the first request, and closed with the client.

The stubs get these objects in place of a pyqwest client. connectrpc calls `post`, and `stream` for gRPC and gRPC-Web.
Each of them passes requests to a sender: an object with one method, `send`, for one way to reach the service.
"""

import os
from contextlib import asynccontextmanager, contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from gitpod._transport.failures import NotSentError, ending, forked
from gitpod._transport.loading import can_import, loading
from gitpod._transport.threads import in_thread, is_ending
from gitpod.errors import APIConnectionError, GitpodError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from pyqwest import FullResponse, Headers, Response, SyncResponse

    from gitpod._endpoint import Endpoint
    from gitpod._transport.answers import RequestHeaders
    from gitpod._transport.proxy import Proxy
    from gitpod.server.app import Embedded

CLOSED = "the client is closed"
NATIVE = "HTTP/2 (gRPC, http2=True, or a proxy by SOCKS or TLS)"


class _Connections:
    """The base of both kinds of connections: opening, forks, and the embedded service.

    Args:
        endpoint: where the service is.
        sender: the sender for the caller's `http_client`; None without one.
    """

    is_async: bool

    def __init__(self, endpoint: "Endpoint", sender: Any = None) -> None:  # noqa: ANN401 # of `given.py`
        self.endpoint = endpoint
        # `gitpod.testing` puts faults around the connections.
        self.wrap: Callable[[Any], Any] = lambda sender: sender
        self._given = sender
        self.reset_lock()
        _EVERY.add(self)
        self._made_by = os.getpid()
        self._pid: int | None = None
        self._closed = False
        self._sender: Any = None
        self._service: Embedded | None = None
        self._answers: Any = None
        self._from_before_fork: list[object] = []
        if endpoint.is_embedded and can_import():
            self._check_store()

    def reset_lock(self) -> None:
        """Make a new lock. It is reentrant: a signal handler may call while its own thread opens connections."""
        self._lock = RLock()

    @property
    def is_open(self) -> bool:
        """Whether there was a request in this process."""
        return self._pid == os.getpid()

    def _open(self) -> Any:  # noqa: ANN401 # a sender
        """Return the sender of this process. The first request makes it."""
        if self.endpoint.is_embedded and is_ending():
            raise ending("the embedded service")
        sender = self._sender
        if sender is not None and self._pid == os.getpid():
            # Takes no lock: a signal handler may call here, in a thread that holds the lock.
            return sender
        with self._lock:
            if self._closed:
                raise GitpodError(CLOSED)
            if self._pid != os.getpid():
                self._leave_to_the_parent()
                with loading():
                    from gitpod._transport import answers

                    self._answers = answers
                    sender = self._connect()
                self._sender = self._sender or self.wrap(sender)
                self._pid = os.getpid()
            return self._sender

    def _connect(self) -> object:
        """Make the sender."""
        if self.endpoint.is_embedded:
            return self._call_in_process(self._service or self._embed())
        if self._given is None:
            return self._reach()
        if self._made_by != os.getpid():
            # Its sockets are shared with the parent, and answers on them may belong to the parent's requests.
            raise forked("the http_client")
        return self._given

    def _reach(self) -> object:
        """Make the sender for a service on the network."""
        raise NotImplementedError

    def _call_in_process(self, service: "Embedded") -> object:
        raise NotImplementedError

    def _check_store(self) -> None:
        from gitpod.server.errors import ServiceError
        from gitpod.server.storage.url import check

        try:
            check(self.endpoint.store)
        except ServiceError as error:
            raise GitpodError(f"{self.endpoint.setting}: {error}") from None

    def _embed(self) -> "Embedded":
        from gitpod.server.app import Embedded
        from gitpod.server.errors import ServiceError, StoreUnavailableError

        try:
            self._service = Embedded(self.endpoint.store, key=os.environ.get("GITPOD_SECRETS_KEY"))
        except ServiceError as error:
            raise GitpodError(f"{self.endpoint.setting}: {error}") from None
        except StoreUnavailableError as error:
            why = f"{error}: {error.reason}" if error.reason else error
            raise APIConnectionError(f"unavailable: {why}", code="unavailable", outcome="not_sent") from None
        return self._service

    def _leave_to_the_parent(self) -> None:
        if self._pid is None:
            return
        if self._service is not None:
            if self._service.in_memory:
                raise forked("a store in memory")
            # The parent's threads do not exist here, and its SQLite connections must not be used or closed.
            self._service.abandon()
        self._from_before_fork += [self._sender, self._service]
        self._sender = self._service = None

    def _take(self) -> Any:  # noqa: ANN401 # a sender
        """Mark the client closed. Return the sender if it must be closed."""
        with self._lock:
            self._closed = True
            sender, self._sender = self._sender, None
            own = not self.endpoint.is_embedded and self._given is None
            return sender if own and self._pid == os.getpid() else None

    def _close_service(self) -> None:
        if self._service is not None and self._pid == os.getpid():
            self._service.close()

    def _refused(self, error: NotSentError) -> Exception:
        """Return the error of a request that was not sent. If the client is closed, that is the reason."""
        return GitpodError(CLOSED) if self._closed else error


_EVERY: "WeakSet[_Connections]" = WeakSet()


def _after_in_child() -> None:
    # Another thread of the parent may have held a lock during the fork.
    for connections in list(_EVERY):
        connections.reset_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)


class SyncConnections(_Connections):
    """The connections of `Gitpod`, in place of a pyqwest.SyncClient."""

    is_async = False

    def post(self, url: str, headers: "RequestHeaders", content: bytes, timeout: float) -> "FullResponse":
        """Send a request and read the answer, within `timeout` seconds."""
        try:
            whole = self._open().send("POST", url, headers, content, timeout)
            answer: FullResponse = self._answers.checked(whole)
        except NotSentError as error:
            raise self._refused(error) from None
        return answer

    @contextmanager
    def stream(
        self, method: str, url: str, headers: "Headers", content: bytes, timeout: float
    ) -> "Generator[SyncResponse]":
        """`post` for gRPC and gRPC-Web: the answer is read to its end, trailers included, before it is given."""
        assert method == "POST"  # noqa: S101 # neither protocol has another
        if not can_import():
            # connectrpc imports what reads such an answer only when one is there.
            raise ending("gRPC")
        whole = self.post(url, headers, content, timeout)
        yield self._answers.streamed(whole)

    def close(self) -> None:
        """Close every connection, and the embedded service. Safe to repeat."""
        sender = self._take()
        if sender is not None:
            sender.close()
        self._close_service()

    def _reach(self) -> object:
        from gitpod._transport.pool import Pool

        proxy = _proxy(self.endpoint)
        if _suits_pool(self.endpoint, proxy):
            return Pool(self.endpoint, proxy)
        from gitpod._transport.native import native_transport
        from gitpod._transport.native_threads import is_usable

        if not is_usable():
            raise forked(NATIVE)
        return native_transport(self.endpoint, proxy, is_async=False)

    def _call_in_process(self, service: "Embedded") -> object:
        from pyqwest.testing import WSGITransport

        from gitpod._transport.native import SyncNative

        return SyncNative(WSGITransport(service.wsgi, executor=service.executor))


class AsyncConnections(_Connections):
    """The connections of `AsyncGitpod`, in place of a pyqwest.Client."""

    is_async = True

    async def post(self, url: str, headers: "RequestHeaders", content: bytes) -> "FullResponse":
        """Send a request and read the answer."""
        try:
            # Opening a store waits for the disk.
            waits = self.endpoint.is_embedded and self._sender is None
            sender = await _off_the_loop(self._open) if waits else self._open()
            whole = await sender.send("POST", url, headers, content)
            answer: FullResponse = self._answers.checked(whole)
        except NotSentError as error:
            raise self._refused(error) from None
        return answer

    @asynccontextmanager
    async def stream(self, method: str, url: str, headers: "Headers", content: bytes) -> "AsyncGenerator[Response]":
        """`post` for gRPC and gRPC-Web: the answer is read to its end, trailers included, before it is given."""
        assert method == "POST"  # noqa: S101 # neither protocol has another
        whole = await self.post(url, headers, content)
        yield self._answers.streamed_async(whole)

    async def aclose(self) -> None:
        """Close every connection, and the embedded service. Safe to repeat."""
        if self.endpoint.is_embedded:
            # An opening that is under way holds the lock for as long as the disk takes, and closing waits for the
            # calls under way, which a cancelled task may have left behind.
            await _off_the_loop(self._take)
            await _off_the_loop(self._close_service)
        elif (sender := self._take()) is not None:
            await sender.aclose()

    def _reach(self) -> object:
        from gitpod._transport.native import native_transport
        from gitpod._transport.native_threads import is_usable, settle_at_exit

        proxy = _proxy(self.endpoint)
        if is_usable():
            settle_at_exit()
            return native_transport(self.endpoint, proxy, is_async=True)
        if not _suits_pool(self.endpoint, proxy):
            raise forked(NATIVE)
        from gitpod._transport.pool import AsyncPool, Pool

        return AsyncPool(Pool(self.endpoint, proxy))

    def _call_in_process(self, service: "Embedded") -> object:
        from pyqwest.testing import ASGITransport

        from gitpod._transport.native import AsyncNative

        return AsyncNative(ASGITransport(service.asgi))


def _proxy(endpoint: "Endpoint") -> "Proxy | None":
    from gitpod._transport.proxy import proxy_for  # not for embedded services

    return proxy_for(endpoint.host, endpoint.port) if endpoint.is_https else None


def _suits_pool(endpoint: "Endpoint", proxy: "Proxy | None") -> bool:
    """Whether the standard library can reach the service: not by HTTP/2, and not by SOCKS or TLS to a proxy."""
    return not endpoint.http2 and (proxy is None or proxy.scheme == "http")


async def _off_the_loop(function: "Callable[[], Any]") -> Any:  # noqa: ANN401 # whatever it returns
    """Call a function that blocks in a thread, or inline while the interpreter ends and can start no thread."""
    from asyncio import wrap_future

    return function() if is_ending() else await wrap_future(in_thread(function))
