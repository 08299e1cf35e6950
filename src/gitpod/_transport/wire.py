"""One HTTP/1.1 connection over a socket. Every read and write ends at the deadline of its exchange.

http.client parses the answers. This module writes the head of a request, together with its body.
"""

import os
import re
import ssl
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from io import BufferedReader, RawIOBase
from socket import socket, socketpair
from time import monotonic
from typing import Any
from weakref import WeakSet

from pyqwest import FullResponse, Headers

from gitpod._transport.body import Body, known_length
from gitpod._transport.dial import Target, dial, is_readable, not_sent
from gitpod._transport.failures import IS_TLS, UNWANTED, BrokenExchangeError, NotSentError, forked
from gitpod._transport.proxy import Proxy

CHUNK = 65536
TLS_ALERT, SETTINGS = b"\x15\x03", b"\x04"
OK, SWITCHING_PROTOCOLS = 200, 101

CERTIFICATE_ALERT = re.compile("_ALERT_(.*CERTIFICATE|UNKNOWN_CA)")
"""Matches OpenSSL's name of an alert that refuses a client's certificate. In TLS 1.3 it comes with the first read."""


class Connection:
    """A connection to a service, for one exchange at a time.

    Args:
        target: the destination.
        deadline: when it must be established, by the monotonic clock.

    Attributes:
        idle_since: when the last exchange ended.

    Raises:
        NotSentError: it cannot be established.
    """

    def __init__(self, target: Target, deadline: float) -> None:
        self._target = target
        self._deadline = deadline
        self._is_new = True
        self.is_reusable = False
        self.idle_since = 0.0
        made_by = os.getpid()
        self._socket = dial(target.proxy or target, deadline)
        if os.getpid() != made_by:
            # A signal handler forked and returned in the child. The parent still uses this socket.
            self._socket.detach()
            raise forked("a call under way")
        _OPEN.add(self)
        try:
            if target.proxy is not None:
                self._tunnel(target.proxy)
            if target.context is not None:
                self._socket.settimeout(self._left())
                # An answer that is cut off must not look like one that ended.
                self._socket = target.context.wrap_socket(
                    self._socket, server_hostname=target.host, suppress_ragged_eofs=False
                )
        except BaseException as error:  # noqa: BLE001 # not_sent returns an error that it does not know
            self._socket.close()
            raise not_sent(error, target) from None

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to read. Between two exchanges, that would be the peer's close or an error."""
        if self._socket.fileno() < 0 or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            return False
        return not is_readable(self._socket)

    def exchange(
        self, method: str, path: str, headers: list[tuple[str, str]], content: bytes, deadline: float
    ) -> FullResponse:
        """Send a request and read the answer. `is_reusable` says whether the next one may follow.

        Raises:
            NotSentError: the peer speaks another protocol, so it did not process the request.
            BrokenExchangeError: the connection failed.
            APIResponseValidationError: the answer is too large.
            TimeoutError: the deadline passed.
        """
        self._deadline, self.is_reusable = deadline, False
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._target.host_header}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"content-length: {len(content)}", "", ""]
        try:
            self._send("\r\n".join(lines).encode("latin-1") + content)
            reader = _Reader(_Reads(self))
            with self._answer(method, reader) as response:
                answered = Headers(response.headers.items())
                body = self._body(response, answered)
                # Bytes behind the answer belong to no request, so they must not answer the next one.
                self.is_reusable, self._is_new = not (response.will_close or reader.has_surplus()), False
        except TimeoutError:
            raise TimeoutError from None
        except (OSError, HTTPException, ValueError) as error:
            raise self._broken(error) from None
        return FullResponse(response.status, answered, body, Headers())

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def leave_to_parent(self, dead: socket) -> None:
        """Replace the socket of a forked process by a dead one, because the parent still uses the connection.

        The descriptor keeps its number: OpenSSL may be reading by it, if a signal handler forked during a call and
        returned in the child.
        """
        if self._socket.fileno() >= 0:
            os.dup2(dead.fileno(), self._socket.fileno(), inheritable=False)

    def _left(self) -> float:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _send(self, data: bytes) -> None:
        unsent = memoryview(data)
        while unsent:
            self._socket.settimeout(self._left())
            unsent = unsent[self._socket.send(unsent) :]

    def read_into(self, buffer: memoryview) -> int:
        """Read the bytes that have arrived; wait for them until the deadline (io.RawIOBase.readinto)."""
        self._socket.settimeout(self._left())
        return self._socket.recv_into(buffer)

    def _answer(self, method: str, reader: "_Reader") -> HTTPResponse:
        """Read the head of the answer. Interim answers (1xx) are skipped."""
        source: Any = _Source(reader)
        _check_protocol(reader.peek(), self._target)
        while True:
            response = HTTPResponse(source, method=method)
            try:
                response.begin()
            except BaseException:
                # The exception's frames keep it. Its finalizer may find the reader closed, which Python 3.13 reports.
                response.close()
                raise
            if response.status >= OK or response.status == SWITCHING_PROTOCOLS:
                return response

    def _body(self, response: HTTPResponse, headers: Headers) -> bytes:
        if known_length(headers) is not None and not response.chunked:
            return response.read()
        body = Body(headers, unzip=True)
        while chunk := response.read1(CHUNK):
            body.add(chunk)
        return body.end()

    def _tunnel(self, proxy: Proxy) -> None:
        """Have the proxy connect to the service (RFC 9110 section 9.3.6)."""
        authority = self._target.authority
        lines = [f"CONNECT {authority} HTTP/1.1", f"host: {authority}"]
        if proxy.authorization is not None:
            lines.append(f"proxy-authorization: {proxy.authorization}")
        try:
            self._send("\r\n".join([*lines, "", ""]).encode("latin-1"))
            status = self._answer("CONNECT", _Reader(_Reads(self))).status
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, HTTPException | ValueError) and not isinstance(error, OSError):
                # Its text quotes the answer.
                raise NotSentError(f"the proxy {proxy.url} does not answer in HTTP/1.1", permanent=True) from None
            raise not_sent(error, proxy) from None
        if status != OK:
            # What a proxy refuses it will refuse again; its own trouble may pass.
            raise NotSentError(f"the proxy {proxy.url} answered HTTP {status}", permanent=status < 500)  # noqa: PLR2004

    def _broken(self, error: Exception) -> Exception:
        """Return the failure of an exchange whose request was sent, at least in part."""
        if isinstance(error, NotSentError):
            return error
        if isinstance(error, ssl.SSLError) and self._is_new and CERTIFICATE_ALERT.search(error.reason or ""):
            return NotSentError(UNWANTED, permanent=True)
        plain = self._is_new and self._target.context is None
        hint = "; if the port speaks TLS, base_url must begin with https://" if plain else ""
        if isinstance(error, RemoteDisconnected):
            return BrokenExchangeError(f"the peer closed the connection without an answer{hint}")
        if isinstance(error, ConnectionError):
            return BrokenExchangeError(f"{error.strerror or error}{hint}")
        if isinstance(error, HTTPException | ValueError):
            # The error's own text quotes the answer, so it is not shown.
            return BrokenExchangeError(f"the answer is not valid HTTP/1.1 ({type(error).__name__})")
        return BrokenExchangeError(error.strerror or str(error) if isinstance(error, OSError) else str(error))


