"""Calls over gRPC: what clients send, and what they get."""

import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import grpc  # type: ignore[import-untyped] # it is not marked as typed
import pytest
from google.rpc import status_pb2  # type: ignore[import-untyped] # neither is this
from protobuf import Oneof
from protovalidate import ViolationsPb
from tests.support.grpc_front import (
    AUTHORIZED,
    NAME,
    PEER,
    UUID,
    Client,
    Connect,
    Serve,
    Silence,
    Status,
    answer,
    code,
    secret,
)
from tests.support.service import TOKEN

import gitpod
from gitpod import Gitpod
from gitpod.server.edge.headers import Receive, Scope, Send
from gitpod.server.edge.options import MAX_REQUEST_BYTES
from gitpod_proto.gitpod.v1.pagination_pb import PaginationRequest, PaginationResponse
from gitpod_proto.gitpod.v1.secret_pb import ListSecretsRequest, ListSecretsResponse, SecretScope


def test_a_plain_client_makes_every_call(port: int, stubs: Path) -> None:  # the fixture
    """With the stubs that protoc makes for it, and nothing of ours but the contract."""
    arguments = [f"127.0.0.1:{port}", TOKEN, UUID]
    peer = subprocess.run([sys.executable, "-c", PEER, *arguments], cwd=stubs, check=True, stdout=subprocess.PIPE)
    assert peer.stdout.decode().split("\n") == ["w", "['NAME']", "0", ""]


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_our_own_client_is_served(port: int, compression: Any) -> None:
    """With compressed requests too, whose answers are not."""
    url = f"http://127.0.0.1:{port}"
    with Gitpod(bearer_token=TOKEN, base_url=url, protocol="grpc", compression=compression) as client:
        made = client.secrets.create(name="NAME", value="x" * 10_000, project_id=UUID, api_only=True)
        assert client.secrets.get_value(secret_id=made.secret.id).reveal() == "x" * 10_000
        with pytest.raises(gitpod.ConflictError, match="name: is taken in this scope") as caught:
            client.secrets.create(name="NAME", value="v", project_id=UUID, api_only=True)
    assert caught.value.outcome == "rejected"


def test_a_connection_carries_many_large_requests(client: Client) -> None:
    """The service gives their bytes back, so that the client may send more than a connection may hold at a time."""
    for number in range(8):
        request = secret(f"NAME_{number}")
        request.value = "\U0001f511" * 10_240
        client("CreateSecret", request, timeout=10)


def test_the_request_id_comes_with_the_headers(client: Client) -> None:
    """Of an error too, which has no message to go before."""
    for expected in (Status.OK, Status.ALREADY_EXISTS):
        call = client.stream("CreateSecret", iter([secret().to_binary()]))
        assert code(call) is expected
        assert {"x-request-id", "cache-control"} <= {name for name, _ in call.initial_metadata()}


def test_violations_come_as_details(client: Client) -> None:
    """As a google.rpc.Status that packs what protovalidate found."""
    error = client.fails("CreateSecret", secret(name="N"))
    assert error.code() is Status.INVALID_ARGUMENT
    assert "name: must be at least 3 characters" in error.details()
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    violations = ViolationsPb.from_binary(status.details[0].value).violations
    assert [each.rule_id for each in violations] == ["string.min_len", "string.pattern"]


def test_an_error_of_many_violations_fits_in_trailers(client: Client) -> None:
    """As clients refuse trailers of more than 8 KiB, with an error that says nothing. It has as many as fit."""
    filters: Any = {
        "project_ids": ["\U0001f511" * 1000] * 25,
        "scope": SecretScope(scope=Oneof[Literal["user_id"], str]("user_id", "x")),
    }
    chosen: Any = {"filter": ListSecretsRequest.Filter(**filters), "pagination": PaginationRequest(page_size=-1)}
    error = client.fails("ListSecrets", ListSecretsRequest(**chosen))
    assert error.code() is Status.INVALID_ARGUMENT
    trailers = dict(error.trailing_metadata())
    details = trailers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(details)
    kept = len(ViolationsPb.from_binary(status.details[0].value).violations)
    assert kept > 15
    assert error.details().endswith(f"; the details have {kept} of 20 violations") or kept == 20
    assert len(quote(error.details(), safe="")) + len(b64encode(details)) < 7.5 * 1024


@pytest.mark.parametrize("headers", [(), (("authorization", "Bearer wrong"),)])
def test_a_call_needs_a_known_token(client: Client, headers: Any) -> None:
    """And says no more than that."""
    error = client.fails("ListSecrets", metadata=headers)
    assert error.code() is Status.UNAUTHENTICATED
    assert error.details().startswith("authorization: ")


