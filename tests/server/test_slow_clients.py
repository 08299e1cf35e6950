"""Clients that are slow, or do nothing at all: what they may hold, and for how long."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvicorn
from tests.support.raw_requests import CREATE, JSON, PROTO, WEB, create, post
from tests.support.service import TOKEN
from tests.support.target import SECONDS, Target, ask, launched, read_answer

from gitpod.server.app import Embedded
from gitpod.server.serving.http_connection import Connection

pytestmark = pytest.mark.slow

PATIENCE = 0.5
MOST = 40
MAIN = f"""
from gitpod.cli import main
from gitpod.server.serving.http_connection import Connection
Connection.stall_timeout, Connection.max_connections = {PATIENCE}, {MOST}
main()
"""
KEEP_ALIVE = 60
DEADLINE = b"connect-timeout-ms: 1000\r\ngrpc-timeout: 1S\r\n"
HOST = "127.0.0.1"


class Impatient(Connection):
    """As the service has it, with less patience."""

    stall_timeout = PATIENCE


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Target]:
    """A service with little patience, of the test's own."""
    with launched(tmp_path, MAIN, "--keep-alive", "1") as target:
        yield target


@pytest.fixture(scope="module", params=["plain", "TLS"])
def port(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, ssl.SSLContext | None]]:
    """Where the service is, in this process, with little patience; and how to speak to it."""
    trusting = None
    files: dict[str, Any] = {}
    if request.param == "TLS":
        authority, path = trustme.CA(), tmp_path_factory.mktemp("tls") / "server.pem"
        trusting = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(path)
        files = {"ssl_certfile": path, "ssl_keyfile": path}
    service = Embedded("sqlite://", TOKEN)
    config = uvicorn.Config(
        service.asgi,
        http=Impatient,
        ws="none",
        lifespan="off",
        log_level="critical",
        timeout_keep_alive=KEEP_ALIVE,
        **files,
    )
    server = uvicorn.Server(config)
    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1], trusting
        server.should_exit = True
        thread.join()
    service.close()


@pytest.fixture
def connection(port: tuple[int, ssl.SSLContext | None]) -> Iterator[socket.socket]:
    """A connection to the service in this process."""
    number, trusting = port
    with ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection((HOST, number), timeout=SECONDS))
        yield stack.enter_context(trusting.wrap_socket(plain, server_hostname=HOST)) if trusting else plain


def drip(connection: socket.socket, drop: bytes, times: int) -> None:
    """Send a little, again and again, for a tenth of the patience each."""
    for _ in range(times):
        time.sleep(PATIENCE / 10)
        connection.sendall(drop)


def is_cut(connection: socket.socket) -> bool:
    """Whether the connection ends; it fails, by its timeout, when it does not."""
    try:
        while connection.recv(1 << 16):
            pass
    except (ConnectionError, ssl.SSLEOFError):
        pass
    return True


