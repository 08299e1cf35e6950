"""One HTTP/1.1 connection over a socket. Every read and write ends at the deadline of its exchange.

`plain` and `parser` read the answers. This module writes the head of a request, together with its body.
"""

import os
import re
import ssl
from collections.abc import Callable
from http.client import HTTPException, RemoteDisconnected
from socket import socket, socketpair
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakSet

from pyqwest import FullResponse, Headers

from gitpod._transport.dial import Target, dial, is_ready, not_sent
from gitpod._transport.failures import UNWANTED, BrokenExchangeError, NotSentError, forked
from gitpod._transport.parser import Parser
from gitpod._transport.plain import plain_head
from gitpod._transport.proxy import Proxy

R = TypeVar("R")
CHUNK = 65536
LONGEST_WAIT = 1e6
"""Seconds. The system takes a number of milliseconds that fits 31 bits."""

OK = 200

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
        self._host = f"host: {target.host_header}"
        self._deadline = deadline
        self._is_new = True
        self._has_ended = False
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
            # A timeout of the socket's own would take two more calls of the system for each read and write.
            self._socket.setblocking(False)
            if target.proxy is not None:
                self._tunnel(target.proxy)
            if target.context is not None:
                self._socket.settimeout(self._left())
                # An answer that is cut off must not look like one that ended.
                self._socket = target.context.wrap_socket(
                    self._socket, server_hostname=target.host, suppress_ragged_eofs=False
                )
                self._socket.setblocking(False)
        except BaseException as error:  # noqa: BLE001 # not_sent returns an error that it does not know
            self._socket.close()
            raise not_sent(error, target) from None

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to read. Between two exchanges, that would be the peer's close or an error."""
        return self._socket.fileno() >= 0 and not self._pending() and not is_ready(self._socket, 0)

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
        lines = [f"{method} {path} HTTP/1.1", self._host]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"content-length: {len(content)}", "", ""]
        try:
            self._send("\r\n".join(lines).encode("latin-1") + content)
            answer = self._answer(method)
        except TimeoutError:
            raise TimeoutError from None
        except (OSError, HTTPException, ValueError) as error:
            raise self._broken(error) from None
        self._is_new = False
        return answer

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
        self._left()
        unsent = memoryview(data)
        while unsent:
            unsent = unsent[self._done(self._socket.send, unsent, to_write=True, at_once=True) :]

    def receive(self, most: int) -> bytes:
        """Return the bytes that have arrived; wait for them until the deadline. No bytes mean the end."""
        if self._has_ended:
            # A peer may end TLS and leave the socket open, which is then never ready again.
            return b""
        # Right after a request there is nothing to read yet.
        chunk = self._done(self._socket.recv, most, to_write=False, at_once=self._pending())
        self._has_ended = not chunk
        return chunk

    def _done(self, step: Callable[[Any], R], argument: object, *, to_write: bool, at_once: bool) -> R:
        """Read or write what is possible, `at_once` or when the socket is ready for it, until the deadline."""
        waits_to_write = to_write
        while True:
            if not at_once:
                self._wait(to_write=waits_to_write)
            at_once = False
            try:
                return step(argument)
            except BlockingIOError:
                waits_to_write = to_write
            except ssl.SSLWantReadError:
                waits_to_write = False
            except ssl.SSLWantWriteError:
                waits_to_write = True

    def _wait(self, *, to_write: bool) -> None:
        while not is_ready(self._socket, min(self._left(), LONGEST_WAIT), to_write=to_write):
            pass

    def _pending(self) -> bool:
        """Whether bytes have been decrypted and not read."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def _answer(self, method: str) -> FullResponse:
        """Read an answer. `is_reusable` says whether the next exchange may follow."""
        start = self.receive(CHUNK)
        head = plain_head(start)
        if head is None:
            return self._parsed(method, start)
        body = start[head.end :]
        if len(body) < head.length:
            rest = bytearray(body)
            while len(rest) < head.length:
                chunk = self.receive(CHUNK)
                if not chunk:
                    return self._parsed(method, start[: head.end] + rest)
                rest += chunk
            body = bytes(rest)
        # Bytes behind the answer belong to no request, so they must not answer the next one.
        self.is_reusable = len(body) == head.length
        return FullResponse(head.status, Headers(head.fields), body[: head.length], Headers())

    def _parsed(self, method: str, start: bytes) -> FullResponse:
        """Read an answer that is not plain, of which the start has been read."""
        answer, self.is_reusable = Parser(self.receive, self._target, start).answer(method)
        return answer

    def _tunnel(self, proxy: Proxy) -> None:
        """Have the proxy connect to the service (RFC 9110 section 9.3.6)."""
        authority = self._target.authority
        lines = [f"CONNECT {authority} HTTP/1.1", f"host: {authority}"]
        if proxy.authorization is not None:
            lines.append(f"proxy-authorization: {proxy.authorization}")
        try:
            self._send("\r\n".join([*lines, "", ""]).encode("latin-1"))
            status = Parser(self.receive, self._target).head("CONNECT").status
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
