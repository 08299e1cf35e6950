"""Clients of HTTP/2 that make a service remember, wait or work, and those that look alike and mean no harm."""

import gc
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import hpack
import pytest
import zstandard
from tests.support.grpc_front import Serve
from tests.support.raw_http2 import (
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    LIST,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    call,
    field,
    frame,
    frames,
    head,
)
from tests.support.service import TOKEN

from gitpod.server.edge.headers import Receive, Scope, Send
from gitpod.server.serving import http2, http2_settings, http2_stream

HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
CANCEL = struct.pack(">I", 8)


def opened(port: int, settings: bytes = b"") -> socket.socket:
    """A connection, after the greeting."""
    connection = socket.create_connection(("127.0.0.1", port), 30)
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
    return connection


@pytest.fixture
def raw(port: int) -> Iterator[socket.socket]:
    """A connection to the service."""
    with closing(opened(port)) as connection:
        yield connection


class Large:
    """An application that answers with so many bytes of body and of headers."""

    def __init__(self, body: int, headers: int = 0) -> None:
        self._body = bytes(body)
        self._headers = [(b"content-type", b"application/grpc"), (b"x-large", b"x" * headers)]

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers, "trailers": True})
        await send({"type": "http.response.body", "body": self._body})
        await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})


def unknown(first: int, count: int) -> bytes:
    """Settings that nobody knows."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", 1000 + first + each, 1) for each in range(count)))


def deques() -> int:
    """How many there are. h2 keeps one for each setting."""
    return sum(isinstance(each, deque) for each in gc.get_objects())


def test_settings_that_nobody_knows_are_forgotten(raw: socket.socket) -> None:
    """There are 65,536 numbers, of 600 bytes each in memory, for each connection."""
    seen = (kind for kind, _, _ in frames(raw))
    before = deques()
    for first in range(0, 2000, 100):
        raw.sendall(unknown(first, 100))
    # Of the greeting, the acknowledgement of its settings, and of each frame.
    assert [next(seen) for _ in range(22)].count(SETTINGS) >= 21
    assert deques() < before + 500


def test_large_settings_end_their_connection(raw: socket.socket) -> None:
    """As one frame of them takes as long as hundreds of small ones."""
    raw.sendall(unknown(0, 2700) * 20)
    assert [kind for kind, _, _ in frames(raw)].count(SETTINGS) < 10


def test_the_table_of_headers_stays_small(port: int) -> None:
    """Whatever a client allows: each answer adds to it, and each header is compared with all of it."""
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = 2**20
    with closing(opened(port, struct.pack(">HI", HEADER_TABLE_SIZE, 2**20))) as connection:
        connection.sendall(b"".join(call(stream, head(token="wrong")) for stream in range(1, 201, 2)))
        heads = islice((payload for kind, _, payload in frames(connection) if kind == HEADERS), 100)
        for payload in heads:
            decoder.decode(payload, raw=True)
    assert decoder.header_table_size == http2_settings.HEADER_TABLE


def test_calls_that_are_given_up_before_they_begin_are_forgotten(raw: socket.socket) -> None:
    """Their tasks are cancelled before their first step. The connection ends once it has no calls."""
    given_up = [frame(HEADERS, END_HEADERS, each, head()) + frame(RST_STREAM, 0, each, CANCEL) for each in (1, 3, 5)]
    raw.sendall(b"".join(given_up) + frame(GOAWAY, 0, 0, bytes(8)))
    assert GOAWAY in [kind for kind, _, _ in frames(raw)]


def test_unread_heads_end_their_connection(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no windows, so the service would keep them all."""
    monkeypatch.setattr(http2, "STALL", 0.3)
    with closing(opened(serve(Large(0, 8000)).port)) as connection:
        ends = connection.getsockname()[1], connection.getpeername()[1]
        for stream in range(1, 10_001, 2):
            try:
                connection.sendall(call(stream, head()))
            except ConnectionError:
                break
        until = time.monotonic() + 240
        while is_established(*ends):
            assert time.monotonic() < until
            time.sleep(0.05)


def is_established(client: int, server: int) -> bool:
    """Whether the server keeps a connection between two ports open. Its goodbye waits behind what nobody reads."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return any(
        each[1].endswith(f":{server:04X}") and each[2].endswith(f":{client:04X}") and each[3] == "01"
        for each in sockets
    )


def is_reset(connection: socket.socket, seconds: float) -> bool:
    """Whether a connection is closed from the other side, both ways, without reading from it."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(seconds * 1000))


