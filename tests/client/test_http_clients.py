"""`http_client=`, and every other way by which a request leaves: the same calls, errors and deadlines."""

import asyncio
import base64
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType, ModuleType
from typing import Any, Literal

import httpx
import httpx2
import pyqwest
import pytest
import respx
from tests.support.caller import Caller, Codec
from tests.support.peer import Peer, Script, answer, free_port, hang_up, in_turn, stall
from tests.support.service import TOKEN, Service

import gitpod
from gitpod import AsyncGitpod, Gitpod, GitpodError
from gitpod._rpc import retry
from gitpod._transport import native_threads
from gitpod.server.app import Embedded

HTTPX: dict[str, ModuleType] = {"httpx": httpx, "httpx2": httpx2}
Kind = type[Gitpod] | type[AsyncGitpod]
Connect = Callable[..., Caller]

VALUE = "s3cret-canary"
UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PARAMS: dict[str, Any] = {"name": "NAME", "value": VALUE, "project_id": UUID, "api_only": True}
STORED = json.dumps({"secret": {"id": UUID, "name": "NAME", "apiOnly": True}}).encode()
OK = answer(200, STORED)
SHED = answer(503, b'{"code": "unavailable", "message": "as scripted"}', "retry-after: 0")
JSON = {"content-type": "application/json"}
GZIPPED = {**JSON, "content-encoding": "gzip"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no service from the environment that the tests run in, and retries that wait for no time."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("GITPOD_BASE_URL", raising=False)
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)


@pytest.fixture
def peer() -> Iterator[Callable[[Script], Peer]]:
    """Makes peers, and closes them."""
    made: list[Peer] = []

    def make(script: Script) -> Peer:
        made.append(Peer(script))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def make_httpx(kind: Kind, runner: asyncio.Runner) -> Iterator[Callable[..., Any]]:
    """Makes httpx clients of the kind that fits, of httpx2 if that is asked for, and closes them."""
    made: list[Any] = []

    def make(module: ModuleType = httpx, **options: Any) -> Any:
        made.append(module.AsyncClient(**options) if kind is AsyncGitpod else module.Client(**options))
        return made[-1]

    yield make
    for each in made:
        if kind is AsyncGitpod:
            runner.run(each.aclose())
        else:
            each.close()


@pytest.fixture
def make_pyqwest(kind: Kind, runner: asyncio.Runner) -> Iterator[Callable[[], Any]]:
    """Makes transports of pyqwest of the kind that fits, and closes them."""
    made: list[Any] = []

    def make() -> Any:
        transport = pyqwest.HTTPTransport if kind is AsyncGitpod else pyqwest.SyncHTTPTransport
        made.append(transport(follow_redirects=False))
        return made[-1]

    async def close(transport: pyqwest.HTTPTransport) -> None:
        await transport.aclose()

    yield make
    for each in made:
        if isinstance(each, pyqwest.HTTPTransport):
            runner.run(close(each))
        else:
            each.close()


@pytest.fixture
def embedded(kind: Kind) -> Iterator[Any]:
    """The service itself as an application of the kind that fits."""
    service = Embedded("sqlite://")
    yield service.asgi if kind is AsyncGitpod else service.wsgi
    service.close()


@pytest.fixture
def connect(kind: Kind, runner: asyncio.Runner) -> Iterator[Connect]:
    """Makes clients of both kinds that speak JSON, and closes them."""
    made: list[Caller] = []

    def make(base_url: str | None, codec: Codec = "json", **options: Any) -> Caller:
        made.append(Caller(kind(bearer_token=TOKEN, base_url=base_url, codec=codec, **options), runner))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["httpx", "httpx2", "pyqwest", "application"])
