"""When a call is sent again, how long it waits, and what it logs."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from connectrpc._protocol import ConnectWireError  # what a server writes
from connectrpc.code import Code
from connectrpc.errors import ErrorDetail
from protobuf.wkt import Duration
from tests.support.caller import Caller, Codec
from tests.support.peer import Peer, Script, answer, failed, free_port, hang_up, in_turn
from tests.support.service import TOKEN, Service
from tests.support.ways import PARAMS

import gitpod
from gitpod_proto.google.rpc.error_details_pb import RetryInfo

OK = answer(200, b'{"secret": {"id": "x"}}')


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays that were waited for, in seconds; they are not."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            found.append(seconds)
        else:  # a server of another test's, which polls
            await really_sleep(seconds)

    really_sleep = asyncio.sleep

    monkeypatch.setattr("gitpod._rpc.retry.time.sleep", found.append)
    monkeypatch.setattr("gitpod._rpc.retry.asyncio.sleep", sleep)
    return found


Connect = Callable[..., tuple[Caller, Peer]]


@pytest.fixture
def connect(kind: Any, runner: asyncio.Runner) -> Iterator[Connect]:
    """Makes clients of scripted peers, and closes both."""
    made: list[tuple[Caller, Peer]] = []

    def make(script: Script, **options: Any) -> tuple[Caller, Peer]:
        there = Peer(script)
        options = {"codec": "json", **options}
        made.append((Caller(kind(bearer_token=TOKEN, base_url=there.url, **options), runner), there))
        return made[-1]

    yield make
    for caller, there in made:
        caller.close()
        there.close()


@pytest.mark.parametrize(
    ("script", "waited"),
    [
        (answer(503, b'{"code": "unavailable"}', "retry-after: 3"), 3.0),
        (answer(429, b'{"code": "resource_exhausted"}', "retry-after: 2"), 2.0),
        (answer(429, b'{"code": "resource_exhausted"}', "retry-after: Wed, 21 Oct 2015 07:28:00 GMT"), 0.0),
        (failed(Code.UNAVAILABLE, RetryInfo(retry_delay=Duration(seconds=4, nanos=500_000_000))), 4.5),
        (failed(Code.RESOURCE_EXHAUSTED, RetryInfo()), 0.0),
    ],
)
def test_the_service_says_when_to_come_again(
    connect: Connect, waits: list[float], script: Script, waited: float
) -> None:
    """By Retry-After, in seconds or as a date, or by a RetryInfo."""
    caller, there = connect(in_turn(script, OK))
    caller.create(**PARAMS)
    assert (waits, len(there.requests)) == ([waited], 2)


def test_the_longer_of_both_counts(connect: Connect, waits: list[float]) -> None:
    """A proxy's Retry-After does not shorten the service's own word."""
    error = ConnectWireError(Code.UNAVAILABLE, "m", [ErrorDetail(RetryInfo(retry_delay=Duration(seconds=5)))])
    caller, _ = connect(in_turn(answer(503, error.to_json_bytes(), "retry-after: 1"), OK))
    caller.create(**PARAMS)
    assert waits == [5.0]


@pytest.mark.parametrize("seconds", [-5, -(2**62)])
def test_an_odd_retry_info_asks_for_nothing(connect: Connect, waits: list[float], seconds: int) -> None:
    """A negative time is none."""
    caller, there = connect(in_turn(failed(Code.UNAVAILABLE, RetryInfo(retry_delay=Duration(seconds=seconds))), OK))
    caller.create(**PARAMS)
    assert (waits, len(there.requests)) == ([0.0], 2)


def test_a_url_about_certificates_is_no_bad_certificate(kind: Any, runner: asyncio.Runner, waits: list[float]) -> None:
    """A refused connection is tried again, whatever the address says."""
    caller = Caller(kind(bearer_token=TOKEN, base_url=f"http://127.0.0.1:{free_port()}/certificates"), runner)
    with pytest.raises(gitpod.APIConnectionError, match="is base_url right") as caught:
        caller.create(**PARAMS)
    assert (caught.value.attempts, len(waits)) == (3, 2)


@pytest.mark.parametrize("seconds", [60, 10**9])
def test_nobody_waits_past_the_deadline(connect: Connect, waits: list[float], seconds: int) -> None:
    """The error comes at once instead."""
    caller, there = connect(failed(Code.UNAVAILABLE, RetryInfo(retry_delay=Duration(seconds=seconds))))
    with pytest.raises(gitpod.InternalServerError):
        caller.create(**PARAMS)
    assert (waits, len(there.requests)) == ([], 1)


def test_delays_are_drawn_from_a_growing_range(connect: Connect, waits: list[float]) -> None:
    """Full jitter: between nothing and half a second, doubled each time up to eight."""
    caller, _ = connect(hang_up, max_retries=40)
    with pytest.raises(gitpod.APIConnectionError) as caught:
        caller.list(timeout=9999)
    limits = [min(8.0, 0.5 * 2**attempt) for attempt in range(40)]
    assert caught.value.attempts == 41
    assert all(0 <= waited <= limit for waited, limit in zip(waits, limits, strict=True))
    assert len(set(waits)) == 40
    assert max(waits) > 4


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_read_is_repeated_after_whatever_passes(connect: Connect, waits: list[float], status: int) -> None:
    """Whoever says so; a create is not, as that proves nothing."""
    caller, there = connect(in_turn(answer(status, b"<html>", content_type="text/html"), answer(200, b"{}")))
    assert caller.list() == []
    assert (len(waits), len(there.requests)) == (1, 2)
    caller, there = connect(answer(status, b"<html>", content_type="text/html"))
    with pytest.raises(gitpod.APIStatusError):
        caller.create(**PARAMS)
    assert len(there.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501])
def test_what_stays_is_not_repeated(connect: Connect, status: int) -> None:
    """Not even a read."""
    caller, there = connect(answer(status, b"<html>", content_type="text/html"))
    with pytest.raises(gitpod.APIStatusError) as caught:
        caller.list()
    assert (caught.value.status_code, len(there.requests)) == (status, 1)


def test_every_attempt_is_logged(connect: Connect, waits: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """Method, path, attempt, code, status, duration and request id, at DEBUG; what is sent again, at INFO."""
    caplog.set_level(logging.DEBUG, logger="gitpod")
    shed = answer(503, b'{"code": "unavailable"}', "retry-after: 1", "x-request-id: r1")
    caller, _ = connect(in_turn(shed, OK))
    caller.create(**PARAMS)
    lines = [record.getMessage() for record in caplog.records if record.name == "gitpod"]
    first, again, second = lines
    assert first.startswith(
        "POST /gitpod.v1.SecretService/CreateSecret attempt=1 code=unavailable status=503 duration="
    )
    assert first.endswith("ms request_id=r1")
    assert again == "CreateSecret is sent again in 1.00 s"
    assert "attempt=2 code=ok status=200 duration=" in second
    assert waits == [1.0]


@pytest.mark.parametrize(("level", "logged"), [("debug", True), ("info", False), ("", False)])
def test_the_environment_turns_logs_on(service: Service, level: str, logged: bool) -> None:  # noqa: FBT001 # a table
    """GITPOD_LOG=debug, as before; without it the root logger is left alone."""
    environment = os.environ | {"GITPOD_LOG": level, "GITPOD_API_KEY": TOKEN, "GITPOD_BASE_URL": service.url}
    program = "from gitpod import Gitpod; Gitpod().secrets.list()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ("gitpod DEBUG POST /gitpod.v1.SecretService/ListSecrets attempt=1 code=ok" in done.stderr) == logged
    assert TOKEN not in done.stderr


@pytest.mark.parametrize("codec", ["binary", "json"])
def test_a_cut_answer_is_asked_for_again(connect: Connect, waits: list[float], codec: Codec) -> None:
    """A 200 that does not decode is repeated where that does no harm."""
    kind = "proto" if codec == "binary" else "json"
    caller, there = connect(
        in_turn(answer(200, b"\xff", content_type=f"application/{kind}"), answer(200, b"", content_type="text/html")),
        codec=codec,
    )
    with pytest.raises(gitpod.APIResponseValidationError) as caught:
        caller.list()
    assert (caught.value.outcome, caught.value.attempts, len(there.requests)) == ("unknown", 3, 3)
    assert len(waits) == 2
