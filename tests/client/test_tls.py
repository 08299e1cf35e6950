"""TLS: whom a client trusts, how it shows who it is itself, and which certificates are refused before any call."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests.support.caller import Caller
from tests.support.peer import Peer, answer
from tests.support.service import TOKEN

import gitpod
from gitpod import AsyncGitpod, Gitpod
from gitpod._rpc import retry
from gitpod.server.app import Embedded
from gitpod.server.serving.http_connection import Connection

HOST = "127.0.0.1"
CANARY = "hunter2"
pytestmark = pytest.mark.usefixtures("clean_environment")


@contextmanager
def serving(app: Any, pki: Path, **options: Any) -> Generator[str]:
    """An ASGI application behind TLS, for a while, and its URL."""
    config = uvicorn.Config(
        app,
        ssl_certfile=pki / "server.crt",
        ssl_keyfile=pki / "server.key",
        ssl_ca_certs=str(pki / "ca.pem"),
        http=Connection,
        ws="none",
        lifespan="off",
        log_level="critical",
        **options,
    )
    server = uvicorn.Server(config)
    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"https://{HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    """The service itself."""
    service = Embedded("sqlite://", TOKEN)
    yield service
    service.close()


@pytest.fixture(scope="session")
def url(embedded: Embedded, pki: Path) -> Iterator[str]:
    """Where the service is, behind TLS."""
    with serving(embedded.asgi, pki) as url:
        yield url


@pytest.fixture(scope="session")
def strict_url(embedded: Embedded, pki: Path) -> Iterator[str]:
    """Where the service is for clients that show a certificate."""
    with serving(embedded.asgi, pki, ssl_cert_reqs=ssl.CERT_REQUIRED) as url:
        yield url


Connect = Callable[..., Caller]


@pytest.fixture
def connect(kind: type[Gitpod] | type[AsyncGitpod], runner: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Makes clients of both kinds, and closes them. Retries wait for no time."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)
    made: list[Caller] = []

    def make(url: str, **options: Any) -> Caller:
        made.append(Caller(kind(bearer_token=TOKEN, base_url=url, **options), runner))
        return made[-1]

    yield make
    for each in made:
        each.close()


def params(project: str) -> dict[str, Any]:
    """A secret to create."""
    return {"name": "NAME", "value": CANARY, "project_id": project, "api_only": True}


@pytest.mark.parametrize("as_path", [str, Path])
@pytest.mark.parametrize("protocol", ["connect", "grpc-web"])
def test_a_named_authority_is_trusted(
    connect: Connect, pki: Path, url: str, project: str, as_path: Callable[[Path], Any], protocol: str
) -> None:
    """By the path of its certificate, of either type."""
    client = connect(url, ca_cert=as_path(pki / "ca.pem"), protocol=protocol)
    made = client.create(**params(project)).secret
    assert client.get_value(secret_id=made.id).reveal() == CANARY


@pytest.mark.parametrize("order", [("ca.pem", "other.pem"), ("other.pem", "ca.pem")])
def test_every_authority_of_a_bundle_is_trusted(
    connect: Connect, pki: Path, url: str, tmp_path: Path, order: tuple[str, str]
) -> None:
    """Whichever comes first, and with the comments that bundles have between them."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("\n".join(f"# {name}\n{(pki / name).read_text()}" for name in order))
    connect(url, ca_cert=bundle).page(page_size=1)


