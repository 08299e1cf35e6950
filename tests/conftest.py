"""One body of tests over every flavour: sync and async, binary and JSON, in process and over a socket."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import MISSING, Cluster, binaries
from tests.support.caller import Caller, Codec
from tests.support.grpc import GRPCPeer, compile_stubs, serving
from tests.support.service import TOKEN, Service, serve

from gitpod import AsyncGitpod, Gitpod

pytest_plugins = ["gitpod.testing"]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One served store for every test that does not stop it; tests keep to projects of their own."""
    served = serve(tmp_path_factory.mktemp("service") / "secrets.db")
    try:
        yield served
        assert served.stop() == 0
    finally:
        served.process.kill()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL for every test that does not stop it."""
    if binaries() is None:
        pytest.skip(MISSING)
    with Cluster() as running:
        yield running


@pytest.fixture
def database_url(cluster: Cluster) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own."""
    name = f"test_{uuid.uuid4().hex}"
    yield cluster.create_database(name)
    cluster.drop_database(name)


@pytest.fixture
def project() -> str:
    """A project that no other test uses."""
    return str(uuid.uuid4())


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> type[Gitpod] | type[AsyncGitpod]:
    """The class of client."""
    return Gitpod if request.param == "sync" else AsyncGitpod


@pytest.fixture(params=["binary", "json"])
def codec(request: pytest.FixtureRequest) -> Codec:
    """The codec."""
    return "json" if request.param == "json" else "binary"


@pytest.fixture(scope="session")
def shared_database(cluster: Cluster) -> str:
    """A database for every test that keeps to projects of its own."""
    return cluster.create_database("shared")


@pytest.fixture(params=["in-process", "postgresql", "socket"])
def base_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the service is: in this process, over either kind of database, or behind a socket."""
    if request.param == "in-process":
        return f"sqlite:///{tmp_path}/secrets.db"
    if request.param == "postgresql":
        monkeypatch.setenv("GITPOD_SECRETS_KEY", f"file:{tmp_path.parent / 'shared.key'}")
        url: str = request.getfixturevalue("shared_database")
        return url
    served: Service = request.getfixturevalue("service")
    return served.url


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop for the test."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def client(
    kind: type[Gitpod] | type[AsyncGitpod], codec: Codec, base_url: str, runner: asyncio.Runner
) -> Iterator[Caller]:
    """A client of every flavour in turn."""
    caller = Caller(kind(bearer_token=TOKEN, base_url=base_url, codec=codec), runner)
    yield caller
    caller.close()


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The messages and stubs that grpcio-tools compiles from our files."""
    return compile_stubs(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="session")
def there(stubs: Path) -> Iterator[GRPCPeer]:
    """One gRPC service for every test that does not end it; tests keep to projects of their own."""
    with serving(stubs, stubs / "calls") as peer:
        yield peer
