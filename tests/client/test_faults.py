"""What a call makes of faults: the exception, the outcome, and how often the service was asked."""

import gc
import json
import socket
from http.client import HTTPResponse

import pytest
from tests.support.peer import Script, answer, free_port, hang_up, in_turn, stall
from tests.support.service import TOKEN
from tests.support.ways import OK, PARAMS, STORED, UUID, VALUE, Connect, MakePeer

import gitpod
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretRequest

pytestmark = pytest.mark.usefixtures("clean_environment")


def failed(code: str, message: str = "as scripted") -> bytes:
    """The body of a Connect error."""
    return json.dumps({"code": code, "message": message}).encode()


BAD_DETAILS = json.dumps(
    {"code": "invalid_argument", "message": "m", "details": [{"type": "buf.validate.Violations", "value": "/////w"}]}
).encode()
FAULTS: list[tuple[Script, type[gitpod.APIError], str, str, int]] = [
    # what the peer does, the exception, its code, its outcome, how often a create is sent
    (hang_up, gitpod.APIConnectionError, "unavailable", "unknown", 1),
    (answer(400, failed("invalid_argument")), gitpod.BadRequestError, "invalid_argument", "rejected", 1),
    (answer(401, failed("unauthenticated")), gitpod.AuthenticationError, "unauthenticated", "rejected", 1),
    (answer(403, failed("permission_denied")), gitpod.PermissionDeniedError, "permission_denied", "rejected", 1),
    (answer(404, failed("not_found")), gitpod.NotFoundError, "not_found", "rejected", 1),
    (answer(409, failed("already_exists")), gitpod.ConflictError, "already_exists", "rejected", 1),
    (answer(429, failed("resource_exhausted")), gitpod.RateLimitError, "resource_exhausted", "rejected", 3),
    (answer(500, failed("internal")), gitpod.InternalServerError, "internal", "unknown", 1),
    (answer(503, failed("unavailable")), gitpod.InternalServerError, "unavailable", "rejected", 3),
    (answer(504, failed("deadline_exceeded")), gitpod.InternalServerError, "deadline_exceeded", "unknown", 1),
    (answer(503, b"<html>", content_type="text/html"), gitpod.InternalServerError, "unavailable", "unknown", 1),
    (answer(503, b'{"message": "no healthy upstream"}'), gitpod.InternalServerError, "unavailable", "unknown", 1),
    (answer(503, b'{"code": "E_UPSTREAM", "message": "m"}'), gitpod.InternalServerError, "unavailable", "unknown", 1),
    (answer(504, failed("unavailable")), gitpod.InternalServerError, "unavailable", "unknown", 1),
    (
        answer(503, failed("unavailable"), "retry-after: Wed, 21 Oct 2015 07:28:00 +99999999999999999999"),
        gitpod.InternalServerError,
        "unavailable",
        "rejected",
        3,
    ),
    (answer(429, b'{"code": 429}'), gitpod.RateLimitError, "unavailable", "rejected", 1),
    (answer(400, b'{"code": "internal", "message": 5}'), gitpod.BadRequestError, "internal", "rejected", 1),
    (answer(400, b"[" * 100_000), gitpod.BadRequestError, "internal", "rejected", 1),
    (answer(400, b'{"code": "internal", "details": ["x"]}'), gitpod.BadRequestError, "internal", "rejected", 1),
    (answer(400, b'{"code": "internal", "details": {"a": 1}}'), gitpod.BadRequestError, "internal", "rejected", 1),
    (answer(200, b'{"secret":' + b"[" * 200_000), gitpod.APIResponseValidationError, "unknown", "unknown", 1),
    (answer(400, BAD_DETAILS), gitpod.BadRequestError, "invalid_argument", "rejected", 1),
    (answer(503, b"[]"), gitpod.InternalServerError, "unavailable", "unknown", 1),
    (answer(502, b"<html>", content_type="text/html"), gitpod.InternalServerError, "unavailable", "unknown", 1),
    (answer(404, b"<html>", content_type="text/html"), gitpod.NotFoundError, "unimplemented", "rejected", 1),
    (answer(408, b"", content_type="text/html"), gitpod.APIStatusError, "unknown", "unknown", 1),
    (answer(200, b"<html>", content_type="text/html"), gitpod.APIResponseValidationError, "unknown", "unknown", 1),
    (answer(200, b"{}"), gitpod.APIResponseValidationError, "unknown", "unknown", 1),
    (answer(200, b'{"secret": {}}'), gitpod.APIResponseValidationError, "unknown", "unknown", 1),
    (answer(200, STORED[:-9]), gitpod.APIResponseValidationError, "unknown", "unknown", 1),
    (answer(200, b"[1]"), gitpod.APIResponseValidationError, "unknown", "unknown", 1),
]


@pytest.mark.parametrize(("script", "kind_of", "code", "outcome", "sent"), FAULTS)
def test_each_fault_has_its_error(
    connect: Connect,
    peer: MakePeer,
    script: Script,
    kind_of: type[gitpod.APIError],
    code: str,
    outcome: str,
    sent: int,
) -> None:
    """A create is sent again only when it was provably not processed, and the error tells what is known."""
    there = peer(script)
    with pytest.raises(gitpod.APIError) as caught:
        connect(there.url).create(**PARAMS)
    error = caught.value
    assert (type(error), error.code, error.outcome) == (kind_of, code, outcome)
    assert len(there.requests) == sent
    assert ("it is not known whether the request was processed" in str(error)) == (outcome == "unknown")
    assert VALUE not in str(error)


def test_nobody_there_is_provably_unsent(connect: Connect) -> None:
    """A refused connection is tried again, and the error says that nothing was sent."""
    with pytest.raises(gitpod.APIConnectionError) as caught:
        connect(f"http://127.0.0.1:{free_port()}").create(**PARAMS)
    assert (caught.value.outcome, caught.value.attempts, caught.value.status_code) == ("not_sent", 3, None)


