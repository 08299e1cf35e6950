"""The bytes on the wire, and peers that share nothing with this package but the contract."""

import gzip
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest
from google.protobuf import json_format
from tests.support.caller import Caller
from tests.support.peer import Peer, answer
from tests.support.service import ROOT, TOKEN, Service

import gitpod
from gitpod import Gitpod
from gitpod._version import __version__

HEADERS = {"authorization": f"Bearer {TOKEN}"}
PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PATH = "/gitpod.v1.SecretService/CreateSecret"


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A plain HTTP client of the service."""
    with httpx.Client(base_url=service.url, headers=HEADERS, trust_env=False) as client:
        yield client


DOCUMENTED: list[dict[str, Any]] = [
    {"name": "DATABASE_URL", "value": "postgresql://user:pass@localhost:5432/db", "environmentVariable": True},
    {"name": "SSH_KEY", "value": "-----BEGIN RSA PRIVATE KEY-----\n...", "filePath": "/home/gitpod/.ssh/id_rsa"},
    {
        "name": "DOCKER_AUTH",
        "value": "username:password",
        "containerRegistryBasicAuthHost": "https://registry.example.com",
    },
]


@pytest.mark.parametrize("body", DOCUMENTED, ids=lambda body: body["name"])
def test_the_documented_json_gets_the_documented_json(http: httpx.Client, project: str, body: dict[str, Any]) -> None:
    """As a reader of the public reference would try it with curl."""
    response = http.post(PATH, json={**body, "projectId": project})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    [name] = response.json()
    secret = response.json()[name]
    assert name == "secret"
    mount = {key: secret.pop(key) for key in body if key not in ("name", "value")}
    assert mount == {key: body[key] for key in mount}
    assert sorted(secret) == ["createdAt", "creator", "id", "name", "projectId", "scope", "updatedAt"]
    assert secret["projectId"] == secret["scope"]["projectId"] == project
    assert secret["creator"]["principal"] == "PRINCIPAL_USER"
    assert body["value"] not in response.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not a valid message"),
        (b"{", "not a valid message"),
        (b"[]", "not a valid message"),
        (b'{"hunter2": ""}', "a field that CreateSecretRequest does not have; it has name, projectId, value,"),
        (b'{"value": ["hunter2"]}', "not a valid message"),
        (b'{"filePath": "/hunter2", "apiOnly": true}', "a field, or a oneof, that is set twice"),
        (b'{"value": "hunter2\\ud800"}', "not a valid message"),
        ('{"value": "hunter2"}'.encode("utf-16"), "not a valid message"),
        (b'\xef\xbb\xbf{"value": "hunter2"}', "not a valid message"),
        (b'{"value": "a", "value": "hunter2"}', "a key that occurs twice in one object"),
        (b'{"projectId": "a", "project_id": "hunter2"}', "a field, or a oneof, that is set twice"),
        (b'{"source": {"verbatim": true, "oidcJfrog": {"host": "hunter2"}}}', "a field, or a oneof, that is set twice"),
        (b"[" * 5000, "not a valid message"),
        (b'{"value": "hunter2\xff"}', "not a valid message"),
        (b'{"name": "a"}', "name: must be at least 3 characters"),
    ],
)
def test_bad_json_is_refused_and_not_quoted(http: httpx.Client, body: bytes, message: str) -> None:
    """With the Connect error that the protocol asks for."""
    response = http.post(PATH, content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    assert message in response.json()["message"]
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"x-y": b"\xff"}, 400), ({"content-type": "application/grpc+proto"}, 415)],
)
def test_headers_that_cannot_be_served(service: Service, headers: dict[str, Any], status: int) -> None:
    """Are refused before anything looks at them, with or without a token."""
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        assert client.post(PATH, headers=headers).status_code == status


def test_endless_headers_are_cut_off(service: Service) -> None:
    """Before they fill the memory of the service, and before anybody is asked for a token."""
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        try:
            status = client.post(PATH, headers={"x-y": "x" * 10_000_000}).status_code
        except httpx.TransportError:
            # The connection was closed while they were still being sent.
            status = 400
    assert status == 400


def test_a_deadline_that_has_passed_is_said(http: httpx.Client) -> None:
    """Not as if the body were wrong."""
    response = http.post(PATH, json={}, headers={"connect-timeout-ms": "0"})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert response.json()["message"] == "the deadline passed"


def test_answers_are_not_compressed(http: httpx.Client, project: str) -> None:
    """Though requests may be, as other Connect clients do by default."""
    body = gzip.compress(json.dumps({**DOCUMENTED[0], "projectId": project}).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip", "accept-encoding": "gzip"}
    response = http.post(PATH, content=body, headers=headers)
    assert response.status_code == 200
    assert response.headers.get("content-encoding", "identity") == "identity"


def test_the_longest_value_may_be_escaped(http: httpx.Client, project: str) -> None:
    """As `json.dumps` writes it: twelve bytes for a character."""
    body = json.dumps({"name": "EMOJI", "value": "😀" * 10_240, "projectId": project, "apiOnly": True})
    assert http.post(PATH, content=body, headers={"content-type": "application/json"}).status_code == 200


def test_a_request_over_the_limit_is_refused(http: httpx.Client) -> None:
    """By its length, before it is decoded, compressed or not."""
    big = json.dumps({"name": "NAME", "value": "x" * 140_000}).encode()
    headers = {"content-type": "application/json"}
    for response in (
        http.post(PATH, content=big, headers=headers),
        http.post(PATH, content=gzip.compress(big), headers={**headers, "content-encoding": "gzip"}),
    ):
        assert (response.status_code, response.json()["code"]) == (429, "resource_exhausted")


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The messages as google protobuf has them, compiled from our files by grpcio-tools."""
    out = tmp_path_factory.mktemp("foreign")
    options = [f"-I{ROOT}/proto", f"-I{ROOT}/proto-imports", f"--python_out={out}"]
    files = [f"gitpod/v1/{name}.proto" for name in ("secret", "identity", "pagination")]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", *options, *files, "buf/validate/validate.proto"]
    subprocess.run(protoc, check=True)
    # `gitpod.v1` is to be found beside our own package of that name.
    gitpod.__path__.append(str(out / "gitpod"))
    sys.path.insert(0, str(out))
    yield importlib.import_module("gitpod.v1.secret_pb2")
    sys.path.remove(str(out))
    gitpod.__path__.remove(str(out / "gitpod"))


