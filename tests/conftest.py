"""What every test may ask for: services, databases, and clients of each flavour (sync or async, codec, store)."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import MISSING, Cluster, binaries
from tests.support.caller import KINDS, PAIRWISE, Caller, Codec, Flavour, Kind
from tests.support.failures import FailuresAtOnce
from tests.support.grpc import GRPCPeer, compile_stubs, serving
from tests.support.processes import contained, forbid, say_what_was_left_out
from tests.support.service import ROOT, TOKEN, Service, serve

pytest_plugins = ["gitpod.testing"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make quick`."""
    parser.addoption("--quick", action="store_true", help="skip each test that starts a process")


def pytest_configure(config: pytest.Config) -> None:
    """Print failures where tests are reported, which in a parallel run is not where they run."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder: `-m wire` selects the tests of `tests/wire/`."""
    for item in items:
        folder, *below = item.path.relative_to(ROOT / "tests").parts
        if below:
            item.add_marker(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests `make quick` left out."""
    if config.getoption("quick"):
        say_what_was_left_out(terminalreporter)


@pytest.fixture(scope="session", autouse=True)
def processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """No process outlives the test run that started it, and one that outlives its test fails the run."""
    if request.config.getoption("quick"):
        forbid()
        yield
        return
    with contained():
        yield


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One served store for every test that does not stop it; tests keep to projects of their own."""
    served = serve(tmp_path_factory.mktemp("service") / "secrets.db")
    yield served
    assert served.stop() == 0


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL for every test that does not stop it."""
    if binaries() is None:
        pytest.skip(MISSING)
    with Cluster() as running:
        yield running


@pytest.fixture
def own() -> Iterator[Cluster]:
    """A PostgreSQL that the test may stop."""
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
def kind(request: pytest.FixtureRequest) -> Kind:
    """The class of client."""
    return KINDS[request.param]


@pytest.fixture(params=["binary", "json"])
def codec(request: pytest.FixtureRequest) -> Codec:
    """The codec."""
    return "json" if request.param == "json" else "binary"


@pytest.fixture(scope="session")
def shared_database(cluster: Cluster) -> str:
    """A database for every test that keeps to projects of its own."""
    return cluster.create_database("shared")


@pytest.fixture(params=["in-process", "postgresql", "socket"])
def base_url(request: pytest.FixtureRequest, store: Callable[[str], str]) -> str:
    """The URL of each store in turn."""
    return store(request.param)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Gives the URL of a store: in this process, over either kind of database, or behind a socket."""

    def url(where: str) -> str:
        if where == "in-process":
            return f"sqlite:///{tmp_path}/secrets.db"
        if where == "postgresql":
            monkeypatch.setenv("GITPOD_SECRETS_KEY", f"file:{tmp_path.parent / 'shared.key'}")
            database: str = request.getfixturevalue("shared_database")
            return database
        served: Service = request.getfixturevalue("service")
        return served.url

    return url


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop for the test."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=PAIRWISE, ids="-".join)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """The kind, codec and store of `client`; a module that needs all of them overrides this with `EVERY_FLAVOUR`."""
    chosen: Flavour = request.param
    return chosen


@pytest.fixture
def client(flavour: Flavour, store: Callable[[str], str], runner: asyncio.Runner) -> Iterator[Caller]:
    """A client of every flavour in turn."""
    kind, codec, where = flavour
    caller = Caller(KINDS[kind](bearer_token=TOKEN, base_url=store(where), codec=codec), runner)
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
