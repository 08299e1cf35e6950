"""The gRPC server in this process, and clients of it."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.grpc_front import Client, Connect, Serve, Served, Silence
from tests.support.service import TOKEN

from gitpod.server.app import Embedded
from gitpod.server.edge.headers import ASGIApplication
from gitpod.server.serving.grpc_server import GRPCServer
from gitpod_proto.gitpod.v1.secret_connect import SecretService


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The event loop of the servers, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def serve(loop: asyncio.AbstractEventLoop) -> Iterator[Serve]:
    """Starts servers, of the service or of another application, and stops them."""
    service = Embedded("sqlite://", TOKEN)
    started: list[Served] = []

    def start(app: ASGIApplication | None = None, port: int = 0, **options: Any) -> Served:
        options = {"ready": service.ready, **options}
        listener = socket.create_server(("127.0.0.1", port))
        server = GRPCServer(app or service.rpc, SecretService.desc(), listener, **options)
        started.append(Served(server, loop))
        return started[-1]

    yield start
    for server in started:
        server.stop(0)
    service.close()


@pytest.fixture
def port(serve: Serve) -> int:
    """Where the service listens."""
    listening: int = serve().port
    return listening


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes clients, and closes them."""
    made: list[Client] = []

    def make(port: int, credentials: Any = None) -> Client:
        made.append(Client(port, credentials))
        return made[-1]

    yield make
    for client in made:
        client.channel.close()


@pytest.fixture
def client(connect: Connect, port: int) -> Client:
    """A client of the service."""
    return connect(port)


@pytest.fixture
def silence() -> Iterator[Silence]:
    """Requests that do not come."""
    silent = Silence()
    yield silent
    silent.over.set()
