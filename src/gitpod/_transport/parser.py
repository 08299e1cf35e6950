"""Reads answers of HTTP/1.1 by http.client: those whose head `plain` does not read, and what a proxy answers."""

from collections.abc import Callable
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from typing import Any, TypeAlias

from pyqwest import FullResponse, Headers

from gitpod._transport.body import Body, known_length
from gitpod._transport.dial import Target
from gitpod._transport.failures import IS_TLS, NotSentError

CHUNK = 65536
TLS_ALERT, SETTINGS = b"\x15\x03", b"\x04"
OK, SWITCHING_PROTOCOLS = 200, 101

Receive: TypeAlias = Callable[[int], bytes]
"""Returns at most as many bytes as it is asked for, as soon as there are some. No bytes mean the end."""


class Parser:
    """Reads one answer.

    Args:
        receive: reads from the connection.
        target: what the connection leads to, for errors.
        start: what has been read of the answer already.
    """

    def __init__(self, receive: Receive, target: Target, start: bytes = b"") -> None:
        self._reader = _Reader(_Reads(receive, start))
        self._target = target

    def answer(self, method: str) -> tuple[FullResponse, bool]:
        """Return the answer, and whether the next exchange may follow on the connection."""
        with self.head(method) as response:
            answered = Headers(response.headers.items())
            body = _body(response, answered)
            # Bytes behind the answer belong to no request, so they must not answer the next one.
            is_reusable = not (response.will_close or self._reader.has_surplus())
        return FullResponse(response.status, answered, body, Headers()), is_reusable

    def head(self, method: str) -> HTTPResponse:
        """Read the head of the answer. Interim answers (1xx) are skipped."""
        source: Any = _Source(self._reader)
        _check_protocol(self._reader.peek(), self._target)
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


def _body(response: HTTPResponse, headers: Headers) -> bytes:
    if known_length(headers) is not None and not response.chunked:
        return response.read()
    body = Body(headers, unzip=True)
    while chunk := response.read1(CHUNK):
        body.add(chunk)
    return body.end()


class _Source:
    """Stands for a socket in http.client.HTTPResponse: one reader for all answers of an exchange."""

    def __init__(self, reader: "_Reader") -> None:
        self._reader = reader

    def makefile(self, _mode: str) -> "_Reader":
        return self._reader


class _Reads(RawIOBase):
    """The reads of a buffer: first what has been read already, and nothing once `is_over`."""

    def __init__(self, receive: Receive, start: bytes) -> None:
        self._receive = receive
        self.start = start
        self.is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # which is how BufferedReader calls it
        if self.is_over:
            return 0
        chunk = self.start[: len(buffer)] or self._receive(len(buffer))
        self.start = self.start[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Reader(BufferedReader):
    """A buffer that outlives the responses that read from it."""

    def __init__(self, reads: _Reads) -> None:
        super().__init__(reads)
        self._reads = reads

    def has_surplus(self) -> bool:
        """Whether there is more that was read. Ends the reads."""
        self._reads.is_over = True
        return bool(self.peek() or self._reads.start)

    def close(self) -> None:
        """Stay open: a response closes its reader, and so does one that is garbage-collected."""


def _check_protocol(start: bytes, target: Target) -> None:
    """Raise `NotSentError` if an answer begins like TLS or HTTP/2: such a peer cannot read HTTP/1.1."""
    if start.startswith(TLS_ALERT) and target.context is None:
        raise NotSentError(IS_TLS, permanent=True)
    if start.startswith(b"\0\0") and start[3:4] == SETTINGS:
        text = 'the port speaks HTTP/2 without HTTP/1.1, as gRPC ports do; use the Connect port, or protocol="grpc"'
        raise NotSentError(text, permanent=True)