def test_a_call_has_one_token(client: Client) -> None:
    """As a proxy may read the first of two, and the service the last."""
    error = client.fails("ListSecrets", metadata=(*AUTHORIZED, *AUTHORIZED))
    assert (error.code(), error.details()) == (Status.INVALID_ARGUMENT, "a header contradicts another one")


def test_a_denial_comes_before_the_message(client: Client, silence: Silence) -> None:
    """To a client that sends headers and nothing else."""
    assert code(client.stream("CreateSecret", silence, metadata=())) is Status.UNAUTHENTICATED


@pytest.mark.parametrize(
    "method",
    [
        "Nope",
        "/gitpod.v1.Nope/ListSecrets",
        "/",
        "/grpc.health.v1.Health/Nope",
        "é",
    ],
)
def test_what_there_is_not_is_unimplemented(client: Client, method: str) -> None:
    """A method of the service, or another service. The answer has a request id, as every other."""
    error = client.fails(method)
    assert error.code() is Status.UNIMPLEMENTED
    assert "x-request-id" in {name for name, _ in error.trailing_metadata()}


@pytest.mark.parametrize(
    "method",
    [
        "List%53ecrets",
        f"/{NAME}%2FListSecrets",
        "/%67itpod.v1.SecretService/ListSecrets",
        "/grpc.health.v1.Health/%43heck",
    ],
)
def test_an_escape_in_a_path_is_refused(client: Client, method: str) -> None:
    """It is not taken for the letter, which a proxy's rule may refuse."""
    assert client.fails(method).code() is Status.INVALID_ARGUMENT


@pytest.mark.parametrize("count", [0, 2])
def test_a_unary_call_has_one_message(client: Client, count: int) -> None:
    """None and two are refused, and nothing is done."""
    call = client.stream("CreateSecret", iter([secret().to_binary()] * count))
    assert code(call) is Status.UNIMPLEMENTED
    assert client("ListSecrets") == ListSecretsResponse(pagination=PaginationResponse()).to_binary()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_that_is_too_large_is_refused(client: Client, compression: Any) -> None:
    """Also when it is small until it is decompressed."""
    error = client.fails("CreateSecret", bytes(MAX_REQUEST_BYTES + 1), compression=compression)
    assert error.code() is Status.RESOURCE_EXHAUSTED


def test_bytes_that_are_no_message_are_refused(client: Client) -> None:
    """Without a word of them."""
    error = client.fails("CreateSecret", b"\xffhunter2")
    assert (error.code(), "hunter2" in error.details()) == (Status.INVALID_ARGUMENT, False)


@pytest.mark.parametrize("kind", [ValueError, TimeoutError])
def test_a_failure_says_nothing(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    """Of the exception's text, to the client or in the log, and not that nothing was done."""
    canary = "hunter2"

    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise kind(canary)

    error = connect(serve(broken).port).fails("ListSecrets")
    assert (error.code(), error.details()) == (Status.INTERNAL, "internal error")
    assert (kind.__name__ in caplog.text, canary in caplog.text) == (True, False)


@pytest.mark.parametrize(("status", "name"), [(404, "UNIMPLEMENTED"), (503, "UNAVAILABLE"), (418, "INTERNAL")])
def test_an_answer_that_is_none_of_grpc_is_an_error(serve: Serve, connect: Connect, status: int, name: str) -> None:
    """Whatever its body is."""

    async def other(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"\0\0\0\0\0hello"})

    assert connect(serve(other).port).fails("ListSecrets").code().name == name


def test_a_call_is_a_request(serve: Serve, connect: Connect) -> None:
    """With the caller's address, its metadata and 30 seconds when it names no deadline."""
    seen: list[Scope] = []
    metadata = (("x-a", "1"), ("x-a", "2"), ("x-bin", b"\0\xff"))
    call = connect(serve(answer(seen)).port).stream("Any", iter([b""]), metadata=metadata, timeout=None)
    assert list(call) == [b"a", b""]
    [scope] = seen
    assert (scope["path"], scope["client"][0]) == (f"/{NAME}/Any", "127.0.0.1")
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    assert {(b"x-a", b"1"), (b"x-a", b"2"), (b"x-bin", b"AP8"), (b"grpc-timeout", b"30000m")} <= {*headers}


def test_an_answer_is_a_response(serve: Serve, connect: Connect) -> None:
    """Whose messages are whole however the body is cut, with metadata before and after them."""
    call = connect(serve(answer([])).port).stream("Any", iter([b""]))
    assert list(call) == [b"a", b""]
    assert ("x-bin", b"\0\xff") in call.initial_metadata()
    assert dict(call.trailing_metadata()) == {"x-t": "1", "y-bin": b"\0\xff"}
