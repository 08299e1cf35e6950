"""Services that cannot be reached: the error says why in words, and what to install, set or pass."""

import asyncio
import datetime as dt
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import trustme
from tests.support.caller import Caller, Codec
from tests.support.grpc import GRPCPeer
from tests.support.peer import Peer, answer, free_port
from tests.support.service import Service

import gitpod
from gitpod import AsyncGitpod, Gitpod
from gitpod._rpc import retry

HOST, TOKEN, VALUE = "127.0.0.1", "t0ken-canary", "s3cret-canary"
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
PARAMS: dict[str, Any] = {
    "name": "NAME",
    "value": VALUE,
    "project_id": "b0e12f6c-4c67-429d-a4a6-d9838b5da047",
    "api_only": True,
}
Create = Callable[..., gitpod.APIConnectionError]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no authorities from the environment that the tests run in; retries wait for no time."""
    for name in (*PROXIES, "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)


@pytest.fixture
def create(kind: type[Gitpod] | type[AsyncGitpod], codec: Codec, runner: asyncio.Runner) -> Iterator[Create]:
    """Makes a create that fails, which shows neither the value nor the token, and returns its error."""
    made: list[Caller] = []

    def fail(url: str, **options: Any) -> gitpod.APIConnectionError:
        made.append(Caller(kind(bearer_token=TOKEN, base_url=url, codec=codec, timeout=20, **options), runner))
        with pytest.raises(gitpod.APIConnectionError) as caught:
            made[-1].create(**PARAMS)
        assert not any(hidden in str(caught.value) for hidden in (VALUE, TOKEN))
        return caught.value

    yield fail
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an authority, `ca.pem`, and certificates of it for servers; `other.pem` is another authority."""
    out = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(out / "ca.pem")
    trustme.CA().cert_pem.write_to_path(out / "other.pem")
    past: dict[str, Any] = {"not_before": dt.datetime(2020, 1, 1), "not_after": dt.datetime(2020, 1, 2)}  # noqa: DTZ001 # as trustme takes them
    leaves = {
        "good": authority.issue_cert(HOST),
        "of-another-host": authority.issue_cert("example.com"),
        "of-another-address": authority.issue_cert("127.0.0.2"),
        "expired": authority.issue_cert(HOST, **past),
    }
    for name, leaf in leaves.items():
        leaf.private_key_and_cert_chain_pem.write_to_path(out / f"{name}.pem")
    return out


