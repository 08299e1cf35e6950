"""Ctrl-C and signal handlers in mid-call."""

import os
import signal
import socket
import subprocess
import sys
import threading
from types import FrameType
from typing import Literal

import httpx
import pytest
from tests.support.peer import answer, hang_up, in_turn
from tests.support.processes import until_asleep
from tests.support.service import TOKEN
from tests.support.ways import OK, PARAMS, UUID, VALUE, MakePeer

from gitpod import Gitpod

pytestmark = pytest.mark.usefixtures("clean_environment")


INTERRUPTED = {
    "default": "Gitpod().secrets.create(**params)",
    "httpx": "Gitpod(http_client=httpx.Client(trust_env=False)).secrets.create(**params)",
    "asyncio": "asyncio.run(create())",
}
# A shell may have started the tests with Ctrl-C ignored.
INTERRUPTED_PROGRAM = """
import asyncio, os, signal
import httpx
signal.signal(signal.SIGINT, signal.default_int_handler)
from gitpod import AsyncGitpod, Gitpod
params = dict(name="NAME", value=os.environ["VALUE"], project_id=os.environ["PROJECT"], api_only=True, timeout=30)
async def create():
    await AsyncGitpod().secrets.create(**params)
"""


@pytest.mark.parametrize("how", INTERRUPTED)
def test_ctrl_c_ends_a_call(peer: MakePeer, how: Literal["default", "httpx", "asyncio"]) -> None:
    """Long before its timeout, and without showing what was sent."""
    asked = threading.Event()

    def script(connection: socket.socket, _: bytes) -> None:
        asked.set()
        connection.recv(1)

    environment = {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": peer(script).url, "VALUE": VALUE, "PROJECT": UUID}
    command = [sys.executable, "-c", INTERRUPTED_PROGRAM + INTERRUPTED[how]]
    with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True) as process:
        assert asked.wait(20)
        # In the middle of its own instructions Python may lose the exception to a callback that ignores it.
        until_asleep(process.pid)
        process.send_signal(signal.SIGINT)
        try:
            _, shown = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert shown.rstrip().endswith("KeyboardInterrupt")
    assert VALUE not in shown
    assert TOKEN not in shown


@pytest.mark.parametrize("sender", ["default", "httpx"])
def test_signal_handlers_run_during_a_call(peer: MakePeer, sender: str) -> None:
    """The call completes after that; a handler may even make one of its own."""
    handled = threading.Event()

    def until_handled(connection: socket.socket, request: bytes) -> None:
        os.kill(os.getpid(), signal.SIGALRM)
        (OK if handled.wait(10) else hang_up)(connection, request)

    there = peer(in_turn(until_handled, answer(200, b'{"value": "v"}')))
    with httpx.Client(trust_env=False) as http:
        given = http if sender == "httpx" else None
        client = Gitpod(bearer_token=TOKEN, base_url=there.url, codec="json", http_client=given)

        def handler(_number: int, _frame: FrameType | None) -> None:
            client.secrets.get_value(secret_id=UUID)
            handled.set()

        before = signal.signal(signal.SIGALRM, handler)
        try:
            assert client.secrets.create(**PARAMS).secret.id == UUID
        finally:
            signal.signal(signal.SIGALRM, before)
            client.close()
    assert len(there.requests) == 2


def test_a_client_goes_on_after_an_interrupt(request: pytest.FixtureRequest, peer: MakePeer) -> None:
    """What was interrupted ends by itself, and the next call waits for none of it."""

    def interrupt(connection: socket.socket, _: bytes) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        connection.recv(1)

    there = peer(in_turn(interrupt, OK))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))  # for what was set just now
    with Gitpod(bearer_token=TOKEN, base_url=there.url, codec="json") as client:
        with pytest.raises(KeyboardInterrupt):
            client.secrets.create(**PARAMS, timeout=2)
        assert client.secrets.create(**PARAMS).secret.id == UUID
