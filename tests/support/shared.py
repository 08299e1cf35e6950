"""A service on both ports with two organizations and other limits, for tests of shares."""

import socket
import uuid
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.grpc_front import Client
from tests.support.target import Target, launched, read_answer

from gitpod import Gitpod
from gitpod.server.caller import Role
from gitpod.server.operate import create_token
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
PLACES = 8
MAIN = """
from gitpod.cli import main
from gitpod.server.edge import applications
from gitpod.server.serving import grpc_server
applications.LONGEST_REQUEST, grpc_server.OPEN_CALLS = {}, {}
main()
"""


@dataclass
class Shared:
    """A service on both ports, with two organizations."""

    target: Target
    grpc_port: int
    store: Path
    organizations: tuple[str, str]

    def token(self, organization: int = 0, role: str = "admin") -> str:
        """A new token."""
        who = Subject(id=str(uuid.uuid4()), principal=Principal.USER)
        with closing(Store(f"sqlite:///{self.store}")) as store:
            return create_token(store, None, who, Role(role), frozenset(), self.organizations[organization])[0]

    def client(self, token: str, protocol: Any = "connect") -> Gitpod:
        """A client that sends nothing twice."""
        url = f"http://127.0.0.1:{self.grpc_port}" if protocol == "grpc" else self.target.url
        return Gitpod(bearer_token=token, base_url=url, protocol=protocol, max_retries=0)

    def works_for_others(self, organization: int = 1) -> None:
        """Calls of another token succeed, and so do probes."""
        token = self.token(organization)
        for protocol in ("connect", "grpc"):
            with self.client(token, protocol) as client:
                client.secrets.create(
                    name=f"N{uuid.uuid4().hex}", value="v", project_id=str(uuid.uuid4()), api_only=True
                )
                client.secrets.list()
        self.is_well()

    def is_well(self) -> None:
        """Probes are answered, over both ports."""
        for path in ("/healthz", "/readyz"):
            with self.target.connect() as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
                assert read_answer(connection, "GET").status == 200
        with closing(Client(self.grpc_port).channel) as channel:
            assert channel.unary_unary(CHECK)(b"", timeout=20) == b"\x08\x01"


@contextmanager
def serving(folder: Path, longest_request: float) -> Generator[Shared]:
    """A service with other limits: in seconds until the end of a request."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    main = MAIN.format(longest_request, PLACES)
    with launched(folder, main, "--grpc-port", str(port)) as target:
        yield Shared(target, port, folder / "secrets.db", (str(uuid.uuid4()), str(uuid.uuid4())))
