"""gRPC against a service of grpcio's, gRPC-Web against our own, and HTTP/2 in clear.

The gRPC service is another process (`tests/support/grpc_program.py`), which does what a call's headers tell it to.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import trustme
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped] # it is not marked as typed
from tests.support.caller import Caller, Codec
from tests.support.grpc import GRPCPeer, serving
from tests.support.peer import Peer, answer
from tests.support.service import TOKEN

import gitpod
from gitpod import AsyncGitpod, Gitpod, GitpodError
from gitpod._rpc import retry
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretResponse, Secret
from gitpod_proto.google.rpc import error_details_pb as ours

UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STORED = json.dumps({"secret": {"id": UUID, "name": "NAME", "apiOnly": True}}).encode()


Connect = Callable[..., Caller]


@pytest.fixture
def connect(kind: type[Gitpod] | type[AsyncGitpod], runner: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Makes clients of both kinds that speak gRPC, and closes them. Retries wait for no time."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)
    made: list[Caller] = []

    def make(url: str, protocol: Literal["connect", "grpc"] = "grpc", **options: Any) -> Caller:
        made.append(Caller(kind(bearer_token=TOKEN, base_url=url, protocol=protocol, **options), runner))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def client(connect: Connect, there: GRPCPeer) -> Caller:
    """A client of the gRPC service."""
    return connect(there.url)


FLAVOURS: list[tuple[str, str, Codec]] = [
    # the protocol, where the service is, and the codec
    ("grpc", "there", "binary"),
    *[("grpc-web", where, codec) for where in ("in-process", "service") for codec in ("binary", "json")],
]


@pytest.fixture(params=FLAVOURS, ids="-".join)
def either(request: pytest.FixtureRequest, kind: type[Gitpod] | type[AsyncGitpod], runner: Any) -> Iterator[Caller]:
    """A client of gRPC, or one of gRPC-Web and our own service."""
    protocol, where, codec = request.param
    url = "sqlite://" if where == "in-process" else request.getfixturevalue(where).url
    caller = Caller(kind(bearer_token=TOKEN, base_url=url, protocol=protocol, codec=codec), runner)
    yield caller
    caller.close()


def params(project: str, **more: Any) -> dict[str, Any]:
    """A secret to create."""
    return {"name": "NAME", "value": "v", "project_id": project, "api_only": True, **more}


def told(call: str, *details: Any, **how: str) -> dict[str, str]:
    """Headers that tell the gRPC service what to do; `details` go with its error."""
    headers = {"x-call": call, **{f"x-{name}": value for name, value in how.items()}}
    if details:
        status = status_pb2.Status(code=code_pb2.Code.Value(how["fail"]), message="as told")
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        headers["x-details"] = b64encode(status.SerializeToString()).decode()
    return headers


def shed(seconds: int = 0) -> Any:
    """The word of a service that it did nothing."""
    return error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds))


def test_every_call_works(either: Caller, project: str) -> None:
    """Over either protocol, from the creation of a secret to its end."""
    scope = {"scope": {"project_id": project}}
    made = either.create(**params(project, value="first")).secret
    assert (made.name, made.api_only) == ("NAME", True)
    assert either.get_value(secret_id=made.id).reveal() == "first"
    either.update_value(secret_id=made.id, value="second")
    assert either.get_value(secret_id=made.id).reveal() == "second"
    assert [secret.id for secret in either.list(filter=scope)] == [made.id]
    either.delete(secret_id=made.id)
    assert either.list(filter=scope) == []


def test_put_creates_and_updates(either: Caller, project: str) -> None:
    """Whatever the protocol, as it goes by the codes alone."""
    put: Any = either.client.secrets.put
    made = either.run(put(**params(project)))
    again = either.run(put(**params(project, value="w")))
    assert (made.action, again.action, again.secret.id) == ("created", "updated", made.secret.id)
    assert either.get_value(secret_id=made.secret.id).reveal() == "w"


def test_a_taken_name_is_a_conflict(either: Caller, project: str) -> None:
    """With the status that Connect has for it, though gRPC answers 200."""
    either.create(**params(project))
    with pytest.raises(gitpod.ConflictError, match="name: is taken in this scope") as caught:
        either.create(**params(project))
    error = caught.value
    assert (error.status_code, error.code, error.outcome, error.attempts) == (409, "already_exists", "rejected", 1)


def test_what_does_not_exist_is_not_found(either: Caller) -> None:
    """Whether it is read, changed or deleted."""
    for call in (either.get_value, either.delete):
        with pytest.raises(gitpod.NotFoundError) as caught:
            call(secret_id=UUID)
        assert (caught.value.status_code, caught.value.outcome) == (404, "rejected")
    with pytest.raises(gitpod.NotFoundError):
        either.update_value(secret_id=UUID, value="v")


def test_many_secrets_are_paged(client: Caller, there: GRPCPeer, project: str) -> None:
    """Every page is a call of its own, and none is lost between them."""
    names = [f"NAME_{number}" for number in range(130)]
    for name in names:
        client.create(**params(project, name=name))
    found = client.list(filter={"scope": {"project_id": project}}, page_size=100, extra_headers=told(project))
    assert [secret.name for secret in found] == names
    assert len(there.calls(project)) == 2


def test_headers_and_deadline_arrive(client: Caller, there: GRPCPeer, project: str) -> None:
    """The token and extra headers as metadata, the timeout as the call's deadline."""
    client.create(**params(project), timeout=1234, extra_headers=told(project, team="a"))
    [call] = there.calls(project)
    headers = call["headers"]
    assert (headers["authorization"], headers["x-team"]) == (f"Bearer {TOKEN}", "a")
    assert headers["user-agent"].startswith("gitpod-connect-python/")
    assert 1000 < call["left"] <= 1234


