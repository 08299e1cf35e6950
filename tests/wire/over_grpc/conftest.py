"""Clients of a gRPC service of grpcio's, and of our own service over gRPC-Web.

The gRPC service is another process (`tests/support/grpc_program.py`), which does what a call's headers tell it to.
"""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from tests.support.caller import Caller, Codec
from tests.support.grpc import GRPCPeer
from tests.support.service import TOKEN
from tests.support.ways import Connect

from gitpod import AsyncGitpod, Gitpod
from gitpod._rpc import retry


@pytest.fixture
def connect(kind: type[Gitpod] | type[AsyncGitpod], runner: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Makes clients of both kinds that speak gRPC, and closes them. Retries wait for no time."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)
    made: list[Caller] = []

    def make(url: str, protocol: Literal["connect", "grpc"] = "grpc", **options: Any) -> Caller:
        made.append(Caller(kind(bearer_token=TOKEN, base_url=url, protocol=protocol, **options), runner))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def client(connect: Connect, there: GRPCPeer) -> Caller:
    """A client of the gRPC service."""
    return connect(there.url)


FLAVOURS: list[tuple[str, str, Codec]] = [
    # the protocol, where the service is, and the codec
    ("grpc", "there", "binary"),
    *[("grpc-web", where, codec) for where in ("in-process", "service") for codec in ("binary", "json")],
]


@pytest.fixture(params=FLAVOURS, ids="-".join)
def either(request: pytest.FixtureRequest, kind: type[Gitpod] | type[AsyncGitpod], runner: Any) -> Iterator[Caller]:
    """A client of gRPC, or one of gRPC-Web and our own service."""
    protocol, where, codec = request.param
    url = "sqlite://" if where == "in-process" else request.getfixturevalue(where).url
    caller = Caller(kind(bearer_token=TOKEN, base_url=url, protocol=protocol, codec=codec), runner)
    yield caller
    caller.close()
