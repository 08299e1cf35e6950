"""One body of tests over every flavour: sync and async, binary and JSON, in process and over a socket."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import pytest
from postgres import MISSING, Cluster, binaries

from gitpod import AsyncGitpod, Gitpod
from gitpod.pagination import AsyncPaginator
from gitpod.types import Secret, SecretCreateResponse, SecretPutResponse, SecretValue

pytest_plugins = ["gitpod.testing"]

T = TypeVar("T")
Codec = Literal["binary", "json"]
TOKEN = "t0ken-for-tests"
ROOT = Path(__file__).parent.parent


@dataclass
class Service:
    """A served store: the process, where it listens, the file it keeps, and what it logs."""

    process: subprocess.Popen[str]
    url: str
    path: Path
    log: Path

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal the process and wait for its exit status."""
        self.process.send_signal(how)
        self.process.communicate(timeout=30)
        return self.process.returncode


def serve(path: Path, *arguments: str, port: int = 0) -> Service:
    """Run `gitpod-secrets serve` on a file, and return once it listens."""
    command = [sys.executable, "-c", "from gitpod.cli import main; main()", "serve", "--store", f"sqlite:///{path}"]
    log = path.with_name(f"{path.name}.log")
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [*command, "--port", str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"GITPOD_API_KEY": TOKEN},
        )
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("export GITPOD_BASE_URL="), log.read_text()
    return Service(process, line.split("=", 1)[1].strip(), path, log)


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


class Caller:
    """A client of either kind, called the same way."""

    def __init__(self, client: Gitpod | AsyncGitpod, runner: asyncio.Runner) -> None:
        self.client = client
        self._runner = runner

    def run(self, result: T | Awaitable[T]) -> T:
        """The result of a call, awaited where it has to be."""
        if not isinstance(result, Awaitable):
            return result
        pending = cast("Awaitable[T]", result)

        async def awaited() -> T:
            return await pending

        return self._runner.run(awaited())

    def create(self, **params: Any) -> SecretCreateResponse:
        return self.run(self.client.secrets.create(**params))

    def get_value(self, **params: Any) -> SecretValue:
        return self.run(self.client.secrets.get_value(**params))

    def put(self, **params: Any) -> SecretPutResponse:
        return self.run(self.client.secrets.put(**params))

    def update_value(self, **params: Any) -> None:
        return self.run(self.client.secrets.update_value(**params))

    def delete(self, **params: Any) -> None:
        return self.run(self.client.secrets.delete(**params))

    def list(self, **params: Any) -> list[Secret]:
        """Every secret of a list, of all its pages."""
        found = self.client.secrets.list(**params)
        if not isinstance(found, AsyncPaginator):
            return list(found)

        async def collect() -> list[Secret]:
            return [secret async for secret in found]

        return self._runner.run(collect())

    def page(self, **params: Any) -> Any:
        """The first page of a list, of either kind."""
        return self.run(cast("Awaitable[Any]", self.client.secrets.list(**params)))

    def close(self) -> None:
        self.run(self.client.close())


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
