"""The gRPC server: its deadlines, limits and stop."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from tests.support.grpc_front import (
    LIST_SERVICES,
    REFLECT,
    Client,
    Connect,
    Serve,
    Silence,
    Status,
    answer,
    code,
    secret,
)

from gitpod.server.errors import ServiceError
from gitpod.server.serving import grpc_server


def test_the_deadline_frees_the_thread(serve: Serve, connect: Connect, silence: Silence) -> None:
    """Of a call whose message never comes, so that the only worker serves the next one."""
    client = connect(serve(workers=1).port)
    assert code(client.stream("ListSecrets", silence, timeout=0.1)) is Status.DEADLINE_EXCEEDED
    client("ListSecrets")


def test_a_client_that_leaves_frees_the_thread(serve: Serve, connect: Connect, silence: Silence) -> None:
    """Whatever it had not sent yet."""
    client = connect(serve(workers=1).port)
    client.stream("ListSecrets", silence).cancel()
    client("ListSecrets")


@pytest.mark.slow
def test_no_call_waits_for_ever(
    serve: Serve, connect: Connect, silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without a deadline is cancelled, though its client would wait."""
    monkeypatch.setattr(grpc_server, "LONGEST", 0.0)
    monkeypatch.setattr(grpc_server, "INTERVAL", 0.01)
    call = connect(serve().port).stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", silence, timeout=None
    )
    assert code(call) is Status.CANCELLED


def test_strangers_do_not_take_every_thread(serve: Serve, connect: Connect, silence: Silence) -> None:
    """As a method that needs no token has few of them."""
    client = connect(serve(workers=2).port)
    stalled = client.stream(REFLECT, chain([LIST_SERVICES], silence), metadata=())
    next(stalled)
    assert code(client.stream(REFLECT, silence, metadata=())) is Status.RESOURCE_EXHAUSTED
    client("ListSecrets")


def test_many_calls_at_once(client: Client) -> None:
    """More than there are threads."""
    requests = [secret(name=f"NAME_{number}") for number in range(64)]
    with ThreadPoolExecutor(64) as pool:
        made = list(pool.map(partial(client, "CreateSecret"), requests))
    assert len(set(made)) == 64


class Held:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._answer = answer([])

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.begun.set()
        self.go_on.wait()
        return self._answer(environ, start_response)


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
    assert serve(listen=f"127.0.0.1:{server.port}").port == server.port


@pytest.mark.parametrize("listen", ["127.0.0.1:{port}", "203.0.113.1:0", "nowhere.invalid:0", "", "127.0.0.1:http2"])
def test_an_address_that_cannot_be_had_is_told(serve: Serve, port: int, listen: str) -> None:
    """One that is taken, of another machine, or no address at all."""
    with pytest.raises(ServiceError, match=r"^cannot listen on .* for gRPC"):
        serve(listen=listen.format(port=port))
