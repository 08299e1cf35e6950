"""When a call is sent again, how long it waits, what it logs, and what an error carries."""

import asyncio
import copy
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from connectrpc._protocol import ConnectWireError  # what a server writes
from connectrpc.code import Code
from connectrpc.errors import ErrorDetail
from protobuf import Message
from protobuf.wkt import Any as AnyMessage
from protobuf.wkt import Duration
from protovalidate import ViolationPb, ViolationsPb
from tests.support.caller import Caller, Codec
from tests.support.peer import Peer, Script, answer, free_port, hang_up, in_turn
from tests.support.service import TOKEN, Service

import gitpod
from gitpod._rpc.failure import STATUS
from gitpod_proto.google.rpc.error_details_pb import BadRequest, ErrorInfo, QuotaFailure, RetryInfo

UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PARAMS: dict[str, Any] = {"name": "NAME", "value": "s3cret-canary", "project_id": UUID, "api_only": True}
OK = answer(200, b'{"secret": {"id": "x"}}')


def failed(code: Code, *details: Message, message: str = "as scripted") -> Script:
    """A script that answers with a Connect error."""
    error = ConnectWireError(code, message, [ErrorDetail(detail) for detail in details])
    return answer(STATUS[code], error.to_json_bytes())


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


def test_a_detail_that_is_no_json_is_left_out(connect: Connect) -> None:
    """A duration that is out of range has none."""
    caller, _ = connect(failed(Code.UNAVAILABLE, RetryInfo(retry_delay=Duration(seconds=2**62))))
    with pytest.raises(gitpod.InternalServerError) as caught:
        caller.create(**PARAMS)
    assert (caught.value.details, caught.value.attempts) == ((), 1)


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


DETAILS: list[Message] = [
    ErrorInfo(reason="QUOTA", domain="secrets", metadata={"limit": "100"}),
    QuotaFailure(violations=[QuotaFailure.Violation(subject="project", description="100 secrets")]),
    BadRequest(field_violations=[BadRequest.FieldViolation(field="name", description="is odd")]),
    RetryInfo(retry_delay=Duration(seconds=3600)),
    ViolationsPb(violations=[ViolationPb(rule_id="string.uuid", message="must be a UUID")]),
]


def test_details_are_decoded(connect: Connect) -> None:
    """As the google.rpc messages that they are, in errors that pickle and copy."""
    caller, _ = connect(failed(Code.RESOURCE_EXHAUSTED, *DETAILS))
    with pytest.raises(gitpod.RateLimitError) as caught:
        caller.create(**PARAMS)
    pickled = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 # our own
    for error in (caught.value, copy.copy(caught.value), copy.deepcopy(caught.value), pickled):
        assert error.details == tuple(DETAILS)
        assert [violation.rule_id for violation in error.violations] == ["string.uuid"]


def test_details_that_cannot_be_read_are_left_out(connect: Connect) -> None:
    """Of types that nobody knows, or broken."""
    unknown = AnyMessage(type_url="type.googleapis.com/acme.Detail", value=b"\x01")
    private = AnyMessage(type_url="type.googleapis.com/google.rpc._DESC", value=b"")
    broken = AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")
    caller, _ = connect(failed(Code.INVALID_ARGUMENT, unknown, private, broken, DETAILS[0]))
    with pytest.raises(gitpod.BadRequestError) as caught:
        caller.create(**PARAMS)
    assert caught.value.details == (DETAILS[0],)


QUOTERS: dict[str, Callable[[str], str]] = {
    "as it stands": str,
    "JSON": json.dumps,
    "JSON with letters": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "Python": repr,
    "a URL": quote,
    "a part of a URL": lambda text: quote(text, safe=""),
    "a form": quote_plus,
    "base64": lambda text: b64encode(text.encode()).decode(),
    "its first line": lambda text: text.splitlines()[0],
    "without its end": str.strip,
}


@pytest.mark.parametrize("quoter", QUOTERS)
@pytest.mark.parametrize(
    "value", ["postgresql://user:pa ss@localhost/db", 'pässwörd"quoted"1', "-----BEGIN-----\nabc\n"]
)
def test_a_value_is_masked_however_it_is_quoted(connect: Connect, quoter: str, value: str) -> None:
    """In the message, and in the details."""
    quoted = QUOTERS[quoter](value)
    caller, _ = connect(failed(Code.INVALID_ARGUMENT, ErrorInfo(reason=f"got {quoted}!"), message=f"got {quoted}!"))
    with pytest.raises(gitpod.BadRequestError) as caught:
        caller.create(**{**PARAMS, "value": value})
    shown = [caught.value.message, *(detail.reason for detail in caught.value.details if isinstance(detail, ErrorInfo))]
    assert len(shown) == 2
    assert [
        text for text in shown if value.split("\n", maxsplit=1)[0][3:] in text or quoted in text or "*****" not in text
    ] == []


@pytest.mark.parametrize("times", [1, 2, 5, 40])
@pytest.mark.parametrize("length", [500, 1990, 2010, 10_000])
def test_a_value_that_is_quoted_again_and_again_is_masked_to_the_end(connect: Connect, times: int, length: int) -> None:
    """Also where the text is cut in the middle of one."""
    value = "".join(f"{number:05}" for number in range(length // 5))
    caller, _ = connect(failed(Code.INVALID_ARGUMENT, message=f"got {value * times}"))
    with pytest.raises(gitpod.BadRequestError) as caught:
        caller.create(**{**PARAMS, "value": value})
    assert [at for at in range(0, length - 20, 5) if value[at : at + 20] in str(caught.value)] == []


def test_what_a_service_says_controls_no_terminal(connect: Connect) -> None:
    """Escapes are replaced, and what is endless is cut."""
    caller, _ = connect(failed(Code.INTERNAL, message="\x1b[2J\r\nfine" + "x" * 9999))
    with pytest.raises(gitpod.InternalServerError, match="internal:  \\[2J  finex") as caught:
        caller.create(**PARAMS)
    assert len(str(caught.value)) < 2200


def test_details_are_masked(connect: Connect) -> None:
    """Where a service quotes the value or the token."""
    caller, _ = connect(failed(Code.INVALID_ARGUMENT, ErrorInfo(reason=f"got {PARAMS['value']}", domain=TOKEN)))
    with pytest.raises(gitpod.BadRequestError) as caught:
        caller.create(**PARAMS)
    assert caught.value.details == (ErrorInfo(reason="got **********", domain="**********"),)


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
