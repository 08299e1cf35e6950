"""What one token, one organization or a stranger keeps under way takes nothing from others, over HTTP and gRPC."""

import random
import re
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped] # it is not marked as typed
import pytest
from postgres import until
from protobuf.wkt import StringValue
from tests.support.grpc_front import LIST_SERVICES, REFLECT, Client, Silence, Status, code, secret
from tests.support.raw_http2 import unread_calls
from tests.support.raw_requests import CREATE, LIST, post
from tests.support.target import Target, launched, read_answer

import gitpod
from gitpod import Gitpod
from gitpod.server.auth import Role
from gitpod.server.edge.headers import LONGEST_CALL
from gitpod.server.operate import create_token
from gitpod.server.shares import ORGANIZATION_CALLS, TOKEN_CALLS
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

pytestmark = pytest.mark.slow

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
PLACES = 8
MAIN = """
from gitpod.cli import main
from gitpod.server.edge import applications, headers
from gitpod.server.serving import grpc_server
applications.LONGEST_REQUEST, grpc_server.LONGEST_REQUEST, grpc_server.OPEN_CALLS = {}, {}, {}
headers.LONGEST_CALL = {}
main()
"""


@dataclass
class Shared:
    """A service on both ports, with two organizations."""

    target: Target
    grpc_port: int
    store: Path
    organizations: tuple[str, str]

    def token(self, organization: int = 0, role: str = "admin") -> str:
        """A new token."""
        who = Subject(id=str(uuid.uuid4()), principal=Principal.USER)
        with closing(Store(f"sqlite:///{self.store}")) as store:
            return create_token(store, None, who, Role(role), frozenset(), self.organizations[organization])[0]

    def client(self, token: str, protocol: Any = "connect") -> Gitpod:
        """A client that sends nothing twice."""
        url = f"http://127.0.0.1:{self.grpc_port}" if protocol == "grpc" else self.target.url
        return Gitpod(bearer_token=token, base_url=url, protocol=protocol, max_retries=0)

    def works_for_others(self, organization: int = 1) -> None:
        """Calls of another token succeed, and so do probes."""
        token = self.token(organization)
        for protocol in ("connect", "grpc"):
            with self.client(token, protocol) as client:
                client.secrets.create(
                    name=f"N{uuid.uuid4().hex}", value="v", project_id=str(uuid.uuid4()), api_only=True
                )
                client.secrets.list()
        self.is_well()

    def is_well(self) -> None:
        """Probes are answered, over both ports."""
        for path in ("/healthz", "/readyz"):
            with self.target.connect() as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
                assert read_answer(connection, "GET").status == 200
        with closing(Client(self.grpc_port).channel) as channel:
            assert channel.unary_unary(CHECK)(b"", timeout=20) == b"\x08\x01"


@contextmanager
def serving(folder: Path, longest_request: float, longest_call: int = LONGEST_CALL) -> Generator[Shared]:
    """A service with other limits: in seconds until the end of a request, and in milliseconds of a call."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    main = MAIN.format(longest_request, longest_request, PLACES, longest_call)
    with launched(folder, main, "--grpc-port", str(port)) as target:
        yield Shared(target, port, folder / "secrets.db", (str(uuid.uuid4()), str(uuid.uuid4())))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """A service that waits for the end of a request."""
    with serving(tmp_path_factory.mktemp("shares"), 600) as shared:
        yield shared


@pytest.fixture
def open_calls(shared: Shared) -> Iterator[Callable[..., list[Any]]]:
    """Opens calls over gRPC that send what they are told and then nothing, in connections of 32 calls each."""
    silence = Silence()
    clients: list[Client] = []

    def opened(count: int, method: str, *sent: bytes, token: str = "") -> list[Any]:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        calls: list[Any] = []
        for number in range(count):
            if number % 32 == 0:
                clients.append(Client(shared.grpc_port))
            calls.append(clients[-1].stream(method, chain(sent, silence), metadata=metadata, timeout=None))
        return calls

    yield opened
    for client in clients:
        client.channel.close()
    silence.over.set()


def ended(calls: list[Any]) -> list[Any]:
    """Those of the calls that were answered."""
    return [call for call in calls if call.done()]


@pytest.mark.parametrize("sent", [[], [b""]], ids=["no message", "a message"])
def test_unfinished_calls_of_a_token_are_limited(
    shared: Shared, open_calls: Callable[..., list[Any]], sent: list[bytes]
) -> None:
    """A token that may only read, with five connections of 32 calls: the others have their calls and their probes."""
    token = shared.token(role="environment")
    calls = open_calls(160, "ListSecrets", *sent, token=token)
    until(lambda: len(ended(calls)) == 160 - TOKEN_CALLS, "the calls beyond the limit are refused")
    shared.works_for_others(0)
    shared.works_for_others(1)
    for call in ended(calls):
        assert code(call) is Status.RESOURCE_EXHAUSTED
        assert f"{TOKEN_CALLS} calls of this token" in call.details()
    assert len(ended(calls)) == 160 - TOKEN_CALLS


def test_a_refused_create_is_proven_not_done(shared: Shared, open_calls: Callable[..., list[Any]]) -> None:
    """Over every protocol, while the token's calls over gRPC are under way; after them it is served again."""
    token, project = shared.token(), str(uuid.uuid4())
    calls = open_calls(TOKEN_CALLS + 32, "ListSecrets", b"", token=token)
    until(lambda: len(ended(calls)) == 32, "the share is used up")
    for protocol in ("connect", "grpc", "grpc-web"):
        with shared.client(token, protocol) as client, pytest.raises(gitpod.RateLimitError) as caught:
            client.secrets.create(name="NAME", value="v", project_id=project, api_only=True)
        assert (caught.value.outcome, caught.value.code) == ("rejected", "resource_exhausted")
    for call in calls:
        call.cancel()
    with Gitpod(bearer_token=token, base_url=shared.target.url, max_retries=10) as client:
        assert not list(client.secrets.list(filter={"scope": {"project_id": project}}))


