"""A service to attack: what it is sent byte by byte, what it answers and what it logs."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.support.raw_requests import CUT, JSON
from tests.support.service import TOKEN

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
def launched(directory: Path, main: str = "from gitpod.cli import main; main()", *arguments: str) -> Generator[Target]:
    """Run the service, for a while; it must stop in time, and without an error, whatever was done to it."""
    command = [sys.executable, "-c", main, "serve", "--store", f"sqlite:///{directory}/secrets.db", "--port", "0"]
    command += arguments
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
    # An answer to HEAD has the type of a body and no body.
    code = json.loads(body).get("code") if body and response.getheader("content-type") == JSON else None
    return Answer(response.status, code, text)
