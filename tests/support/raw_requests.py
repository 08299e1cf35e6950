"""Builds requests byte by byte, and frames and fields of protobuf."""

import json
import struct
from typing import NamedTuple

from tests.support.service import TOKEN

CANARY = "hunter2"
PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
SERVICE = "/gitpod.v1.SecretService/"
CREATE, LIST, GET = f"{SERVICE}CreateSecret", f"{SERVICE}ListSecrets", f"{SERVICE}GetSecretValue"
JSON, PROTO, WEB = "application/json", "application/proto", "application/grpc-web+proto"
HOST = b"host: localhost\r\n"
BEARER = f"authorization: Bearer {TOKEN}\r\n".encode()
OTHER = b"authorization: Bearer hunter2\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
CUT = 0
"""The status of a connection that is closed without an answer."""


class Row(NamedTuple):
    """What is sent, and what should come back."""

    sent: bytes
    status: int
    code: str | None = None


def post(body: bytes = b"", more: bytes = b"", *, path: str = LIST, kind: str = JSON, bearer: bytes = BEARER) -> bytes:
    """A POST, with `more` header lines."""
    head = f"POST {path} HTTP/1.1\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n".encode()
    return head + HOST + bearer + more + b"\r\n" + body


def bare(line: str, headers: bytes, body: bytes = b"") -> bytes:
    """A request of which nothing but the token is filled in."""
    return line.encode() + b"\r\n" + BEARER + headers + b"\r\n" + body


def get(query: str, path: str = LIST) -> bytes:
    """A GET, as clients may read."""
    return bare(f"GET {path}?{query} HTTP/1.1", HOST)


def chunks(*parts: bytes) -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def frame(message: bytes, flags: int = 0, length: int | None = None) -> bytes:
    """One message of a gRPC-Web body."""
    return struct.pack(">BI", flags, len(message) if length is None else length) + message


def field(number: int, value: bytes) -> bytes:
    """A protobuf field of bytes, below number 16 and length 128."""
    return bytes([number << 3 | 2, len(value)]) + value


def create(**change: object) -> bytes:
    """The JSON of a create that would do, but for the change."""
    return json.dumps({"name": "NAME", "value": CANARY, "projectId": PROJECT, "apiOnly": True} | change).encode()
