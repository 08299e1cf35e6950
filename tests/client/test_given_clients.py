"""`http_client=`: clients of httpx and httpx2, transports of pyqwest, and applications."""

import gzip
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import respx
from tests.support.caller import Codec
from tests.support.peer import answer, stall
from tests.support.service import Service
from tests.support.ways import OK, PARAMS, STORED, UUID, VALUE, Connect, Kind, MakePeer

import gitpod
from gitpod import AsyncGitpod, GitpodError

pytestmark = pytest.mark.usefixtures("clean_environment")
JSON = {"content-type": "application/json"}
GZIPPED = {**JSON, "content-encoding": "gzip"}


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
    first.page(page_size=1)
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
    peer: MakePeer,
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
    peer: MakePeer,
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
    connect: Connect, make_httpx: Callable[..., Any], peer: MakePeer
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
    connect: Connect, make_httpx: Callable[..., Any], peer: MakePeer
) -> None:
    """A 307 would post the secret to wherever the answer points; the error names the place instead."""
    elsewhere = peer(OK)
    there = peer(answer(307, b"", f"location: {elsewhere.url}/moved", content_type="text/html"))
    caller = connect(there.url, http_client=make_httpx(follow_redirects=True, trust_env=False))
    with pytest.raises(gitpod.APIResponseValidationError, match=f"HTTP 307 to {elsewhere.url}/moved,"):
        caller.create(**PARAMS)
    assert (len(there.requests), elsewhere.requests) == (1, [])


@pytest.mark.slow
@pytest.mark.parametrize("own", [0.01, 60.0])
def test_the_calls_timeout_wins_over_that_of_httpx(
    connect: Connect, make_httpx: Callable[..., Any], peer: MakePeer, own: float
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