_OPEN: WeakSet[Connection] = WeakSet()


def _after_in_child() -> None:
    if connections := list(_OPEN):
        dead, other = socketpair()
        other.close()
        with dead:
            for connection in connections:
                connection.leave_to_parent(dead)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)


class _Source:
    """Stands for a socket in http.client.HTTPResponse: one reader for all answers of an exchange."""

    def __init__(self, reader: "_Reader") -> None:
        self._reader = reader

    def makefile(self, _mode: str) -> "_Reader":
        return self._reader


class _Reads(RawIOBase):
    """Reads of a connection, for a buffer; none once `is_over`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # which is how BufferedReader calls it
        return 0 if self.is_over else self._connection.read_into(buffer)


class _Reader(BufferedReader):
    """A buffer that outlives the responses that read from it."""

    def __init__(self, reads: _Reads) -> None:
        super().__init__(reads)
        self._reads = reads

    def has_surplus(self) -> bool:
        """Whether there is more in the buffer. Ends its reads."""
        self._reads.is_over = True
        return bool(self.peek())

    def close(self) -> None:
        """Stay open: a response closes its reader, and so does one that is garbage-collected."""


def _check_protocol(start: bytes, target: Target) -> None:
    """Raise `NotSentError` if an answer begins like TLS or HTTP/2: such a peer cannot read HTTP/1.1."""
    if start.startswith(TLS_ALERT) and target.context is None:
        raise NotSentError(IS_TLS, permanent=True)
    if start.startswith(b"\0\0") and start[3:4] == SETTINGS:
        text = 'the port speaks HTTP/2 without HTTP/1.1, as gRPC ports do; use the Connect port, or protocol="grpc"'
        raise NotSentError(text, permanent=True)