def test_an_answer_that_is_read_by_the_byte_is_dropped(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the whole of it has a time too: a call that waits holds its place and its memory."""
    monkeypatch.setattr(http2_stream, "LONGEST_ANSWER", 0.5)
    with closing(opened(serve(Large(20_000)).port, struct.pack(">HI", INITIAL_WINDOW_SIZE, 1))) as connection:
        connection.sendall(call(1, head()))
        read = 0
        for kind, stream, _ in frames(connection):
            if kind == RST_STREAM:
                break
            if kind == DATA:
                read += 1
                assert read < 1000
                time.sleep(0.01)
                connection.sendall(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1)))


def test_a_reader_that_opens_its_windows_by_small_steps_is_served(serve: Serve) -> None:
    """Two frames for each frame of an answer are no flood."""
    with closing(opened(serve(Large(1_000_000)).port)) as connection:
        seen = frames(connection)
        for stream in range(1, 61, 2):
            connection.sendall(call(stream, head()))
            size = 0
            while size < 1_000_000:
                kind, _, payload = next(seen)
                if kind == DATA and payload:
                    size += len(payload)
                    more = struct.pack(">I", len(payload))
                    connection.sendall(frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, stream, more))


def test_a_connection_with_many_calls_lets_others_go_first(serve: Serve) -> None:
    """A read of the socket may hold hundreds of calls, and thousands of small frames."""
    order: list[str] = []
    begun, go_on = threading.Event(), threading.Event()
    answer = Large(1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        order.append(scope["path"])
        if len(order) == 1:
            begun.set()
            # Both connections are read only after this.
            go_on.wait()
        await answer(scope, receive, send)

    port = serve(app).port
    with closing(opened(port)) as busy, closing(opened(port)) as other:
        other.sendall(call(1, head("/gitpod.v1.SecretService/First")))
        begun.wait()
        busy.sendall(b"".join(call(stream, head("/gitpod.v1.SecretService/Busy")) for stream in range(1, 201, 2)))
        other.sendall(call(3, head("/gitpod.v1.SecretService/Other")))
        go_on.set()
        list(islice((1 for kind, _, _ in frames(busy) if kind == DATA), 100))
        list(islice((1 for kind, stream, _ in frames(other) if kind == DATA and stream == 3), 1))
    assert order.index("/gitpod.v1.SecretService/Other") < 50


def test_a_late_call_does_not_hide_the_goodbye(raw: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that the call was not processed. TCP would drop it if the service closed the socket at once."""
    monkeypatch.setattr(http2, "LINGER", 60)
    raw.sendall(call(1, head()) + frame(GOAWAY, 0, 0, bytes(8)))
    ended = select.poll()
    ended.register(raw, select.POLLRDHUP)
    assert ended.poll(30_000)
    raw.sendall(call(3, head()))
    assert not is_reset(raw, 0.3)
    assert [int.from_bytes(payload[:4]) for kind, _, payload in frames(raw) if kind == GOAWAY] == [1]


@pytest.mark.parametrize("method", ["Check", "Watch"])
@pytest.mark.parametrize(("name", "value"), [(b"x-odd", b"\xff"), (b"grpc-timeout", b"soon")])
def test_health_checks_refuse_odd_headers(
    raw: socket.socket, caplog: pytest.LogCaptureFixture, method: str, name: bytes, value: bytes
) -> None:
    """As calls do. Whoever sends them needs no token, and fills no log."""
    raw.sendall(call(1, head(f"/grpc.health.v1.Health/{method}", TOKEN, "application/grpc", field(name, value))))
    answered = next(payload for kind, _, payload in frames(raw) if kind == HEADERS)
    assert (b"grpc-status", b"3") in [*hpack.Decoder().decode(answered, raw=True)]
    assert caplog.records == []


@pytest.mark.parametrize("left", [3, 12, -1])
def test_a_zstd_frame_that_is_cut_short_is_refused(raw: socket.socket, left: int) -> None:
    """It would be read as a message without what is missing, such as a filter."""
    whole = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64))
    cut = whole[:left]
    block = head(LIST, TOKEN, "application/grpc", field(b"grpc-encoding", b"zstd"))
    body = b"\1" + struct.pack(">I", len(cut)) + cut
    raw.sendall(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, 1, 1, body))
    decoder, heads = hpack.Decoder(), (payload for kind, _, payload in frames(raw) if kind == HEADERS)
    decoder.decode(next(heads), raw=True)
    assert (b"grpc-status", b"3") in [*decoder.decode(next(heads), raw=True)]


def test_small_frames_in_large_reads_do_no_harm(raw: socket.socket) -> None:
    """What is read at once is handled in turns, and in order."""
    raw.sendall(frame(HEADERS, END_HEADERS, 1, head()) + frame(DATA, 0, 1, b"") * 1000 + call(3, head())[:-14])
    raw.sendall(frame(DATA, 1, 1, bytes(5)) + frame(DATA, 1, 3, bytes(5)) + frame(GOAWAY, 0, 0, bytes(8)))
    assert sorted(stream for kind, stream, _ in frames(raw) if kind == DATA) == [1, 3]
