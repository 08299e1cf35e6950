"""Clients that reach a service in every way, and the peers that they reach."""

import asyncio
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import httpx
import pyqwest
import pytest
from tests.support.caller import Caller, Codec
from tests.support.peer import Peer, Script
from tests.support.service import TOKEN, Service
from tests.support.ways import HTTPX, Connect, Kind, MakePeer

from gitpod import AsyncGitpod
from gitpod._rpc import retry
from gitpod._transport import native_threads
from gitpod.server.app import Embedded


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no service from the environment that the tests run in, and retries that wait for no time."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("GITPOD_BASE_URL", raising=False)
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)


@pytest.fixture
def peer() -> Iterator[MakePeer]:
    """Makes peers, and closes them."""
    made: list[Peer] = []

    def make(script: Script) -> Peer:
        made.append(Peer(script))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def make_httpx(kind: Kind, runner: asyncio.Runner) -> Iterator[Callable[..., Any]]:
    """Makes httpx clients of the kind that fits, of httpx2 if that is asked for, and closes them."""
    made: list[Any] = []

    def make(module: ModuleType = httpx, **options: Any) -> Any:
        made.append(module.AsyncClient(**options) if kind is AsyncGitpod else module.Client(**options))
        return made[-1]

    yield make
    for each in made:
        if kind is AsyncGitpod:
            runner.run(each.aclose())
        else:
            each.close()


@pytest.fixture
def make_pyqwest(kind: Kind, runner: asyncio.Runner) -> Iterator[Callable[[], Any]]:
    """Makes transports of pyqwest of the kind that fits, and closes them."""
    made: list[Any] = []

    def make() -> Any:
        transport = pyqwest.HTTPTransport if kind is AsyncGitpod else pyqwest.SyncHTTPTransport
        made.append(transport(follow_redirects=False))
        return made[-1]

    async def close(transport: pyqwest.HTTPTransport) -> None:
        await transport.aclose()

    yield make
    for each in made:
        if isinstance(each, pyqwest.HTTPTransport):
            runner.run(close(each))
        else:
            each.close()


@pytest.fixture
def embedded(kind: Kind) -> Iterator[Any]:
    """The service itself as an application of the kind that fits."""
    service = Embedded("sqlite://")
    yield service.asgi if kind is AsyncGitpod else service.wsgi
    service.close()


@pytest.fixture
def connect(kind: Kind, runner: asyncio.Runner) -> Iterator[Connect]:
    """Makes clients of both kinds that speak JSON, and closes them."""
    made: list[Caller] = []

    def make(base_url: str | None, codec: Codec = "json", **options: Any) -> Caller:
        made.append(Caller(kind(bearer_token=TOKEN, base_url=base_url, codec=codec, **options), runner))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["httpx", "httpx2", "pyqwest", "application"])
def given(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each kind of `http_client` in turn, and the `base_url` that goes with it: none for an application."""
    if request.param == "application":
        return {"base_url": None, "http_client": request.getfixturevalue("embedded")}
    sender: Any
    if request.param in HTTPX:
        sender = request.getfixturevalue("make_httpx")(HTTPX[request.param], trust_env=False)
    else:
        sender = request.getfixturevalue("make_pyqwest")()
    served: Service = request.getfixturevalue("service")
    return {"base_url": served.url, "http_client": sender}


@pytest.fixture(params=["default", "forked", "httpx", "httpx2", "pyqwest"])
def way(request: pytest.FixtureRequest, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Each way to a service on the network in turn: makes clients that take it."""
    if request.param == "forked":
        monkeypatch.setattr(native_threads, "_checked", (0, True))
    if request.param in ("default", "forked"):
        return connect
    if request.param in HTTPX:
        sender = request.getfixturevalue("make_httpx")(HTTPX[request.param], trust_env=False)
    else:
        sender = request.getfixturevalue("make_pyqwest")()

    def make(url: str, **options: Any) -> Caller:
        return connect(url, http_client=sender, **options)

    return make