@pytest.mark.parametrize(("ca_cert", "is_trusted"), [(None, True), ("other.pem", False)])
def test_a_named_authority_is_trusted_alone(
    connect: Connect, pki: Path, url: str, monkeypatch: pytest.MonkeyPatch, ca_cert: str | None, *, is_trusted: bool
) -> None:
    """Those of the system, which SSL_CERT_FILE stands in for, count only where none is named."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pki / "ca.pem"))
    client = connect(url, ca_cert=ca_cert and pki / ca_cert)
    if is_trusted:
        client.page(page_size=1)
        return
    with pytest.raises(gitpod.APIConnectionError, match="certificate"):
        client.page(page_size=1)


def test_files_may_go_once_a_client_was_made(connect: Connect, pki: Path, strict_url: str, tmp_path: Path) -> None:
    """As it has seen them by then; a first call must not fail for what the constructor has checked."""
    for name in ("ca.pem", "client.pem"):
        (tmp_path / name).write_bytes((pki / name).read_bytes())
    client = connect(strict_url, ca_cert=tmp_path / "ca.pem", client_cert=tmp_path / "client.pem")
    for path in tmp_path.iterdir():
        path.unlink()
    client.page(page_size=1)


@pytest.mark.parametrize(("ca_cert", "host"), [(None, HOST), ("other.pem", HOST), ("ca.pem", "localhost")])
def test_another_certificate_is_not_trusted(
    connect: Connect, pki: Path, url: str, project: str, ca_cert: str | None, host: str
) -> None:
    """Neither one of an unknown issuer nor one for another host; nothing is sent, and nothing tried again."""
    client = connect(url.replace(HOST, host), ca_cert=ca_cert and pki / ca_cert)
    with pytest.raises(gitpod.APIConnectionError, match="certificate") as caught:
        client.create(**params(project))
    assert (caught.value.outcome, caught.value.attempts, caught.value.status_code) == ("not_sent", 1, None)
    trusting = connect(url, ca_cert=pki / "ca.pem")
    assert trusting.list(filter={"scope": {"project_id": project}}) == []


def one_file(pki: Path) -> Path:
    """A certificate and its key, together."""
    return pki / "client.pem"


def rsa_and_pkcs1(pki: Path) -> Path:
    """The same of another kind, in another order and format."""
    return pki / "rsa.pem"


def pkcs8(pki: Path) -> tuple[Path, Path]:
    """A key in the format that most tools write."""
    return pki / "client.crt", pki / "pkcs8.key"


def two_files(pki: Path) -> tuple[Path, Path]:
    """A certificate and its key, apart."""
    return pki / "client.crt", pki / "client.key"


@pytest.mark.parametrize("files", [one_file, two_files, rsa_and_pkcs1, pkcs8])
def test_a_client_shows_its_certificate(
    connect: Connect, pki: Path, strict_url: str, project: str, files: Callable[[Path], Any]
) -> None:
    """To a service that asks for one."""
    client = connect(strict_url, ca_cert=pki / "ca.pem", client_cert=files(pki))
    made = client.create(**params(project)).secret
    assert client.get_value(secret_id=made.id).reveal() == CANARY


@pytest.mark.parametrize("name", [None, "stranger.pem"])
def test_a_client_without_its_certificate_is_turned_away(
    connect: Connect, pki: Path, strict_url: str, project: str, name: str | None
) -> None:
    """Or with one that the service does not trust, and the service never sees the request."""
    client = connect(strict_url, ca_cert=pki / "ca.pem", client_cert=name and pki / name)
    with pytest.raises(gitpod.APIConnectionError):
        client.create(**params(project))
    welcome = connect(strict_url, ca_cert=pki / "ca.pem", client_cert=pki / "client.pem")
    assert welcome.list(filter={"scope": {"project_id": project}}) == []


def test_a_proper_certificate_is_enough_for_a_copy(pki: Path, strict_url: str) -> None:
    """Which shares the connections, with what they are secured by."""
    with Gitpod(
        bearer_token="wrong", base_url=strict_url, ca_cert=pki / "ca.pem", client_cert=pki / "client.pem"
    ) as client:
        client.with_options(bearer_token=TOKEN).secrets.list()
        with pytest.raises(gitpod.AuthenticationError):
            client.secrets.list()


@pytest.mark.parametrize("options", [{}, {"protocol": "grpc"}, {"http2": True}], ids=str)
def test_the_handshake_offers_what_the_client_speaks(
    connect: Connect, kind: type[Gitpod] | type[AsyncGitpod], pki: Path, options: dict[str, Any]
) -> None:
    """The async client has HTTP/2 beside HTTP/1.1, the sync one when it is asked for; gRPC has nothing else."""
    offered = ["h2"] if options else ["h2", "http/1.1"] if kind is AsyncGitpod else ["http/1.1"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki / "server.pem")
    chosen: dict[str, str | None] = {}
    for protocol in ("h2", "http/1.1"):
        context.set_alpn_protocols([protocol])
        with socket.create_server((HOST, 0)) as listener:

            def shake_hands(listener: socket.socket = listener, protocol: str = protocol) -> None:
                connection, _ = listener.accept()
                with connection, context.wrap_socket(connection, server_side=True) as secured:
                    chosen[protocol] = secured.selected_alpn_protocol()

            thread = threading.Thread(target=shake_hands, daemon=True)
            thread.start()
            client = connect(
                f"https://{HOST}:{listener.getsockname()[1]}", ca_cert=pki / "ca.pem", max_retries=0, **options
            )
            with pytest.raises(gitpod.APIConnectionError):
                client.page()
            thread.join()
    assert [protocol for protocol, agreed in chosen.items() if agreed] == offered


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_is_not_followed(connect: Connect, pki: Path, project: str, status: int) -> None:
    """Least of all to where everybody can read it."""
    elsewhere = Peer(answer(200))

    async def redirect(scope: Any, _receive: Any, send: Any) -> None:
        location = f"{elsewhere.url}{scope['path']}".encode()
        await send({"type": "http.response.start", "status": status, "headers": [(b"location", location)]})
        await send({"type": "http.response.body"})

    with serving(redirect, pki) as url:
        with pytest.raises(gitpod.APIResponseValidationError, match=f"HTTP {status} to {elsewhere.url}/") as caught:
            connect(url, ca_cert=pki / "ca.pem").create(**params(project))
        assert (caught.value.outcome, caught.value.attempts) == ("rejected", 1)
    elsewhere.close()
    assert elsewhere.requests == []


PROGRAM = """
import os, signal, sys
from gitpod import APIError, Gitpod
_, when, ca, cert = sys.argv
client = Gitpod(ca_cert=ca, client_cert=cert, max_retries=0)

def call():
    try:
        client.secrets.list()
        return "listed"
    except APIError as error:
        return f"{type(error).__name__} {error.outcome}"

if when == "used":
    print("parent", call(), flush=True)
child = os.fork()
if child == 0:
    signal.alarm(20)
    print("child", call(), flush=True)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("parent", call(), flush=True)
"""


@pytest.mark.parametrize("when", ["used", "unused"])
@pytest.mark.parametrize(
    ("ca", "cert", "outcome"),
    [("ca.pem", "client.pem", "listed"), ("other.pem", "client.pem", "APIConnectionError not_sent")],
)
def test_a_forked_child_trusts_the_same(
    pki: Path, embedded: Embedded, when: str, ca: str, cert: str, outcome: str
) -> None:
    """And shows the same certificate, though its connections are made by other means."""
    with serving(embedded.asgi, pki, ssl_cert_reqs=ssl.CERT_REQUIRED) as url:
        environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": url}
        program: list[str | Path] = [sys.executable, "-W", "error", "-c", PROGRAM, when, pki / ca, pki / cert]
        done = subprocess.run(program, env=environment, timeout=60, check=True, capture_output=True, text=True)
    who = ["parent", "child", "parent"] if when == "used" else ["child", "parent"]
    assert done.stdout.splitlines() == [f"{each} {outcome}" for each in who]