def test_trailers_are_kept(client: Caller, project: str) -> None:
    """Beside the headers, of a call that succeeded."""
    raw: Any = client.client.secrets.with_raw_response
    response = client.run(raw.create(**params(project)))
    assert (response.status_code, response.trailers["x-trailer"]) == (200, "CreateSecret")
    assert (response.request_id, response.retries_taken) == ("request-CreateSecret", 0)
    assert "x-trailer" not in response.headers
    assert client.run(response.parse()).secret.name == "NAME"


@dataclass
class Relay:
    """Passes connections on to a port, and keeps what the client sent."""

    port: int
    sent: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self.port))
        with near, far:
            back = threading.Thread(target=self._pass, args=(far, near, bytearray()), daemon=True)
            back.start()
            self._pass(near, far, self.sent)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket, seen: bytearray) -> None:
        try:
            while chunk := source.recv(65536):
                seen += chunk
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.mark.parametrize(("compression", "is_small"), [(None, False), ("gzip", True)])
def test_requests_may_be_compressed(
    connect: Connect, there: GRPCPeer, project: str, compression: str | None, *, is_small: bool
) -> None:
    """The value is far shorter on the wire, and whole when it arrives."""
    relay = Relay(there.port)
    client = connect(relay.url, compression=compression)
    made = client.create(**params(project, value="x" * 10_000)).secret
    assert (len(relay.sent) < 5000) is is_small
    assert relay.sent.startswith(PREFACE)
    assert client.get_value(secret_id=made.id).reveal() == "x" * 10_000
    relay.close()


CODES: list[tuple[str, type[gitpod.APIError], str, int, str]] = [
    # the status, the exception, its code, its HTTP status, its outcome
    ("CANCELLED", gitpod.APIStatusError, "canceled", 499, "unknown"),
    ("UNKNOWN", gitpod.InternalServerError, "unknown", 500, "unknown"),
    ("INVALID_ARGUMENT", gitpod.BadRequestError, "invalid_argument", 400, "rejected"),
    ("DEADLINE_EXCEEDED", gitpod.InternalServerError, "deadline_exceeded", 504, "unknown"),
    ("NOT_FOUND", gitpod.NotFoundError, "not_found", 404, "rejected"),
    ("ALREADY_EXISTS", gitpod.ConflictError, "already_exists", 409, "rejected"),
    ("PERMISSION_DENIED", gitpod.PermissionDeniedError, "permission_denied", 403, "rejected"),
    ("RESOURCE_EXHAUSTED", gitpod.RateLimitError, "resource_exhausted", 429, "unknown"),
    ("FAILED_PRECONDITION", gitpod.BadRequestError, "failed_precondition", 400, "rejected"),
    ("ABORTED", gitpod.ConflictError, "aborted", 409, "rejected"),
    ("OUT_OF_RANGE", gitpod.BadRequestError, "out_of_range", 400, "rejected"),
    ("UNIMPLEMENTED", gitpod.InternalServerError, "unimplemented", 501, "rejected"),
    ("INTERNAL", gitpod.InternalServerError, "internal", 500, "unknown"),
    ("UNAVAILABLE", gitpod.InternalServerError, "unavailable", 503, "unknown"),
    ("DATA_LOSS", gitpod.InternalServerError, "data_loss", 500, "unknown"),
    ("UNAUTHENTICATED", gitpod.AuthenticationError, "unauthenticated", 401, "rejected"),
]


