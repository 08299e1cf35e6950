"""Every protocol at the one port of `examples/nginx.conf`, by this client, by Go's, and by what reflection tells."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import languages
import pytest
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from interop import Result
from protovalidate import ViolationsPb
from pyqwest import HTTPVersion
from tests.support.caller import KINDS, Caller, Codec
from tests.support.nginx import NGINX, Proxy, nginx
from tests.support.other_servers import made
from tests.support.peer import Peer, free_port
from tests.support.raw_requests import LIST
from tests.support.realm import stub
from tests.support.service import ROOT, TOKEN, serve

import gitpod
from gitpod_proto.gitpod.v1.secret_pb import ListSecretsRequest

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
BUF = str(Path(sys.executable).with_name("buf"))
TRUSTING = ("go", "rust", "typescript")
"""Languages whose programs take an https URL, and trust what a variable of the environment names."""
Way = tuple[Literal["connect", "grpc-web", "grpc"], Codec]
WAYS: list[Way] = [
    ("connect", "binary"),
    ("connect", "json"),
    ("grpc-web", "binary"),
    ("grpc-web", "json"),
    ("grpc", "binary"),
]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The example in front of both ports of a service."""
    service = serve(tmp_path_factory.mktemp("store") / "s.db", "--grpc-port", str(port := free_port()))
    with nginx(tmp_path_factory.mktemp("nginx"), httpx.URL(service.url).port or 0, grpc=[port]) as proxy:
        yield proxy
    assert service.stop() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_this_client_works(proxy: Proxy, project: str, runner: asyncio.Runner, way: Way, kind: str) -> None:
    """In every protocol and codec, with the largest value; and errors are the service's."""
    options: dict[str, Any] = {"base_url": proxy.url, "bearer_token": TOKEN, "ca_cert": proxy.authority}
    caller = Caller(KINDS[kind](**options, protocol=way[0], codec=way[1]), runner)
    params: dict[str, Any] = {"name": "NAME", "value": "😀" * 10_240, "project_id": project, "api_only": True}
    made = caller.create(**params).secret
    assert caller.get_value(secret_id=made.id).reveal() == "😀" * 10_240
    assert caller.list(filter={"scope": {"project_id": project}}) == [made]
    with pytest.raises(gitpod.ConflictError) as caught:
        caller.create(**params)
    assert caught.value.outcome == "rejected"
    caller.close()


@pytest.mark.parametrize("protocol", [ProtocolType.CONNECT, ProtocolType.GRPC_WEB, ProtocolType.GRPC])
def test_the_longest_error_comes_through(proxy: Proxy, protocol: ProtocolType) -> None:
    """Its details are headers in some of the protocols, which nginx limits."""
    request = ListSecretsRequest.from_json(json.dumps({"filter": {"projectIds": ["x" * 300] * 25}}))
    options: dict[str, Any] = {"tls_ca_cert": proxy.authority.read_bytes(), "http_version": HTTPVersion.HTTP2}
    with stub(proxy.url, protocol=protocol, **options) as client, pytest.raises(ConnectError) as caught:
        client.list_secrets(request, headers={"authorization": f"Bearer {TOKEN}"})
    assert caught.value.code.value == "invalid_argument"
    [found] = [detail.value(ViolationsPb) for detail in caught.value.details]
    assert found
    assert len(found.violations) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in languages.LANGUAGES if name in TRUSTING])
def test_clients_in_other_languages_work(proxy: Proxy, name: str) -> None:
    """With the same results as at the service's own ports."""
    made(name)
    where = {"GITPOD_BASE_URL": proxy.url, "GITPOD_GRPC_URL": proxy.url, "GITPOD_API_KEY": TOKEN}
    trusted = dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), str(proxy.authority))
    done = subprocess.run(
        languages.LANGUAGES[name].client,
        cwd=ROOT / "interop" / name,
        env=languages.environment(name) | where | trusted,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    found = [Result(*line.split("\t")) for line in done.stdout.splitlines()]
    assert {each.protocol for each in found} >= {"connect", "grpc-web", "grpc"}
    assert [each for each in found if not each.is_expected] == []


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--list-services"], "gitpod.v1.SecretService\ngrpc.reflection"),
        (["--list-methods"], "gitpod.v1.SecretService/CreateSecret\n"),
    ],
)
def test_reflection_needs_no_schema_and_no_token(proxy: Proxy, arguments: list[str], printed: str) -> None:
    """It lists what there is."""
    assert printed in buf(proxy, "--protocol", "grpc", *arguments, proxy.url)


def test_a_call_needs_no_schema(proxy: Proxy) -> None:
    """As buf asks by reflection for the one that it needs."""
    call = ["--protocol", "grpc", "-H", f"authorization: Bearer {TOKEN}", "-d", '{"pagination": {"pageSize": 1}}']
    assert buf(proxy, *call, proxy.url + LIST).startswith("{")


def buf(proxy: Proxy, *arguments: str) -> str:
    """What `buf curl` prints."""
    command = [BUF, "curl", "--cacert", str(proxy.authority), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/grpc.health.v1.Health/Check"])
@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "application/json"])
def test_probes_stay_private(proxy: Proxy, path: str, kind: str) -> None:
    """By whichever protocol they are asked for. nginx itself answers."""
    answer = httpx.post(proxy.url + path, headers={"content-type": kind}, content=b"\0" * 5, verify=proxy.trusting())
    assert (answer.status_code, "nginx" in answer.text) == (404, True)


@pytest.mark.parametrize("kind", ["application/grpcx", "text/application/grpc", "application/grpc-web-text"])
def test_a_type_that_only_looks_like_grpc_goes_to_the_http_port(proxy: Proxy, kind: str) -> None:
    """Which says what it takes."""
    answer = httpx.post(proxy.url + LIST, headers={"content-type": kind}, content=b"", verify=proxy.trusting())
    assert (answer.status_code, "gRPC-Web" in answer.text) == (415, True)


def test_a_create_over_grpc_is_delivered_at_most_once(tmp_path: Path, project: str) -> None:
    """Though the service closes without an answer, and there is a second one."""
    peers = [Peer(lambda _connection, _request: None) for _ in range(2)]
    with (
        nginx(tmp_path, 9, grpc=[peer.port for peer in peers]) as proxy,
        proxy.client(protocol="grpc", max_retries=2) as client,
    ):
        with pytest.raises(gitpod.InternalServerError) as caught:
            client.secrets.create(name="ONCE", value="v", project_id=project, api_only=True)
        assert caught.value.outcome == "unknown"
    assert sum(len(peer.requests) for peer in peers) == 1
    for peer in peers:
        peer.close()
