"""Clients that reach a service in every way, and the peers that they reach."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pyqwest
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from tests.support import canaries
from tests.support.caller import Caller, Codec
from tests.support.peer import Peer, Script
from tests.support.service import TOKEN, Service
from tests.support.ways import HTTPX, Connect, Kind, MakePeer

from gitpod import AsyncGitpod, Gitpod
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


@pytest.fixture
def clients(runner: asyncio.Runner) -> Iterator[Callable[..., Gitpod | AsyncGitpod]]:
    """Makes clients with the marked token, and closes them."""
    made: list[Gitpod | AsyncGitpod] = []

    def make(kind: Kind, url: str, codec: Codec) -> Gitpod | AsyncGitpod:
        made.append(kind(bearer_token=canaries.TOKEN, base_url=url, codec=codec, max_retries=0))
        return made[-1]

    yield make
    for client in made:
        Caller(client, runner).close()


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


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of certificates.

    `ca.pem` issued `server.pem`, for an address and no name, and `client.pem`, each with its key; their parts are
    `….crt` and `….key`. `other.pem` issued nothing, and `stranger.pem` comes from yet another. `rsa.pem`,
    `pkcs8.key`, `encrypted.key` and `legacy.key` are what tools also write.
    """
    out = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(out / "ca.pem")
    trustme.CA().cert_pem.write_to_path(out / "other.pem")
    issuers = {"server": authority, "client": authority, "stranger": trustme.CA()}
    for name, issuer in issuers.items():
        leaf = issuer.issue_cert("127.0.0.1")
        leaf.private_key_and_cert_chain_pem.write_to_path(out / f"{name}.pem")
        leaf.private_key_pem.write_to_path(out / f"{name}.key")
        leaf.cert_chain_pems[0].write_to_path(out / f"{name}.crt")
    rsa = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
    (out / "rsa.pem").write_bytes(rsa.cert_chain_pems[0].bytes() + rsa.private_key_pem.bytes())
    key = load_pem_private_key((out / "client.key").read_bytes(), None)
    (out / "pkcs8.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for name, kind_of in {"encrypted": PrivateFormat.PKCS8, "legacy": PrivateFormat.TraditionalOpenSSL}.items():
        encrypted = key.private_bytes(Encoding.PEM, kind_of, BestAvailableEncryption(b"password"))
        (out / f"{name}.key").write_bytes(encrypted)
    return out