@pytest.mark.parametrize(("status", "kind_of", "code", "http", "outcome"), CODES)
def test_each_status_has_its_error(
    client: Caller,
    there: GRPCPeer,
    project: str,
    status: str,
    kind_of: type[gitpod.APIError],
    code: str,
    http: int,
    outcome: str,
) -> None:
    """And none of them has a create sent again, as none is the service's own word that it did nothing for now."""
    with pytest.raises(gitpod.APIError, match=f"^{code}: as told") as caught:
        client.create(**params(project), extra_headers=told(project, fail=status))
    error = caught.value
    assert (type(error), error.code, error.status_code, error.outcome) == (kind_of, code, http, outcome)
    assert (error.attempts, len(there.calls(project))) == (1, 1)


def test_details_are_decoded(client: Caller, project: str) -> None:
    """Those that google.rpc defines, as our own classes; others are left out."""
    details = (
        shed(7),
        error_details_pb2.ErrorInfo(reason="QUOTA", domain="example.com", metadata={"a": "b"}),
        Duration(seconds=1),
    )
    with pytest.raises(gitpod.BadRequestError) as caught:
        client.create(**params(project), extra_headers=told(project, *details, fail="INVALID_ARGUMENT"))
    retry, info = caught.value.details
    assert isinstance(retry, ours.RetryInfo)
    assert retry.retry_delay
    assert retry.retry_delay.seconds == 7
    expected = ours.ErrorInfo(reason="QUOTA", domain="example.com", metadata={"a": "b"})
    assert info == expected


@pytest.mark.parametrize("status", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_a_shed_create_is_sent_again(client: Caller, there: GRPCPeer, project: str, status: str) -> None:
    """Three times at the most, when the service itself says by a RetryInfo that it did nothing."""
    with pytest.raises(gitpod.APIStatusError) as caught:
        client.create(**params(project), extra_headers=told(project, shed(), fail=status))
    assert (caught.value.outcome, caught.value.attempts, len(there.calls(project))) == ("rejected", 3, 3)


def test_a_create_that_is_shed_once_succeeds(client: Caller, there: GRPCPeer, project: str) -> None:
    """With less time left for the second attempt."""
    client.create(**params(project), extra_headers=told(project, shed(), fail="UNAVAILABLE", times="1"))
    first, second = there.calls(project)
    assert second["left"] < first["left"]


def test_a_retry_info_is_waited_for(client: Caller, there: GRPCPeer, project: str) -> None:
    """So one that is longer than the deadline ends the call at once."""
    headers = told(project, shed(3600), fail="UNAVAILABLE")
    with pytest.raises(gitpod.InternalServerError) as caught:
        client.create(**params(project), extra_headers=headers)
    assert (caught.value.outcome, caught.value.attempts, len(there.calls(project))) == ("rejected", 1, 1)


def test_a_read_is_sent_again(client: Caller, there: GRPCPeer, project: str) -> None:
    """Also when nobody says what became of it."""
    made = client.create(**params(project)).secret
    headers = told(project, fail="UNAVAILABLE", times="2")
    assert client.get_value(secret_id=made.id, extra_headers=headers).reveal() == "v"
    assert len(there.calls(project)) == 3


def test_a_retried_delete_may_find_nothing(client: Caller, there: GRPCPeer, project: str) -> None:
    """As the attempt before it did the work; a first attempt that finds nothing still fails."""
    made = client.create(**params(project)).secret
    headers = told(project, shed(), fail="UNAVAILABLE", times="1", after="1")
    client.delete(secret_id=made.id, extra_headers=headers)
    assert len(there.calls(project)) == 2
    with pytest.raises(gitpod.NotFoundError):
        client.delete(secret_id=made.id)


def test_a_call_after_an_error_works(client: Caller, project: str) -> None:
    """An answer without a body leaves the connection, and the next answer's trailers, as they should be."""
    made = client.create(**params(project)).secret
    with pytest.raises(gitpod.NotFoundError):
        client.get_value(secret_id=made.id, extra_headers=told(project, fail="NOT_FOUND"))
    raw: Any = client.client.secrets.with_raw_response
    response = client.run(raw.get_value(secret_id=made.id))
    assert response.trailers["x-trailer"] == "GetSecretValue"
    assert client.run(response.parse()).reveal() == "v"


def test_the_deadline_holds(client: Caller, there: GRPCPeer, project: str) -> None:
    """A service that never answers costs the timeout, and the outcome is unknown."""
    with pytest.raises(gitpod.APITimeoutError) as caught:
        client.create(**params(project), timeout=0.5, extra_headers=told(project, stall="1"))
    assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "unknown")
    assert len(there.calls(project)) == 1


