"""Errors in JSON without a code of Connect: their text is shown, and they are never the service's own word."""

import json
from base64 import b64encode
from typing import Any

import pytest
from protovalidate import ViolationPb, ViolationsPb
from tests.support.peer import answer
from tests.support.ways import PARAMS, VALUE, Connect, MakePeer

import gitpod

pytestmark = pytest.mark.usefixtures("clean_environment")
VIOLATION = ViolationPb(rule_id="string.uuid", message="must be a UUID")
DETAIL = {
    "type": "buf.validate.Violations",
    "value": b64encode(ViolationsPb(violations=[VIOLATION]).to_binary()).decode().rstrip("="),
}
OTHERS = ["null", "[]", '"text"', "{", '{"message": 5}', '{"details": "text"}', '{"details": [5]}']
CODES: dict[str, dict[str, Any]] = {
    "missing": {},
    "null": {"code": None},
    "unknown": {"code": "invalid_token"},
    "in other letters": {"code": "Unauthenticated"},
    "a number": {"code": 16},
    "a list": {"code": ["unauthenticated"]},
}


@pytest.mark.parametrize("code", CODES)
def test_the_text_and_the_details_are_kept(way: Connect, peer: MakePeer, code: str) -> None:
    """The class and the code are those of the status, whichever way the answer came."""
    there = peer(answer(401, json.dumps({**CODES[code], "message": "the token is old", "details": [DETAIL]}).encode()))
    with pytest.raises(gitpod.AuthenticationError, match="The answer says: the token is old") as caught:
        way(there.url).create(**PARAMS)
    assert (caught.value.code, caught.value.outcome) == ("unauthenticated", "rejected")
    assert [each.rule_id for each in caught.value.violations] == ["string.uuid"]


@pytest.mark.parametrize("code", [{}, {"code": None}, {"code": "UNAVAILABLE"}, {"code": "overloaded"}])
@pytest.mark.parametrize("status", [429, 502, 503])
def test_it_does_not_prove_that_nothing_was_done(
    connect: Connect, peer: MakePeer, code: dict[str, Any], status: int
) -> None:
    """So a create is not sent again, as it is when the service itself says that it is unavailable."""
    there = peer(answer(status, json.dumps({**code, "message": "too much to do"}).encode(), "retry-after: 0"))
    with pytest.raises(gitpod.APIStatusError, match="too much to do") as caught:
        connect(there.url).create(**PARAMS)
    assert (caught.value.attempts, len(there.requests)) == (1, 1)
    assert caught.value.outcome == ("rejected" if status == 429 else "unknown")


def test_a_secret_in_the_text_is_masked(connect: Connect, peer: MakePeer) -> None:
    """As in every text of a service."""
    there = peer(answer(400, json.dumps({"message": f"{VALUE} is no value"}).encode()))
    with pytest.raises(gitpod.BadRequestError, match="is no value") as caught:
        connect(there.url).create(**PARAMS)
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize("body", OTHERS)
@pytest.mark.parametrize("protocol", ["connect", "grpc-web"])
def test_other_json_is_left_out(connect: Connect, peer: MakePeer, body: str, protocol: str) -> None:
    """The status alone says what there is to say."""
    there = peer(answer(502, body.encode()))
    with pytest.raises(gitpod.InternalServerError, match="HTTP 502, and not from") as caught:
        connect(there.url, protocol=protocol, max_retries=0).list()
    assert (caught.value.code, caught.value.details) == ("unavailable", ())


def test_a_detail_that_cannot_be_read_spoils_nothing(connect: Connect, peer: MakePeer) -> None:
    """The service's code, its text and its other details are kept."""
    broken = [
        {"type": "google.rpc.ErrorInfo", "value": "a"},
        {"type": "google.rpc.ErrorInfo"},
        {"value": "", "type": 5},
    ]
    body = {"code": "not_found", "message": "no such secret", "details": [*broken, DETAIL]}
    there = peer(answer(404, json.dumps(body).encode()))
    with pytest.raises(gitpod.NotFoundError, match=r"^not_found: no such secret") as caught:
        connect(there.url).create(**PARAMS)
    assert len(caught.value.details) == 1
