"""What is remembered of heads: it changes no head, whatever came before."""

import asyncio
from typing import Any

import hpack
import pytest
from h2.events import RequestReceived
from h2.exceptions import ProtocolError
from hypothesis import given
from hypothesis import strategies as st

from gitpod.server.serving.http2_heads import HeadDecoder, HeadEncoder, Headers, Heads, allowed

NAMES = st.sampled_from([b":status", b"content-type", b"grpc-status", b"x-request-id", b"grpc-message", b"x" * 130])
VALUES = st.sampled_from([b"", b"0", b"200", b"application/grpc+proto", b"v" * 126, b"v" * 127, b"v" * 300])
ANSWERS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
SIZES = st.sampled_from([0, 60, 100, 4096])
SENT: Headers = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/gitpod.v1.SecretService/ListSecrets?a=b"),
    (b":authority", b"a"),
    (b"te", b"trailers"),
    (b"authorization", b"Bearer t "),
]
TIMEOUTS = [b"1S", b"29999m", b"x", b"123456789m", b"1S\r"]


class Transport(asyncio.Transport):
    """A connection without TLS."""

    def get_extra_info(self, name: str, default: object = None) -> Any:  # of each name
        return ("127.0.0.1", 5000) if name == "peername" else default


@given(st.lists(st.one_of(ANSWERS, SIZES), max_size=12))
def test_a_client_reads_the_heads_of_answers(steps: list[Headers | int]) -> None:
    """Also when it changes the size of the table in between, and changes it back."""
    encoder, client = HeadEncoder(), hpack.Decoder()
    for step in steps:
        if isinstance(step, int):
            encoder.header_table_size = step
            # hpack announces the last size only.
            client.header_table_size = step
        else:
            read = client.decode(encoder.encode(step), raw=True)
            assert [(name, value) for name, value in read] == step


@given(st.lists(st.one_of(ANSWERS, SIZES), max_size=12))
def test_the_heads_of_requests_are_read(steps: list[Headers | int]) -> None:
    """By a decoder that remembers, as by hpack's own."""
    encoder, decoder = hpack.Encoder(), HeadDecoder()
    for step in steps:
        if isinstance(step, int):
            # hpack does not announce a size that is set twice.
            if step != encoder.header_table_size:
                encoder.header_table_size = step
        else:
            for _ in range(3):
                assert [(name, value) for name, value in decoder.decode(encoder.encode(step), raw=True)] == step


def scope(heads: Heads, sent: Headers) -> object:
    """What an application gets, or that the head is malformed."""
    try:
        made = heads.scope(RequestReceived(stream_id=1, headers=[hpack.HeaderTuple(*each) for each in sent]))
    except ProtocolError:
        return "malformed"
    # The order of different headers means nothing.
    return {**made, "headers": sorted(made["headers"])}


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(TIMEOUTS), st.integers(0, 8)), max_size=8))
def test_a_head_that_repeats_gives_the_same_scope(steps: list[tuple[int, bytes, int]]) -> None:
    """With any `grpc-timeout`, in any place, and with any header left out."""
    remembering = Heads(Transport())
    for place, timeout, without in steps:
        sent = [*SENT[:without], *SENT[without + 1 :]]
        sent.insert(place, (b"grpc-timeout", timeout))
        for _ in range(2):
            assert scope(remembering, sent) == scope(Heads(Transport()), sent)
            assert scope(remembering, SENT) == scope(Heads(Transport()), SENT) != "malformed"


def test_an_application_may_change_its_scope() -> None:
    """The next call has its own."""
    heads = Heads(Transport())
    for _ in range(3):
        made = heads.scope(RequestReceived(stream_id=1, headers=[hpack.HeaderTuple(*each) for each in SENT]))
        assert len(made["headers"]) == 3
        assert list(made["extensions"]) == ["http.response.trailers"]
        made["headers"].clear()
        made["extensions"].clear()
        made["path"] = "/"


@pytest.mark.parametrize("header", [(b"connection", b"close"), (b"x", b"\n"), (b"x", b"\xff")])
def test_headers_that_http2_cannot_carry_are_left_out(header: tuple[bytes, bytes]) -> None:
    """Clients would end the connection."""
    assert allowed([header, (b"content-type", b" a ")]) == [(b"content-type", b"a")]
