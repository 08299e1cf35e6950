"""Senders for the caller's `http_client`: a client of httpx or httpx2, a transport of pyqwest, or an application.

This module never imports httpx or httpx2: a caller who has a client has loaded its module.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from pyqwest import FullResponse, Headers

from gitpod._transport.answers import RequestHeaders
from gitpod._transport.body import Body
from gitpod._transport.failures import BrokenExchangeError, NotSentError, NotSentTimeoutError, ending
from gitpod._transport.loading import can_import
from gitpod._transport.pool import CONNECT_TIMEOUT
from gitpod.errors import GitpodError

SYNC_KINDS = "an httpx.Client or httpx2.Client, a sync transport of pyqwest, or a WSGI application"
ASYNC_KINDS = "an httpx.AsyncClient or httpx2.AsyncClient, a transport of pyqwest, or an ASGI application"

IDENTITY = ("accept-encoding", "identity")


def adapt(http_client: Any, *, is_async: bool) -> Any:  # noqa: ANN401 # whatever the caller gave
    """Return the sender for the caller's `http_client`.

    Raises:
        GitpodError: the object is of none of these kinds.
    """
    if is_httpx(http_client, is_async=is_async):
        return AsyncHTTPX(http_client) if is_async else SyncHTTPX(http_client)
    from gitpod._transport.native import AsyncNative, SyncNative  # not for httpx

    if is_app(http_client, is_async=is_async):
        from pyqwest.testing import ASGITransport, WSGITransport

        if is_async:
            sender: Any = AsyncNative(_Application(ASGITransport(http_client)))
        else:
            sender = SyncNative(WSGITransport(http_client))
        sender.is_application = True
        return sender
    sends = "execute" if is_async else "execute_sync"
    # pyqwest's clients have such a method too, but are refused: they add to their transport only what is done here.
    is_client = hasattr(http_client, "stream")
    if hasattr(http_client, sends) and not is_client and not isinstance(http_client, type):
        return AsyncNative(http_client) if is_async else SyncNative(http_client)
    raise GitpodError(f"http_client: must be {ASYNC_KINDS if is_async else SYNC_KINDS}")


def is_app(http_client: Any, *, is_async: bool) -> bool:  # noqa: ANN401 # whatever the caller gave
    """Whether this is an ASGI application, or a WSGI application."""
    from inspect import iscoroutinefunction  # only for an http_client

    if not callable(http_client) or isinstance(http_client, type):
        return False
    called = getattr(http_client, "__call__", None)  # noqa: B004 # which may be a coroutine function
    return (iscoroutinefunction(http_client) or iscoroutinefunction(called)) == is_async


def is_httpx(http_client: object, *, is_async: bool) -> bool:
    """Whether this is a client of httpx or httpx2, or of a class derived from one."""
    name = "AsyncClient" if is_async else "Client"
    modules = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return any(isinstance(http_client, getattr(module, name)) for module in modules)


class _HTTPX:
    """The base of both senders for httpx: the request, and the meaning of errors."""

    is_application = has_trailers = False

    def __init__(self, client: Any) -> None:  # noqa: ANN401 # of either module
        self._client = client
        # A subclass may be defined in any module.
        names = [kind.__module__.partition(".")[0] for kind in type(client).__mro__]
        self._httpx: Any = sys.modules[next(name for name in names if name in ("httpx", "httpx2"))]

    def _request(self, method: str, url: str, headers: RequestHeaders, content: bytes, timeout: float | None) -> Any:  # noqa: ANN401 # httpx.Request
        if not can_import():
            # httpx imports some of its modules during a call.
            raise ending("the http_client")
        if self._client.is_closed:
            raise GitpodError("http_client: is closed")
        # httpx decompresses without a bound.
        sent = [*((name, value) for name, value in headers.items() if name != "accept-encoding"), IDENTITY]
        # httpx applies the timeout to each step, not to the whole call.
        connect = CONNECT_TIMEOUT if timeout is None else min(timeout, CONNECT_TIMEOUT)
        limits = self._httpx.Timeout(timeout, connect=connect)
        return self._client.build_request(method, url, headers=sent, content=content, timeout=limits)

    @contextmanager
    def _translated(self, began: "_Trace") -> Generator[None, None, None]:
        """Raise httpx's errors as failures of an exchange. The caller's hooks may raise any error, at any step."""
        httpx = self._httpx
        unconnected = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
        unsent = (*unconnected, httpx.PoolTimeout)
        try:
            yield
        except GitpodError:
            raise
        except Exception as error:  # noqa: BLE001 # of httpx, or of the caller's own hooks
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            is_late = isinstance(error, httpx.TimeoutException | TimeoutError)
            if isinstance(error, unsent) and began.is_unsent:
                raise (NotSentTimeoutError if is_late else NotSentError)(text) from None
            if is_late:
                raise TimeoutError from None
            raise BrokenExchangeError(text) from None


class SyncHTTPX(_HTTPX):
    """Sends requests by an `httpx.Client` or `httpx2.Client`."""

    def send(self, method: str, url: str, headers: RequestHeaders, content: bytes, timeout: float) -> FullResponse:
        """Send a request and read the answer; redirects are not followed, whatever the client's own setting.

        A single read that goes on past the deadline is not cut short.
        """
        deadline = monotonic() + timeout
        request = self._request(method, url, headers, content, timeout)
        began = request.extensions["trace"] = _Trace()
        with self._translated(began):
            response = self._client.send(request, stream=True, follow_redirects=False)
            began.is_unsent = False
            try:
                kept = _kept(response)
                body = Body(kept, unzip=True)
                for chunk in [response.content] if response.is_stream_consumed else response.iter_raw():
                    if monotonic() > deadline:
                        raise TimeoutError  # as if httpx had raised it
                    body.add(chunk)
                return FullResponse(response.status_code, kept, body.end(), Headers())
            finally:
                response.close()


class AsyncHTTPX(_HTTPX):
    """Sends requests by an `httpx.AsyncClient` or `httpx2.AsyncClient`. The caller keeps the deadline."""

    async def send(self, method: str, url: str, headers: RequestHeaders, content: bytes) -> FullResponse:
        """Send a request and read the answer; redirects are not followed, whatever the client's own setting."""
        request = self._request(method, url, headers, content, None)
        began = _Trace()
        request.extensions["trace"] = began.later
        with self._translated(began):
            response = await self._client.send(request, stream=True, follow_redirects=False)
            began.is_unsent = False
            try:
                kept = _kept(response)
                body = Body(kept, unzip=True)
                if response.is_stream_consumed:
                    body.add(response.content)
                else:
                    async for chunk in response.aiter_raw():
                        body.add(chunk)
                return FullResponse(response.status_code, kept, body.end(), Headers())
            finally:
                await response.aclose()