def test_an_endless_answer_is_cut_off(client: Caller, there: GRPCPeer, project: str) -> None:
    """Before it is decoded, and it is not asked for again."""
    with pytest.raises(gitpod.APIResponseValidationError, match="larger than 4194304 bytes") as caught:
        client.get_value(secret_id=UUID, extra_headers=told(project, fill="5000000"))
    assert (caught.value.attempts, len(there.calls(project))) == (1, 1)


def test_a_service_that_dies_leaves_doubt(connect: Connect, stubs: Path, tmp_path: Path, project: str) -> None:
    """It had read the request, so that a create is not sent again."""
    with serving(stubs, tmp_path / "calls") as mortal:
        with pytest.raises(gitpod.APIConnectionError) as caught:
            connect(mortal.url).create(**params(project), extra_headers=told(project, die="1"))
        assert (caught.value.outcome, caught.value.status_code, caught.value.attempts) == ("unknown", None, 1)
        assert len(mortal.calls(project)) == 1


def test_nobody_there_is_provably_unsent(connect: Connect, project: str) -> None:
    """A refused connection is tried again, and the error says that nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(gitpod.APIConnectionError) as caught:
        connect(url).create(**params(project))
    assert (caught.value.outcome, caught.value.attempts, caught.value.status_code) == ("not_sent", 3, None)


def test_a_service_without_grpc_is_said(connect: Connect, service: Any, project: str) -> None:
    """HTTP/1.1 alone, as our own service speaks it, is no answer to gRPC, and nothing is stored."""
    with pytest.raises(gitpod.APIConnectionError):
        connect(service.url).create(**params(project))
    assert connect(service.url, "connect").list(filter={"scope": {"project_id": project}}) == []


FORKING = """
import os, signal, sys
from gitpod import APIConnectionError, Gitpod
client = Gitpod(protocol="grpc")
client.secrets.list()
child = os.fork()
if child == 0:
    signal.alarm(20)
    try:
        client.secrets.list()
    except APIConnectionError as error:
        os._exit(11 if "gRPC" in str(error) and "forked" in str(error) and error.outcome == "not_sent" else 12)
    os._exit(13)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
client.secrets.list()
sys.exit(status)
"""


def test_a_forked_child_is_told_that_grpc_does_not_survive(there: GRPCPeer) -> None:
    """Rather than hang, and the parent goes on."""
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": there.url}
    done = subprocess.run([sys.executable, "-c", FORKING], env=environment, timeout=60, check=False)
    assert done.returncode == 11


def test_grpc_over_tls(connect: Connect, stubs: Path, tmp_path: Path, project: str) -> None:
    """HTTP/2 is agreed on in the handshake, which grpcio insists on."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    with serving(stubs, tmp_path / "calls", f"{tmp_path}/chain.pem", f"{tmp_path}/key.pem") as peer:
        client = connect(peer.url.replace("http:", "https:"), ca_cert=tmp_path / "ca.pem")
        made = client.create(**params(project)).secret
        assert client.get_value(secret_id=made.id).reveal() == "v"


