"""Answers at the edge of HTTP: those that drip, lie about their length or come too early or too late."""

import asyncio
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.caller import Caller
from tests.support.peer import Script, answer, in_turn, read_request
from tests.support.service import TOKEN
from tests.support.ways import PARAMS, STORED, UUID, Connect, Kind, MakePeer

import gitpod
from gitpod import Gitpod

pytestmark = [pytest.mark.usefixtures("clean_environment"), pytest.mark.slow]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
LENGTH = f"content-length: {len(STORED)}\r\n\r\n".encode()
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
CHUNK = f"{len(STORED):x}\r\n".encode() + STORED + b"\r\n0\r\n"
VALUES = [b'{"value": "%d"}' % number for number in range(3)]


def drips(first: bytes, drop: bytes = b"a") -> Callable[[socket.socket, bytes], None]:
    """A script that sends something, and then a drop every few hundredths of a second for longer than a test takes."""

    def script(connection: socket.socket, _request: bytes) -> None:
        with suppress(OSError):
            connection.sendall(first)
            for _ in range(200):
                time.sleep(0.03)
                connection.sendall(drop)

    return script


def keeps_open(*answers: bytes) -> Script:
    """A script that answers each request of a connection by the next of these bytes, and keeps it open."""

    def script(connection: socket.socket, _request: bytes) -> None:
        for data in answers:
            connection.sendall(data)
            if not read_request(connection):
                return

    return script


def whole(body: bytes) -> bytes:
    """An answer with its length."""
    return HEAD + f"content-length: {len(body)}\r\n\r\n".encode() + body