SLOW = {
    "nothing": b"",
    "half a head": b"POST / HTTP/1.1\r\nhost",
    "a request and half a head": post(b"{}") + b"POST",
    "half a body without a token": post(b"{}", bearer=b"")[:-1],
    "half a body until its deadline": post(b"{}", b"connect-timeout-ms: 200\r\n")[:-1],
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
def test_who_does_not_go_on_is_cut_off(connection: socket.socket, sent: bytes) -> None:
    """Not before its time."""
    started = time.monotonic()
    connection.sendall(sent)
    assert is_cut(connection)
    assert time.monotonic() - started > PATIENCE * 0.9


@pytest.mark.parametrize(
    ("sent", "drop"),
    [(b"POST / HTTP/1.1\r\nx: ", b"x"), (post(bytes(9999), bearer=b"")[:-9999], b"{")],
    ids=["head", "body without a token"],
)
def test_dripping_is_no_way_to_stay(connection: socket.socket, sent: bytes, drop: bytes) -> None:
    """The time that a head may take is not per byte."""
    connection.sendall(sent)
    with suppress(ConnectionError, ssl.SSLError):
        drip(connection, drop, 30)
        pytest.fail("the connection was kept")


@pytest.mark.parametrize(("kind", "status"), [(JSON, 504), (PROTO, 504), (WEB, 200)])
def test_a_stalled_body_has_a_deadline(hasty: Target, kind: str, status: int) -> None:
    """It is said to have passed, and the connection is closed."""
    with hasty.connect() as connection:
        connection.sendall(post(b"\0{}", DEADLINE, kind=kind)[:-1])
        answer = read_answer(connection)
        assert (answer.status, answer.code) == (status, "deadline_exceeded")
        assert is_cut(connection)


def test_a_slow_but_honest_upload_is_taken(connection: socket.socket) -> None:
    """It has the time of its deadline, not that of a head."""
    sent = post(create(name="SLOW"), path=CREATE)
    connection.sendall(sent[:-20])
    for index in range(len(sent) - 20, len(sent)):
        drip(connection, sent[index : index + 1], 1)
    assert read_answer(connection).status == 200


def test_a_connection_in_use_is_kept(connection: socket.socket) -> None:
    """However long, with pauses shorter than the patience."""
    for _ in range(4):
        connection.sendall(post(b"{}"))
        assert read_answer(connection).status == 200
        time.sleep(PATIENCE / 2)


def test_an_idle_connection_is_kept(connection: socket.socket) -> None:
    """Longer than a head may take, and the time for the next head begins with its first byte."""
    for sent in (post(b"{}"), b"\r\n" + post(b"{}"), post(b"{}")):
        connection.sendall(sent[:20])
        connection.sendall(sent[20:])
        assert read_answer(connection).status == 200
        time.sleep(PATIENCE * 2)


@pytest.mark.parametrize("sent", [b"\r\n", b"POST / HTTP/1.1\r\nhost"], ids=["a blank line", "half a head"])
def test_an_idle_connection_that_begins_a_request_is_cut_off(connection: socket.socket, sent: bytes) -> None:
    """After the time for a head, which is less than that for an idle connection, and also less than the test waits."""
    connection.sendall(post(b"{}"))
    assert read_answer(connection).status == 200
    time.sleep(PATIENCE * 2)
    connection.sendall(sent)
    assert is_cut(connection)


@pytest.mark.parametrize("late", [0, 2, 100_000])
def test_an_idle_connection_is_closed_in_the_end(hasty: Target, late: int) -> None:
    """Also when the request was refused before all of its body came."""
    sent = post(b"{}" + b" " * 100_000, bearer=b"")
    with hasty.connect() as connection:
        connection.sendall(sent[: len(sent) - late])
        assert read_answer(connection).code == "unauthenticated"
        connection.sendall(sent[len(sent) - late :])
        assert is_cut(connection)


def test_who_does_not_read_is_cut_off_and_lets_the_service_stop(hasty: Target) -> None:
    """Without an error, though an answer is still waiting to be written."""
    for number in range(15):
        long = create(name=f"LONG_{number}", apiOnly=None, filePath="/" + "x" * 8_000)
        assert ask(hasty, post(long, path=CREATE)).status == 200
    with hasty.connect() as connection:
        connection.sendall(post(b"{}") * 100)
        # Until what lies between the two is full.
        time.sleep(PATIENCE / 2)
        assert hasty.stop() == 0


def test_a_stalled_body_does_not_keep_the_service_from_stopping(hasty: Target) -> None:
    """It waits for the deadline, which is answered."""
    with hasty.connect() as connection:
        connection.sendall(post(b"{}", DEADLINE)[:-1])
        time.sleep(PATIENCE / 5)
        assert hasty.stop() == 0
        assert read_answer(connection).code == "deadline_exceeded"


def test_idle_connections_are_limited(hasty: Target) -> None:
    """Whoever has opened too many waits; afterwards all is well again."""
    with ExitStack() as stack:
        many = [stack.enter_context(hasty.connect()) for _ in range(MOST * 3)]
        assert all(is_cut(connection) for connection in many)
    assert ask(hasty, post(b"{}")).status == 200


def test_idle_connections_keep_nobody_out(tmp_path: Path) -> None:
    """Those that have waited longest make place, whether they sent half a head, a request before, or nothing."""
    patient = MAIN.replace(f"= {PATIENCE}, ", "= 600, ")
    with launched(tmp_path, patient) as target, ExitStack() as stack:
        for number in range(MOST * 3):
            connection = stack.enter_context(target.connect())
            connection.sendall([b"", b"POST / HTTP/1.1\r\nhost", post(b"{}")][number % 3])
            if number % 3 == 2:
                assert read_answer(connection).status == 200
        assert ask(target, post(b"{}")).status == 200
        assert ask(target, b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").status == 200


def test_connections_of_grpc_keep_nobody_out_of_http(tmp_path: Path) -> None:
    """However many file descriptors the system allows, some are left for HTTP and the store."""
    most = 500
    few = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}))\n{MAIN}"
    with launched(tmp_path, few, "--grpc-port", "0") as target, ExitStack() as stack:
        assert target.process.stdout
        grpc_port = next(int(line.split()[-1]) for line in target.process.stdout if "gRPC has port" in line)
        for _ in range(most):
            connection = stack.enter_context(socket.create_connection((HOST, grpc_port), timeout=SECONDS))
            with suppress(ConnectionError):
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                # What the server says first: its settings, or that it closes the connection.
                connection.recv(1)
        assert ask(target, post(b"{}")).status == 200
        assert ask(target, b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").status == 200


def test_a_bad_chunk_after_the_answer_is_not_logged(hasty: Target) -> None:
    """The peer may send what it likes: it was answered already."""
    with hasty.connect() as connection:
        head = post(b"", bearer=b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
        connection.sendall(head)
        assert read_answer(connection).code == "unauthenticated"
        connection.sendall(b"hunter2\r\n")
        assert is_cut(connection)
    assert hasty.stop() == 0
    log = hasty.logged()
    assert "hunter2" not in log
    assert "Traceback" not in log
