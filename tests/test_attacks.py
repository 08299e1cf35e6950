"""What the served process answers to requests that mean harm, or are broken (`attacks.py` has the table)."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from attacks import CANARY, CUT, HOST, JSON, LIST, PROTO, STRANGERS, TABLE, UNFINISHED, WEB, Row, post
from conftest import TOKEN

GRPC_CODES = {
    "0": None,
    "3": "invalid_argument",
    "4": "deadline_exceeded",
    "8": "resource_exhausted",
    "12": "unimplemented",
    "13": "internal",
    "16": "unauthenticated",
}
SECONDS = 10
MEBIBYTE = 1 << 20


class Answer(NamedTuple):
    """What came back; all of its text is in `text`."""

    status: int
    code: str | None
    text: str


@dataclass
class Target:
    """A service of the test's own, so that its log and its memory are those of the attacks."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    read: int = 0

    def logged(self) -> str:
        """What it logged since it was last asked."""
        text = self.log.read_text()[self.read :]
        self.read += len(text)
        return text

    def connect(self) -> socket.socket:
        """A connection to it."""
        address = urlsplit(self.url)
        return socket.create_connection((address.hostname, address.port), timeout=SECONDS)

    def stop(self) -> int:
        """Ask it to stop, and wait for its exit status."""
        self.process.terminate()
        self.process.communicate(timeout=30)
        return self.process.returncode


@contextmanager
def launched(directory: Path, main: str = "from gitpod.cli import main; main()") -> Generator[Target]:
    """Run the service, for a while; it must stop in time, and without an error, whatever was done to it."""
    command = [sys.executable, "-c", main, "serve", "--store", f"sqlite:///{directory}/secrets.db", "--port", "0"]
    environment = os.environ | {"GITPOD_API_KEY": TOKEN}
    log = directory / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
    try:
        assert process.stdout
        target = Target(process, process.stdout.readline().split("=", 1)[1].strip(), log)
        yield target
        if process.poll() is None:
            assert target.stop() == 0
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """What is attacked."""
    with launched(tmp_path_factory.mktemp("attacked")) as target:
        yield target


def ask(target: Target, sent: bytes) -> Answer:
    """Send the bytes as they are, and read one answer."""
    with target.connect() as connection:
        with suppress(ConnectionError):
            # It may answer, and close, before it has read everything.
            connection.sendall(sent)
        return read_answer(connection, "HEAD" if sent.startswith(b"HEAD") else "POST")


def read_answer(connection: socket.socket, method: str = "POST") -> Answer:
    """One answer, of whichever protocol."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        body = response.read().decode("latin-1")
    except (ConnectionError, http.client.BadStatusLine):
        return Answer(CUT, None, "")
    head = "\n".join(f"{name}: {value}" for name, value in response.getheaders())
    text = f"{response.reason}\n{head}\n{body}"
    if grpc_status := re.search(r"grpc-status: (\d+)", text):
        return Answer(response.status, GRPC_CODES[grpc_status[1]], text)
    code = json.loads(body).get("code") if response.getheader("content-type") == JSON else None
    return Answer(response.status, code, text)


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