@pytest.fixture
def serve_tls(pki: Path) -> Iterator[Callable[[str], int]]:
    """Makes bare TLS servers with a certificate, and returns their ports."""
    listeners: list[socket.socket] = []

    def accept(listener: socket.socket, context: ssl.SSLContext) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                # A handshake that fails is what these servers are for.
                with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)

    def make(certificate: str) -> int:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pki / f"{certificate}.pem")
        listeners.append(socket.create_server((HOST, 0)))
        threading.Thread(target=accept, args=(listeners[-1], context), daemon=True).start()
        port: int = listeners[-1].getsockname()[1]
        return port

    yield make
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def nginx(pki: Path, tmp_path: Path) -> Iterator[int]:
    """The port of an nginx with TLS."""
    if which("nginx") is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    (tmp_path / "nginx.conf").write_text(f"""
        daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;
        events {{ }}
        http {{
            access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;
            fastcgi_temp_path {tmp_path}/fastcgi; uwsgi_temp_path {tmp_path}/uwsgi; scgi_temp_path {tmp_path}/scgi;
            server {{
                listen {HOST}:{port} ssl;
                ssl_certificate {pki}/good.pem; ssl_certificate_key {pki}/good.pem;
            }}
        }}""")
    command = ["nginx", "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(1000):
                with suppress(OSError):
                    socket.create_connection((HOST, port)).close()
                    break
                threading.Event().wait(0.01)
            yield port
        finally:
            process.kill()


def assert_not_sent_once(error: gitpod.APIConnectionError) -> None:
    """Check that nothing was sent, and that it was found out by one attempt."""
    assert (error.outcome, error.attempts) == ("not_sent", 1)


@pytest.mark.parametrize("options", [{}, {"protocol": "grpc"}], ids=str)
@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"], ids=repr)
def test_missing_authorities_name_what_to_install(
    create: Create, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, options: dict[str, Any]
) -> None:
    """As in a slim image: no file and no folder of them, or one that holds none."""
    if content is not None:
        (tmp_path / "authorities.pem").write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    error = create(f"https://{HOST}:9", **options)
    assert_not_sent_once(error)
    assert all(name in str(error) for name in ("ca-certificates", "SSL_CERT_FILE", "ca_cert"))


def test_missing_authorities_are_named_to_a_client_with_a_certificate(
    create: Create, monkeypatch: pytest.MonkeyPatch, pki: Path, tmp_path: Path
) -> None:
    """Its own certificate is none to trust a service by."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    error = create(f"https://{HOST}:9", client_cert=pki / "good.pem")
    assert_not_sent_once(error)
    assert "ca-certificates" in str(error)


@pytest.mark.parametrize(
    "url", ["http://[hunter2", "ftp://hunter2:1", "http://:3128", "http://hunter2:port", "http://"]
)
@pytest.mark.parametrize("name", PROXIES)
def test_a_bad_proxy_names_its_variable(create: Create, monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    """And the rule, but not what it is set to, which may hold a password."""
    monkeypatch.setenv(name, url)
    error = create(f"https://{HOST}:9")
    assert_not_sent_once(error)
    assert f" {name}: must be the URL of a proxy" in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("options", [{}, {"protocol": "grpc"}], ids=str)
@pytest.mark.parametrize(
    ("certificate", "ca", "words"),
    [
        ("good", None, ("is not trusted", "ca_cert")),
        ("good", "other.pem", ("is not trusted", "ca_cert")),
        ("expired", "ca.pem", ("is not trusted", "expired")),
        ("of-another-host", "ca.pem", ("of another host", "is base_url right?")),
        ("of-another-address", "ca.pem", ("of another host", "is base_url right?")),
    ],
)
def test_a_certificate_that_does_not_fit_says_why(  # a table's columns
    create: Create,
    pki: Path,
    serve_tls: Callable[[str], int],
    certificate: str,
    ca: str | None,
    words: tuple[str, ...],
    options: dict[str, Any],
) -> None:
    """And asks whether base_url is right only where that would help."""
    error = create(f"https://{HOST}:{serve_tls(certificate)}", ca_cert=ca and pki / ca, **options)
    assert_not_sent_once(error)
    assert all(word in str(error) for word in words)
    assert ("base_url" in str(error)) == ("base_url" in words[1])


@pytest.mark.parametrize("options", [{}, {"protocol": "grpc-web"}, {"protocol": "grpc"}], ids=str)
def test_https_to_a_plain_port_is_named(
    create: Create, service: Service, there: GRPCPeer, pki: Path, options: dict[str, Any]
) -> None:
    """Of either kind."""
    for url in (service.url, there.url):
        error = create(url.replace("http:", "https:"), ca_cert=pki / "ca.pem", **options)
        assert_not_sent_once(error)
        assert "the port does not speak TLS, and base_url begins with https://" in str(error)


@pytest.mark.parametrize("options", [{}, {"protocol": "grpc-web"}, {"protocol": "grpc"}], ids=str)
def test_plain_http_to_a_tls_port_is_named(
    create: Create, serve_tls: Callable[[str], int], options: dict[str, Any]
) -> None:
    """Though a server that speaks TLS may close the connection without a word."""
    error = create(f"http://{HOST}:{serve_tls('good')}", **options)
    assert error.attempts == 1
    assert "speaks TLS" in str(error)
    assert "https://" in str(error)


def test_plain_http_to_nginx_with_tls_is_named(create: Create, nginx: int) -> None:
    """It answers a page in plain text."""
    error = create(f"http://{HOST}:{nginx}")
    assert_not_sent_once(error)
    assert "the port speaks TLS, and base_url does not begin with https://" in str(error)


@pytest.mark.parametrize(
    "page",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n",
    ],
    ids=["Go", "Apache"],
)
def test_plain_http_to_other_servers_with_tls_is_named(create: Create, page: bytes) -> None:
    """Each has a text of its own."""
    peer = Peer(answer(400, page, content_type="text/plain"))
    error = create(peer.url)
    peer.close()
    assert_not_sent_once(error)
    assert "the port speaks TLS" in str(error)


@pytest.mark.parametrize("protocol", ["connect", "grpc-web"])
def test_connect_to_a_grpc_port_is_named(
    create: Create, kind: type[Gitpod] | type[AsyncGitpod], there: GRPCPeer, protocol: str
) -> None:
    """The sync client even knows that nothing was processed."""
    error = create(there.url, protocol=protocol)
    assert error.attempts == 1
    assert error.outcome == ("not_sent" if kind is Gitpod else "unknown")
    assert "gRPC ports" in str(error)
    assert "use the Connect port" in str(error)


def test_grpc_to_a_port_of_http1_is_named(create: Create) -> None:
    """As many services of Connect have one."""
    with HTTPServer((HOST, 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        error = create(f"http://{HOST}:{server.server_port}", protocol="grpc")
        server.shutdown()
    assert error.attempts == 1
    assert "gRPC has a port of its own" in str(error)
