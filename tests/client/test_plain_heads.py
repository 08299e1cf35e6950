"""What `plain_head` reads of an answer's head is what http.client reads, and it leaves anything doubtful to that."""

import io
from http.client import HTTPResponse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyqwest import Headers

from gitpod._rpc.failure import Answer
from gitpod._transport.answers import ASKED
from gitpod._transport.body import MAX_RESPONSE_BYTES
from gitpod._transport.plain import plain_head

LENGTH = b"content-length: 2\r\n"
NAMES = ["Content-Length", "content-type", "X-Request-Id", "Connection", "Transfer-Encoding", "Set-Cookie", "a b", ""]
VALUES = [
    "2",
    " 2 ",
    "+2",
    "2, 2",
    "\t2",
    "keep-alive",
    "close",
    "chunked",
    "a: b",
    "\u00b2",
    "x\ry",
    "x\n y",
    "\0",
    "",
]


class Bytes:
    """Bytes, in place of the socket that `HTTPResponse` reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        """What to read."""
        return io.BytesIO(self._data)


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A head of these lines."""
    return status + b"\r\n" + b"".join(lines) + b"\r\n"


@given(
    st.sampled_from(["HTTP/1.1 200 OK", "HTTP/1.1 404", "HTTP/1.1 503 ", "HTTP/1.0 200 OK", "HTTP/1.1 204 No Content"]),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4),
    st.sampled_from([b"", b"{}", b"{}HTTP/1.1 200 OK\r\n"]),
)
def test_a_plain_head_is_read_as_http_client_reads_it(status: str, fields: list[tuple[str, str]], body: bytes) -> None:
    """The status, the headers, the place and the length of the body, and whether the connection stays open."""
    text = "".join(f"{name}:{value}\r\n" for name, value in [*fields, ("content-length", " 2")])
    data = f"{status}\r\n{text}\r\n".encode("latin-1")
    if (found := plain_head(data + body)) is None:
        return
    source: Any = Bytes(data + body)
    with HTTPResponse(source, method="POST") as known:
        known.begin()
        assert (found.status, found.length, known.will_close) == (known.status, known.length, False)
        assert Headers(found.fields) == Headers([(name, text.strip(" \t")) for name, text in known.headers.items()])
        assert (data + body)[found.end :][: found.length] == known.read(2)


@pytest.mark.parametrize("status", [b"HTTP/1.1 200 OK", b"HTTP/1.1 409", b"HTTP/1.1 503 "])
def test_ordinary_heads_are_plain(status: bytes) -> None:
    """So that most answers take the short way."""
    data = head(b"Content-Type: application/proto\r\n", LENGTH, b"connection: Keep-Alive\r\n", b"x:\r\n", status=status)
    found = plain_head(data + b"{}")
    assert found is not None
    assert (found.length, found.end, found.fields[0]) == (2, len(data), ("content-type", "application/proto"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        head(LENGTH)[:-2],
        head(),
        head(LENGTH, LENGTH),
        head(LENGTH, b"transfer-encoding: chunked\r\n"),
        head(LENGTH, b"content-encoding: gzip\r\n"),
        head(LENGTH, b"connection: close\r\n"),
        head(LENGTH, b"x: a\r\n b\r\n"),
        head(LENGTH, b"x: a\nb: c\r\n"),
        head(LENGTH, b"x : a\r\n"),
        head(LENGTH, b"x: \xc3\xa4\r\n"),
        head(b"content-length: -2\r\n"),
        head(b"content-length: %d\r\n" % (MAX_RESPONSE_BYTES + 1)),
        head(b"content-length: " + b"9" * 5000 + b"\r\n"),
        head(LENGTH, status=b"HTTP/1.0 200 OK"),
        head(LENGTH, status=b"HTTP/1.1 100 Continue"),
        head(LENGTH, status=b"HTTP/1.1 204 No Content"),
        head(LENGTH, status=b"HTTP/1.1 2000 OK"),
    ],
)
def test_other_heads_are_left_to_http_client(data: bytes) -> None:
    """One that ends elsewhere for another reader might let an answer be taken for that to another request."""
    assert plain_head(data + b"{}") is None


def test_a_call_inside_of_a_call_leaves_its_answer_alone() -> None:
    """A signal handler may call while its own thread waits for an answer."""
    with Answer(1) as outer:
        with Answer(1) as inner:
            asked = ASKED.get()
            assert asked is not None
            asked.take(503, Headers([("trailer-late", "1")]))
        asked = ASKED.get()
        assert asked is not None
        asked.take(200, Headers([("x-request-id", "a")]))
    assert (inner.http_status, dict(inner.headers), dict(inner.trailers)) == (503, {}, {"late": "1"})
    assert (outer.http_status, dict(outer.headers), dict(outer.trailers)) == (200, {"x-request-id": "a"}, {})