@pytest.mark.parametrize("what", ["embedded", "httpx"])
def test_grpc_needs_trailers(kind: type[Gitpod] | type[AsyncGitpod], what: str) -> None:
    """Which neither the embedded service nor httpx has; the constructor says so, and what to use."""
    options: dict[str, Any] = {"base_url": "sqlite://"}
    if what == "httpx":
        http: Any = httpx.Client() if kind is Gitpod else httpx.AsyncClient()
        options = {"base_url": "http://127.0.0.1:9", "http_client": http}
    with pytest.raises(GitpodError, match=r'^protocol: "grpc" needs HTTP trailers.*use "grpc-web"$'):
        kind(bearer_token=TOKEN, protocol="grpc", **options)


def frame(kind_of: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3) + bytes([kind_of, flags]) + stream.to_bytes(4) + payload


def begin(stream: int, content_type: bytes) -> bytes:
    """The head of a successful answer."""
    # HPACK: `:status: 200` is entry 8 of the static table, `content-type` entry 31.
    return frame(1, 4, stream, b"\x88\x0f\x10" + bytes([len(content_type)]) + content_type)


def stored(stream: int) -> bytes:
    """A whole answer of Connect."""
    return begin(stream, b"application/json") + frame(0, 1, stream, STORED)


def without_trailers(stream: int) -> bytes:
    """An answer of gRPC that ends before it says whether the call succeeded."""
    message = CreateSecretResponse(secret=Secret(id=UUID, name="NAME")).to_binary()
    body = bytes(1) + len(message).to_bytes(4) + message
    return begin(stream, b"application/grpc+proto") + frame(0, 1, stream, body)


def reset(code: int) -> Callable[[int], bytes]:
    """An answer that gives the request up (RFC 9113 section 7 lists the codes)."""
    return lambda stream: frame(3, 0, stream, code.to_bytes(4))


@dataclass
class HTTP2:
    """A script that speaks as much HTTP/2 as it takes to answer requests, and keeps which it was asked."""

    answer: Callable[[int], bytes]
    asked: list[int] = field(default_factory=list[int])

    def __call__(self, connection: socket.socket, first: bytes) -> None:
        connection.sendall(frame(4, 0, 0))
        data, reader = first.removeprefix(PREFACE), connection.makefile("rb")
        while len(data := data + reader.read(max(0, 9 - len(data)))) >= 9:
            head, size = data[:9], int.from_bytes(data[:3])
            data += reader.read(max(0, 9 + size - len(data)))
            data = data[9 + size :]
            if head[3] == 0 and head[4] & 1:
                self.asked.append(int.from_bytes(head[5:]))
                connection.sendall(self.answer(self.asked[-1]))


@pytest.mark.parametrize(("http2", "begins"), [(True, PREFACE), (False, b"POST /")])
def test_http2_in_clear_is_spoken_when_asked_for(connect: Connect, project: str, begins: bytes, *, http2: bool) -> None:
    """From the first byte, as there is no handshake to agree on it in."""
    peer = Peer(HTTP2(stored) if http2 else answer(200, STORED))
    client = connect(peer.url, "connect", codec="json", http2=http2)
    assert client.create(**params(project)).secret.id == UUID
    peer.close()
    assert [request[: len(begins)] for request in peer.requests] == [begins]


@pytest.mark.parametrize("protocol", ["connect", "grpc"])
@pytest.mark.parametrize(
    ("code", "outcome", "sent"), [(2, "unknown", 1), (8, "unknown", 1), (11, "unknown", 1), (7, "not_sent", 3)]
)
def test_a_stream_that_was_reset(
    connect: Connect, project: str, protocol: str, code: int, outcome: str, sent: int
) -> None:
    """Leaves doubt, unless REFUSED_STREAM (7) says that nothing was processed."""
    script = HTTP2(reset(code))
    peer = Peer(script)
    with pytest.raises(gitpod.APIError) as caught:
        connect(peer.url, protocol, http2=True).create(**params(project))
    peer.close()
    # The HTTP library repeats each refused request twice by itself, which does no harm.
    repeated = 3 if code == 7 else 1
    assert (caught.value.outcome, caught.value.attempts, len(script.asked)) == (outcome, sent, sent * repeated)


def test_an_answer_without_a_status_is_not_success(connect: Connect, project: str) -> None:
    """Though the message arrived whole, the service may have failed after it."""
    script = HTTP2(without_trailers)
    peer = Peer(script)
    with pytest.raises(gitpod.APIResponseValidationError) as caught:
        connect(peer.url).create(**params(project))
    peer.close()
    assert (caught.value.outcome, caught.value.attempts, len(script.asked)) == ("unknown", 1, 1)
