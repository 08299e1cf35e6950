"""Answers of a service or a proxy that cannot be trusted: empty, endless, in circles, or a redirect."""

import gzip
import socket

import pytest
from tests.support.peer import answer, in_turn
from tests.support.ways import OK, PARAMS, UUID, Connect, MakePeer

import gitpod
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretResponse, Secret

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_an_empty_binary_answer_is_not_success(connect: Connect, peer: MakePeer) -> None:
    """200 with no bytes decodes as an empty message, which holds no secret."""
    there = peer(answer(200, b"", content_type="application/proto"))
    with pytest.raises(gitpod.APIResponseValidationError, match="holds no secret"):
        connect(there.url, codec="binary").create(**PARAMS)


def test_a_principal_that_is_newer_is_kept_by_its_number(connect: Connect, peer: MakePeer) -> None:
    """An enum grows without breaking its readers."""
    newer = Secret(id=UUID, creator=Subject(principal=Principal(99)))
    there = peer(answer(200, CreateSecretResponse(secret=newer).to_binary(), content_type="application/proto"))
    secret = connect(there.url, codec="binary").create(**PARAMS).secret
    assert secret.creator
    assert secret.creator.principal == "PRINCIPAL_99"


def test_a_list_that_leads_to_itself_ends(connect: Connect, peer: MakePeer) -> None:
    """With an error, after the second page."""
    there = peer(answer(200, b'{"pagination": {"nextToken": "again"}}'))
    with pytest.raises(gitpod.APIResponseValidationError, match="the same page token twice"):
        connect(there.url).list()
    assert len(there.requests) == 2


def test_a_list_that_goes_in_circles_ends(connect: Connect, peer: MakePeer) -> None:
    """Whatever the length of the circle."""
    one, other = (answer(200, f'{{"pagination": {{"nextToken": "{token}"}}}}'.encode()) for token in "ab")
    there = peer(in_turn(one, other, one, other))
    with pytest.raises(gitpod.APIResponseValidationError, match="the same page token twice"):
        connect(there.url).list()
    assert len(there.requests) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(connect: Connect, peer: MakePeer, status: int) -> None:
    """The secret is sent to nobody else, and the error names the place."""
    elsewhere = peer(OK)
    there = peer(answer(status, b"", f"location: {elsewhere.url}/moved?to=nowhere", content_type="text/html"))
    with pytest.raises(gitpod.APIResponseValidationError, match=f"HTTP {status} to {elsewhere.url}/moved,") as caught:
        connect(there.url).create(**PARAMS)
    # 303 is how a form's handler answers once it is done.
    assert caught.value.outcome == ("unknown" if status == 303 else "rejected")
    assert elsewhere.requests == []
    assert len(there.requests) == 1


@pytest.mark.parametrize("squeezed", [False, True])
def test_an_endless_answer_is_cut_off(connect: Connect, peer: MakePeer, *, squeezed: bool) -> None:
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


def test_a_lone_surrogate_is_no_text(connect: Connect, peer: MakePeer) -> None:
    """JSON can write one, and protobuf knows none."""
    there = peer(answer(200, b'{"value": "\\ud800"}'))
    with pytest.raises(gitpod.APIResponseValidationError):
        connect(there.url, max_retries=0).get_value(secret_id=UUID)