def _kept(response: Any) -> Headers:  # noqa: ANN401 # httpx.Response
    """Return the headers. If a hook or a mock has read the body, it is decoded: drop the headers of its encoding."""
    dropped = {"content-encoding", "content-length"} if response.is_stream_consumed else set[str]()
    return Headers([(name, value) for name, value in response.headers.multi_items() if name not in dropped])


class _Trace:
    """Notes whether anything of a request was sent (httpcore's trace extension)."""

    def __init__(self) -> None:
        # False at first: a transport without tracing proves nothing.
        self.is_unsent = False
        self._is_sending = False

    def __call__(self, event: str, info: dict[str, Any]) -> None:
        # A CONNECT to a proxy is not the request itself.
        method = getattr(info.get("request"), "method", b"CONNECT")
        self._is_sending = self._is_sending or (".send_request" in event and method != b"CONNECT")
        self.is_unsent = not self._is_sending

    async def later(self, event: str, info: dict[str, Any]) -> None:
        self(event, info)


class _Application:
    """Calls an ASGI application. An error that it raises proves nothing about the request."""

    def __init__(self, transport: Any) -> None:  # noqa: ANN401 # pyqwest.testing.ASGITransport
        self._transport = transport

    async def execute(self, request: Any) -> Any:  # noqa: ANN401 # pyqwest.Request, pyqwest.Response
        try:
            return await self._transport.execute(request)
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 # whatever an application raises
            raise BrokenExchangeError(f"the application raised {type(error).__name__}") from None
