"""The gRPC server: its deadlines, limits and stop."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import pytest
from tests.support.grpc_front import (
    Client,
    Connect,
    Serve,
    Status,
    answer,
    code,
    secret,
)

from gitpod.server.edge.headers import Receive, Scope, Send

MOST = 8


def test_many_calls_at_once(client: Client) -> None:
    """More than there are threads."""
    requests = [secret(name=f"NAME_{number}") for number in range(64)]
    with ThreadPoolExecutor(64) as pool:
        made = list(pool.map(partial(client, "CreateSecret"), requests))
    assert len(set(made)) == 64


def test_connections_are_limited(serve: Serve, connect: Connect) -> None:
    """One more ends the one that has been without a call for longest, so nobody keeps others out by connections."""
    held = Held()
    port = serve(held, max_connections=MOST).port
    call = connect(port).stream("Any", iter([b""]))
    held.begun.wait()
    with ExitStack() as stack:
        strangers = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(4 * MOST)]
        for ended in strangers[: 1 - MOST]:
            while greeting(ended):
                pass
        # The server speaks first, over each connection that it keeps.
        assert all(greeting(kept) for kept in strangers[1 - MOST :])
        other = connect(port).stream("Any", iter([b""]))
        held.go_on.set()
        assert code(other) is Status.OK
    assert code(call) is Status.OK


def test_a_connection_is_refused_when_all_have_calls(serve: Serve, connect: Connect) -> None:
    """As none of them is ended for it."""
    held = Held()
    port = serve(held, max_connections=1).port
    call = connect(port).stream("Any", iter([b""]))
    held.begun.wait()
    with socket.create_connection(("127.0.0.1", port), 30) as stranger:
        assert greeting(stranger) == b""
    held.go_on.set()
    assert code(call) is Status.OK


def greeting(connection: socket.socket) -> bytes:
    """What comes over a connection, nothing if it is closed."""
    with suppress(ConnectionError):
        return connection.recv(1)
    return b""


class Held:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._answer = answer([])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.set()
        await asyncio.to_thread(self.go_on.wait)
        await self._answer(scope, receive, send)


@pytest.mark.parametrize(("grace", "status"), [(60, Status.OK), (0, Status.UNAVAILABLE)])
def test_stopping_gives_calls_a_grace(serve: Serve, connect: Connect, grace: float, status: Any) -> None:
    """Those that end within it succeed, others are cancelled; either way all has ended when it returns."""
    held = Held()
    server = serve(held)
    call = connect(server.port).stream("Any", iter([b""]))
    held.begun.wait()
    stopping = threading.Thread(target=server.stop, args=(grace,))
    stopping.start()
    if not grace:
        code(call)
    held.go_on.set()
    stopping.join()
    assert code(call) is status


def test_a_stopped_server_is_gone(serve: Serve, connect: Connect) -> None:
    """Its port is free for the next one, and stopping again does nothing."""
    server = serve()
    server.stop(0)
    server.stop(0)
    assert connect(server.port).fails("ListSecrets").code() is Status.UNAVAILABLE
    assert serve(port=server.port).port == server.port
