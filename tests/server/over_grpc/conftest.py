"""The gRPC server in this process, and clients of it."""

from collections.abc import Iterator
from typing import Any
from wsgiref.types import WSGIApplication

import pytest
from tests.support.grpc_front import Client, Connect, Serve, Silence
from tests.support.service import TOKEN

from gitpod.server.app import MAX_REQUEST_BYTES, Embedded
from gitpod.server.serving.grpc_server import GRPCServer, application


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers, of the service or of another application, and stops them."""
    service = Embedded("sqlite://", TOKEN)
    started: list[GRPCServer] = []

    def start(app: WSGIApplication | None = None, listen: str = "127.0.0.1:0", **options: Any) -> GRPCServer:
        routed, services = application(app or service.bare_wsgi)
        options = {"ready": lambda: True, "max_message_bytes": MAX_REQUEST_BYTES, **options}
        started.append(GRPCServer(routed, services, listen, **options))
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