def test_unfinished_bodies_of_a_token_are_limited(shared: Shared) -> None:
    """Over HTTP: those beyond the limit are answered before their body has come."""
    token = shared.token()
    half = post(b"{}", bearer=f"authorization: Bearer {token}\r\n".encode())[:-1]
    with ExitStack() as stack:
        sockets = [stack.enter_context(shared.target.connect()) for _ in range(TOKEN_CALLS)]
        for each in sockets:
            each.sendall(half)
        with shared.client(token) as client:
            until(lambda: is_refused(client), "the share is used up")
        shared.works_for_others()
        late = stack.enter_context(shared.target.connect())
        late.sendall(half)
        answer = read_answer(late)
        assert (answer.status, answer.code) == (429, "resource_exhausted")
        for each in sockets:
            each.sendall(b"}")
        assert {read_answer(each).status for each in sockets} == {200}


def is_refused(client: Gitpod) -> bool:
    """Whether the share of a client's token is used up."""
    try:
        client.secrets.list()
    except gitpod.RateLimitError:
        return True
    return False


def test_answers_that_nobody_reads_stay_counted(tmp_path: Path) -> None:
    """Over gRPC, also after their deadline, as they hold memory for as long as their connection may last."""
    with serving(tmp_path, 600, longest_call=5000) as shared:
        token = shared.token()
        with shared.client(token) as client, unread_calls(shared.grpc_port, LIST, token, TOKEN_CALLS):
            until(lambda: is_refused(client), "the share is used up")
            time.sleep(8)
            assert is_refused(client)
            shared.works_for_others()


def test_the_tokens_of_an_organization_share_its_limit(shared: Shared, open_calls: Callable[..., list[Any]]) -> None:
    """However many there are. Another organization has its own."""
    count = ORGANIZATION_CALLS // TOKEN_CALLS + 1
    calls = [call for _ in range(count) for call in open_calls(TOKEN_CALLS, "ListSecrets", b"", token=shared.token())]
    until(lambda: len(ended(calls)) == TOKEN_CALLS, "the calls beyond the limit are refused")
    shared.works_for_others()
    assert {re.sub(r".*(calls of this \w+).*", r"\1", call.details()) for call in ended(calls)} == {
        "calls of this organization"
    }


def test_streams_without_a_token_are_answered_at_once(shared: Shared, open_calls: Callable[..., list[Any]]) -> None:
    """Also with a token that nobody knows, of an organization that there is or is not."""
    with_organizations = [f"gps_{uuid.UUID(each).hex}_x" for each in (shared.organizations[0], str(uuid.uuid4()))]
    for token in ("", "x", *with_organizations):
        calls = open_calls(160, "CreateSecret", token=token)
        assert {code(call) for call in calls} == {Status.UNAUTHENTICATED}


