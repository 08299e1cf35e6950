"""A marked value and token are sent through calls and faults; they show up nowhere but on the wire."""

import asyncio
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from connectrpc._protocol import ConnectWireError  # what a server writes
from connectrpc.code import Code
from connectrpc.errors import ErrorDetail
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from protovalidate import FieldPathElementPb, FieldPathPb, ViolationPb, ViolationsPb
from pyqwest import SyncHTTPTransport
from tests.support import service as fixture
from tests.support.caller import Caller
from tests.support.peer import Peer, Script, answer, hang_up, in_turn
from tests.support.service import Service

import gitpod
from gitpod import AsyncGitpod, Gitpod
from gitpod._rpc import retry
from gitpod.server.app import Embedded
from gitpod.testing import FaultKind, FaultPlan

VALUE = "canary-value-7d1f"
TOKEN = "canary-token-93ab"
MULTILINE = f"{VALUE}\n{VALUE}"
UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"

QUOTING = ViolationsPb(
    violations=[ViolationPb(field=FieldPathPb(elements=[FieldPathElementPb(field_name=VALUE)]), message=f"bad {VALUE}")]
)
FAULTS: dict[str, Script] = {
    "quoted in details": answer(
        400,
        ConnectWireError(Code.INVALID_ARGUMENT, "x", [ErrorDetail(QUOTING)]).to_json_bytes(),
        f"x-request-id: {VALUE}",
    ),
    "quoted in a redirect": answer(307, b"", f"location: https://elsewhere/{VALUE}"),
    "quoted as a content type": answer(200, b"", content_type=VALUE),
    "hang up": hang_up,
    "quoted": answer(400, f'{{"code": "invalid_argument", "message": "{VALUE} {TOKEN}"}}'.encode()),
    "quoted with escapes": answer(400, json.dumps({"code": "internal", "message": repr(MULTILINE)}).encode()),
    "not JSON": answer(200, f'{{"value": "{VALUE}"'.encode()),
    "wrong type": answer(200, f'{{"secret": "{VALUE}", "value": ["{VALUE}"]}}'.encode()),
    "wrong content type": answer(200, VALUE.encode(), content_type="text/plain"),
    "a proxy's page": answer(502, VALUE.encode(), content_type="text/html"),
    "no secret": answer(200, b"{}"),
    "bad time": answer(200, b'{"secret": {"id": "x", "createdAt": "9999-12-31T23:59:59.999999999Z"}}'),
}
BAD: list[dict[str, Any]] = [
    {"value": VALUE * 1000},
    {"value": VALUE + "\ud800"},
    {"value": VALUE.encode()},
    {"value": [VALUE]},
    {"name": VALUE},
    {"scope": {f"{VALUE} ": UUID}},
    {"scope": {1: VALUE}},
    {"timeout": VALUE},
    {"extra_headers": {"authorization": f"{TOKEN}\n"}},
]


def create(client: Gitpod | AsyncGitpod, runner: asyncio.Runner, **params: Any) -> BaseException:
    """The error of a create. The canaries are no locals of this function, nor of the test that calls it."""
    given = {"name": "NAME", "project_id": UUID, "api_only": True, **params}
    try:
        Caller(client, runner).create(**{"value": VALUE, **given})
    except gitpod.GitpodError as error:
        # What the tests' own frames hold is not the package's to hide.
        return strip_own_frames(error)
    raise AssertionError("the call succeeded")


def strip_own_frames(error: BaseException) -> BaseException:
    """Drop the frames of this test from the top of the traceback."""
    frame = error.__traceback__
    while frame and "/gitpod/" not in frame.tb_frame.f_code.co_filename:
        frame = frame.tb_next
    assert frame, "the error has no frame of the package"
    return error.with_traceback(frame)


def everything(error: BaseException) -> Iterator[str]:
    """All that a crash reporter could print of an error: locals of every frame, causes, notes, state."""
    yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    yield repr(error) + str(error) + repr(vars(error)) + repr(pickle.dumps(error))
    assert error.__cause__ is None
    assert error.__context__ is None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for local in frame.f_locals.values():
            yield repr(local) + repr(getattr(local, "__dict__", None))


@pytest.fixture
def clients(runner: asyncio.Runner) -> Iterator[Callable[..., Gitpod | AsyncGitpod]]:
    """Makes clients with the marked token, and closes them."""
    made: list[Gitpod | AsyncGitpod] = []

    def make(kind: type[Gitpod] | type[AsyncGitpod], url: str, codec: Any) -> Gitpod | AsyncGitpod:
        made.append(kind(bearer_token=TOKEN, base_url=url, codec=codec, max_retries=0))
        return made[-1]

    yield make
    for client in made:
        Caller(client, runner).close()


def assert_clean(error: BaseException, log: pytest.LogCaptureFixture) -> None:
    """No canary in what the error shows, nor in what was logged at any level."""
    shown = [*everything(error), log.text]
    assert [text for text in shown if VALUE in text or TOKEN in text] == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("rpc", ["create", "put", "update_value"])
