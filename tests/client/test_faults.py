"""What a call makes of faults: the exception, the outcome, and how often the service was asked."""

import gc
import gzip
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.caller import Caller, Codec
from tests.support.peer import Peer, Script, answer, free_port, hang_up, in_turn, stall
from tests.support.service import TOKEN

import gitpod
from gitpod import AsyncGitpod, Gitpod
from gitpod._rpc import retry
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretRequest, CreateSecretResponse, Secret

VALUE = "s3cret-canary"
UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PARAMS: dict[str, Any] = {"name": "NAME", "value": VALUE, "project_id": UUID, "api_only": True}
STORED = json.dumps({"secret": {"id": UUID, "name": "NAME", "apiOnly": True}}).encode()
OK = answer(200, STORED)


def failed(code: str, message: str = "as scripted") -> bytes:
    """The body of a Connect error."""
    return json.dumps({"code": code, "message": message}).encode()


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


Connect = Callable[..., Caller]


@pytest.fixture
def connect(kind: type[Gitpod] | type[AsyncGitpod], runner: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Makes clients of both kinds that speak JSON, and closes them. Retries wait for no time."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)
    made: list[Caller] = []

    def make(url: str, codec: Codec = "json", **options: Any) -> Caller:
        made.append(Caller(kind(bearer_token=TOKEN, base_url=url, codec=codec, **options), runner))
        return made[-1]

    yield make
    for each in made:
        each.close()


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
    peer: Callable[[Script], Peer],
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


def test_an_empty_binary_answer_is_not_success(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """200 with no bytes decodes as an empty message, which holds no secret."""
    there = peer(answer(200, b"", content_type="application/proto"))
    with pytest.raises(gitpod.APIResponseValidationError, match="holds no secret"):
        connect(there.url, codec="binary").create(**PARAMS)


def test_nobody_there_is_provably_unsent(connect: Connect) -> None:
    """A refused connection is tried again, and the error says that nothing was sent."""
    with pytest.raises(gitpod.APIConnectionError) as caught:
        connect(f"http://127.0.0.1:{free_port()}").create(**PARAMS)
    assert (caught.value.outcome, caught.value.attempts, caught.value.status_code) == ("not_sent", 3, None)


def test_a_shed_create_is_sent_again(connect: Connect, peer: Callable[[Script], Peer]) -> None:
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


def test_max_retries_0_sends_once(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """Whatever comes back."""
    there = peer(answer(503, failed("unavailable")))
    with pytest.raises(gitpod.InternalServerError):
        connect(there.url, max_retries=0).create(**PARAMS)
    assert len(there.requests) == 1


def test_a_retry_after_the_deadline_is_not_made(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """The call fails at once instead of waiting in vain."""
    there = peer(answer(429, failed("resource_exhausted"), "retry-after: 3600"))
    with pytest.raises(gitpod.RateLimitError) as caught:
        connect(there.url).create(**PARAMS)
    assert caught.value.attempts == 1


@pytest.mark.parametrize("date", ["Wed, 21 Oct 2015 07:28:00 GMT", "nonsense"])
def test_retry_after_may_be_a_date(connect: Connect, peer: Callable[[Script], Peer], date: str) -> None:
    """One in the past means now; one that is none is passed over."""
    there = peer(in_turn(answer(503, failed("unavailable"), f"retry-after: {date}"), OK))
    assert connect(there.url).create(**PARAMS).secret.id == UUID


def test_a_read_is_sent_again_after_a_lost_answer(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """Reading twice does no harm."""
    there = peer(in_turn(hang_up, answer(200, b'{"value": "v"}')))
    assert connect(there.url).get_value(secret_id=UUID).value == "v"
    assert len(there.requests) == 2


def test_doubt_stays(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """An update that may have arrived is not declared rejected because a later attempt was."""
    shed = answer(503, failed("unavailable"))
    there = peer(in_turn(hang_up, shed, shed))
    with pytest.raises(gitpod.InternalServerError) as caught:
        connect(there.url).update_value(secret_id=UUID, value=VALUE)
    assert (caught.value.outcome, caught.value.attempts, len(there.requests)) == ("unknown", 3, 3)


def test_an_untrusted_answer_tells_what_is_known(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """Its status, its request id, and how often was asked."""
    shed = answer(503, failed("unavailable"))
    there = peer(in_turn(shed, answer(200, b"{}", "x-request-id: r1")))
    with pytest.raises(gitpod.APIResponseValidationError) as caught:
        connect(there.url).create(**PARAMS)
    error = caught.value
    assert (error.attempts, error.status_code, error.request_id, error.outcome) == (2, 200, "r1", "unknown")


def test_a_principal_that_is_newer_is_kept_by_its_number(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """An enum grows without breaking its readers."""
    newer = Secret(id=UUID, creator=Subject(principal=Principal(99)))
    there = peer(answer(200, CreateSecretResponse(secret=newer).to_binary(), content_type="application/proto"))
    secret = connect(there.url, codec="binary").create(**PARAMS).secret
    assert secret.creator
    assert secret.creator.principal == "PRINCIPAL_99"


def test_a_list_that_leads_to_itself_ends(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """With an error, after the second page."""
    there = peer(answer(200, b'{"pagination": {"nextToken": "again"}}'))
    with pytest.raises(gitpod.APIResponseValidationError, match="the same page token twice"):
        connect(there.url).list()
    assert len(there.requests) == 2


def test_a_list_that_goes_in_circles_ends(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """Whatever the length of the circle."""
    one, other = (answer(200, f'{{"pagination": {{"nextToken": "{token}"}}}}'.encode()) for token in "ab")
    there = peer(in_turn(one, other, one, other))
    with pytest.raises(gitpod.APIResponseValidationError, match="the same page token twice"):
        connect(there.url).list()
    assert len(there.requests) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(connect: Connect, peer: Callable[[Script], Peer], status: int) -> None:
    """The secret is sent to nobody else, and the error names the place."""
    elsewhere = peer(OK)
    there = peer(answer(status, b"", f"location: {elsewhere.url}/moved?to=nowhere", content_type="text/html"))
    with pytest.raises(gitpod.APIResponseValidationError, match=f"HTTP {status} to {elsewhere.url}/moved,") as caught:
        connect(there.url).create(**PARAMS)
    # 303 is how a form's handler answers once it is done.
    assert caught.value.outcome == ("unknown" if status == 303 else "rejected")
    assert elsewhere.requests == []
    assert len(there.requests) == 1


def test_the_environment_proxy_gets_nothing_in_clear(
    connect: Connect, peer: Callable[[Script], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http goes straight to its host, whatever HTTP_PROXY says."""
    proxy, there = peer(OK), peer(OK)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    connect(there.url).create(**PARAMS)
    assert (len(there.requests), proxy.requests) == (1, [])


@pytest.mark.parametrize("squeezed", [False, True])
def test_an_endless_answer_is_cut_off(connect: Connect, peer: Callable[[Script], Peer], *, squeezed: bool) -> None:
    """As it arrives, or as it is decompressed; not after it was read."""
    body = gzip.compress(b" " * (64 * 1024 * 1024)) if squeezed else b""
    sent = 0

    def endless(connection: socket.socket, _: bytes) -> None:
        nonlocal sent
        encoding = b"content-encoding: gzip\r\n" if squeezed else b""
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + encoding + b"\r\n" + body)
        try:
            while not squeezed:
                sent += connection.send(b" " * 65536)
        except OSError:
            return

    there = peer(endless)
    with pytest.raises(gitpod.APIResponseValidationError, match="larger than 4194304 bytes") as caught:
        connect(there.url).list()
    assert (caught.value.attempts, len(there.requests)) == (1, 1)
    assert sent < 64 * 1024 * 1024


def test_a_lone_surrogate_is_no_text(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """JSON can write one, and protobuf knows none."""
    there = peer(answer(200, b'{"value": "\\ud800"}'))
    with pytest.raises(gitpod.APIResponseValidationError):
        connect(there.url, max_retries=0).get_value(secret_id=UUID)


def test_a_failed_call_leaves_no_request_behind(connect: Connect, peer: Callable[[Script], Peer]) -> None:
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


def test_the_deadline_holds(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """A service that never answers costs the timeout, and the outcome is unknown."""
    there = peer(stall(5))
    with pytest.raises(gitpod.APITimeoutError) as caught:
        connect(there.url).create(**PARAMS, timeout=0.2)
    assert (caught.value.outcome, len(there.requests)) == ("unknown", 1)
    assert b"connect-timeout-ms: 200\r\n" in there.requests[0]


def test_a_message_that_quotes_the_secret_is_masked(connect: Connect, peer: Callable[[Script], Peer]) -> None:
    """Whatever a service or a proxy writes into its errors."""
    there = peer(answer(400, failed("invalid_argument", f"got {VALUE} from {TOKEN}")))
    with pytest.raises(gitpod.BadRequestError, match=r"got \*{10} from \*{10}$"):
        connect(there.url).create(**PARAMS)
