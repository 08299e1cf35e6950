"""A marked value and token are sent into faults; they show up nowhere but on the wire."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from connectrpc._protocol import ConnectWireError  # what a server writes
from connectrpc.code import Code
from connectrpc.errors import ErrorDetail
from protovalidate import FieldPathElementPb, FieldPathPb, ViolationPb, ViolationsPb
from tests.support.caller import Caller
from tests.support.canaries import TOKEN, UUID, VALUE, assert_clean, strip_own_frames
from tests.support.faults import KINDS
from tests.support.peer import Peer, Script, answer, hang_up

import gitpod
from gitpod import Gitpod
from gitpod._rpc import retry
from gitpod.server.app import Embedded
from gitpod.testing import FaultKind, FaultPlan

MULTILINE = f"{VALUE}\n{VALUE}"
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
@pytest.mark.parametrize("fault", [*KINDS, "delay"])
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
