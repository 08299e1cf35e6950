"""The default transport of `Gitpod`: keep-alive connections of the standard library.

Needs no thread, survives a fork, and ends with a call's deadline or with Ctrl-C.
"""

from asyncio import wrap_future
from collections import deque
from functools import partial
from time import monotonic

from pyqwest import FullResponse

from gitpod._endpoint import Endpoint
from gitpod._transport.answers import RequestHeaders
from gitpod._transport.dial import Target, http1
from gitpod._transport.proxy import Proxy
from gitpod._transport.threads import in_thread, is_ending
from gitpod._transport.wire import Connection

CONNECT_TIMEOUT = 5.0
"""The most seconds that establishing a connection may take."""

IDLE_SECONDS = 4.0
"""Seconds that an unused connection is kept. uvicorn and many proxies close theirs after 5."""


class Pool:
    """Connections to one service, kept for the next call.

    Args:
        endpoint: where the service is, and the certificates.
        proxy: the proxy to the service; None for a direct connection.

    Raises:
        NotSentError: there are no certificate authorities.
    """

    def __init__(self, endpoint: Endpoint, proxy: Proxy | None) -> None:
        # The operations of a deque are atomic, so threads and signal handlers need no lock.
        self._idle: deque[Connection] = deque()
        context = http1(endpoint.tls_context) if endpoint.is_https else None
        self._target = Target(endpoint.host, endpoint.port, context, proxy)

    def send(self, method: str, url: str, headers: RequestHeaders, content: bytes, timeout: float) -> FullResponse:
        """Send a request and read the answer, within `timeout` seconds.

        Raises:
            NotSentError, BrokenExchangeError, TimeoutError, APIResponseValidationError.
        """
        deadline = monotonic() + timeout
        kept = [(name, value) for name, value in headers.items() if name != "accept-encoding"]
        kept.append(("accept-encoding", "identity"))
        path = url[url.index("/", url.index("//") + 2) :]
        connection = self._take() or Connection(self._target, min(deadline, monotonic() + CONNECT_TIMEOUT))
        try:
            answer = connection.exchange(method, path, kept, content, deadline)
        finally:
            self._give_back(connection)
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def __del__(self) -> None:
        self.close()

    def _take(self) -> Connection | None:
        """Return a connection that is still usable, the last one used first; None without one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if monotonic() - connection.idle_since < IDLE_SECONDS and connection.is_quiet:
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        if not connection.is_reusable:
            connection.close()
            return
        connection.idle_since = monotonic()
        self._idle.append(connection)
        if len(self._idle) > 1:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Close connections that were not used for too long. After a burst of calls, no call would take them."""
        while True:
            try:
                oldest = self._idle.popleft()
            except IndexError:
                return
            if monotonic() - oldest.idle_since < IDLE_SECONDS:
                self._idle.appendleft(oldest)
                return
            oldest.close()


class AsyncPool:
    """A pool for asyncio in a forked process, where pyqwest does not work. Each exchange runs in a thread.

    A cancelled exchange continues in its thread until its deadline.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def send(self, method: str, url: str, headers: RequestHeaders, content: bytes) -> FullResponse:
        """Send a request and read the answer."""
        exchange = partial(self._pool.send, method, url, headers, content, _seconds_left(headers))
        return exchange() if is_ending() else await wrap_future(in_thread(exchange))

    async def aclose(self) -> None:
        """Close the idle connections."""
        self._pool.close()


def _seconds_left(headers: RequestHeaders) -> float:
    """Return the deadline in the headers: a thread needs its own, as cancelling the task does not stop it."""
    if milliseconds := headers.get("connect-timeout-ms", ""):
        return int(milliseconds) / 1000
    text = headers.get("grpc-timeout", f"{CONNECT_TIMEOUT:.0f}S")
    return int(text[:-1]) / (1000 if text.endswith("m") else 1)
