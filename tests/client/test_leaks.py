"""A marked value and token are sent through calls; they show up nowhere but on the wire."""

import asyncio
import logging
import pickle
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pyqwest import SyncHTTPTransport
from tests.support import service as fixture
from tests.support.caller import Caller
from tests.support.canaries import TOKEN, UUID, VALUE, assert_clean, everything, strip_own_frames
from tests.support.peer import Peer, answer, hang_up, in_turn
from tests.support.service import Service

import gitpod
from gitpod import AsyncGitpod, Gitpod
from gitpod.testing import FaultPlan

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
