"""What is a request of HTTP/1.1, and what it says: as h11 reads it, which has no part in the service, or stricter."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import h11
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from tests.support.broken_http import FRAMING, HEADERS
from tests.support.odd_http import HOST, LAXER, ODD, STRICTER
from tests.support.target import SECONDS

from gitpod.server.serving.http_connection import Connection
from gitpod.server.serving.http_head import END_OF_HEAD, MalformedError, read_head

LAST = b"GET /last HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n"
PATIENCE = 0.3
TABLE = ODD | {name: row.sent for name, row in (HEADERS | FRAMING).items()}
FIELDS = [
    *(
        b"Host: a",
        b"host:b",
        b"Content-Length: 3",
        b"content-length:03",
        b"content-length: +1",
        b"Expect: 100-continue",
    ),
    *(
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: CHUNKED",
        b"Transfer-Encoding: gzip",
        b"expect: x,100-Continue",
    ),
    *(
        b"Connection: close",
        b"connection: x, Close",
        b"x-y: 1",
        b"x-y : 1",
        b"X-Y:",
        b"x: \0",
        b"x: \xff\t1  ",
        b" x: 1",
        b"x",
    ),
]
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\n ", b"\r", b" \r\n"]
LINES = [b"POST /x HTTP/1.1", b"get /a%20b?c=d HTTP/1.0", b"X-1 * HTTP/9.9", b"GET  / HTTP/1.1", b"GET / HTTP/1"]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer what was understood of the request."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    headers = sorted((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    said = [scope["method"], scope["path"], scope["query_string"].decode(), scope["http_version"], headers]
    text = json.dumps([*said, body.decode("latin-1")]).encode()
    # With 200, a CONNECT would get a tunnel. No application of the service answers it so.
    status = 405 if scope["method"] == "CONNECT" else 200
    start = {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(text))]}
    await send(start)
    await send({"type": "http.response.body", "body": text})


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    """The ports of two servers of one application: uvicorn by h11, and by our own connections."""
    with ExitStack() as stack:
        found: list[int] = []
        for kind in ("h11", Connection):
            config = uvicorn.Config(echo, http=kind, ws="none", lifespan="off", log_level="critical")
            server = uvicorn.Server(config)
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            found.append(listener.getsockname()[1])
        yield found[0], found[1]


def answers(port: int, sent: bytes) -> list[str]:
    """What was answered: the status, and what was understood of each request. The last one ends the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection, suppress(OSError):
        connection.sendall(sent + LAST)
        # Some wait for the rest of a body.
        connection.settimeout(PATIENCE)
        while part := connection.recv(1 << 16):
            received += part
    texts = received.decode("latin-1").split("HTTP/1.1 ")[1:]
    return [text[:3] + (text.partition("\r\n\r\n")[2] if text.startswith("200") else "") for text in texts]


@pytest.mark.parametrize("name", TABLE)
def test_the_service_reads_what_h11_reads(ports: tuple[int, int], name: str) -> None:
    """The same requests, up to where the next one begins, or it is stricter for a reason that is named."""
    by_h11, ours = (answers(port, TABLE[name]) for port in ports)
    if name in STRICTER:
        assert (by_h11[0][:3], ours) == ("200", ["400"])
    elif name in LAXER:
        assert (by_h11, [each[:3] for each in ours]) == (["400"], ["200", "200"])
    else:
        assert ours == by_h11


@given(st.sampled_from(LINES), st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(ENDS)), max_size=6))
def test_a_head_says_what_it_says_to_h11(line: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    """Method, target, version, headers and framing; and what h11 refuses is refused."""
    head = line + b"\r\n" + b"".join(field + end for field, end in fields) + b"\r\n\r\n"
    head = head[: next(end.end() for end in END_OF_HEAD.finditer(head))]
    try:
        ours = read_head(head)
    except MalformedError:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert (ours.method.encode(), ours.target, ours.version.encode()) == (
        request.method,
        request.target,
        request.http_version,
    )
    # h11 writes some values anew.
    framing = {b"transfer-encoding", b"content-length"}
    assert [each for each in ours.headers if each[0] not in framing] == [
        each for each in request.headers if each[0] not in framing
    ]
    assert ours.expects_continue == connection.they_are_waiting_for_100_continue
    given = dict(request.headers)
    expected = None if b"transfer-encoding" in given else int(given.get(b"content-length", b"0"))
    assert ours.length == expected
