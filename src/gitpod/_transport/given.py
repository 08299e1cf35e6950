"""httpx clients as pyqwest transports. Loaded only when the caller gave one."""

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import httpx
from pyqwest import (
    ConnectTimeout,
    Headers,
    ReadError,
    Request,
    Response,
    SyncRequest,
    SyncResponse,
)

from gitpod._transport.native import CONNECT_TIMEOUT, seconds_left
from gitpod.errors import GitpodError


class HTTPXTransport:
    """An `httpx.Client` as a `pyqwest.SyncTransport`."""

    leaves_gzip = True

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def execute_sync(self, request: SyncRequest) -> SyncResponse:
        """Send a request; redirects are not followed, whatever the client's own setting."""
        _check_open(self._client)
        deadline = monotonic() + seconds_left(request)
        sent = _request(self._client, request)
        began = sent.extensions["trace"] = _Trace()
        with _translated(began):
            response = self._client.send(sent, stream=True, follow_redirects=False)
        return SyncResponse(
            status=response.status_code, headers=_headers(response), content=_content(response, deadline)
        )


class AsyncHTTPXTransport:
    """An `httpx.AsyncClient` as a `pyqwest.Transport`."""

    leaves_gzip = True

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def execute(self, request: Request) -> Response:
        """Send a request; redirects are not followed, whatever the client's own setting."""
        _check_open(self._client)
        sent = _request(self._client, request)
        began = _Trace()
        sent.extensions["trace"] = began.later
        with _translated(began):
            response = await self._client.send(sent, stream=True, follow_redirects=False)
        return Response(status=response.status_code, headers=_headers(response), content=_acontent(response))


def _check_open(client: httpx.Client | httpx.AsyncClient) -> None:
    if client.is_closed:
        raise GitpodError("http_client: is closed")


def _request(client: httpx.Client | httpx.AsyncClient, request: SyncRequest | Request) -> httpx.Request:
    headers = dict(request.headers.items())
    # httpx decompresses without a bound.
    headers["accept-encoding"] = "identity"
    # Each of httpx's steps may take what is left for all of them.
    left = seconds_left(request)
    timeout = httpx.Timeout(left, connect=min(left, CONNECT_TIMEOUT))
    content: Any = request.content
    return client.build_request(request.method, request.url, headers=headers, content=content, timeout=timeout)


def _headers(response: httpx.Response) -> Headers:
    # A response that was read already, by a hook or a mock, is decompressed.
    dropped = {"content-encoding", "content-length"} if response.is_stream_consumed else set[str]()
    return Headers([(name, value) for name, value in response.headers.multi_items() if name not in dropped])


def _content(response: httpx.Response, deadline: float) -> Iterator[bytes]:
    with _translated(None):
        try:
            for chunk in [response.content] if response.is_stream_consumed else response.iter_raw():
                if monotonic() > deadline:
                    raise TimeoutError
                yield chunk
        finally:
            response.close()


async def _acontent(response: httpx.Response) -> AsyncIterator[bytes]:
    with _translated(None):
        try:
            if response.is_stream_consumed:
                yield response.content
                return
            async for chunk in response.aiter_raw():
                yield chunk
        finally:
            await response.aclose()


class _Trace:
    """Notes whether anything of a request was sent (httpcore's trace extension)."""

    def __init__(self) -> None:
        self.is_unsent = False
        self._is_sending = False

    def __call__(self, event: str, info: dict[str, Any]) -> None:
        # What a proxy is asked to connect to is not the request.
        method = getattr(info.get("request"), "method", b"CONNECT")
        self._is_sending = self._is_sending or (".send_request" in event and method != b"CONNECT")
        # A transport that traces nothing proves nothing.
        self.is_unsent = not self._is_sending

    async def later(self, event: str, info: dict[str, Any]) -> None:
        self(event, info)


UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


@contextmanager
def _translated(began: _Trace | None) -> Generator[None, None, None]:
    """Raise httpx's errors as pyqwest's, by which `_http.py` tells what was sent. Their texts hold no body.

    A hook of the caller's may raise any of them, after everything was sent.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 # of httpx, or of the caller's own hooks
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if isinstance(error, UNSENT) and began is not None and began.is_unsent:
            kind = ConnectTimeout if isinstance(error, httpx.TimeoutException) else ConnectionError
            raise kind(text) from None
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            raise TimeoutError from None
        raise ReadError(text) from None
