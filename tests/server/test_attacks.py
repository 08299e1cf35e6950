"""What the served process answers to requests that mean harm, or are broken (`attacks.py` has the table)."""

import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.attacks import STRANGERS, TABLE, UNFINISHED
from tests.support.raw_requests import CANARY, CUT, HOST, JSON, LIST, PROTO, WEB, Row, post
from tests.support.service import TOKEN
from tests.support.target import SECONDS, Target, ask, launched, read_answer

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """What is attacked."""
    with launched(tmp_path_factory.mktemp("attacked")) as target:
        yield target


def memory(target: Target, what: str) -> int:
    """Its memory in bytes: VmRSS as it is, VmHWM as it was at most."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{target.process.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.parametrize("name", TABLE)
def test_an_attack_gets_its_answer_and_nothing_else(target: Target, name: str) -> None:
    """Status and code are right, nothing of the request is quoted or logged, and the service goes on."""
    row: Row = TABLE[name]
    target.logged()
    answer = ask(target, row.sent)
    assert (answer.status, answer.code) == (row.status, row.code)
    assert CANARY not in answer.text
    assert TOKEN not in answer.text
    assert ask(target, post(b"{}")).status == 200
    log = target.logged()
    for unwanted in (CANARY, TOKEN, "Traceback", "Exception"):
        assert unwanted not in log


@pytest.mark.parametrize("kind", [JSON, PROTO, WEB])
@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_refused_before_the_body(target: Target, name: str, kind: str) -> None:
    """The answer comes though the body never does, and though something else is wrong as well."""
    head = f"POST {LIST} HTTP/1.1\r\ncontent-type: {kind}\r\n".encode()
    answer = ask(target, head + HOST + STRANGERS[name] + UNFINISHED + b"\r\n")
    assert (answer.status, answer.code) == (200 if kind == WEB else 401, "unauthenticated")
    assert CANARY not in answer.text + target.logged()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * MEBIBYTE,
        b"x" * MEBIBYTE,
        post(b"{}", b"x-y: " + b"x" * MEBIBYTE),
        post(b"{}", b"x-y: x\r\n" * MEBIBYTE),
    ],
    ids=["target", "method", "one header", "many headers"],
)
def test_an_endless_head_is_cut_off(target: Target, sent: bytes) -> None:
    """With a 400, unless the connection was reset while it was still being sent."""
    assert ask(target, sent).status in (400, CUT)
    assert ask(target, post(b"{}")).status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_the_whole_table_takes_little_memory(target: Target) -> None:
    """Not even for a moment: it is the peak that counts."""
    ask(target, post(b"{}"))
    Path(f"/proc/{target.process.pid}/clear_refs").write_text("5")
    before = memory(target, "VmRSS")
    for row in TABLE.values():
        ask(target, row.sent)
        target.logged()
    assert memory(target, "VmHWM") - before < 40 * MEBIBYTE


def test_an_answer_is_not_read_for_ever(target: Target) -> None:
    """Requests sent in one go are answered in turn, each once."""
    with target.connect() as connection:
        connection.sendall(post(b"{}") * 20)
        started = time.monotonic()
        received = b""
        while received.count(b"HTTP/1.1 200") < 20:
            received += connection.recv(MEBIBYTE)
        assert time.monotonic() - started < SECONDS


def test_blank_lines_around_requests_are_dropped(target: Target) -> None:
    """In pieces, after a body, and between requests that are sent in one go."""
    request = post(b"{}")
    with target.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pieces, answers in (
            ([b"\r", b"\n", b"\r", b"\n" + request + b"\r\n"], 1),
            ([b"\r\n" + request + b"\r\n\r\n" + request, b"\r\n"], 2),
            ([request[:9], request[9:] + b"\r", b"\n\r\n" * 10, request], 2),
        ):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.02)  # so that they are not one piece; passes without it too
            received = b""
            while received.count(b"HTTP/1.1 200") < answers:
                part = connection.recv(MEBIBYTE)
                assert part
                received += part


def test_blank_lines_alone_are_not_read_for_ever(target: Target) -> None:
    """Each request has a few; more are refused, and the connection ends."""
    with target.connect() as connection:
        connection.sendall(post(b"{}"))
        assert read_answer(connection).status == 200
        connection.sendall(b"\r\n" * 40)
        assert read_answer(connection).status == 400
        assert connection.recv(1) == b""


def test_a_long_head_between_others_is_refused(target: Target) -> None:
    """Also when it arrives together with the request before it."""
    with target.connect() as connection:
        connection.sendall(post(b"{}") + post(b"{}", b"x-y: x\r\n" * 2500))
        received = b""
        while b"HTTP/1.1 400" not in received and (part := connection.recv(MEBIBYTE)):
            received += part
    assert [received.count(b"HTTP/1.1 %d" % status) for status in (200, 400)] == [1, 1]


@pytest.mark.parametrize("framing", ["content-length: 1000000000", "transfer-encoding: chunked"])
def test_what_follows_an_answer_is_not_read_for_ever(target: Target, framing: str) -> None:
    """A body that is too long is dropped for a while, so that its sender can read the answer; then it is cut."""
    pieces = (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 32
    sent = 0
    with target.connect() as connection:
        connection.sendall(post(bearer=b"").replace(b"content-length: 0", framing.encode()))
        assert read_answer(connection).code == "unauthenticated"
        with suppress(ConnectionError):
            while sent < 100 * MEBIBYTE:
                connection.sendall(pieces)
                sent += len(pieces)
    assert sent < 50 * MEBIBYTE