def test_an_independent_protobuf_is_understood_and_understands(
    http: httpx.Client, foreign: ModuleType, project: str
) -> None:
    """Bytes that google protobuf wrote are accepted, and it reads the answer, no field unknown."""
    request = foreign.CreateSecretRequest(
        name="FOREIGN", value="v", file_path="/k", scope=foreign.SecretScope(project_id=project)
    )
    response = http.post(PATH, content=request.SerializeToString(), headers={"content-type": "application/proto"})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/proto")
    secret = foreign.CreateSecretResponse.FromString(response.content).secret
    assert (secret.name, secret.file_path, secret.scope.project_id) == ("FOREIGN", "/k", project)
    assert secret.WhichOneof("mount") == "file_path"
    assert secret.created_at.ToNanoseconds() > 0
    assert secret.creator.principal == 2
    secret.DiscardUnknownFields()
    again = foreign.CreateSecretResponse(secret=secret)
    assert sorted(again.SerializeToString()) == sorted(response.content)


def test_both_codecs_send_the_same_message(foreign: ModuleType, codec: Any) -> None:
    """What the client puts on the wire, read by google protobuf."""
    peer = Peer(answer(503, b'{"code": "unavailable"}'))
    client = Gitpod(bearer_token=TOKEN, base_url=f"{peer.url}/api", codec=codec, max_retries=0)
    with client, pytest.raises(gitpod.InternalServerError):
        client.secrets.create(
            name="NAME", value="v", project_id=PROJECT, environment_variable=True, extra_headers={"x-team": "a"}
        )
    peer.close()
    head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.decode().lower().split("\r\n")
    sent = dict(header.split(": ", 1) for header in headers)
    assert line == "post /api/gitpod.v1.secretservice/createsecret http/1.1"
    assert sent["content-type"] == ("application/json" if codec == "json" else "application/proto")
    assert sent["authorization"] == f"Bearer {TOKEN}".lower()
    assert sent["user-agent"] == f"gitpod-connect-python/{__version__}"
    assert (sent["connect-protocol-version"], sent["connect-timeout-ms"], sent["x-team"]) == ("1", "60000", "a")
    assert "content-encoding" not in sent or sent["content-encoding"] == "identity"
    message = foreign.CreateSecretRequest()
    if codec == "json":
        json_format.Parse(body, message)
    else:
        message.ParseFromString(body)
    expected = foreign.CreateSecretRequest(name="NAME", value="v", project_id=PROJECT, environment_variable=True)
    assert message == expected


def test_reads_are_posted(client: Caller, project: str) -> None:
    """A GET would put the filter, or the id of a secret whose value is read, into proxies' logs."""
    made = client.create(name="NAME", value="v", project_id=project, api_only=True)
    assert client.get_value(secret_id=made.secret.id).value == "v"
    peer = Peer(answer(200, b'{"value": "v"}'))
    with Gitpod(bearer_token=TOKEN, base_url=peer.url, codec="json") as there:
        there.secrets.get_value(secret_id=made.secret.id)
    assert peer.requests[0].startswith(b"POST /gitpod.v1.SecretService/GetSecretValue HTTP/1.1\r\n")
    peer.close()
