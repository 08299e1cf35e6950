"""What an error carries of an answer: its details, and its message with every secret masked."""

import copy
import json
import pickle
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from connectrpc.code import Code
from protobuf import Message
from protobuf.wkt import Any as AnyMessage
from protobuf.wkt import Duration
from protovalidate import ViolationPb, ViolationsPb
from tests.support.peer import failed
from tests.support.service import TOKEN
from tests.support.ways import PARAMS, Connect, MakePeer

import gitpod
from gitpod_proto.google.rpc.error_details_pb import BadRequest, ErrorInfo, QuotaFailure, RetryInfo

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_a_detail_that_is_no_json_is_left_out(connect: Connect, peer: MakePeer) -> None:
    """A duration that is out of range has none."""
    caller = connect(peer(failed(Code.UNAVAILABLE, RetryInfo(retry_delay=Duration(seconds=2**62)))).url)
    with pytest.raises(gitpod.InternalServerError) as caught:
        caller.create(**PARAMS)
    assert (caught.value.details, caught.value.attempts) == ((), 1)


DETAILS: list[Message] = [
    ErrorInfo(reason="QUOTA", domain="secrets", metadata={"limit": "100"}),
    QuotaFailure(violations=[QuotaFailure.Violation(subject="project", description="100 secrets")]),
    BadRequest(field_violations=[BadRequest.FieldViolation(field="name", description="is odd")]),
    RetryInfo(retry_delay=Duration(seconds=3600)),
    ViolationsPb(violations=[ViolationPb(rule_id="string.uuid", message="must be a UUID")]),
]


def test_details_are_decoded(connect: Connect, peer: MakePeer) -> None:
    """As the google.rpc messages that they are, in errors that pickle and copy."""
    caller = connect(peer(failed(Code.RESOURCE_EXHAUSTED, *DETAILS)).url)
    with pytest.raises(gitpod.RateLimitError) as caught:
        caller.create(**PARAMS)
    pickled = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 # our own
    for error in (caught.value, copy.copy(caught.value), copy.deepcopy(caught.value), pickled):
        assert error.details == tuple(DETAILS)
        assert [violation.rule_id for violation in error.violations] == ["string.uuid"]


def test_details_that_cannot_be_read_are_left_out(connect: Connect, peer: MakePeer) -> None:
    """Of types that nobody knows, or broken."""
    unknown = AnyMessage(type_url="type.googleapis.com/acme.Detail", value=b"\x01")
    private = AnyMessage(type_url="type.googleapis.com/google.rpc._DESC", value=b"")
    broken = AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")
    caller = connect(peer(failed(Code.INVALID_ARGUMENT, unknown, private, broken, DETAILS[0])).url)
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
def test_a_value_is_masked_however_it_is_quoted(connect: Connect, peer: MakePeer, quoter: str, value: str) -> None:
    """In the message, and in the details."""
    quoted = QUOTERS[quoter](value)
    caller = connect(
        peer(failed(Code.INVALID_ARGUMENT, ErrorInfo(reason=f"got {quoted}!"), message=f"got {quoted}!")).url
    )
    with pytest.raises(gitpod.BadRequestError) as caught:
        caller.create(**{**PARAMS, "value": value})
    shown = [caught.value.message, *(detail.reason for detail in caught.value.details if isinstance(detail, ErrorInfo))]
    assert len(shown) == 2
    assert [
        text for text in shown if value.split("\n", maxsplit=1)[0][3:] in text or quoted in text or "*****" not in text
    ] == []


@pytest.mark.parametrize("times", [1, 2, 5, 40])
@pytest.mark.parametrize("length", [500, 1990, 2010, 10_000])
def test_a_value_that_is_quoted_again_and_again_is_masked_to_the_end(
    connect: Connect, peer: MakePeer, times: int, length: int
) -> None:
    """Also where the text is cut in the middle of one."""
    value = "".join(f"{number:05}" for number in range(length // 5))
    caller = connect(peer(failed(Code.INVALID_ARGUMENT, message=f"got {value * times}")).url)
    with pytest.raises(gitpod.BadRequestError) as caught:
        caller.create(**{**PARAMS, "value": value})
    assert [at for at in range(0, length - 20, 5) if value[at : at + 20] in str(caught.value)] == []


def test_what_a_service_says_controls_no_terminal(connect: Connect, peer: MakePeer) -> None:
    """Escapes are replaced, and what is endless is cut."""
    caller = connect(peer(failed(Code.INTERNAL, message="\x1b[2J\r\nfine" + "x" * 9999)).url)
    with pytest.raises(gitpod.InternalServerError, match="internal:  \\[2J  finex") as caught:
        caller.create(**PARAMS)
    assert len(str(caught.value)) < 2200


def test_details_are_masked(connect: Connect, peer: MakePeer) -> None:
    """Where a service quotes the value or the token."""
    caller = connect(peer(failed(Code.INVALID_ARGUMENT, ErrorInfo(reason=f"got {PARAMS['value']}", domain=TOKEN))).url)
    with pytest.raises(gitpod.BadRequestError) as caught:
        caller.create(**PARAMS)
    assert caught.value.details == (ErrorInfo(reason="got **********", domain="**********"),)
