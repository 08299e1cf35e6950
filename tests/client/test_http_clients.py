"""Every way by which a request leaves: the same calls, errors and deadlines."""

import gzip
import socket
import threading
import time
from typing import Any

import pytest
from pyqwest import Headers
from tests.support.peer import Script, answer, free_port, hang_up, stall
from tests.support.ways import HTTPX, PARAMS, STORED, UUID, VALUE, Connect, MakePeer

import gitpod

pytestmark = [pytest.mark.usefixtures("clean_environment"), pytest.mark.slow]
SHED = answer(503, b'{"code": "unavailable", "message": "as scripted"}', "retry-after: 0")


def raw(data: bytes) -> Script:
    """A script that answers these bytes, whatever they are, and closes."""
    return lambda connection, _: connection.sendall(data)


def endless(connection: socket.socket, _request: bytes) -> None:
    """Answer for as long as anybody reads."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    try:
        while True:
            connection.sendall(b" " * 65536)
    except OSError:
        return


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
BOMB = gzip.compress(b" " * (8 * 1024 * 1024))

Connection, Status, Untrusted = (
    gitpod.APIConnectionError,
    gitpod.InternalServerError,
    gitpod.APIResponseValidationError,
)
FAULTS: dict[str, tuple[Script, type[gitpod.APIError], str, int]] = {
    # what the peer does, the exception, its outcome, how often a create is sent
    "hang up": (hang_up, Connection, "unknown", 1),
    "reset halfway through the status": (raw(HEAD[:10]), Connection, "unknown", 1),
    "not HTTP": (raw(b"\x00\xff garbage\r\n\r\n"), Connection, "unknown", 1),
    "a body that breaks off": (raw(HEAD + b"content-length: 999\r\n\r\n" + STORED), Connection, "unknown", 1),
    "a chunk that breaks off": (raw(HEAD + b"transfer-encoding: chunked\r\n\r\n99\r\n{"), Connection, "unknown", 1),
    "noise": (answer(200, b"\xff" * 99), Untrusted, "unknown", 1),
    "endless": (endless, Untrusted, "unknown", 1),
    "a bomb": (answer(200, BOMB, "content-encoding: gzip"), Untrusted, "unknown", 1),
    "shed": (SHED, Status, "rejected", 3),
    "a gateway's page": (answer(502, b"<html>", content_type="text/html"), Status, "unknown", 1),
    "refused": (answer(404, b'{"code": "not_found", "message": "m"}'), gitpod.NotFoundError, "rejected", 1),
    "a redirect": (answer(308, b"", "location: /elsewhere"), Untrusted, "rejected", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_the_same_error_every_way(way: Connect, peer: MakePeer, fault: str) -> None:
    """The class, the outcome, and how often a create is sent; never the value."""
    script, kind_of, outcome, sent = FAULTS[fault]
    there = peer(script)
    with pytest.raises(gitpod.APIError) as caught:
        way(there.url).create(**PARAMS)
    error = caught.value
    assert (type(error), error.outcome, error.attempts, len(there.requests)) == (kind_of, outcome, sent, sent)
    assert VALUE not in str(error)


def test_a_gzipped_answer_is_understood_every_way(way: Connect, peer: MakePeer) -> None:
    """A gateway may compress it, whatever it was asked."""
    there = peer(answer(200, gzip.compress(STORED), "content-encoding: gzip"))
    assert way(there.url).create(**PARAMS).secret.id == UUID


@pytest.mark.parametrize("place", ["nobody listens", "no such host"])
def test_no_connection_is_provably_unsent_every_way(way: Connect, place: str) -> None:
    """And so it is tried again."""
    url = f"http://127.0.0.1:{free_port()}" if place == "nobody listens" else "http://nowhere.invalid"
    with pytest.raises(gitpod.APIConnectionError, match="the connection failed") as caught:
        way(url, allow_plaintext=True).create(**PARAMS)
    assert (caught.value.outcome, caught.value.attempts, caught.value.status_code) == ("not_sent", 3, None)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", HEAD + b"content-length: 99\r\n\r\n{"], ids=["nothing", "part"])
def test_a_stalled_answer_is_given_up_every_way(way: Connect, peer: MakePeer, sent: bytes) -> None:
    """Wherever it stalls."""

    def script(connection: socket.socket, request: bytes) -> None:
        connection.sendall(sent)
        stall(1.0)(connection, request)

    there = peer(script)
    with pytest.raises(gitpod.APITimeoutError) as caught:
        way(there.url).create(**PARAMS, timeout=0.2)
    assert (caught.value.outcome, len(there.requests)) == ("unknown", 1)


@pytest.mark.slow
@pytest.mark.parametrize("dripping", ["head", "body"])
def test_an_answer_that_drips_does_not_outlast_the_deadline(
    way: Connect, peer: MakePeer, request: pytest.FixtureRequest, dripping: str
) -> None:
    """Though no single byte of it is late. A sync client of httpx bounds each read of a head, not all of them."""
    flavour: dict[str, Any] = request.node.callspec.params
    is_unbounded = flavour["way"] in HTTPX and flavour["kind"] == "sync" and dripping == "head"
    finished = threading.Event()

    def script(connection: socket.socket, _request: bytes) -> None:
        head = HEAD + b"content-length: 40\r\n"
        data = (head + b"\r\n" if dripping == "body" else head) + (b"x-y: " if dripping == "head" else b"")
        try:
            connection.sendall(data)
            for _ in range(25):
                connection.sendall(b" ")
                time.sleep(0.04)
            finished.set()
        except OSError:
            return

    there = peer(script)
    with pytest.raises(gitpod.APIConnectionError if is_unbounded else gitpod.APITimeoutError):
        way(there.url).create(**PARAMS, timeout=0.1)
    assert finished.is_set() == is_unbounded


def test_an_answer_on_a_connection_that_stays_open_leaks_nothing(way: Connect, peer: MakePeer) -> None:
    """A server need not close it, whatever it was asked; an unclosed socket would be a warning, and so an error."""
    length = f"content-length: {len(STORED)}\r\n\r\n".encode()

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(HEAD + length + STORED)
        connection.recv(1)

    assert way(peer(script).url).create(**PARAMS).secret.id == UUID


def test_a_header_that_is_repeated_arrives_repeated_every_way(way: Connect, peer: MakePeer) -> None:
    """In its order. An interceptor of connectrpc may add some."""
    there = peer(answer(200, b"{}"))
    caller = way(there.url)
    client: Any = caller.client
    headers = Headers([("x-trace", "one"), ("x-other", "1"), ("x-trace", "two")])
    timeout = {"timeout": 60.0} if isinstance(caller.client, gitpod.Gitpod) else {}
    caller.run(client._transport.post(f"{there.url}/path", headers, b"{}", **timeout))
    sent = [line.split(b": ")[1] for line in there.requests[0].splitlines() if line.lower().startswith(b"x-trace: ")]
    assert sent == [b"one", b"two"]
