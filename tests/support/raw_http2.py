"""Frames of HTTP/2, for gRPC calls that no library makes."""

import socket
import struct
from collections.abc import Iterator

from tests.support.service import TOKEN

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4
LIST = "/gitpod.v1.SecretService/ListSecrets"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name: bytes, value: bytes) -> bytes:
    """A header that is not indexed, of at most 126 bytes each (RFC 7541 section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def unread_calls(port: int, path: str, token: str, count: int) -> socket.socket:
    """A connection with calls of an empty message, whose answers the client does not let through."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)))
    # The first two are `:method: POST` and `:scheme: http`, which have an index.
    headers = b"\x83\x86" + field(b":path", path.encode()) + field(b":authority", b"localhost")
    for name, value in (("te", "trailers"), ("content-type", "application/grpc")):
        headers += field(name.encode(), value.encode())
    headers += field(b"authorization", f"Bearer {token}".encode())
    for stream in range(1, 2 * count, 2):
        call = frame(HEADERS, END_HEADERS, stream, headers) + frame(DATA, END_STREAM, stream, bytes(5))
        connection.sendall(call)
    return connection


def head(path: str = LIST, token: str = TOKEN, content_type: str = "application/grpc", *more: bytes) -> bytes:
    """The head of a call."""
    # The first two are `:method: POST` and `:scheme: http`, which have an index.
    block = b"\x83\x86" + field(b":path", path.encode()) + field(b":authority", b"localhost")
    for name, value in (("te", "trailers"), ("content-type", content_type), ("authorization", f"Bearer {token}")):
        block += field(name.encode(), value.encode())
    return block + b"".join(more)


def call(stream: int, block: bytes) -> bytes:
    """A call with an empty message."""
    return frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, bytes(5))


def frames(connection: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """The type, stream and payload of each frame that comes, until the connection is closed."""
    received = b""
    while True:
        while len(received) >= 9 and len(received) >= (size := 9 + int.from_bytes(received[:3])):
            yield received[3], int.from_bytes(received[5:9]), received[9:size]
            received = received[size:]
        try:
            more = connection.recv(65536)
        except ConnectionError:
            return
        if not more:
            return
        received += more


def answered(connection: socket.socket) -> list[int]:
    """The streams that were answered before the connection was closed."""
    return [stream for kind, stream, _ in frames(connection) if kind == DATA]


def until_answered(seen: Iterator[tuple[int, int, bytes]], stream: int) -> Iterator[tuple[int, int, bytes]]:
    """The frames up to the first of this stream's answer that has data."""
    for each in seen:
        yield each
        if each[:2] == (DATA, stream):
            return
