"""The service over gRPC: clients of grpcio's, our own client, health, reflection, and what must not hold it up."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import grpc  # type: ignore[import-untyped] # it is not marked as typed
import pytest
import trustme
from google.rpc import status_pb2  # type: ignore[import-untyped] # neither is this
from protobuf import Message, Oneof
from protobuf.wkt import StringValue
from protovalidate import ViolationsPb
from tests.support.service import TOKEN

import gitpod
from gitpod import Gitpod
from gitpod.server.app import MAX_REQUEST_BYTES, Embedded
from gitpod.server.errors import ServiceError
from gitpod.server.serving import grpc_server
from gitpod.server.serving.grpc_server import TLS, GRPCServer, application
from gitpod_proto.gitpod.v1.pagination_pb import PaginationResponse
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretRequest, ListSecretsRequest, ListSecretsResponse, SecretScope

NAME = "gitpod.v1.SecretService"
UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
SCOPE = SecretScope(scope=Oneof[Literal["project_id"], str]("project_id", UUID))
API_ONLY = Oneof[Literal["api_only"], bool]("api_only", True)
REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
LIST_SERVICES = b"\x3a\x00"
Status = grpc.StatusCode
AUTHORIZED = (("authorization", f"Bearer {TOKEN}"),)
PEER = """
import sys
import grpc
from gitpod.v1 import secret_pb2 as pb, secret_pb2_grpc
service = secret_pb2_grpc.SecretServiceStub(grpc.insecure_channel(sys.argv[1]))
calls = {"metadata": [("authorization", "Bearer " + sys.argv[2])], "timeout": 30}
scope = pb.SecretScope(project_id=sys.argv[3])
made = service.CreateSecret(pb.CreateSecretRequest(name="NAME", value="v", scope=scope, api_only=True), **calls).secret
service.UpdateSecretValue(pb.UpdateSecretValueRequest(secret_id=made.id, value="w"), **calls)
print(service.GetSecretValue(pb.GetSecretValueRequest(secret_id=made.id), **calls).value)
print([secret.name for secret in service.ListSecrets(pb.ListSecretsRequest(), **calls).secrets])
service.DeleteSecret(pb.DeleteSecretRequest(secret_id=made.id), **calls)
print(len(service.ListSecrets(pb.ListSecretsRequest(), **calls).secrets))
"""

Serve = Callable[..., GRPCServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers, of the service or of another application, and stops them."""
    service = Embedded("sqlite://", TOKEN)
    started: list[GRPCServer] = []

    def start(app: WSGIApplication | None = None, listen: str = "127.0.0.1:0", **options: Any) -> GRPCServer:
        routed, services = application(app or service.bare_wsgi)
        options = {"ready": lambda: True, "max_message_bytes": MAX_REQUEST_BYTES, **options}
        started.append(GRPCServer(routed, services, listen, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop(0)
    service.close()


@pytest.fixture
def port(serve: Serve) -> int:
    """Where the service listens."""
    listening: int = serve().port
    return listening


class Client:
    """A client of bytes, as google protobuf knows one set of messages a process."""

    def __init__(self, port: int, credentials: Any = None) -> None:
        address = f"127.0.0.1:{port}"
        # What is typed of grpcio depends on the checker.
        secure: Any = grpc.secure_channel
        self.channel: Any = secure(address, credentials) if credentials else grpc.insecure_channel(address)

    def __call__(self, method: str, message: Message | bytes = b"", /, **options: Any) -> bytes:
        """The answer to a unary call."""
        path = method if "/" in method else f"/{NAME}/{method}"
        data = message if isinstance(message, bytes) else message.to_binary()
        call = self.channel.unary_unary(path)
        answer: bytes = call(data, **{"metadata": AUTHORIZED, "timeout": 30, **options})
        return answer

    def fails(self, *request: Any, **options: Any) -> Any:
        """The error of a call."""
        with pytest.raises(grpc.RpcError) as caught:
            self(*request, **options)
        return caught.value

    def stream(self, method: str, requests: Iterator[bytes], **options: Any) -> Any:
        """A call whose messages are sent as they come."""
        path = method if "/" in method else f"/{NAME}/{method}"
        return self.channel.stream_stream(path)(requests, **{"metadata": AUTHORIZED, "timeout": 30, **options})


def code(call: Any) -> Any:
    """The status of a call, which comes after the messages."""
    with suppress(grpc.RpcError):
        list(call)
    return call.code()


Connect = Callable[..., Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes clients, and closes them."""
    made: list[Client] = []

    def make(port: int, credentials: Any = None) -> Client:
        made.append(Client(port, credentials))
        return made[-1]

    yield make
    for client in made:
        client.channel.close()


@pytest.fixture
def client(connect: Connect, port: int) -> Client:
    """A client of the service."""
    return connect(port)


class Silence:
    """A stream of requests without any, until it is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.over.wait()
        raise StopIteration


@pytest.fixture
def silence() -> Iterator[Silence]:
    """Requests that do not come."""
    silent = Silence()
    yield silent
    silent.over.set()


def secret(name: str = "NAME") -> CreateSecretRequest:
    """A request to create one, which nobody else's store has."""
    return CreateSecretRequest(value="v", scope=SCOPE, mount=API_ONLY, name=name)


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


def test_an_error_that_is_long_is_cut(client: Client) -> None:
    """As clients refuse trailers of more than 8 KiB, with an error that says nothing."""
    chosen: Any = {"project_ids": ["a"] * 1000}
    request = ListSecretsRequest(filter=ListSecretsRequest.Filter(**chosen))
    error = client.fails("ListSecrets", request)
    assert error.code() is Status.INVALID_ARGUMENT
    assert 2000 < len(error.details()) < 4000


@pytest.mark.parametrize("headers", [(), (("authorization", "Bearer wrong"),), (*AUTHORIZED, *AUTHORIZED)])
def test_a_call_needs_one_known_token(client: Client, headers: Any) -> None:
    """And says no more than that."""
    error = client.fails("ListSecrets", metadata=headers)
    assert error.code() is Status.UNAUTHENTICATED
    assert error.details().startswith("authorization: ")


def test_a_denial_comes_before_the_message(client: Client, silence: Silence) -> None:
    """To a client that sends headers and nothing else."""
    assert code(client.stream("CreateSecret", silence, metadata=())) is Status.UNAUTHENTICATED


@pytest.mark.parametrize("method", ["Nope", "/gitpod.v1.Nope/ListSecrets", "/", "/grpc.health.v1.Health/Nope", "é"])
def test_what_there_is_not_is_unimplemented(client: Client, method: str) -> None:
    """A method of the service, or another service."""
    assert client.fails(method).code() is Status.UNIMPLEMENTED


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


def test_a_failure_says_nothing(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Of the exception's text, to the client or in the log."""
    canary = "hunter2"

    def broken(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
        raise ValueError(canary)

    error = connect(serve(broken).port).fails("ListSecrets")
    assert (error.code(), error.details()) == (Status.INTERNAL, "internal error")
    assert ("ValueError" in caplog.text, canary in caplog.text) == (True, False)


@pytest.mark.parametrize(("status", "name"), [("404", "UNIMPLEMENTED"), ("503", "UNAVAILABLE"), ("418", "INTERNAL")])
def test_an_answer_that_is_none_of_grpc_is_an_error(serve: Serve, connect: Connect, status: str, name: str) -> None:
    """Whatever its body is."""

    def other(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(f"{status} Whatever", [("content-type", "text/plain")])
        return [b"\0\0\0\0\0hello"]

    assert connect(serve(other).port).fails("ListSecrets").code().name == name


def answer(seen: list[WSGIEnvironment]) -> WSGIApplication:
    """An application that keeps its requests, and says in trailers that all is well."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ)
        start_response("200 OK", [("content-type", "application/grpc+proto"), ("x-bin", "AP8")])
        yield b"\0\0\0"
        yield b"\0\1" + b"a" + b"\0\0\0\0\0"
        environ["wsgi.ext.http.send_trailers"]([("grpc-status", "0"), ("x-t", "1"), ("x-odd", "é\n"), ("y-bin", "AP8")])

    return app


def test_a_call_is_a_request(serve: Serve, connect: Connect) -> None:
    """With the caller's address, its metadata and 30 seconds when it names no deadline."""
    seen: list[WSGIEnvironment] = []
    metadata = (("x-a", "1"), ("x-a", "2"), ("x_a", "3"), ("x-bin", b"\0\xff"))
    call = connect(serve(answer(seen)).port).stream("Any", iter([b""]), metadata=metadata, timeout=None)
    assert list(call) == [b"a", b""]
    [environ] = seen
    assert (environ["PATH_INFO"], environ["REMOTE_ADDR"]) == (f"/{NAME}/Any", "127.0.0.1")
    assert (environ["HTTP_X_A"], environ["HTTP_X_BIN"], environ["HTTP_GRPC_TIMEOUT"]) == ("1,2", "AP8", "30000m")


def test_an_answer_is_a_response(serve: Serve, connect: Connect) -> None:
    """Whose messages are whole however the body is cut, with metadata before and after them."""
    call = connect(serve(answer([])).port).stream("Any", iter([b""]))
    assert list(call) == [b"a", b""]
    assert dict(call.initial_metadata()) == {"x-bin": b"\0\xff"}
    assert dict(call.trailing_metadata()) == {"x-t": "1", "y-bin": b"\0\xff"}


def test_the_deadline_frees_the_thread(serve: Serve, connect: Connect, silence: Silence) -> None:
    """Of a call whose message never comes, so that the only worker serves the next one."""
    client = connect(serve(workers=1).port)
    assert code(client.stream("ListSecrets", silence, timeout=0.1)) is Status.DEADLINE_EXCEEDED
    client("ListSecrets")


def test_a_client_that_leaves_frees_the_thread(serve: Serve, connect: Connect, silence: Silence) -> None:
    """Whatever it had not sent yet."""
    client = connect(serve(workers=1).port)
    client.stream("ListSecrets", silence).cancel()
    client("ListSecrets")


def test_no_call_waits_for_ever(
    serve: Serve, connect: Connect, silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without a deadline is cancelled, though its client would wait."""
    monkeypatch.setattr(grpc_server, "LONGEST", 0.0)
    monkeypatch.setattr(grpc_server, "INTERVAL", 0.01)
    call = connect(serve().port).stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", silence, timeout=None
    )
    assert code(call) is Status.CANCELLED


def test_strangers_do_not_take_every_thread(serve: Serve, connect: Connect, silence: Silence) -> None:
    """As a method that needs no token has few of them."""
    client = connect(serve(workers=2).port)
    stalled = client.stream(REFLECT, chain([LIST_SERVICES], silence), metadata=())
    next(stalled)
    assert code(client.stream(REFLECT, silence, metadata=())) is Status.RESOURCE_EXHAUSTED
    client("ListSecrets")


def test_many_calls_at_once(client: Client) -> None:
    """More than there are threads."""
    requests = [secret(name=f"NAME_{number}") for number in range(64)]
    with ThreadPoolExecutor(64) as pool:
        made = list(pool.map(partial(client, "CreateSecret"), requests))
    assert len(set(made)) == 64


class Held:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._answer = answer([])

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.begun.set()
        self.go_on.wait()
        return self._answer(environ, start_response)


@pytest.mark.parametrize(("grace", "status"), [(60, Status.OK), (0, Status.UNAVAILABLE)])
def test_stopping_gives_calls_a_grace(serve: Serve, connect: Connect, grace: float, status: Any) -> None:
    """Those that end within it succeed, others are cancelled; either way all has ended when it returns."""
    held = Held()
    server = serve(held)
    call = connect(server.port).stream("Any", iter([b""]))
    held.begun.wait()
    stopping = threading.Thread(target=server.stop, args=(grace,))
    stopping.start()
    if not grace:
        code(call)
    held.go_on.set()
    stopping.join()
    assert code(call) is status


def test_a_stopped_server_is_gone(serve: Serve, connect: Connect) -> None:
    """Its port is free for the next one, and stopping again does nothing."""
    server = serve()
    server.stop(0)
    server.stop(0)
    assert connect(server.port).fails("ListSecrets").code() is Status.UNAVAILABLE
    assert serve(listen=f"127.0.0.1:{server.port}").port == server.port


@pytest.mark.parametrize("listen", ["127.0.0.1:{port}", "203.0.113.1:0", "nowhere.invalid:0", "", "127.0.0.1:http2"])
def test_an_address_that_cannot_be_had_is_told(serve: Serve, port: int, listen: str) -> None:
    """One that is taken, of another machine, or no address at all."""
    with pytest.raises(ServiceError, match=r"^cannot listen on .* for gRPC"):
        serve(listen=listen.format(port=port))


CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING, UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"


@pytest.mark.parametrize(("is_ready", "told"), [(True, SERVING), (False, NOT_SERVING)])
@pytest.mark.parametrize("name", ["", NAME])
def test_health_is_what_ready_says(serve: Serve, connect: Connect, name: str, told: bytes, *, is_ready: bool) -> None:
    """Of the server and of the service, to anybody."""
    client = connect(serve(ready=lambda: is_ready).port)
    assert client(CHECK, StringValue(value=name), metadata=()) == told


def test_health_of_another_service_is_not_known(client: Client) -> None:
    """A check fails, and a watcher is told so."""
    assert client.fails(CHECK, StringValue(value="other")).code() is Status.NOT_FOUND
    call = client.stream(WATCH, iter([StringValue(value="other").to_binary()]))
    assert next(call) == UNKNOWN
    call.cancel()


def test_watchers_are_told_of_changes(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of the end, when the server stops."""
    monkeypatch.setattr(grpc_server, "INTERVAL", 0.01)
    ready = threading.Event()
    server = serve(ready=ready.is_set)
    call = connect(server.port).stream(WATCH, iter([b""]), metadata=())
    assert next(call) == NOT_SERVING
    ready.set()
    assert next(call) == SERVING
    server.stop(60)
    assert (list(call), call.code()) == ([NOT_SERVING], Status.OK)


def test_a_health_check_that_is_no_message_is_refused(client: Client) -> None:
    """Like any other request."""
    assert client.fails(CHECK, b"\xff").code() is Status.INVALID_ARGUMENT


def test_buf_calls_without_a_schema(port: int) -> None:
    """As it asks the service for it by reflection, without a token."""
    buf = str(Path(sys.executable).with_name("buf"))
    command = [buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge"]
    url = f"http://127.0.0.1:{port}/{NAME}/ListSecrets"
    headers = ["--header", f"Authorization: Bearer {TOKEN}"]
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    done = subprocess.run([*command, *headers, url], check=True, stdout=subprocess.PIPE, env=environment, cwd="/")
    assert json.loads(done.stdout) == {"pagination": {}}


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Whose certificates are trusted."""
    return trustme.CA()


def pem(authority: trustme.CA) -> dict[str, Any]:
    """A certificate of an authority, by the arguments of `grpc.ssl_channel_credentials`."""
    leaf = authority.issue_cert("127.0.0.1")
    return {"private_key": leaf.private_key_pem.bytes(), "certificate_chain": leaf.cert_chain_pems[0].bytes()}


def tls(authority: trustme.CA, client_ca: bytes | None = None) -> TLS:
    """What a server needs of an authority."""
    leaf = pem(authority)
    return TLS(certificate=leaf["certificate_chain"], key=leaf["private_key"], client_ca=client_ca)


def test_connections_are_encrypted(serve: Serve, connect: Connect, authority: trustme.CA) -> None:
    """To those who trust the authority; others, and those without TLS, get nowhere."""
    port = serve(tls=tls(authority)).port
    root = authority.cert_pem.bytes()
    connect(port, grpc.ssl_channel_credentials(root))("ListSecrets")
    for credentials in (None, grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())):
        assert connect(port, credentials).fails("ListSecrets").code() is Status.UNAVAILABLE


def test_clients_show_a_certificate(serve: Serve, connect: Connect, authority: trustme.CA) -> None:
    """When the server asks for one: from its authority, and from no other."""
    root = authority.cert_pem.bytes()
    port = serve(tls=tls(authority, root)).port
    connect(port, grpc.ssl_channel_credentials(root, **pem(authority)))("ListSecrets")
    for shown in ({}, pem(trustme.CA())):
        error = connect(port, grpc.ssl_channel_credentials(root, **shown)).fails("ListSecrets")
        assert error.code() is Status.UNAVAILABLE


def test_a_key_of_another_certificate_is_told(serve: Serve, authority: trustme.CA) -> None:
    """When the server starts, not when the first client comes."""
    one, other = pem(authority), pem(authority)
    for key in (other["private_key"], b"no key"):
        with pytest.raises(ServiceError, match="or the certificate and its key are not valid"):
            serve(tls=TLS(certificate=one["certificate_chain"], key=key))
