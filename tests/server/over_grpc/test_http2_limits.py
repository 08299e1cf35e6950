"""What a connection of HTTP/2 may cost: floods of frames, heads, slow senders and readers."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest
from tests.support.grpc_front import Client, Connect, Serve, answer
from tests.support.raw_http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    answered,
    call,
    field,
    frame,
    frames,
    head,
)

from gitpod.server.edge.headers import Receive, Scope, Send
from gitpod.server.serving import http2, http2_frames, http2_stream

FLOOD = 20_000


@pytest.fixture
def raw(port: int) -> Iterator[socket.socket]:
    """A connection, after the greeting."""
    with closing(socket.create_connection(("127.0.0.1", port), 30)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        yield connection


FLOODS = {
    "pings": frame(PING, 0, 0, bytes(8)),
    "settings": frame(SETTINGS, 0, 0, b""),
    "priorities": frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1)),
    "windows": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
    "unknown frames": frame(0xF0, 0, 0, b""),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_that_ask_for_nothing_ends_its_connection(
    raw: socket.socket, client: Client, kind: str
) -> None:
    """Before most of it is read, and nobody else is kept waiting."""
    with suppress(ConnectionError):
        raw.sendall(FLOODS[kind] * FLOOD)
    acknowledged = sum(seen[0] in (PING, SETTINGS) for seen in frames(raw))
    assert acknowledged <= http2_frames.CREDIT + 3
    client("ListSecrets")


def test_calls_that_are_given_up_at_once_end_their_connection(raw: socket.socket, client: Client) -> None:
    """As each costs the service more than the client (CVE-2023-44487)."""
    given_up = [
        frame(HEADERS, END_HEADERS, stream, head()) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
        for stream in range(1, 2 * http2_frames.CREDIT, 2)
    ]
    with suppress(ConnectionError):
        raw.sendall(b"".join(given_up))
    assert len(answered(raw)) < http2_frames.CREDIT
    client("ListSecrets")


def test_a_connection_that_is_used_as_it_should_be_stays(client: Client, raw: socket.socket) -> None:
    """However many calls it makes, of which some are given up, and however many pings it sends between them."""
    seen = frames(raw)
    for number in range(150):
        stream = 4 * number + 1
        raw.sendall(call(stream, head()) + frame(PING, 0, 0, bytes(8)) * 8)
        raw.sendall(
            frame(HEADERS, END_HEADERS, stream + 2, head()) + frame(RST_STREAM, 0, stream + 2, struct.pack(">I", 8))
        )
        assert any((of, kind) == (stream, DATA) for kind, of, _ in seen)
    client("ListSecrets")


@pytest.mark.parametrize("is_split", [False, True])
def test_a_head_that_is_too_long_ends_its_connection(raw: socket.socket, client: Client, *, is_split: bool) -> None:
    """Also one of many frames that never ends (CERT VU#421644)."""
    long = b"".join(field(b"x-%d" % number, b"v" * 120) for number in range(90))
    if is_split:
        raw.sendall(frame(HEADERS, 0, 1, head()))
        with suppress(ConnectionError):
            raw.sendall(frame(CONTINUATION, 0, 1, long) * 10)
    else:
        block = head() + long * 2
        raw.sendall(frame(HEADERS, 0, 1, block[:10_000]) + frame(CONTINUATION, END_HEADERS, 1, block[10_000:]))
    assert answered(raw) == []
    client("ListSecrets")


def test_a_body_of_too_many_pieces_ends_its_call_alone(raw: socket.socket) -> None:
    """Each piece costs some microseconds, whatever its size."""
    raw.sendall(frame(HEADERS, END_HEADERS, 1, head()))
    raw.sendall(frame(DATA, 0, 1, b"") * (http2_stream.MAX_PIECES + 1))
    assert next(stream for kind, stream, _ in frames(raw) if kind == RST_STREAM) == 1
    raw.sendall(call(3, head()))
    assert next(stream for kind, stream, _ in frames(raw) if kind == DATA) == 3


@pytest.mark.parametrize("sent", [b"", PREFACE[:10], PREFACE + frame(HEADERS, END_HEADERS, 1, head())[:20]])
def test_a_frame_that_does_not_come_ends_its_connection(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """The preface too. Others go on."""
    monkeypatch.setattr(http2, "STALL", 0.2)
    port = serve().port
    with closing(socket.create_connection(("127.0.0.1", port), 30)) as connection:
        connection.sendall(sent)
        assert answered(connection) == []
    connect(port)("ListSecrets")


def test_what_is_not_http2_is_closed(port: int) -> None:
    """At once."""
    with closing(socket.create_connection(("127.0.0.1", port), 30)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert answered(connection) == []


def test_an_answer_that_nobody_reads_is_dropped(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, and the other calls of the connection go on."""
    monkeypatch.setattr(http2_stream, "STALL", 0.2)
    port = serve().port
    with closing(socket.create_connection(("127.0.0.1", port), 30)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + call(1, head()))
        assert next(stream for kind, stream, _ in frames(connection) if kind == RST_STREAM) == 1
        window = frame(WINDOW_UPDATE, 0, 3, struct.pack(">I", 1000))
        connection.sendall(frame(HEADERS, END_HEADERS, 3, head()) + window + frame(DATA, END_STREAM, 3, bytes(5)))
        assert next(stream for kind, stream, _ in frames(connection) if kind == DATA) == 3
    connect(port)("ListSecrets")


def test_an_idle_connection_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GOAWAY that says which calls were processed, so that clients repeat others without doubt."""
    monkeypatch.setattr(http2, "IDLE", 0.2)
    with closing(socket.create_connection(("127.0.0.1", serve().port), 30)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + call(1, head()))
        goaways = [payload for kind, _, payload in frames(connection) if kind == GOAWAY]
    assert [int.from_bytes(payload[:4]) for payload in goaways][-1] == 1


def test_an_old_connection_is_replaced(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an error for its client, whose calls go on over another one."""
    monkeypatch.setattr(http2, "AGE", 0.3)
    monkeypatch.setattr(http2, "LINGER", 0.1)
    client = connect(serve().port)
    until = time.monotonic() + 2
    while time.monotonic() < until:
        client("ListSecrets")


def test_an_old_connection_is_told_so(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it was never idle for long."""
    monkeypatch.setattr(http2, "AGE", 0.2)
    monkeypatch.setattr(http2, "LINGER", 0.1)
    with closing(socket.create_connection(("127.0.0.1", serve().port), 30)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        assert GOAWAY in [kind for kind, _, _ in frames(connection)]


def test_a_call_after_a_stop_has_begun_is_refused(serve: Serve) -> None:
    """With REFUSED_STREAM, so that its client makes it elsewhere. A call under way gets its answer."""
    begun, go_on = threading.Event(), threading.Event()

    async def held(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.to_thread(go_on.wait)
        await answer([])(scope, receive, send)

    server = serve(held)
    with ExitStack() as stack:
        stack.callback(go_on.set)
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + call(1, head()))
        assert begun.wait(30)
        threading.Thread(target=server.stop, args=(60,)).start()
        seen = frames(connection)
        assert any(kind == GOAWAY for kind, _, _ in seen)
        connection.sendall(call(3, head()))
        assert next(payload for kind, stream, payload in seen if (kind, stream) == (RST_STREAM, 3)) == bytes(
            [0, 0, 0, 7]
        )
        go_on.set()
        assert 1 in [stream for kind, stream, _ in seen if kind == HEADERS]


def test_a_client_that_says_goodbye_gets_its_answers(raw: socket.socket) -> None:
    """As it waits for the calls that it has made, and makes no others."""
    raw.sendall(call(1, head()) + frame(GOAWAY, 0, 0, bytes(8)))
    assert answered(raw) == [1]


def test_a_body_that_comes_after_the_answer_is_dropped(raw: socket.socket) -> None:
    """Its stream was ended without an error, and is not reset with one. Its bytes are given back to the connection."""
    raw.sendall(frame(HEADERS, END_HEADERS, 1, head(token="wrong")))
    seen = frames(raw)
    assert next(payload for kind, stream, payload in seen if kind == RST_STREAM and stream == 1) == bytes(4)
    for _ in range(16):
        raw.sendall(frame(DATA, 0, 1, bytes(10_000)))
    raw.sendall(frame(DATA, END_STREAM, 1, b"") + call(3, head()))
    late: list[tuple[int, int, bytes]] = []
    for kind, stream, payload in seen:
        late.append((kind, stream, payload))
        if (kind, stream) == (DATA, 3):
            break
    assert [each for each in late if each[0] == RST_STREAM and each[1] == 1] == []
    assert (
        sum(int.from_bytes(payload) for kind, stream, payload in late if (kind, stream) == (WINDOW_UPDATE, 0))
        >= 160_000
    )


def test_a_call_ends_in_one_piece(raw: socket.socket) -> None:
    """Nginx refuses a reset that comes after the end of the answer."""
    for stream in range(1, 41, 2):
        raw.sendall(frame(HEADERS, END_HEADERS, stream, head(token="wrong")))
        received = b""
        while not received.endswith(frame(RST_STREAM, 0, stream, bytes(4))):
            assert stream not in ended(received)
            received = raw.recv(65536)


def ended(received: bytes) -> list[int]:
    """The streams whose last frame this is."""
    found: list[int] = []
    while received:
        if received[3] in (DATA, HEADERS) and received[4] & END_STREAM:
            found.append(int.from_bytes(received[5:9]))
        received = received[9 + int.from_bytes(received[:3]) :]
    return found
