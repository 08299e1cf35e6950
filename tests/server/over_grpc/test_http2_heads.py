"""Heads of calls over HTTP/2 that are odd or malformed."""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from hpack import Decoder
from tests.support.grpc_front import Client
from tests.support.raw_http2 import (
    DATA,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    call,
    field,
    frame,
    frames,
    head,
    until_answered,
)
from tests.support.service import TOKEN

from gitpod.server.serving import http2_frames


@pytest.fixture
def raw(port: int) -> Iterator[socket.socket]:
    """A connection, after the greeting."""
    with closing(socket.create_connection(("127.0.0.1", port), 30)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        yield connection


@pytest.mark.parametrize("token", ["", f" {TOKEN}\t"])
def test_white_space_around_a_header_ends_no_connection(raw: socket.socket, token: str) -> None:
    """It is no part of the value, as in HTTP/1.1. A client whose token is empty learns that it needs one."""
    seen = frames(raw)
    for stream, block in ((1, head(token=token)), (3, head())):
        raw.sendall(call(stream, block))
        assert any(each[:2] == (HEADERS, stream) for each in seen)


@pytest.mark.parametrize(
    "malformed",
    [
        field(b"X-Upper", b"v"),
        field(b"x-line", b"a\nb"),
        field(b"connection", b"close"),
        field(b"te", b"gzip"),
        field(b":path", b"/again"),
        field(b":unknown", b"v"),
        field(b"", b"v"),
    ],
)
def test_a_malformed_head_ends_its_call_alone(raw: socket.socket, client: Client, malformed: bytes) -> None:
    """A proxy sends calls of many clients over one connection."""
    raw.sendall(call(1, head() + malformed) + call(3, head()))
    seen = list(until_answered(frames(raw), 3))
    assert [payload for kind, stream, payload in seen if (kind, stream) == (RST_STREAM, 1)] == [struct.pack(">I", 1)]
    assert (DATA, 1) not in {(kind, stream) for kind, stream, _ in seen}
    client("ListSecrets")


def test_a_flood_of_malformed_heads_ends_its_connection(raw: socket.socket) -> None:
    """As each costs the service more than the client."""
    block = head() + field(b"X-Upper", b"v")
    with suppress(ConnectionError):
        raw.sendall(b"".join(call(stream, block) for stream in range(1, 2 * http2_frames.CREDIT, 2)))
    reset = [stream for kind, stream, _ in frames(raw) if kind == RST_STREAM]
    assert len(reset) < http2_frames.CREDIT / 2


@pytest.mark.parametrize(
    "block",
    [
        head(content_type="text/plain"),
        head(content_type="application/grpc+xml"),
        head("/unknown"),
        head(token="no"),
        head(),
    ],
)
def test_the_names_of_an_answer_are_in_lower_case(raw: socket.socket, block: bytes) -> None:
    """As HTTP/2 demands. The RPC runtime writes some of them as HTTP/1.1 allows it."""
    raw.sendall(call(1, block))
    answer = next(payload for kind, stream, payload in frames(raw) if (kind, stream) == (HEADERS, 1))
    names = [header[0] for header in Decoder().decode(answer, raw=True)]
    assert names[0] == b":status"
    assert names == [name.lower() for name in names]
