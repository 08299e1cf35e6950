"""What a connection of HTTP/1.1 makes of an application's answer, whatever the application does."""

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from tests.support.target import SECONDS, read_answer

from gitpod.server.serving.http_connection import Connection

START = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"3"), (b"x-y", b"1")]}


async def parts(_scope: Any, _receive: Any, send: Any) -> None:
    """Answers in parts."""
    await send(START)
    for part in (b"a", b"", b"bc"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


async def nothing(_scope: Any, receive: Any, _send: Any) -> None:
    """Returns without an answer."""
    await receive()


async def half(_scope: Any, _receive: Any, send: Any) -> None:
    """Fails when it has begun to answer."""
    await send(START)
    raise RuntimeError("hunter2")


async def split(_scope: Any, _receive: Any, send: Any) -> None:
    """Sends a header that would be two."""
    await send({**START, "headers": [(b"x-y", b"1\r\nset-cookie: 2")]})
    await send({"type": "http.response.body", "body": b"abc"})


async def cancelled(_scope: Any, _receive: Any, send: Any) -> None:
    """Answers as Connect does a call that was cancelled."""
    await send({**START, "status": 499})
    await send({"type": "http.response.body", "body": b"abc"})
    raise asyncio.CancelledError


async def app(scope: Any, receive: Any, send: Any) -> None:
    """One of the applications, by its name."""
    await globals()[scope["path"].strip("/")](scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of the applications."""
    server = uvicorn.Server(uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("parts", 200, b"abc"),
        ("cancelled", 499, b"abc"),
        ("nothing", 500, b"Internal Server Error"),
    ],
)
def test_an_answer_is_whole(port: int, name: str, status: int, body: bytes) -> None:
    """A failure is one too, which quotes nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request("POST", f"/{name}", b"{}")
    answer = connection.getresponse()
    assert (answer.status, answer.read(), answer.getheader("set-cookie")) == (status, body, None)
    assert answer.getheader("connection") == ("close" if status == 500 else None)
    connection.close()


@pytest.mark.parametrize("name", ["half", "split"])
def test_half_an_answer_ends_the_connection(port: int, name: str) -> None:
    """So nobody takes it for a whole one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request("POST", f"/{name}", b"{}")
    with pytest.raises(http.client.HTTPException):
        connection.getresponse().read()
    connection.close()


def test_the_answer_to_a_head_has_the_length_and_no_body(port: int) -> None:
    """The next answer begins where its head ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(b"HEAD /parts HTTP/1.1\r\nhost: a\r\n\r\nGET /parts HTTP/1.1\r\nhost: a\r\n\r\n")
        received = b""
        while not received.endswith(b"abc"):
            received += connection.recv(1 << 16) or pytest.fail("the connection ended early")
    heads = received.split(b"HTTP/1.1 200 OK\r\n")
    assert [head.count(b"content-length: 3\r\n") for head in heads] == [0, 1, 1]
    assert received.count(b"abc") == 1


@pytest.mark.parametrize("line", [b"GET /parts HTTP/1.0", b"GET /parts HTTP/1.1\r\nconnection: x, Close"])
def test_a_client_that_asks_for_the_end_gets_it(port: int, line: bytes) -> None:
    """After a whole answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(line + b"\r\nhost: a\r\n\r\n")
        assert read_answer(connection).status == 200
        assert connection.recv(1) == b""
