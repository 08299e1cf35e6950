"""A marked value and token are sent through calls and faults; they show up nowhere but on the wire."""

import asyncio
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Caller
from connectrpc._protocol import ConnectWireError  # what a server writes
from connectrpc.code import Code
from connectrpc.errors import ErrorDetail
from peer import Peer, Script, answer, hang_up, in_turn
from protovalidate import FieldPathElementPb, FieldPathPb, ViolationPb, ViolationsPb

import gitpod
from gitpod import AsyncGitpod, Gitpod

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
def test_faults_leak_nothing(
    clients: Any, kind: Any, codec: Any, runner: asyncio.Runner, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the service does, or whoever stands in its place."""
    caplog.set_level(logging.DEBUG)
    peer = Peer(FAULTS[fault])
    assert_clean(create(clients(kind, peer.url, codec), runner), caplog)
    assert VALUE.encode() in peer.requests[0]
    peer.close()


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
    from gitpod import _transport

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    client = clients(Gitpod, "http://127.0.0.1:9", "binary")
    monkeypatch.setattr(_transport.SyncTransport, "execute_sync", interrupted)
    try:
        client.secrets.create(name="NAME", value=VALUE, project_id=UUID, api_only=True)
    except KeyboardInterrupt as error:
        shown = list(everything(strip_own_frames(error)))
        assert [text for text in shown if VALUE in text or TOKEN in text] == []
    else:
        raise AssertionError("the interrupt was lost")
