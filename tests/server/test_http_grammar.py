"""What is a request of HTTP/1.1, and what it says: as h11 reads it, which has no part in the service, or stricter."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.broken_http import FRAMING, HEADERS
from tests.support.odd_http import ENDED, HOST, LAXER, ODD, STRICTER
from tests.support.target import SECONDS

from gitpod.server.serving.http_connection import Connection

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
BODY = b"3\r\nabc\r\n0\r\n\r\n"
"""In chunks. A request of another length, or of none, has a malformed one behind it."""
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\n ", b"\r", b" \r\n"]
LINES = [b"POST /x HTTP/1.1", b"get /a%20b?c=d HTTP/1.0", b"X-1 * HTTP/9.9", b"GET  / HTTP/1.1", b"GET / HTTP/1"]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer what was understood of the request."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    # What asks for another protocol is not for the application.
    named = [header for header in scope["headers"] if header[0] != b"upgrade"]
    headers = sorted((name.decode("latin-1"), value.decode("latin-1")) for name, value in named)
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


def answers(port: int, sent: bytes, patience: float = PATIENCE) -> list[str]:
    """What was answered: the status, and what was understood of each request. The last one ends the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection, suppress(OSError):
        connection.sendall(sent + LAST)
        # Some wait for the rest of a body.
        connection.settimeout(patience)
        while part := connection.recv(1 << 16):
            received += part
    texts = received.decode("latin-1").split("HTTP/1.1 ")[1:]
    return [text[:3] + (text.partition("\r\n\r\n")[2] if text.startswith("200") else "") for text in texts]


@pytest.mark.parametrize("name", TABLE)
def test_the_service_reads_what_h11_reads(ports: tuple[int, int], name: str) -> None:
    """The same requests, up to where the next one begins, or it is stricter for a reason that is named."""
    by_h11, ours = (answers(port, TABLE[name]) for port in ports)
    if not by_h11:
        # It is slow, or waits for a body.
        by_h11 = answers(ports[0], TABLE[name], PATIENCE * 10)
    if name in STRICTER:
        assert (by_h11[:1] != ["400"], ours) == (True, ["400"])
    elif name in ENDED:
        assert (len(by_h11), ours) == (2, by_h11[:1])
    elif name in LAXER:
        assert (by_h11, [each[:3] for each in ours]) == (["400"], ["200", "200"])
    else:
        assert ours == by_h11


def test_every_difference_has_its_request() -> None:
    """A name that is in no table would excuse nothing."""
    assert {*STRICTER, *ENDED, *LAXER} <= {*ODD, *HEADERS, *FRAMING}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(LINES), st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(ENDS)), max_size=6))
def test_what_is_taken_is_what_h11_takes(
    ports: tuple[int, int], line: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    """Method, target, version, headers and body, of every request up to the first that is refused."""
    head = line + b"\r\n" + b"".join(field + end for field, end in fields) + b"\r\n"
    by_h11, ours = (answers(port, head + BODY) for port in ports)
    taken = [each for each in ours if each != "400"]
    assert taken == by_h11[: len(taken)]
    assert ours[len(taken) :] in ([], ["400"])
