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
    WriteError,
)

from gitpod._http import CONNECT_TIMEOUT, seconds_left


class HTTPXTransport:
    """An `httpx.Client` as a `pyqwest.SyncTransport`."""

    is_patient = True

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def execute_sync(self, request: SyncRequest) -> SyncResponse:
        """Send a request; redirects are not followed, whatever the client's own setting."""
        deadline = monotonic() + seconds_left(request)
        with _translated():
            response = self._client.send(_request(self._client, request), stream=True, follow_redirects=False)
        return SyncResponse(
            status=response.status_code, headers=_headers(response), content=_content(response, deadline)
        )


class AsyncHTTPXTransport:
    """An `httpx.AsyncClient` as a `pyqwest.Transport`."""

    is_patient = True

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def execute(self, request: Request) -> Response:
        """Send a request; redirects are not followed, whatever the client's own setting."""
        with _translated():
            response = await self._client.send(_request(self._client, request), stream=True, follow_redirects=False)
        return Response(status=response.status_code, headers=_headers(response), content=_acontent(response))


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
    with _translated():
        try:
            for chunk in [response.content] if response.is_stream_consumed else response.iter_raw():
                if monotonic() > deadline:
                    raise TimeoutError
                yield chunk
        finally:
            response.close()


async def _acontent(response: httpx.Response) -> AsyncIterator[bytes]:
    with _translated():
        try:
            if response.is_stream_consumed:
                yield response.content
                return
            async for chunk in response.aiter_raw():
                yield chunk
        finally:
            await response.aclose()


@contextmanager
def _translated() -> Generator[None, None, None]:
    """Raise httpx's errors as pyqwest's, by which `_http.py` tells what was sent. Their texts hold no body."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise ConnectTimeout(str(error) or "connect timeout") from None
    except (httpx.TimeoutException, TimeoutError):
        raise TimeoutError from None
    except (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
        raise ConnectionError(str(error)) from None
    except httpx.WriteError as error:
        raise WriteError(str(error)) from None
    except Exception as error:  # noqa: BLE001 # of httpx, or of the caller's own hooks
        raise ReadError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from None