def test_a_shed_create_is_sent_again(connect: Connect, peer: MakePeer) -> None:
    """Three times at the most, each with less time left."""
    shed = answer(503, failed("unavailable"), "retry-after: 0")
    there = peer(in_turn(shed, shed, OK))
    assert connect(there.url).create(**PARAMS).secret.id == UUID
    left = [
        int(line.split(b":")[1])
        for request in there.requests
        for line in request.split(b"\r\n")
        if line.startswith(b"connect-timeout-ms:")
    ]
    assert len(left) == 3
    assert 60_000 == left[0] >= left[1] >= left[2] > 0


def test_max_retries_0_sends_once(connect: Connect, peer: MakePeer) -> None:
    """Whatever comes back."""
    there = peer(answer(503, failed("unavailable")))
    with pytest.raises(gitpod.InternalServerError):
        connect(there.url, max_retries=0).create(**PARAMS)
    assert len(there.requests) == 1


def test_a_retry_after_the_deadline_is_not_made(connect: Connect, peer: MakePeer) -> None:
    """The call fails at once instead of waiting in vain."""
    there = peer(answer(429, failed("resource_exhausted"), "retry-after: 3600"))
    with pytest.raises(gitpod.RateLimitError) as caught:
        connect(there.url).create(**PARAMS)
    assert caught.value.attempts == 1


@pytest.mark.parametrize("date", ["Wed, 21 Oct 2015 07:28:00 GMT", "nonsense"])
def test_retry_after_may_be_a_date(connect: Connect, peer: MakePeer, date: str) -> None:
    """One in the past means now; one that is none is passed over."""
    there = peer(in_turn(answer(503, failed("unavailable"), f"retry-after: {date}"), OK))
    assert connect(there.url).create(**PARAMS).secret.id == UUID


def test_a_read_is_sent_again_after_a_lost_answer(connect: Connect, peer: MakePeer) -> None:
    """Reading twice does no harm."""
    there = peer(in_turn(hang_up, answer(200, b'{"value": "v"}')))
    assert connect(there.url).get_value(secret_id=UUID).value == "v"
    assert len(there.requests) == 2


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 103 x\r\n\r\n"]
)
def test_a_lost_answer_is_closed(connect: Connect, peer: MakePeer, head: bytes) -> None:
    """Python 3.13 would report on standard error what its finalizer meets, once its garbage is collected."""

    def lose(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head)
        hang_up(connection, request)

    gc.collect()
    gc.disable()
    try:
        there = peer(in_turn(lose, answer(200, b'{"value": "v"}')))
        assert connect(there.url).get_value(secret_id=UUID).value == "v"
        left = [each for each in gc.get_objects() if isinstance(each, HTTPResponse)]
        assert [each for each in left if not each.isclosed()] == []
    finally:
        gc.enable()


def test_doubt_stays(connect: Connect, peer: MakePeer) -> None:
    """An update that may have arrived is not declared rejected because a later attempt was."""
    shed = answer(503, failed("unavailable"))
    there = peer(in_turn(hang_up, shed, shed))
    with pytest.raises(gitpod.InternalServerError) as caught:
        connect(there.url).update_value(secret_id=UUID, value=VALUE)
    assert (caught.value.outcome, caught.value.attempts, len(there.requests)) == ("unknown", 3, 3)


def test_an_untrusted_answer_tells_what_is_known(connect: Connect, peer: MakePeer) -> None:
    """Its status, its request id, and how often was asked."""
    shed = answer(503, failed("unavailable"))
    there = peer(in_turn(shed, answer(200, b"{}", "x-request-id: r1")))
    with pytest.raises(gitpod.APIResponseValidationError) as caught:
        connect(there.url).create(**PARAMS)
    error = caught.value
    assert (error.attempts, error.status_code, error.request_id, error.outcome) == (2, 200, "r1", "unknown")


def test_the_environment_proxy_gets_nothing_in_clear(
    connect: Connect, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http goes straight to its host, whatever HTTP_PROXY says."""
    proxy, there = peer(OK), peer(OK)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    connect(there.url).create(**PARAMS)
    assert (len(there.requests), proxy.requests) == (1, [])


def test_a_failed_call_leaves_no_request_behind(connect: Connect, peer: MakePeer) -> None:
    """Nor its value, even where garbage is never collected."""
    caller = connect(peer(answer(400, failed("invalid_argument"))).url)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(gitpod.BadRequestError):
            caller.create(**{**PARAMS, "value": "of-this-very-test"})
        left = [each for each in gc.get_objects() if isinstance(each, CreateSecretRequest)]
        assert [each for each in left if each.value == "of-this-very-test"] == []
    finally:
        gc.enable()


def test_the_deadline_holds(connect: Connect, peer: MakePeer) -> None:
    """A service that never answers costs the timeout, and the outcome is unknown."""
    there = peer(stall(5))
    with pytest.raises(gitpod.APITimeoutError) as caught:
        connect(there.url).create(**PARAMS, timeout=0.2)
    assert (caught.value.outcome, len(there.requests)) == ("unknown", 1)
    assert b"connect-timeout-ms: 200\r\n" in there.requests[0]


def test_a_message_that_quotes_the_secret_is_masked(connect: Connect, peer: MakePeer) -> None:
    """Whatever a service or a proxy writes into its errors."""
    there = peer(answer(400, failed("invalid_argument", f"got {VALUE} from {TOKEN}")))
    with pytest.raises(gitpod.BadRequestError, match=r"got \*{10} from \*{10}$"):
        connect(there.url).create(**PARAMS)
