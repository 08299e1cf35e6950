"""Health checks and reflection over gRPC."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from protobuf.wkt import StringValue
from tests.support.grpc_front import NAME, Client, Connect, Serve, Status
from tests.support.service import TOKEN

from gitpod.server.serving import health
from gitpod.server.serving.health import Ready

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING, UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"


def returns(answer: Callable[[], bool]) -> Ready:
    """What tells whether a service is ready."""

    async def ready() -> bool:
        return answer()

    return ready


@pytest.mark.parametrize(("is_ready", "told"), [(True, SERVING), (False, NOT_SERVING)])
@pytest.mark.parametrize("name", ["", NAME])
def test_health_is_what_ready_says(serve: Serve, connect: Connect, name: str, told: bytes, *, is_ready: bool) -> None:
    """Of the server and of the service, to anybody."""
    client = connect(serve(ready=returns(lambda: is_ready)).port)
    assert client(CHECK, StringValue(value=name), metadata=()) == told


def test_health_of_another_service_is_not_known(client: Client) -> None:
    """A check fails, and a watcher is told so."""
    assert client.fails(CHECK, StringValue(value="other")).code() is Status.NOT_FOUND
    call = client.stream(WATCH, iter([StringValue(value="other").to_binary()]))
    assert next(call) == UNKNOWN
    call.cancel()


def test_watchers_are_told_of_changes(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of the end, when the server stops."""
    monkeypatch.setattr(health, "INTERVAL", 0.01)
    ready = threading.Event()
    server = serve(ready=returns(ready.is_set))
    call = connect(server.port).stream(WATCH, iter([b""]), metadata=())
    assert next(call) == NOT_SERVING
    ready.set()
    assert next(call) == SERVING
    server.stop(60)
    assert (list(call), call.code()) == ([NOT_SERVING], Status.OK)


def test_a_health_check_that_is_no_message_is_refused(client: Client) -> None:
    """Like any other request."""
    assert client.fails(CHECK, b"\xff").code() is Status.INVALID_ARGUMENT


@pytest.mark.parametrize("protocol", ["grpc", "grpcweb", "connect"])
def test_buf_calls_without_a_schema(port: int, protocol: str) -> None:
    """As it asks the service for it by reflection, without a token, by the protocol of the call."""
    buf = str(Path(sys.executable).with_name("buf"))
    command = [buf, "curl", "--protocol", protocol, "--http2-prior-knowledge"]
    url = f"http://127.0.0.1:{port}/{NAME}/ListSecrets"
    headers = ["--header", f"Authorization: Bearer {TOKEN}"]
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    done = subprocess.run([*command, *headers, url], check=True, stdout=subprocess.PIPE, env=environment, cwd="/")
    assert json.loads(done.stdout) == {"pagination": {}}
