"""The services that are measured: ours as its users run it, a gRPC peer, and a server with one answer."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from bench.exchanges import GRPC, Call, Connect, create, page, value
from bench.load import loaded
from bench.peers.request import ID
from bench.plan import Plan
from bench.programs import serving
from bench.results import Measures
from served import TOKEN, Service

from gitpod import Gitpod
from gitpod.types import SecretCreateParams

PAGED = "b0e12f6c-4c67-429d-a4a6-d9838b5da048"
"""A project whose secrets stay as they are, for pages."""

ON_A_PAGE = 25


class Target(NamedTuple):
    """A service, the process that it is, and the calls that it is measured by."""

    address: str
    pid: int
    calls: dict[str, Call]

    def load(self, call: str, connections: int, seconds: float, *, by_grpc: bool = False) -> Measures:
        """Call from so many connections."""
        make = partial(GRPC if by_grpc else Connect, self.calls[call])
        return loaded(self.address, make, connections, pid=self.pid, seconds=seconds)

    def call(self, call: str, times: int, connections: int) -> Measures:
        """Call so often."""
        return loaded(self.address, partial(Connect, self.calls[call]), connections, pid=self.pid, calls=times)


@contextmanager
def ours(
    store: str, folder: Path, options: Sequence[str] = (), *, secrets: int = 2 * ON_A_PAGE
) -> Generator[tuple[Service, Target]]:
    """`gitpod-secrets serve` on a new store, with so many secrets in the project for pages."""
    service = Service(store, Path(mkdtemp(dir=folder)), options=options)
    try:
        with Gitpod(base_url=service.url, bearer_token=TOKEN) as client:
            made = [client.secrets.create(**named(number)).secret.id for number in range(secrets)]
        calls = {"create": create(ID, TOKEN), "value": value(made[0], TOKEN), "page": page(PAGED, TOKEN, ON_A_PAGE)}
        yield service, Target(service.url.removeprefix("http://"), service.pid, calls)
    finally:
        # An orderly end ends its children too.
        service.stop()


def named(number: int) -> SecretCreateParams:
    """One of the secrets that pages show."""
    return {"name": f"NAME_{number:06}", "value": "v" * 100, "project_id": PAGED, "api_only": True}


@contextmanager
def peer(plan: Plan) -> Generator[Target]:
    """The gRPC service of fifty lines, on a file. Raises `MissingPeerError`."""
    file = Path(mkdtemp(dir=plan.folder)) / "peer.db"
    with serving(plan.environments.python("grpcio"), "bench.peers.grpc_server", file) as server:
        made = partial(GRPC, create(ID, ""))
        loaded(server.address, made, 1, pid=server.process.pid, calls=1)
        with sqlite3.connect(file) as connection:
            [key] = connection.execute("SELECT id FROM secrets LIMIT 1").fetchone()
        yield Target(server.address, server.process.pid, {"create": create(ID, ""), "value": value(key, "")})


@contextmanager
def constant(plan: Plan, parser: str) -> Generator[Target]:
    """A uvicorn with one answer to everything. Raises `MissingPeerError`."""
    with serving(plan.environments.python("uvicorn"), "bench.peers.constant", parser) as server:
        yield Target(server.address, server.process.pid, {"create": create(ID, "")})
