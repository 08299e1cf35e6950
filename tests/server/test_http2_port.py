"""The HTTP port speaks HTTP/2 too: every protocol, reflection, probes and CORS, in clear and over TLS."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyqwest
import pytest
import trustme
from tests.support.raw_http2 import PREFACE, SETTINGS, frame
from tests.support.service import TOKEN, Service, serve

from gitpod import AsyncGitpod, Gitpod

CALL = "/gitpod.v1.SecretService/ListSecrets"
ORIGIN = "https://secrets.example"
BUF = str(Path(sys.executable).with_name("buf"))
OVER_HTTP2: list[tuple[Any, Any]] = [
    (protocol, codec) for protocol in ("connect", "grpc", "grpc-web") for codec in ("binary", "json")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the certificates are."""
    return tmp_path_factory.mktemp("one")


@pytest.fixture(scope="module", params=["clear", "tls"])
def target(request: pytest.FixtureRequest, folder: Path) -> Iterator[Service]:
    """A service with one port."""
    options = ["--allow-origin", ORIGIN]
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    if request.param == "tls":
        leaf = authority.issue_cert("127.0.0.1")
        leaf.private_key_pem.write_to_path(folder / "key.pem")
        leaf.cert_chain_pems[0].write_to_path(folder / "chain.pem")
        options += ["--tls-cert", str(folder / "chain.pem"), "--tls-key", str(folder / "key.pem")]
    served = serve(folder / f"{request.param}.db", *options)
    yield served
    assert served.stop() == 0


def options(target: Service, folder: Path) -> dict[str, Any]:
    """Those of a client."""
    trusted = {"ca_cert": folder / "ca.pem"} if target.url.startswith("https:") else {}
    return {"bearer_token": TOKEN, "base_url": target.url, **trusted}


@pytest.mark.parametrize(("protocol", "codec"), OVER_HTTP2)
def test_every_protocol_is_spoken(target: Service, folder: Path, protocol: Any, codec: Any) -> None:
    """Over HTTP/2, and over HTTP/1.1 those that it can carry."""
    for http2 in (True, False):
        if http2 or protocol != "grpc":
            given: Any = options(target, folder) | {"protocol": protocol, "codec": codec, "http2": http2}
            with Gitpod(**given) as client:
                assert client.secrets.list().secrets == []


def test_an_async_client_is_served(target: Service, folder: Path) -> None:
    """Over TLS it chooses HTTP/2 by itself."""

    async def listed() -> Any:
        async with AsyncGitpod(**options(target, folder)) as client:
            return await client.secrets.list()

    assert asyncio.run(listed()).secrets == []


@pytest.mark.parametrize("protocol", ["connect", "grpcweb", "grpc"])
def test_buf_needs_no_schema(target: Service, folder: Path, protocol: str) -> None:
    """It asks for the schema by reflection, which needs HTTP/2."""
    command = [BUF, "curl", "--protocol", protocol, "--header", f"Authorization: Bearer {TOKEN}"]
    command += ["--cacert", str(folder / "ca.pem")] if target.url.startswith("https:") else []
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    done = subprocess.run([*command, target.url + CALL], check=True, stdout=subprocess.PIPE, env=environment, cwd="/")
    assert json.loads(done.stdout) == {"pagination": {}}


@pytest.fixture
def http(folder: Path) -> pyqwest.SyncClient:
    """A client of HTTP/2."""
    version, authority = pyqwest.HTTPVersion.HTTP2, (folder / "ca.pem").read_bytes()
    return pyqwest.SyncClient(pyqwest.SyncHTTPTransport(http_version=version, tls_ca_cert=authority))


def test_probes_and_pages_are_answered(target: Service, http: pyqwest.SyncClient) -> None:
    """As over HTTP/1.1."""
    assert http.get(f"{target.url}/readyz").content == b"ok\n"
    headers = {"origin": ORIGIN, "content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    answer = http.post(target.url + CALL, headers, b"{}")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "x-request-id" in answer.headers


def test_the_answer_to_a_head_has_no_body(target: Service, http: pyqwest.SyncClient) -> None:
    """Clients refuse one, and load balancers ask so."""
    with http.stream("HEAD", f"{target.url}/readyz") as answer:
        assert (answer.status, b"".join(answer.content)) == (200, b"")


@pytest.mark.parametrize("path", ["/nope", "/gitpod.v1.SecretService/Nope", "/gitpod.v1.Nope/ListSecrets"])
def test_an_unknown_path_is_told_the_known_ones(target: Service, http: pyqwest.SyncClient, path: str) -> None:
    """And the answer has a request id, as every other."""
    answer = http.post(target.url + path, {"content-type": "application/json"}, b"{}")
    assert (answer.status, "the calls are POST" in answer.text()) == (404, True)
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize("size", [1, 3])
def test_the_greeting_may_come_in_pieces(tmp_path: Path, size: int) -> None:
    """However the network splits what a client sends at first."""
    served = serve(tmp_path / "s.db")
    address = urlsplit(served.url)
    with closing(socket.create_connection((address.hostname, address.port), 30)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        greeting = PREFACE + frame(SETTINGS, 0, 0, b"")
        for start in range(0, len(greeting), size):
            connection.sendall(greeting[start : start + size])
            time.sleep(0.02)  # so that the service reads this piece alone
        assert connection.recv(4)[3] == SETTINGS
    assert served.stop() == 0


def test_a_stop_ends_connections_of_http2(tmp_path: Path) -> None:
    """Of a client that keeps its connection."""
    served = serve(tmp_path / "s.db")
    with Gitpod(bearer_token=TOKEN, base_url=served.url, http2=True) as client:
        assert client.secrets.list().secrets == []
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(15) == 0