DRIPPING = {
    "the status": drips(b"HTTP/1.1 "),
    "a header": drips(HEAD + b"x-y: "),
    "headers": drips(HEAD, b"x-y: z\r\n"),
    "interim answers": drips(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "a body": drips(HEAD + b"content-length: 999\r\n\r\n"),
    "a body without length": drips(HEAD + b"\r\n"),
    "the size of a chunk": drips(CHUNKED, b"0"),
    "an extension of a chunk": drips(CHUNKED + b"5;"),
    "chunks": drips(CHUNKED, b"1\r\n \r\n"),
    "trailers": drips(CHUNKED + CHUNK, b"x-y: z\r\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", DRIPPING)
def test_what_drips_does_not_outlast_the_deadline(connect: Connect, peer: MakePeer, what: str) -> None:
    """Wherever it does, and though no single byte is late."""
    there = peer(DRIPPING[what])
    with pytest.raises(gitpod.APIError) as caught:
        connect(there.url).create(**PARAMS, timeout=0.3)
    assert (caught.value.outcome, len(there.requests)) == ("unknown", 1)


@pytest.mark.slow
@pytest.mark.parametrize("first", [b"", b"\x16\x03\x03\x40\x00"], ids=["nothing", "a record"])
def test_a_handshake_that_stalls_does_not_outlast_the_deadline(connect: Connect, first: bytes) -> None:
    """Of TLS, byte by byte or not at all."""

    def script(connection: socket.socket) -> None:
        drips(first, b"\x02" if first else b"")(connection, b"")

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    script(connection)

        threading.Thread(target=accept, daemon=True).start()
        with pytest.raises(gitpod.APIConnectionError):
            connect(f"https://127.0.0.1:{listener.getsockname()[1]}", max_retries=0).create(**PARAMS, timeout=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nx-y: "], ids=["the status", "a header"])
def test_a_proxy_that_drips_does_not_outlast_the_deadline(
    connect: Connect, peer: MakePeer, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    """And the request was not sent, or is not known to have been."""
    monkeypatch.setenv("HTTPS_PROXY", peer(drips(first)).url)
    with pytest.raises(gitpod.APIConnectionError):
        connect("https://secrets.invalid", max_retries=0).create(**PARAMS, timeout=0.5)


UNDERSTOOD = {
    "early hints": b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + whole(STORED),
    "HTTP/1.0 without length": HEAD.replace(b"1.1", b"1.0") + b"\r\n" + STORED,
    "HTTP/1.0 with length": HEAD.replace(b"1.1", b"1.0") + LENGTH + STORED,
    "HTTP/1.1 without length": HEAD + b"\r\n" + STORED,
    "connection: close": HEAD + b"connection: close\r\n" + LENGTH + STORED,
    "chunks with trailers": CHUNKED + CHUNK + b"x-y: z\r\n\r\n",
}


@pytest.mark.parametrize("what", UNDERSTOOD)
def test_unusual_answers_are_understood(connect: Connect, peer: MakePeer, what: str) -> None:
    """All of these are valid."""
    there = peer(lambda connection, _: connection.sendall(UNDERSTOOD[what]))
    caller = connect(there.url)
    for _ in range(2):
        assert caller.create(**PARAMS).secret.id == UUID
        # The peer closes its connection, which is seen before the next call.
        time.sleep(0.1)
    assert len(there.requests) == 2


@pytest.mark.parametrize("head", [HEAD, HEAD[:-2], HEAD[:-9], b"HTTP/1.1 103 Hints\r\n\r\n" + HEAD, b"HTTP/1.1 204"])
def test_a_head_that_is_cut_off_is_no_success(connect: Connect, peer: MakePeer, head: bytes) -> None:
    """Though an empty message would be a whole answer to some calls."""
    head = head.replace(b"json", b"proto")
    there = peer(lambda connection, _: connection.sendall(head))
    with pytest.raises(gitpod.APIConnectionError) as caught:
        connect(there.url, codec="binary", max_retries=0).update_value(secret_id=UUID, value="value")
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("length", [b"0", b"1", b"%d" % (len(STORED) - 1), b"%d" % (len(STORED) + 9), b"-1", b"x"])
def test_a_length_that_lies_is_no_success(connect: Connect, peer: MakePeer, length: bytes) -> None:
    """Whichever way; the service may have done what it was asked."""
    there = peer(lambda connection, _: connection.sendall(HEAD + b"content-length: " + length + b"\r\n\r\n" + STORED))
    caller = connect(there.url)
    if length in (b"-1", b"x"):
        # http.client takes it for none, and reads to the end.
        with suppress(gitpod.APIError):
            assert caller.create(**PARAMS).secret.id == UUID
        return
    with pytest.raises(gitpod.APIError) as caught:
        caller.create(**PARAMS)
    assert (caught.value.outcome, len(there.requests)) == ("unknown", 1)


@pytest.mark.parametrize("late", [0.0, 0.1], ids=["at once", "later"])
def test_what_comes_behind_an_answer_is_no_answer_to_the_next_call(
    connect: Connect, peer: MakePeer, late: float
) -> None:
    """Bytes that nobody asked for end the connection."""
    stray = HEAD + b"content-length: 18\r\n\r\n" + b'{"value": "stray"}'

    def script(connection: socket.socket, _request: bytes) -> None:
        data = whole(VALUES[0])
        connection.sendall(data + (b"" if late else stray[:20]))
        time.sleep(late)
        with suppress(OSError):
            connection.sendall(stray if late else stray[20:])
            read_request(connection)
            connection.sendall(stray)

    there = peer(in_turn(script, answer(200, VALUES[1])))
    caller = connect(there.url)
    assert caller.get_value(secret_id=UUID).reveal() == "0"
    time.sleep(0.3)
    assert caller.get_value(secret_id=UUID).reveal() == "1"


def test_a_connection_is_used_again(connect: Connect, peer: MakePeer) -> None:
    """Where the answers have their lengths."""
    there = peer(keeps_open(*map(whole, VALUES)))
    caller = connect(there.url)
    assert [caller.get_value(secret_id=UUID).reveal() for _ in VALUES] == ["0", "1", "2"]
    assert len(there.requests) == 1


@pytest.mark.parametrize("head", [HEAD + b"\r\n", HEAD.replace(b"1.1", b"1.0") + b"\r\n", CHUNKED + b"fff\r\n"])
def test_an_answer_that_is_cut_off_inside_tls_is_no_success(connect: Connect, pki: Path, head: bytes) -> None:
    """Only a goodbye of TLS ends an answer without a length; anybody on the way can close the connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki / "server.pem")

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as secured:
                read_request(secured)
                secured.sendall(head + STORED)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        caller = connect(f"https://127.0.0.1:{listener.getsockname()[1]}", ca_cert=pki / "ca.pem", max_retries=0)
        with pytest.raises(gitpod.APIError) as caught:
            caller.create(**PARAMS)
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("start", [b"", HEAD + LENGTH + STORED[:9]], ids=["nothing", "half a body"])
def test_an_answer_ends_with_tls_and_not_with_the_socket(connect: Connect, pki: Path, start: bytes) -> None:
    """Servers on asyncio say goodbye, and then keep the connection open until the client has done so too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki / "server.pem")
    kept: list[ssl.SSLSocket] = []

    def serve(listener: socket.socket) -> None:
        kept.append(context.wrap_socket(listener.accept()[0], server_side=True))
        read_request(kept[0])
        kept[0].sendall(start)
        kept[0].setblocking(False)
        with suppress(ssl.SSLWantReadError):
            kept[0].unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        caller = connect(f"https://127.0.0.1:{listener.getsockname()[1]}", ca_cert=pki / "ca.pem", max_retries=0)
        with pytest.raises(gitpod.APIConnectionError) as caught:
            caller.create(**PARAMS, timeout=5)
    kept[0].close()
    assert (caught.value.outcome, caught.value.code) == ("unknown", "unavailable")


def test_many_threads_share_a_client(peer: MakePeer) -> None:
    """Each call gets the answer to its own request."""

    def echo(connection: socket.socket, request: bytes) -> None:
        while request:
            number = request.lower().partition(b"x-number: ")[2].partition(b"\r\n")[0]
            connection.sendall(whole(b'{"value": "%s"}' % number))
            request = read_request(connection)

    with Gitpod(bearer_token=TOKEN, base_url=peer(echo).url, codec="json") as client, ThreadPoolExecutor(32) as pool:

        def call(number: int) -> str:
            return client.secrets.get_value(secret_id=UUID, extra_headers={"x-number": str(number)}).reveal()

        assert list(pool.map(call, range(640))) == [str(number) for number in range(640)]


def test_descriptors_above_1023_work(kind: Kind, runner: asyncio.Runner, peer: MakePeer) -> None:
    """Which select() does not know."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1500:
        pytest.skip("the machine allows no more descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1500), hard))
    spare = socket.socket()
    taken = [spare.dup() for _ in range(1100)]
    try:
        there = peer(keeps_open(*map(whole, VALUES)))
        caller = Caller(kind(bearer_token=TOKEN, base_url=there.url, codec="json"), runner)
        assert [caller.get_value(secret_id=UUID).reveal() for _ in VALUES] == ["0", "1", "2"]
        caller.close()
    finally:
        for each in (spare, *taken):
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
