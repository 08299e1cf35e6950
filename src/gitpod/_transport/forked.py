"""HTTP for a process that was forked after pyqwest had been loaded, by the standard library.

One connection a request, HTTP/1.1. Loaded only there.
"""

from asyncio import wrap_future
from base64 import b64encode
from contextlib import closing, suppress
from contextvars import copy_context
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from socket import SHUT_RDWR, socket
from threading import Timer
from time import monotonic
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pyqwest import ConnectTimeout, Headers, ReadError, Request, Response, SyncRequest, SyncResponse

from gitpod._options import Endpoint
from gitpod._transport.connections import MAX_RESPONSE_BYTES
from gitpod._transport.interrupts import start
from gitpod._transport.native import CONNECT_TIMEOUT, not_in_a_fork, seconds_left

CHUNK = 65536


class ForkedTransport:
    """A transport of pyqwest's kind, sync and async, without its threads."""

    leaves_gzip = True

    def __init__(self, endpoint: Endpoint) -> None:
        self._context = endpoint.tls_context() if endpoint.base_url.startswith("https:") else None

    def execute_sync(self, request: SyncRequest) -> SyncResponse:
        """Send a request."""
        status, headers, body = self._exchange(request, monotonic() + seconds_left(request))
        return SyncResponse(status=status, headers=headers, content=body)

    async def execute(self, request: Request) -> Response:
        """Send a request, in a thread; one that is cancelled runs on there until its time is over."""
        # Not in one of the event loop's, which waits for those at its end.
        call = start(copy_context(), self._exchange, request, monotonic() + seconds_left(request))
        status, headers, body = await wrap_future(call)
        return Response(status=status, headers=headers, content=body)

    def close(self) -> None:
        """Nothing stays open."""

    async def aclose(self) -> None:
        """Nothing stays open."""

    def _exchange(self, request: SyncRequest | Request, deadline: float) -> tuple[int, Headers, bytes]:
        url = urlsplit(request.url)
        connection = self._connection(url, min(CONNECT_TIMEOUT, deadline - monotonic()))
        with closing(connection):
            try:
                connection.connect()
            except TimeoutError:
                raise ConnectTimeout("connect timeout") from None
            except (OSError, HTTPException) as error:
                raise ConnectionError(str(error)) from None
            # No timeout of a single read ends what drips, nor http.client's reading of trailers.
            end = Timer(max(0.001, deadline - monotonic()), _shut, [connection.sock])
            end.daemon = True
            end.start()
            try:
                connection.sock.settimeout(max(0.001, deadline - monotonic()))
                target = f"{url.path}?{url.query}" if url.query else url.path
                headers = {**dict(request.headers.items()), "accept-encoding": "identity", "connection": "close"}
                content = request.content
                connection.request(request.method, target, content if isinstance(content, bytes) else b"", headers)
                with connection.getresponse() as response:
                    return response.status, Headers(response.headers.items()), _body(response, deadline)
            except TimeoutError:
                raise TimeoutError from None
            except (OSError, HTTPException, ValueError) as error:
                if monotonic() >= deadline:
                    raise TimeoutError from None
                raise ReadError(str(error)) from None
            finally:
                end.cancel()

    def _connection(self, url: SplitResult, timeout: float) -> HTTPConnection:
        host = url.hostname or ""
        if self._context is None:
            return HTTPConnection(host, url.port, timeout=timeout)
        address = "" if proxy_bypass(host) else getproxies().get("https", "")
        proxy = urlsplit(address if "//" in address else f"//{address}")
        if not proxy.hostname:
            return HTTPSConnection(host, url.port, timeout=timeout, context=self._context)
        if proxy.scheme not in ("", "http"):
            raise not_in_a_fork(f"a proxy that is spoken to by {proxy.scheme}")
        connection = HTTPSConnection(proxy.hostname, proxy.port or 80, timeout=timeout, context=self._context)
        login = b64encode(unquote(f"{proxy.username}:{proxy.password or ''}").encode()).decode()
        connection.set_tunnel(host, url.port, {"proxy-authorization": f"Basic {login}"} if proxy.username else None)
        return connection


def _shut(sock: socket) -> None:
    with suppress(OSError):
        sock.shutdown(SHUT_RDWR)


def _body(response: HTTPResponse, deadline: float) -> bytes:
    """The body, or as much of it as shows that there is too much."""
    # None when it is sent in chunks, whose end is marked.
    length = response.length
    body = bytearray()
    while len(body) <= MAX_RESPONSE_BYTES and (chunk := response.read1(CHUNK)):
        body += chunk
    if monotonic() > deadline:
        raise TimeoutError
    if length is not None and len(body) < min(length, MAX_RESPONSE_BYTES):
        raise ReadError("the answer broke off")
    return bytes(body)
