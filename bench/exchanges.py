"""What goes over one connection to a service: requests made beforehand, and just enough reading of the answers.

The load must cost little, as it shares the machine with the service. So messages are bytes with a gap for the name.
"""

import itertools
import os
import re
import struct
from collections.abc import Callable, Iterator
from typing import Protocol

from bench.peers.request import field
from hpack import Encoder

GAP = b"@" * 32
"""Where a message has the name of the secret, which is another for every request."""

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_FRAME = struct.Struct(">HBBBL")
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_MOST = 2**31 - 1


class Exchange(Protocol):
    """One connection: one request at a time."""

    def opening(self) -> bytes:
        """What the connection begins with."""
        ...

    def request(self) -> bytes:
        """The next request."""
        ...

    def received(self, data: bytes) -> tuple[bool, bytes]:
        """Whether the answer is complete, and what to send meanwhile. Raises `RuntimeError` for a failure."""
        ...


class Call:
    """A call of an RPC, whose message may have a gap for a name."""

    def __init__(self, rpc: str, message: bytes, token: str) -> None:
        self.path = f"/gitpod.v1.SecretService/{rpc}"
        self.token = token
        self._parts = message.split(GAP)
        self.size = len(message)

    def message(self, name: Callable[[], bytes]) -> bytes:
        """The message, with a name in its gap."""
        return name().join(self._parts) if len(self._parts) > 1 else self._parts[0]


def names() -> Callable[[], bytes]:
    """Gives names that nobody has, as long as the gap."""
    run, numbers = os.urandom(8).hex().encode(), itertools.count()
    return lambda: b"N%b%015d" % (run, next(numbers))


class Connect:
    """Connect in binary, over HTTP/1.1."""

    def __init__(self, call: Call) -> None:
        self._head = (
            f"POST {call.path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/proto\r\n"
            f"authorization: Bearer {call.token}\r\nconnect-protocol-version: 1\r\ncontent-length: {call.size}\r\n\r\n"
        ).encode()
        self._call, self._name = call, names()
        self._buffer = b""

    def opening(self) -> bytes:
        """Nothing."""
        return b""

    def request(self) -> bytes:
        """Head and message."""
        return self._head + self._call.message(self._name)

    def received(self, data: bytes) -> tuple[bool, bytes]:
        """Complete by its length."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False, b""
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the service answered {self._buffer[:300]!r}")
        length = _LENGTH.search(self._buffer, 0, end)
        if length is None:
            raise RuntimeError("the answer has no content-length")
        if len(self._buffer) < end + 4 + int(length[1]):
            return False, b""
        self._buffer = b""
        return True, b""


class GRPC:
    """gRPC, over HTTP/2 with prior knowledge. The header block is the same for each request."""

    def __init__(self, call: Call) -> None:
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": call.path,
            ":authority": "127.0.0.1",
            "content-type": "application/grpc",
            "te": "trailers",
            "authorization": f"Bearer {call.token}",
        }
        # Sensitive headers stay out of the table that a connection keeps, so the block can be sent again.
        self._block: bytes = Encoder().encode([(name, value, True) for name, value in headers.items()], huffman=False)
        self._prefix = struct.pack(">BL", 0, call.size)
        self._call, self._name = call, names()
        self._streams: Iterator[int] = itertools.count(1, 2)
        self._stream = 0
        self._buffer = b""
        self._has_message = False

    def opening(self) -> bytes:
        """The preface, and windows that no answer fills."""
        settings = _frame(_SETTINGS, 0, 0, struct.pack(">HL", 4, _MOST))
        window = _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">L", _MOST - 65_535))
        return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + window

    def request(self) -> bytes:
        """Headers and message on the next stream."""
        self._stream, self._has_message = next(self._streams), False
        message = self._prefix + self._call.message(self._name)
        return _frame(_HEADERS, _END_HEADERS, self._stream, self._block) + _frame(
            _DATA, _END_STREAM, self._stream, message
        )

    def received(self, data: bytes) -> tuple[bool, bytes]:
        """Complete at the end of the stream; an answer without a message is a failure."""
        buffer = self._buffer + data
        is_complete, reply = False, b""
        while len(buffer) >= _FRAME.size:
            high, low, kind, flags, stream = _FRAME.unpack_from(buffer)
            size = high << 8 | low
            if len(buffer) < _FRAME.size + size:
                break
            payload, buffer = buffer[_FRAME.size : _FRAME.size + size], buffer[_FRAME.size + size :]
            reply += self._control(kind, flags, payload)
            if stream == self._stream and kind in (_DATA, _HEADERS):
                self._has_message |= kind == _DATA and size > 0
                is_complete |= bool(flags & _END_STREAM)
        self._buffer = buffer
        if is_complete and not self._has_message:
            raise RuntimeError("the service answered with an error of gRPC")
        return is_complete, reply

    @staticmethod
    def _control(kind: int, flags: int, payload: bytes) -> bytes:
        """The reply to a frame that needs one."""
        if kind in (_RST_STREAM, _GOAWAY):
            raise RuntimeError(f"the service ended a stream or the connection: {payload!r}")
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            return _frame(kind, _ACK, 0, payload if kind == _PING else b"")
        return b""


def create(project: str, token: str) -> Call:
    """A create of a name that nobody has, with a value of 100 characters."""
    message = field(1, GAP) + field(2, project) + field(3, "v" * 100) + field(11, 1)
    return Call("CreateSecret", message, token)


def value(secret: str, token: str) -> Call:
    """A read of a value."""
    return Call("GetSecretValue", field(1, secret), token)


def page(project: str, token: str, size: int = 25) -> Call:
    """A list's first page."""
    return Call("ListSecrets", field(1, field(2, size)) + field(2, field(1, project)), token)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _FRAME.pack(len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload
