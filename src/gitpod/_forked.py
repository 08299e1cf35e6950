"""HTTP for a process that was forked after pyqwest had been loaded, by the standard library.

One connection a request, HTTP/1.1. Loaded only there.
"""

from asyncio import to_thread
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from time import monotonic
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pyqwest import ConnectTimeout, Headers, ReadError, Request, Response, SyncRequest, SyncResponse, WriteError

from gitpod._http import CONNECT_TIMEOUT, seconds_left
from gitpod._options import Endpoint

CHUNK = 65536


class ForkedTransport:
    """A transport of pyqwest's kind, sync and async, without its threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._context = endpoint.tls_context() if endpoint.base_url.startswith("https:") else None

    def execute_sync(self, request: SyncRequest) -> SyncResponse:
        """Send a request."""
        deadline = monotonic() + seconds_left(request)
        response = self._send(request, deadline)
        headers = Headers(response.headers.items())
        return SyncResponse(status=response.status, headers=headers, content=_content(response, deadline))

    async def execute(self, request: Request) -> Response:
        """Send a request, in a thread; one that is cancelled runs on there until its time is over."""
        deadline = monotonic() + seconds_left(request)
        response = await to_thread(self._send, request, deadline)
        headers = Headers(response.headers.items())
        return Response(status=response.status, headers=headers, content=_acontent(_content(response, deadline)))

    def close(self) -> None:
        """Nothing stays open."""

    async def aclose(self) -> None:
        """Nothing stays open."""

    def _send(self, request: SyncRequest | Request, deadline: float) -> HTTPResponse:
        url = urlsplit(request.url)
        connection = self._connection(url, min(CONNECT_TIMEOUT, deadline - monotonic()))
        try:
            connection.connect()
        except TimeoutError:
            raise ConnectTimeout("connect timeout") from None
        except (OSError, HTTPException) as error:
            raise ConnectionError(str(error)) from None
        try:
            connection.sock.settimeout(max(0.001, deadline - monotonic()))
            target = f"{url.path}?{url.query}" if url.query else url.path
            headers = {**dict(request.headers.items()), "accept-encoding": "identity", "connection": "close"}
            content = request.content
            connection.request(request.method, target, content if isinstance(content, bytes) else b"", headers)
            return connection.getresponse()
        except TimeoutError:
            connection.close()
            raise TimeoutError from None
        except (OSError, HTTPException) as error:
            connection.close()
            raise WriteError(str(error)) from None

    def _connection(self, url: SplitResult, timeout: float) -> HTTPConnection:
        host = url.hostname or ""
        if self._context is None:
            return HTTPConnection(host, url.port, timeout=timeout)
        proxy = urlsplit("" if proxy_bypass(host) else getproxies().get("https", ""))
        if not proxy.hostname:
            return HTTPSConnection(host, url.port, timeout=timeout, context=self._context)
        connection = HTTPSConnection(proxy.hostname, proxy.port or 80, timeout=timeout, context=self._context)
        login = b64encode(unquote(f"{proxy.username}:{proxy.password or ''}").encode()).decode()
        connection.set_tunnel(host, url.port, {"proxy-authorization": f"Basic {login}"} if proxy.username else None)
        return connection


def _content(response: HTTPResponse, deadline: float) -> Iterator[bytes]:
    try:
        # read1 says nothing of a body that ends too early.
        while chunk := response.read1(CHUNK) or (b"" if not response.length else response.read()):
            if monotonic() > deadline:
                raise TimeoutError  # noqa: TRY301 # as the socket raises it
            yield chunk
    except TimeoutError:
        raise TimeoutError from None
    except (OSError, HTTPException) as error:
        raise ReadError(str(error)) from None
    finally:
        response.close()


async def _acontent(content: Iterator[bytes]) -> AsyncIterator[bytes]:
    while chunk := await to_thread(next, content, b""):
        yield chunk
