"""The service behind nginx, as `examples/nginx.conf` has it."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.caller import Codec
from tests.support.nginx import NGINX, SECONDS, Proxy, nginx
from tests.support.peer import Peer
from tests.support.raw_requests import CREATE, HOST, bare, get, post
from tests.support.service import TOKEN, Service, serve
from tests.support.target import read_answer

import gitpod

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
CANARY = "hunter2-canary"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy from the environment that the tests run in."""
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def proxy(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The example in front of the service."""
    with nginx(tmp_path_factory.mktemp("nginx"), httpx.URL(service.url).port or 0) as proxy:
        yield proxy


@pytest.fixture
def http(proxy: Proxy) -> Iterator[httpx.Client]:
    """A plain HTTP client of the service behind it."""
    with httpx.Client(
        base_url=proxy.url,
        headers={"authorization": f"Bearer {TOKEN}"},
        verify=proxy.trusting(),
        trust_env=False,
    ) as client:
        yield client


@pytest.mark.parametrize("protocol", ["connect", "grpc-web"])
def test_the_client_works_through_it(proxy: Proxy, project: str, protocol: str, codec: Codec) -> None:
    """Create, read, list, update, delete; and errors are still the service's."""
    with proxy.client(protocol=protocol, codec=codec) as client:
        made = client.secrets.create(name="PROXIED", value="x" * 10_240, project_id=project, api_only=True).secret
        assert client.secrets.get_value(secret_id=made.id).value == "x" * 10_240
        client.secrets.update_value(secret_id=made.id, value="new")
        assert [found.id for found in client.secrets.list(filter={"scope": {"project_id": project}})] == [made.id]
        client.secrets.delete(secret_id=made.id)
        with pytest.raises(gitpod.NotFoundError) as caught:
            client.secrets.delete(secret_id=made.id)
    assert (caught.value.code, caught.value.outcome) == ("not_found", "rejected")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/%68ealthz", "//readyz", "/./readyz", "/x/../healthz?x=1"])
def test_probes_are_not_passed_on(proxy: Proxy, path: str) -> None:
    """However their path is written. nginx itself answers."""
    with proxy.connect() as connection:
        connection.sendall(bare(f"GET {path} HTTP/1.1", HOST))
        answer = read_answer(connection)
    assert (answer.status, "nginx" in answer.text) == (404, True)


@pytest.mark.parametrize("path", ["/gitpod.v1.SecretService/List%53ecrets", "/gitpod.v1.SecretService%2FListSecrets"])
def test_an_escape_in_a_path_is_refused_behind_it(proxy: Proxy, path: str) -> None:
    """So a rule for the path as it was sent cannot be avoided."""
    with proxy.connect() as connection:
        connection.sendall(post(b"{}", path=path))
        assert read_answer(connection).code == "invalid_argument"


def test_a_body_over_the_limit_goes_no_further(http: httpx.Client, proxy: Proxy) -> None:
    """Said to be so long, or found to be."""
    kind = {"content-type": "application/json"}
    parts: list[Callable[[], Any]] = [lambda: b"x" * 140_000, lambda: iter([b"x" * 70_000] * 2)]
    for body in parts:
        assert http.post(CREATE, content=body(), headers=kind).status_code == 413
    assert "a client request body is buffered to a temporary file" not in proxy.log()


def test_the_largest_body_is_never_in_a_file(http: httpx.Client, proxy: Proxy) -> None:
    """Nor is anything else of what passes."""
    parts: list[Callable[[], Any]] = [lambda: b" " * 131_000, lambda: iter([b" " * 65_500] * 2)]
    for body in parts:
        response = http.post(CREATE, content=body(), headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    assert "temporary file" not in proxy.log()


def test_the_logs_hold_no_secret(http: httpx.Client, proxy: Proxy, project: str) -> None:
    """Neither a token nor a value nor the message of a GET, and of failures no more."""
    with proxy.client() as client:
        made = client.secrets.create(name="LOGGED", value=CANARY, project_id=project, api_only=True).secret
        client.secrets.get_value(secret_id=made.id)
    http.get(f"/gitpod.v1.SecretService/ListSecrets?encoding=json&message=%22{CANARY}%22")
    http.post(CREATE, content=CANARY * 20_000, headers={"x-y": CANARY, "content-type": "application/json"})
    log = proxy.log()
    assert "POST /gitpod.v1.SecretService/CreateSecret 200" in log
    assert "GET /gitpod.v1.SecretService/ListSecrets 400" in log
    assert CANARY not in log
    assert TOKEN not in log


def test_a_stopped_service_leaves_doubt(tmp_path: Path, project: str) -> None:
    """The proxy does not say whether it had sent the request, and so the client does not either."""
    served = serve(tmp_path / "secrets.db")
    (tmp_path / "nginx").mkdir()
    with nginx(tmp_path / "nginx", httpx.URL(served.url).port or 0) as proxy, proxy.client() as client:
        client.secrets.create(name="BEFORE", value="v", project_id=project, api_only=True)
        assert served.stop() == 0
        with pytest.raises(gitpod.InternalServerError) as caught:
            client.secrets.create(name="AFTER", value="v", project_id=project, api_only=True)
    assert (caught.value.status_code, caught.value.outcome) == (502, "unknown")


def test_a_create_is_delivered_at_most_once(tmp_path: Path, project: str) -> None:
    """Though the service closes without an answer, there is a second one, and the client may retry."""
    peers = [Peer(lambda _connection, _request: None) for _ in range(2)]
    with nginx(tmp_path, *(peer.port for peer in peers)) as proxy, proxy.client(max_retries=2) as client:
        with pytest.raises(gitpod.InternalServerError) as caught:
            client.secrets.create(name="ONCE", value="v", project_id=project, api_only=True)
        assert caught.value.outcome == "unknown"
    assert sum(len(peer.requests) for peer in peers) == 1
    for peer in peers:
        peer.close()


def test_an_incomplete_request_does_not_reach_the_service(tmp_path: Path) -> None:
    """A slow client holds a connection of nginx, not one of the service."""
    with socket.create_server(("127.0.0.1", 0)) as upstream, nginx(tmp_path, upstream.getsockname()[1]) as proxy:
        upstream.settimeout(SECONDS)
        with proxy.connect() as slow, proxy.connect() as later:
            slow.sendall(post(b"{}")[:-1])
            later.sendall(get("", "/later"))
            first, _ = upstream.accept()
            with first:
                assert first.recv(1 << 16).startswith(b"GET /later")
