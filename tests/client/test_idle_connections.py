"""Idle connections: one that the peer has dropped costs no create."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.peer import read_request
from tests.support.service import TOKEN, Service

from gitpod import Gitpod
from gitpod._transport import pool
from gitpod._transport.wire import Connection

pytestmark = pytest.mark.slow
BODY = b'{"secret": {"id": "b0e12f6c-4c67-429d-a4a6-d9838b5da047", "name": "NAME", "apiOnly": true}}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
KEEP_ALIVE = 0.5
"""Seconds after which the peer drops a connection: a tenth of what is usual."""

PROGRAM = """
import asyncio, os, sys
from gitpod import AsyncGitpod, Gitpod
from gitpod._transport import native, pool
pool.IDLE_SECONDS = native.IDLE_SECONDS = pool.IDLE_SECONDS / 10
options = dict(codec="json", max_retries=0)
params = dict(name="NAME", value="v", project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047", api_only=True)

def wait():
    print("called", flush=True)
    return sys.stdin.readline()

def main():
    client = Gitpod(**options)
    client.secrets.create(**params)
    while wait():
        client.secrets.create(**params)

async def main_async():
    client = AsyncGitpod(**options)
    await client.secrets.create(**params)
    while await asyncio.to_thread(wait):
        await client.secrets.create(**params)

main() if sys.argv[1] == "sync" else asyncio.run(main_async())
"""


class KeepAlivePeer:
    """Answers every request of a connection, and drops the connection once it was idle for `KEEP_ALIVE` seconds."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        except OSError:
            return

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(KEEP_ALIVE)
            try:
                while read_request(connection):
                    connection.sendall(ANSWER)
            except TimeoutError:
                return


@pytest.fixture
def peer() -> Iterator[KeepAlivePeer]:
    """A peer that drops idle connections."""
    peer = KeepAlivePeer()
    yield peer
    peer.close()


@pytest.fixture(params=["sync", "async"])
def program(peer: KeepAlivePeer, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A program that has made a call, and makes another for each line; it tries everything once."""
    command = [sys.executable, "-c", PROGRAM, str(request.param)]
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": peer.url}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        try:
            expect_call(run)
            yield run
            run.communicate(timeout=30)
        finally:
            run.kill()
    assert run.returncode == 0


def expect_call(program: subprocess.Popen[str]) -> None:
    """Wait until a call was answered."""
    assert program.stdout
    assert program.stdout.readline() == "called\n"


def call(program: subprocess.Popen[str]) -> None:
    """Have the program make a call, and wait for it."""
    assert program.stdin
    program.stdin.write("\n")
    program.stdin.flush()
    expect_call(program)


def pause(seconds: float) -> None:
    """Let time pass."""
    threading.Event().wait(seconds)


def test_calls_around_the_keep_alive_of_the_peer_all_succeed(program: subprocess.Popen[str]) -> None:
    """Whether the connection is still open, is being closed, or was closed a while ago."""
    for tenths in (4.0, 4.5, 4.8, 4.9, 5.0, 5.1, 5.5, 7.0):
        pause(tenths / 10)
        call(program)


def test_a_process_that_was_stopped_in_between_goes_on(program: subprocess.Popen[str]) -> None:
    """It finds the connection closed as soon as it is continued."""
    for seconds in (0.3, 0.5, 0.9):
        program.send_signal(signal.SIGSTOP)
        pause(seconds)
        program.send_signal(signal.SIGCONT)
        call(program)


def test_a_process_that_is_stopped_as_it_calls_goes_on(program: subprocess.Popen[str]) -> None:
    """The call waits in its pipe, so that it is made at once when the process is continued."""
    assert program.stdin
    for _ in range(3):
        program.send_signal(signal.SIGSTOP)
        program.stdin.write("\n")
        program.stdin.flush()
        pause(0.7)
        program.send_signal(signal.SIGCONT)
        expect_call(program)


def test_calls_close_together_share_a_connection(program: subprocess.Popen[str], peer: KeepAlivePeer) -> None:
    """So the connection is dropped for being old, not at every call."""
    for _ in range(5):
        call(program)
    assert peer.connections < 6


def test_a_burst_leaves_no_connections_behind(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that need only one of them close those that were not used for too long."""
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.3)
    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        client.secrets.list(page_size=1)
        sender: Any = vars(client)["_shared"]["connections"]._sender
        for _ in range(3):
            connection = Connection(sender._target, time.monotonic() + 5)
            connection.is_reusable = True
            sender._give_back(connection)
        assert len(sender._idle) == 4
        # Each call takes the connection that was used last, so the others only grow older.
        for _ in range(5):
            time.sleep(0.1)
            client.secrets.list(page_size=1)
        assert len(sender._idle) == 1