@pytest.mark.parametrize(("method", "sent"), [(WATCH, b""), (CHECK, None), (REFLECT, LIST_SERVICES)])
def test_open_calls_that_need_no_token_end_each_other(
    shared: Shared, open_calls: Callable[..., list[Any]], method: str, sent: bytes | None
) -> None:
    """The oldest make place for new ones, so that everyone else is answered."""
    with ThreadPoolExecutor(64) as pool, ExitStack() as stack:
        calls = open_calls(64, method, *([] if sent is None else [sent]))
        for call in calls:
            stack.callback(call.cancel)
        codes = [pool.submit(code, call) for call in calls]
        until(lambda: len(ended(codes)) == 64 - PLACES, "the oldest calls end")
        assert {each.result() for each in ended(codes)} == {Status.RESOURCE_EXHAUSTED}
        shared.works_for_others()
        watch = Client(shared.grpc_port)
        stack.callback(watch.channel.close)
        assert next(watch.stream(WATCH, iter([StringValue().to_binary()]), metadata=())) == b"\x08\x01"


def test_calls_that_wait_for_the_store_leave_threads_to_others(shared: Shared) -> None:
    """While a lock keeps every writer waiting, others read; afterwards all writes have been done."""
    token, project = shared.token(), str(uuid.uuid4())
    readers = [shared.token(0), shared.token(1)]
    with (
        shared.client(token) as client,
        ThreadPoolExecutor(64) as pool,
        closing(sqlite3.connect(shared.store, timeout=60)) as store,
    ):
        client.secrets.list()
        store.execute("BEGIN IMMEDIATE")
        creates = [
            pool.submit(client.secrets.create, name=f"NAME_{n}", value="v", project_id=project, api_only=True)
            for n in range(64)
        ]
        for reader in readers:
            for protocol in ("connect", "grpc"):
                with shared.client(reader, protocol) as other:
                    other.secrets.list()
        assert not [create for create in creates if create.done()]
        store.rollback()
        for create in creates:
            create.result()
        assert len(list(client.secrets.list(filter={"scope": {"project_id": project}}, page_size=100))) == 64


def test_clients_that_leave_are_no_errors(shared: Shared) -> None:
    """At whichever moment they leave: they get no answer, and the log has no error."""
    chance = random.Random(1)  # noqa: S311 # to be repeated
    bearer = (("authorization", f"Bearer {shared.token()}"),)
    shared.target.logged()
    with closing(Client(shared.grpc_port).channel) as channel, ThreadPoolExecutor(8) as pool:
        create = channel.unary_unary("/gitpod.v1.SecretService/CreateSecret")

        def leave(number: int) -> None:
            message, seconds = secret(f"NAME_{number}").to_binary(), chance.uniform(0, 0.03)
            # The deadline is told to the service too.
            with suppress(grpc.RpcError):
                create(message, metadata=bearer, timeout=seconds)

        list(pool.map(leave, range(1000)))
    shared.works_for_others()
    assert '"error"' not in shared.target.logged()


@pytest.mark.parametrize("protocol", ["connect", "grpc"])
def test_a_busy_service_with_one_token_is_not_refused(shared: Shared, protocol: str) -> None:
    """With 64 connections that never rest."""
    token, project = shared.token(), str(uuid.uuid4())

    def work(number: int) -> None:
        with shared.client(token, protocol) as client:
            for each in range(4):
                client.secrets.create(name=f"NAME_{number}_{each}", value="v", project_id=project, api_only=True)

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))


@pytest.mark.parametrize("sent", [[], [secret().to_binary()]], ids=["no message", "a message"])
def test_a_request_must_end_soon(tmp_path: Path, sent: list[bytes]) -> None:
    """Over gRPC: a call that never ends its requests is answered, and nothing is done."""
    silence = Silence()
    with serving(tmp_path, 0.2) as shared, closing(Client(shared.grpc_port).channel) as channel:
        metadata = (("authorization", f"Bearer {shared.token()}"),)
        call = channel.stream_stream("/gitpod.v1.SecretService/CreateSecret")(chain(sent, silence), metadata=metadata)
        assert code(call) is Status.DEADLINE_EXCEEDED
        assert "the request had not ended" in call.details()
        silence.over.set()
        with closing(sqlite3.connect(shared.store)) as store:
            assert store.execute("SELECT count(*) FROM secrets").fetchone() == (0,)
        with shared.target.connect() as connection:
            bearer = f"authorization: Bearer {shared.token()}\r\n".encode()
            connection.sendall(post(b"{}", bearer=bearer, path=CREATE)[:-1])
            answer = read_answer(connection)
            assert (answer.status, answer.code) == (504, "deadline_exceeded")