def given(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each kind of `http_client` in turn, and the `base_url` that goes with it: none for an application."""
    if request.param == "application":
        return {"base_url": None, "http_client": request.getfixturevalue("embedded")}
    sender: Any
    if request.param in HTTPX:
        sender = request.getfixturevalue("make_httpx")(HTTPX[request.param], trust_env=False)
    else:
        sender = request.getfixturevalue("make_pyqwest")()
    served: Service = request.getfixturevalue("service")
    return {"base_url": served.url, "http_client": sender}


@pytest.fixture(params=["default", "forked", "httpx", "httpx2", "pyqwest"])
def way(request: pytest.FixtureRequest, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Each way to a service on the network in turn: makes clients that take it."""
    if request.param == "forked":
        monkeypatch.setattr(native_threads, "_checked", (0, True))
    if request.param in ("default", "forked"):
        return connect
    if request.param in HTTPX:
        sender = request.getfixturevalue("make_httpx")(HTTPX[request.param], trust_env=False)
    else:
        sender = request.getfixturevalue("make_pyqwest")()

    def make(url: str, **options: Any) -> Caller:
        return connect(url, http_client=sender, **options)

    return make


@pytest.mark.parametrize("protocol", ["connect", "grpc-web"])
def test_every_call_works_over_every_kind(
    connect: Connect, given: dict[str, Any], project: str, codec: Codec, protocol: str
) -> None:
    """All five RPCs, `put`, and a list of several pages."""
    caller = connect(**given, codec=codec, protocol=protocol)
    mine: dict[str, Any] = {"project_id": project, "api_only": True}
    made = [caller.create(name=f"NAME_{number}", value="v", **mine).secret for number in range(3)]
    assert caller.list(filter={"scope": {"project_id": project}}, page_size=2) == made
    assert caller.put(name="NAME_0", value="w", **mine).action == "updated"
    assert caller.get_value(secret_id=made[0].id).value == "w"
    caller.update_value(secret_id=made[1].id, value="x")
    assert caller.get_value(secret_id=made[1].id).value == "x"
    caller.delete(secret_id=made[2].id)
    with pytest.raises(gitpod.NotFoundError):
        caller.get_value(secret_id=made[2].id)


def test_a_given_client_stays_the_callers_to_close(connect: Connect, given: dict[str, Any]) -> None:
    """Closing one of our clients leaves it open for another."""
    first, second = (connect(**given) for _ in range(2))
    first.list(page_size=1)
    first.close()
    with pytest.raises(GitpodError, match="the client is closed"):
        first.page()
    assert second.page(page_size=1).pagination


def test_hooks_of_httpx_see_requests_and_answers(
    connect: Connect, make_httpx: Callable[..., Any], kind: Kind, service: Service
) -> None:
    """Their methods, paths, headers and statuses; none asks for compression, which httpx undoes without a bound."""
    seen: list[object] = []

    def on_request(request: httpx.Request) -> None:
        seen.extend([request.method, request.url.path, request.headers["accept-encoding"]])

    def on_response(response: httpx.Response) -> None:
        seen.append(response.status_code)

    async def on_request_async(request: httpx.Request) -> None:
        on_request(request)

    async def on_response_async(response: httpx.Response) -> None:
        on_response(response)

    hooks = (on_request_async, on_response_async) if kind is AsyncGitpod else (on_request, on_response)
    sender = make_httpx(event_hooks={"request": [hooks[0]], "response": [hooks[1]]}, trust_env=False)
    connect(service.url, http_client=sender).page(page_size=1)
    assert seen == ["POST", "/gitpod.v1.SecretService/ListSecrets", "identity", 200]


@pytest.mark.parametrize("squeezed", [False, True])
def test_a_hook_may_read_the_answer(
    connect: Connect,
    make_httpx: Callable[..., Any],
    kind: Kind,
    peer: Callable[[Script], Peer],
    *,
    squeezed: bool,
) -> None:
    """It is decompressed by then, and read a second time from memory."""
    there = peer(answer(200, gzip.compress(STORED), "content-encoding: gzip") if squeezed else OK)
    read: list[bytes] = []

    def on_response(response: httpx.Response) -> None:
        read.append(response.read())

    async def on_response_async(response: httpx.Response) -> None:
        read.append(await response.aread())

    hook = on_response_async if kind is AsyncGitpod else on_response
    sender = make_httpx(event_hooks={"response": [hook]}, trust_env=False)
    assert connect(there.url, http_client=sender).create(**PARAMS).secret.id == UUID
    assert read == [STORED]


@pytest.mark.parametrize("error", [ConnectionError, httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
def test_a_hook_that_fails_leaves_doubt(
    connect: Connect,
    make_httpx: Callable[..., Any],
    kind: Kind,
    peer: Callable[[Script], Peer],
    error: type[Exception],
) -> None:
    """The answer was there; whatever the hook raises does not prove that nothing was sent."""
    there = peer(OK)

    def broken(_: httpx.Response) -> None:
        raise error("audit log is down")

    async def broken_async(response: httpx.Response) -> None:
        broken(response)

    hook = broken_async if kind is AsyncGitpod else broken
    with pytest.raises(gitpod.APIError) as caught:
        connect(there.url, http_client=make_httpx(event_hooks={"response": [hook]}, trust_env=False)).create(**PARAMS)
    assert (caught.value.outcome, len(there.requests)) == ("unknown", 1)


def test_a_proxy_that_refuses_proves_that_nothing_was_sent(
    connect: Connect, make_httpx: Callable[..., Any], peer: Callable[[Script], Peer]
) -> None:
    """What it was asked is to connect, which is not the request."""
    proxy = peer(answer(502))
    caller = connect("https://secrets.invalid", http_client=make_httpx(proxy=proxy.url))
    with pytest.raises(gitpod.APIConnectionError) as caught:
        caller.create(**PARAMS)
    assert (caught.value.outcome, caught.value.attempts) == ("not_sent", 3)
    assert all(request.startswith(b"CONNECT secrets.invalid:443 ") for request in proxy.requests)


def test_respx_answers_and_records(connect: Connect, make_httpx: Callable[..., Any]) -> None:
    """Its mocks take the place of a service, errors included."""
    with respx.mock(base_url="https://secrets.example.com/gitpod.v1.SecretService") as router:
        create = router.post("/CreateSecret").respond(json=json.loads(STORED))
        router.post("/GetSecretValue").respond(404, json={"code": "not_found", "message": "no such secret"})
        caller = connect("https://secrets.example.com", http_client=make_httpx())
        assert caller.create(**PARAMS).secret.id == UUID
        with pytest.raises(gitpod.NotFoundError, match="no such secret"):
            caller.get_value(secret_id=UUID)
        assert json.loads(create.calls.last.request.content)["value"] == VALUE


def streamed(body: bytes, *, is_async: bool) -> Iterator[bytes] | AsyncIterator[bytes]:
    """A body in pieces, for the kind of client that reads it."""
    pieces = [body[:5], body[5:]]

    async def later() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return later() if is_async else iter(pieces)


@pytest.mark.parametrize("squeezed", [False, True])
@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_mock_transports_of_httpx_work(
    connect: Connect, make_httpx: Callable[..., Any], kind: Kind, how: str, *, squeezed: bool
) -> None:
    """With a body that is there, and with one that is yet to be read; compressed or not."""
    headers, body = (GZIPPED, gzip.compress(STORED)) if squeezed else (JSON, STORED)

    def handler(_: httpx.Request) -> httpx.Response:
        content = body if how == "whole" else streamed(body, is_async=kind is AsyncGitpod)
        return httpx.Response(200, headers=headers, content=content)

    sender = make_httpx(transport=httpx.MockTransport(handler))
    assert connect("https://secrets.example.com", http_client=sender).create(**PARAMS).secret.id == UUID


def test_redirects_are_not_followed_by_a_client_that_follows_them(
    connect: Connect, make_httpx: Callable[..., Any], peer: Callable[[Script], Peer]
) -> None:
    """A 307 would post the secret to wherever the answer points; the error names the place instead."""
    elsewhere = peer(OK)
    there = peer(answer(307, b"", f"location: {elsewhere.url}/moved", content_type="text/html"))
    caller = connect(there.url, http_client=make_httpx(follow_redirects=True, trust_env=False))
    with pytest.raises(gitpod.APIResponseValidationError, match=f"HTTP 307 to {elsewhere.url}/moved,"):
        caller.create(**PARAMS)
    assert (len(there.requests), elsewhere.requests) == (1, [])


def raw(data: bytes) -> Script:
    """A script that answers these bytes, whatever they are, and closes."""
    return lambda connection, _: connection.sendall(data)


def endless(connection: socket.socket, _request: bytes) -> None:
    """Answer for as long as anybody reads."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    try:
        while True:
            connection.sendall(b" " * 65536)
    except OSError:
        return


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
BOMB = gzip.compress(b" " * (8 * 1024 * 1024))

Connection, Status, Untrusted = (
    gitpod.APIConnectionError,
    gitpod.InternalServerError,
    gitpod.APIResponseValidationError,
)
FAULTS: dict[str, tuple[Script, type[gitpod.APIError], str, int]] = {
    # what the peer does, the exception, its outcome, how often a create is sent
    "hang up": (hang_up, Connection, "unknown", 1),
    "reset halfway through the status": (raw(HEAD[:10]), Connection, "unknown", 1),
    "not HTTP": (raw(b"\x00\xff garbage\r\n\r\n"), Connection, "unknown", 1),
    "a body that breaks off": (raw(HEAD + b"content-length: 999\r\n\r\n" + STORED), Connection, "unknown", 1),
    "a chunk that breaks off": (raw(HEAD + b"transfer-encoding: chunked\r\n\r\n99\r\n{"), Connection, "unknown", 1),
    "noise": (answer(200, b"\xff" * 99), Untrusted, "unknown", 1),
    "endless": (endless, Untrusted, "unknown", 1),
    "a bomb": (answer(200, BOMB, "content-encoding: gzip"), Untrusted, "unknown", 1),
    "shed": (SHED, Status, "rejected", 3),
    "a gateway's page": (answer(502, b"<html>", content_type="text/html"), Status, "unknown", 1),
    "refused": (answer(404, b'{"code": "not_found", "message": "m"}'), gitpod.NotFoundError, "rejected", 1),
    "a redirect": (answer(308, b"", "location: /elsewhere"), Untrusted, "rejected", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_the_same_error_every_way(way: Connect, peer: Callable[[Script], Peer], fault: str) -> None:
    """The class, the outcome, and how often a create is sent; never the value."""
    script, kind_of, outcome, sent = FAULTS[fault]
    there = peer(script)
    with pytest.raises(gitpod.APIError) as caught:
        way(there.url).create(**PARAMS)
    error = caught.value
    assert (type(error), error.outcome, error.attempts, len(there.requests)) == (kind_of, outcome, sent, sent)
    assert VALUE not in str(error)


def test_a_gzipped_answer_is_understood_every_way(way: Connect, peer: Callable[[Script], Peer]) -> None:
    """A gateway may compress it, whatever it was asked."""
    there = peer(answer(200, gzip.compress(STORED), "content-encoding: gzip"))
    assert way(there.url).create(**PARAMS).secret.id == UUID


@pytest.mark.parametrize("place", ["nobody listens", "no such host"])
def test_no_connection_is_provably_unsent_every_way(way: Connect, place: str) -> None:
    """And so it is tried again."""
    url = f"http://127.0.0.1:{free_port()}" if place == "nobody listens" else "http://nowhere.invalid"
    with pytest.raises(gitpod.APIConnectionError, match="the connection failed") as caught:
        way(url, allow_plaintext=True).create(**PARAMS)
    assert (caught.value.outcome, caught.value.attempts, caught.value.status_code) == ("not_sent", 3, None)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", HEAD + b"content-length: 99\r\n\r\n{"], ids=["nothing", "part"])
def test_a_stalled_answer_is_given_up_every_way(way: Connect, peer: Callable[[Script], Peer], sent: bytes) -> None:
    """Wherever it stalls."""

    def script(connection: socket.socket, request: bytes) -> None:
        connection.sendall(sent)
        stall(1.0)(connection, request)

    there = peer(script)
    with pytest.raises(gitpod.APITimeoutError) as caught:
        way(there.url).create(**PARAMS, timeout=0.2)
    assert (caught.value.outcome, len(there.requests)) == ("unknown", 1)


@pytest.mark.slow
@pytest.mark.parametrize("dripping", ["head", "body"])
def test_an_answer_that_drips_does_not_outlast_the_deadline(
    way: Connect, peer: Callable[[Script], Peer], request: pytest.FixtureRequest, dripping: str
) -> None:
    """Though no single byte of it is late. A sync client of httpx bounds each read of a head, not all of them."""
    flavour: dict[str, Any] = request.node.callspec.params
    is_unbounded = flavour["way"] in HTTPX and flavour["kind"] == "sync" and dripping == "head"
    finished = threading.Event()

    def script(connection: socket.socket, _request: bytes) -> None:
        head = HEAD + b"content-length: 40\r\n"
        data = (head + b"\r\n" if dripping == "body" else head) + (b"x-y: " if dripping == "head" else b"")
        try:
            connection.sendall(data)
            for _ in range(25):
                connection.sendall(b" ")
                time.sleep(0.04)
            finished.set()
        except OSError:
            return

    there = peer(script)
    with pytest.raises(gitpod.APIConnectionError if is_unbounded else gitpod.APITimeoutError):
        way(there.url).create(**PARAMS, timeout=0.1)
    assert finished.is_set() == is_unbounded


@pytest.mark.slow
@pytest.mark.parametrize("own", [0.01, 60.0])
def test_the_calls_timeout_wins_over_that_of_httpx(
    connect: Connect, make_httpx: Callable[..., Any], peer: Callable[[Script], Peer], own: float
) -> None:
    """A shorter one does not cut the call, a longer one does not lengthen it."""

    def late(connection: socket.socket, request: bytes) -> None:
        stall(0.5)(connection, request)
        OK(connection, request)

    caller = connect(peer(late).url, http_client=make_httpx(timeout=httpx.Timeout(own), trust_env=False))
    if own < 1:
        assert caller.create(**PARAMS, timeout=10).secret.id == UUID
    else:
        with pytest.raises(gitpod.APITimeoutError):
            caller.create(**PARAMS, timeout=0.2)


def test_an_answer_on_a_connection_that_stays_open_leaks_nothing(way: Connect, peer: Callable[[Script], Peer]) -> None:
    """A server need not close it, whatever it was asked; an unclosed socket would be a warning, and so an error."""
    length = f"content-length: {len(STORED)}\r\n\r\n".encode()

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(HEAD + length + STORED)
        connection.recv(1)

    assert way(peer(script).url).create(**PARAMS).secret.id == UUID


def test_the_proxy_for_http_gets_nothing_from_a_fork(
    connect: Connect, peer: Callable[[Script], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would read the token and the value in clear."""
    proxy, there = peer(OK), peer(OK)
    monkeypatch.setattr(native_threads, "_checked", (0, True))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    connect(there.url).create(**PARAMS)
    assert (len(there.requests), proxy.requests) == (1, [])


@pytest.mark.parametrize("bypassed", [False, True])
def test_the_proxy_for_https_is_used_by_a_fork(
    connect: Connect, peer: Callable[[Script], Peer], monkeypatch: pytest.MonkeyPatch, *, bypassed: bool
) -> None:
    """With its own login, and without the token, which goes inside TLS; NO_PROXY goes past it."""
    proxy = peer(answer(403, b""))
    monkeypatch.setattr(native_threads, "_checked", (0, True))
    monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:p%40ss@"))
    monkeypatch.setenv("no_proxy", "nowhere.invalid" if bypassed else "")
    with pytest.raises(gitpod.APIConnectionError) as caught:
        connect("https://nowhere.invalid", max_retries=0).create(**PARAMS)
    assert caught.value.outcome == "not_sent"
    assert len(proxy.requests) == (0 if bypassed else 1)
    for request in proxy.requests:
        assert request.startswith(b"CONNECT nowhere.invalid:443 HTTP/1.")
        assert base64.b64encode(b"user:p@ss") in request
        assert TOKEN.encode() not in request


async def asgi(_scope: Any, _receive: Any, _send: Any) -> None:
    """An ASGI application."""


def wsgi(_environ: Any, _start_response: Any) -> list[bytes]:
    """A WSGI application."""
    return []


class Application:
    """An ASGI application, once there is an instance of it."""

    async def __call__(self, _scope: Any, _receive: Any, _send: Any) -> None:
        """Do nothing."""


HINT = "(pip install 'gitpod-connect[httpx]')"
MUST = "http_client: must be an "
SYNC = f"{MUST}httpx.Client or httpx2.Client {HINT}, a sync transport of pyqwest, or a WSGI application"
ASYNC = f"{MUST}httpx.AsyncClient or httpx2.AsyncClient {HINT}, a transport of pyqwest, or an ASGI application"
WRONG: dict[str, tuple[Kind, object, str]] = {
    "httpx of the other kind": (Gitpod, httpx.AsyncClient(), SYNC),
    "a client of pyqwest": (Gitpod, pyqwest.SyncClient(), SYNC),
    "a client of pyqwest of the other kind": (Gitpod, pyqwest.Client(), SYNC),
    "a transport of the other kind": (Gitpod, pyqwest.HTTPTransport(), SYNC),
    "an application of the other kind": (Gitpod, asgi, SYNC),
    "a string": (Gitpod, "httpx", SYNC),
    "a class of httpx": (Gitpod, httpx.Client, SYNC),
    "a class of pyqwest": (Gitpod, pyqwest.SyncClient, SYNC),
    "a class of transports": (Gitpod, pyqwest.SyncHTTPTransport, SYNC),
    "async: httpx of the other kind": (AsyncGitpod, httpx.Client(), ASYNC),
    "async: a client of pyqwest": (AsyncGitpod, pyqwest.Client(), ASYNC),
    "async: a client of pyqwest of the other kind": (AsyncGitpod, pyqwest.SyncClient(), ASYNC),
    "async: a transport of the other kind": (AsyncGitpod, pyqwest.SyncHTTPTransport(), ASYNC),
    "async: an application of the other kind": (AsyncGitpod, wsgi, ASYNC),
    "async: a string": (AsyncGitpod, "httpx", ASYNC),
    "async: a class of httpx": (AsyncGitpod, httpx.AsyncClient, ASYNC),
    "async: a class of pyqwest": (AsyncGitpod, pyqwest.Client, ASYNC),
    "async: a class of transports": (AsyncGitpod, pyqwest.HTTPTransport, ASYNC),
    "async: a class of applications": (AsyncGitpod, Application, ASYNC),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_client_of_the_wrong_kind_is_refused(case: str) -> None:
    """In the constructor, with what is expected."""
    kind_of, wrong, message = WRONG[case]
    with pytest.raises(GitpodError) as caught:
        kind_of(bearer_token=TOKEN, base_url="http://localhost", http_client=wrong)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("option", ["http2", "ca_cert", "client_cert"])
def test_options_of_the_connection_are_the_given_clients_own(given: dict[str, Any], kind: Kind, option: str) -> None:
    """They would be without effect here."""
    options: dict[str, Any] = {option: True if option == "http2" else "certificate.pem"}
    with pytest.raises(GitpodError, match=rf"^{option}: with http_client=, set this up on that client$"):
        kind(bearer_token=TOKEN, **given, **options)


@pytest.mark.parametrize("derived", [False, True])
def test_grpc_is_refused_over_httpx(kind: Kind, *, derived: bool) -> None:
    """It has no trailers, nor does a class that somebody derived from its clients."""
    base: Any = httpx.AsyncClient if kind is AsyncGitpod else httpx.Client
    sender = type("Mine", (base,), {})() if derived else base()
    with pytest.raises(GitpodError, match=r'^protocol: "grpc" needs HTTP trailers'):
        kind(bearer_token=TOKEN, base_url="http://localhost", protocol="grpc", http_client=sender)


def test_the_path_of_base_url_is_an_applications_prefix(connect: Connect, embedded: Any, kind: Kind) -> None:
    """As it would be in front of a service on the network."""
    paths: list[str] = []

    def mounted_wsgi(environ: Any, start_response: Any) -> Any:
        paths.append(environ["PATH_INFO"])
        return embedded({**environ, "PATH_INFO": environ["PATH_INFO"].removeprefix("/api")}, start_response)

    async def mounted_asgi(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        path = scope["path"].removeprefix("/api")
        await embedded({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    application = mounted_asgi if kind is AsyncGitpod else mounted_wsgi
    assert connect("http://localhost/api/", http_client=application).list() == []
    assert paths == ["/api/gitpod.v1.SecretService/ListSecrets"]


@pytest.mark.parametrize("error", [RuntimeError, ConnectionError])
def test_an_application_that_fails_leaves_doubt(connect: Connect, kind: Kind, error: type[Exception]) -> None:
    """Whatever it raises, it was at work: a create is not sent again."""
    calls: list[str] = []

    def broken_wsgi(environ: Any, _start_response: Any) -> list[bytes]:
        calls.append(environ["PATH_INFO"])
        raise error(VALUE)

    async def broken_asgi(scope: Any, _receive: Any, _send: Any) -> None:
        calls.append(scope["path"])
        raise error(VALUE)

    with pytest.raises(gitpod.APIError) as caught:
        connect(None, http_client=broken_asgi if kind is AsyncGitpod else broken_wsgi).create(**PARAMS)
    assert (caught.value.outcome, len(calls)) == ("unknown", 1)
    assert VALUE not in str(caught.value)


def run(program: str, service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the service in its environment."""
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": service.url}
    # Newer Pythons warn of any fork of a process that has threads.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


WITHOUT_HTTPX = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "httpx":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import asyncio
from gitpod import AsyncGitpod, Gitpod, GitpodError
Gitpod().secrets.list()
async def main():
    async with AsyncGitpod() as client:
        await client.secrets.list()
asyncio.run(main())
for kind in (Gitpod, AsyncGitpod):
    try:
        kind(http_client=object())
    except GitpodError as error:
        print(error)
"""


def test_the_package_works_without_httpx(service: Service) -> None:
    """And tells what to install who passes what it does not know."""
    done = run(WITHOUT_HTTPX, service)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [SYNC, ASYNC]


GIVEN = """
import os, signal, sys
import httpx, pyqwest
from gitpod import APIConnectionError, Gitpod
http = httpx.Client(trust_env=False) if sys.argv[1] == "httpx" else pyqwest.SyncHTTPTransport()
client = Gitpod(http_client=http)
if sys.argv[2] == "used":
    client.secrets.list()
child = os.fork()
if child == 0:
    signal.alarm(20)
    try:
        client.secrets.list()
        os._exit(10)
    except APIConnectionError as error:
        os._exit(11 if "the http_client does not survive" in str(error) and error.outcome == "not_sent" else 12)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
client.secrets.list()
sys.exit(status)
"""


@pytest.mark.parametrize(("sender", "when"), [("httpx", "unused"), ("httpx", "used"), ("pyqwest", "used")])
def test_a_given_client_stays_with_the_parent(service: Service, sender: str, when: str) -> None:
    """Answers on its sockets might be to the parent's requests."""
    assert run(GIVEN, service, sender, when).returncode == 11


FORKS = {
    "prefork": """
import os, signal, sys
from gitpod import Gitpod
client = Gitpod()
client.secrets.list()
gate, opened = os.pipe()
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os.close(opened)
        os.read(gate, 1)
        client.secrets.create(name=f"CHILD_{number}", value="v", project_id=sys.argv[1], api_only=True)
        os._exit(0)
    children.append(child)
os.close(opened)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
""",
    "pool": """
import multiprocessing, signal, sys
from gitpod import Gitpod
client = Gitpod()
def create(number):
    made = client.secrets.create(name=f"CHILD_{number}", value="v", project_id=sys.argv[1], api_only=True)
    return client.secrets.get_value(secret_id=made.secret.id).value
client.secrets.list()
signal.alarm(20)
with multiprocessing.get_context("fork").Pool(2, initializer=signal.alarm, initargs=(20,)) as pool:
    values = pool.map(create, range(4), chunksize=1)
assert values == ["v"] * 4
""",
    "asyncio": """
import asyncio, os, signal, sys
from gitpod import AsyncGitpod
client = AsyncGitpod()
async def use(numbers):
    await client.secrets.list()
    await asyncio.gather(*(
        client.secrets.create(name=f"CHILD_{number}", value="v", project_id=sys.argv[1], api_only=True)
        for number in numbers
    ))
asyncio.run(use([]))
children = []
for first in (0, 2):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        asyncio.run(use([first, first + 1]))
        os._exit(0)
    children.append(child)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
""",
}


@pytest.mark.parametrize("how", FORKS)
def test_a_used_client_works_in_every_child(service: Service, project: str, how: str) -> None:
    """Processes that are forked as application servers and pools do it, all at the same time."""
    done = run(FORKS[how], service, project)
    assert (done.returncode, done.stderr) == (0, "")
    with Gitpod(bearer_token=TOKEN, base_url=service.url) as client:
        made = sorted(secret.name for secret in client.secrets.list(filter={"scope": {"project_id": project}}))
    assert made == [f"CHILD_{number}" for number in range(4)]


FORKING = """
import os, threading
from gitpod import Gitpod
client, done = Gitpod(codec="json", max_retries=0), threading.Event()
client.secrets.delete(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047")
def fork():
    while not done.is_set():
        child = os.fork()
        if child == 0:
            client.secrets.update_value(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047", value="v")
            os._exit(0)
        os.waitpid(child, 0)
thread = threading.Thread(target=fork)
thread.start()
for number in range(500):
    headers = {"x-number": f"<{number}>"}
    client.secrets.delete(secret_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047", extra_headers=headers)
done.set()
thread.join()
"""


def test_a_fork_repeats_no_call_of_its_parent(peer: Callable[[Script], Peer]) -> None:
    """A call that was about to be made as the process was forked is made by the parent alone."""
    there = peer(answer(200, b"{}"))
    environment = os.environ | {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": there.url}
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", FORKING]
    subprocess.run(command, env=environment, timeout=100, check=True)
    sent = [request.partition(b"x-number: <")[2].partition(b">")[0] for request in there.requests]
    numbers = [number for number in sent if number]
    assert len(numbers) == len(set(numbers)) == 500
    assert len(sent) > 510


INTERRUPTED = {
    "default": "Gitpod().secrets.create(**params)",
    "httpx": "Gitpod(http_client=httpx.Client(trust_env=False)).secrets.create(**params)",
    "asyncio": "asyncio.run(create())",
}
# A shell may have started the tests with Ctrl-C ignored.
INTERRUPTED_PROGRAM = """
import asyncio, os, signal
import httpx
signal.signal(signal.SIGINT, signal.default_int_handler)
from gitpod import AsyncGitpod, Gitpod
params = dict(name="NAME", value=os.environ["VALUE"], project_id=os.environ["PROJECT"], api_only=True, timeout=30)
async def create():
    await AsyncGitpod().secrets.create(**params)
"""


@pytest.mark.parametrize("how", INTERRUPTED)
def test_ctrl_c_ends_a_call(peer: Callable[[Script], Peer], how: Literal["default", "httpx", "asyncio"]) -> None:
    """Long before its timeout, and without showing what was sent."""
    asked = threading.Event()

    def script(connection: socket.socket, _: bytes) -> None:
        asked.set()
        connection.recv(1)

    environment = {"GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": peer(script).url, "VALUE": VALUE, "PROJECT": UUID}
    command = [sys.executable, "-c", INTERRUPTED_PROGRAM + INTERRUPTED[how]]
    with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True) as process:
        assert asked.wait(20)
        process.send_signal(signal.SIGINT)
        try:
            _, shown = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert shown.rstrip().endswith("KeyboardInterrupt")
    assert VALUE not in shown
    assert TOKEN not in shown


@pytest.mark.parametrize("sender", ["default", "httpx"])
def test_signal_handlers_run_during_a_call(peer: Callable[[Script], Peer], sender: str) -> None:
    """The call completes after that; a handler may even make one of its own."""
    handled = threading.Event()

    def until_handled(connection: socket.socket, request: bytes) -> None:
        os.kill(os.getpid(), signal.SIGALRM)
        (OK if handled.wait(10) else hang_up)(connection, request)

    there = peer(in_turn(until_handled, answer(200, b'{"value": "v"}')))
    with httpx.Client(trust_env=False) as http:
        given = http if sender == "httpx" else None
        client = Gitpod(bearer_token=TOKEN, base_url=there.url, codec="json", http_client=given)

        def handler(_number: int, _frame: FrameType | None) -> None:
            client.secrets.get_value(secret_id=UUID)
            handled.set()

        before = signal.signal(signal.SIGALRM, handler)
        try:
            assert client.secrets.create(**PARAMS).secret.id == UUID
        finally:
            signal.signal(signal.SIGALRM, before)
            client.close()
    assert len(there.requests) == 2


def test_a_client_goes_on_after_an_interrupt(request: pytest.FixtureRequest, peer: Callable[[Script], Peer]) -> None:
    """What was interrupted ends by itself, and the next call waits for none of it."""

    def interrupt(connection: socket.socket, _: bytes) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        connection.recv(1)

    there = peer(in_turn(interrupt, OK))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))  # for what was set just now
    with Gitpod(bearer_token=TOKEN, base_url=there.url, codec="json") as client:
        with pytest.raises(KeyboardInterrupt):
            client.secrets.create(**PARAMS, timeout=2)
        assert client.secrets.create(**PARAMS).secret.id == UUID