def test_faults_leak_nothing(
    clients: Any, kind: Any, codec: Any, runner: asyncio.Runner, rpc: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the service does, or whoever stands in its place."""
    caplog.set_level(logging.DEBUG)
    peer = Peer(FAULTS[fault])
    caller = Caller(clients(kind, peer.url, codec), runner)
    if rpc == "update_value" and fault in ("no secret", "bad time", "wrong type") and codec == "json":
        # An answer that an update may well get.
        caller.update_value(secret_id=UUID, value=VALUE)
    else:
        assert_clean(fail(caller, rpc, UUID), caplog)
    assert VALUE.encode() in peer.requests[0]
    peer.close()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if "quoted" not in fault])
def test_a_value_that_was_read_leaks_no_more(
    clients: Any, kind: Any, codec: Any, runner: asyncio.Runner, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that holds it, and is broken."""
    caplog.set_level(logging.DEBUG)
    peer = Peer(FAULTS[fault])
    caller = Caller(clients(kind, peer.url, codec), runner)
    if codec == "json" and fault in ("no secret", "bad time"):
        assert caller.get_value(secret_id=UUID).reveal() == ""
    else:
        assert_clean(fail(caller, "get_value", UUID), caplog)
    peer.close()


PROTOCOLS = [(protocol, codec) for protocol in ("connect", "grpc", "grpc-web") for codec in ("binary", "json")]
KINDS: list[FaultKind] = [
    "refuse",
    "drop_before_reading",
    "drop_after_commit",
    "delay",
    "status",
    "truncated_body",
    "wrong_content_type",
    "garbage",
]
PARAMS: dict[str, dict[str, Any]] = {
    "create": {"name": "NAME_2", "project_id": UUID, "api_only": True},
    "put": {"name": "NAME", "project_id": UUID, "api_only": True, "replace": True},
    "update_value": {"secret_id": ""},
    "get_value": {"secret_id": ""},
    "delete": {"secret_id": ""},
    "list": {"filter": {"scope": {"project_id": UUID}}},
}


def fail(caller: Caller, rpc: str, secret_id: str, timeout: float = 20) -> BaseException:
    """The error of any call. The canaries are no locals of this function."""
    params = {**PARAMS[rpc], **({"secret_id": secret_id} if "secret_id" in PARAMS[rpc] else {})}
    hidden = {"value": VALUE} if rpc in ("create", "put", "update_value") else {}
    try:
        getattr(caller, rpc)(timeout=timeout, extra_headers={"x-key": TOKEN}, **params, **hidden)
    except gitpod.GitpodError as error:
        return strip_own_frames(error)
    raise AssertionError("the call succeeded")


@pytest.fixture(scope="module")
def embedded() -> Iterator[Embedded]:
    """A service in this process, for every client of this file's matrix."""
    with closing(Embedded("sqlite://")) as service:
        yield service


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS, ids="-".join)
@pytest.mark.parametrize("fault", KINDS)
def test_no_call_leaks_under_any_fault(
    kind: Any,
    protocol: Any,
    fault: FaultKind,
    runner: asyncio.Runner,
    embedded: Embedded,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every RPC, in every protocol and codec: what is raised, and what is logged at DEBUG by anybody."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)
    caplog.set_level(logging.DEBUG)
    plan = FaultPlan(seed=3)
    app = embedded.wsgi if kind is Gitpod else embedded.asgi
    client = kind(bearer_token=TOKEN, http_client=app, protocol=protocol[0], codec=protocol[1])
    caller = Caller(plan.aim(client), runner)
    stored = caller.put(name="NAME", value=VALUE, project_id=UUID, api_only=True).secret
    plan.add(fault, times=999, seconds=9, retry_after="0")
    for rpc in PARAMS:
        assert_clean(fail(caller, rpc, stored.id, timeout=0.1 if fault == "delay" else 20), caplog)
    assert {happened[0] for happened in plan.happened} >= {"CreateSecret", "GetSecretValue", "UpdateSecretValue"}


def test_spans_hold_nothing(clients: Any, service: Service, runner: asyncio.Runner) -> None:
    """Of an HTTP client that makes some; the package's own makes none."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    transport = SyncHTTPTransport(tracer_provider=provider, follow_redirects=False)
    token = fixture.TOKEN
    client = Gitpod(bearer_token=token, base_url=service.url, http_client=transport)
    secret = client.secrets.create(name="SPANS", value=VALUE, project_id=UUID, api_only=True).secret
    client.secrets.get_value(secret_id=secret.id)
    create(Gitpod(bearer_token=TOKEN, base_url=service.url, http_client=transport), runner)
    spans = exporter.get_finished_spans()
    assert len(spans) == 3
    assert [span for span in spans if any(text in span.to_json() for text in (VALUE, TOKEN, token))] == []
    clients(Gitpod, service.url, "binary").with_options(bearer_token=token).secrets.delete(secret_id=secret.id)
    assert len(exporter.get_finished_spans()) == 3


def test_no_public_object_shows_a_canary(kind: Any, runner: asyncio.Runner) -> None:
    """Neither by its repr nor by its attributes' ones."""
    client: Any = kind(bearer_token=TOKEN, base_url="sqlite://", default_headers={"x-key": TOKEN})
    caller = Caller(client, runner)
    made = caller.put(name="NAME", value=VALUE, project_id=UUID, api_only=True)
    raw = caller.run(client.secrets.with_raw_response.get_value(secret_id=made.secret.id))
    shown = [client, client.secrets, client.secrets.with_raw_response, made, made.secret, raw, caller.run(raw.parse())]
    shown += [client.secrets.list(), caller.page(extra_headers={"x-key": TOKEN}), client.with_options(timeout=1)]
    shown += [client._transport, client._transport.endpoint, client._options, client.secrets._stub, FaultPlan()]
    texts = [repr(each) + str(each) + repr(getattr(each, "__dict__", "")) for each in shown]
    assert [text for text in texts if VALUE in text or TOKEN in text] == []
    assert caller.run(raw.parse()).reveal() == VALUE
    caller.close()


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: next(iter(bad)))
def test_refusals_leak_nothing(
    clients: Any, kind: Any, runner: asyncio.Runner, bad: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """However wrong the parameters."""
    caplog.set_level(logging.DEBUG)
    assert_clean(create(clients(kind, "http://127.0.0.1:9", "binary"), runner, **bad), caplog)


@pytest.mark.parametrize("params", [{"project_id": UUID}, {}, {"project_id": "x"}], ids=["conflict", "scope", "uuid"])
def test_the_embedded_service_leaks_nothing(
    clients: Any, kind: Any, codec: Any, runner: asyncio.Runner, params: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """In process, where the handlers' frames are near."""
    caplog.set_level(logging.DEBUG)
    client = clients(kind, "sqlite://", codec)
    Caller(client, runner).create(name="NAME", value=VALUE, project_id=UUID, api_only=True)
    assert_clean(create(client, runner, **{"project_id": "", **params}), caplog)


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN} {TOKEN}", f"{TOKEN}é"])
def test_a_bad_token_is_not_shown(kind: Any, token: str, caplog: pytest.LogCaptureFixture) -> None:
    """The constructor's own frames hold it while they fail."""
    try:
        kind(bearer_token=token)
    except gitpod.GitpodError as error:
        assert_clean(strip_own_frames(error), caplog)
    else:
        raise AssertionError("the token was accepted")


def test_results_show_no_value(client: Caller, project: str) -> None:
    """Not even the one that holds it, until it is asked."""
    made = client.create(name="NAME", value=VALUE, project_id=project, api_only=True)
    read = client.get_value(secret_id=made.secret.id)
    assert VALUE not in repr(made) + str(made) + made.to_json() + repr(read) + str(read) + f"{read}"
    assert read.value == VALUE


def test_positional_arguments_leak_nothing(clients: Any) -> None:
    """They are a mistake, and no reason to show what was passed."""
    client = clients(Gitpod, "http://127.0.0.1:9", "binary")
    calls: list[Any] = [client.secrets.create, client.secrets.update_value, client.with_options, Gitpod]
    for call in calls:
        try:
            call(TOKEN, VALUE)
        except TypeError as error:
            shown = list(everything(strip_own_frames(error)))
            assert [text for text in shown if VALUE in text or TOKEN in text] == []
        else:
            raise AssertionError("the call was accepted")


def test_a_page_leaks_no_header(clients: Any, kind: Any, runner: asyncio.Runner) -> None:
    """A page keeps the headers of its call for the pages after it."""
    peer = Peer(in_turn(answer(200, b'{"pagination": {"nextToken": "t"}}'), hang_up))
    caller = Caller(clients(kind, peer.url, "json"), runner)
    page = caller.page(extra_headers={"authorization": f"Bearer {TOKEN}2"})
    try:
        caller.run(page.get_next_page())
    except gitpod.APIConnectionError as error:
        shown = [*everything(strip_own_frames(error)), repr(page)]
        assert [text for text in shown if TOKEN in text] == []
    else:
        raise AssertionError("the page was fetched")
    assert f"authorization: Bearer {TOKEN}2".encode() in peer.requests[1]
    peer.close()


def test_options_do_not_pickle(clients: Any) -> None:
    """They hold the token."""
    with pytest.raises(TypeError, match="hold its token"):
        pickle.dumps(clients(Gitpod, "http://127.0.0.1:9", "binary")._options)


def test_interrupts_leak_nothing(clients: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C passes through the frames of the RPC stack, which hold the request and its headers."""
    from gitpod._transport import connections

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    client = clients(Gitpod, "http://127.0.0.1:9", "binary")
    monkeypatch.setattr(connections.SyncConnections, "post", interrupted)
    try:
        client.secrets.create(name="NAME", value=VALUE, project_id=UUID, api_only=True)
    except KeyboardInterrupt as error:
        shown = list(everything(strip_own_frames(error)))
        assert [text for text in shown if VALUE in text or TOKEN in text] == []
    else:
        raise AssertionError("the interrupt was lost")
