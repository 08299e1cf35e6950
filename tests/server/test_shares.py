"""What one token, one organization or a stranger keeps under way takes nothing from others, over HTTP and gRPC."""

import random
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped] # it is not marked as typed
import pytest
from postgres import until
from protobuf.wkt import StringValue
from tests.support.grpc_front import LIST_SERVICES, REFLECT, Client, Silence, Status, code, secret
from tests.support.raw_http2 import HEADERS, frames, unread_calls
from tests.support.raw_requests import CREATE, LIST, post
from tests.support.shared import CHECK, PLACES, WATCH, Shared, serving
from tests.support.target import read_answer

import gitpod
from gitpod import Gitpod
from gitpod.server.shares import ORGANIZATION_CALLS, TOKEN_CALLS

pytestmark = pytest.mark.slow


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


def test_answers_that_nobody_reads_are_counted_while_they_wait(tmp_path: Path) -> None:
    """Over gRPC, as they hold memory; then they are dropped, although their connection stays, and the share is free."""
    with serving(tmp_path, 600) as shared:
        token, port, half = shared.token(), shared.grpc_port, TOKEN_CALLS // 2 + 8
        with (
            shared.client(token) as client,
            unread_calls(port, LIST, token, half) as first,
            unread_calls(port, LIST, token, half) as second,
        ):
            for each in (first, second):
                # The client's own call would take a place before them.
                heads = (stream for kind, stream, _ in frames(each) if kind == HEADERS)
                assert len(list(islice(heads, half))) == half
            until(lambda: is_refused(client), "the share is used up")
            shared.works_for_others()
            until(lambda: not is_refused(client), "the share is free again")


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
