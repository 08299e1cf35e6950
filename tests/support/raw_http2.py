"""Frames of HTTP/2, for gRPC calls that no library makes."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4


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
