"""A scripted HTTP peer on a real socket, for what no well-behaved service does."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from connectrpc._protocol import ConnectWireError  # what a server writes
from connectrpc.code import Code
from connectrpc.errors import ErrorDetail
from protobuf import Message

from gitpod._rpc.failure import STATUS

Script = Callable[[socket.socket, bytes], None]


@dataclass
class Peer:
    """Answers each connection's request by `script`, and keeps what it was sent."""

    script: Script
    requests: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def wait(self) -> None:
        """Wait until a request was read."""
        while not self.requests:
            time.sleep(0.01)

    def close(self) -> None:
        # Closing alone would leave the thread that accepts where it is.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            if request := read_request(connection):
                self.requests.append(request)
                self.script(connection, request)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def read_request(connection: socket.socket) -> bytes:
    """One request: its head, and the body that its content-length announces."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(status: int, body: bytes = b"", *headers: str, content_type: str = "application/json") -> Script:
    """A script that answers so, and closes."""
    lines = [
        f"HTTP/1.1 {status} Scripted",
        f"content-type: {content_type}",
        f"content-length: {len(body)}",
        "connection: close",
        *headers,
    ]
    data = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return lambda connection, _: connection.sendall(data)


def failed(code: Code, *details: Message, message: str = "as scripted") -> Script:
    """A script that answers with a Connect error."""
    error = ConnectWireError(code, message, [ErrorDetail(detail) for detail in details])
    return answer(STATUS[code], error.to_json_bytes())


def in_turn(*scripts: Script) -> Script:
    """A script that answers the first request by the first, and so on; the last one stays."""
    left = list(scripts)

    def script(connection: socket.socket, request: bytes) -> None:
        chosen = left.pop(0) if len(left) > 1 else left[0]
        chosen(connection, request)

    return script


def hang_up(_connection: socket.socket, _request: bytes) -> None:
    """Read the request, and close without an answer."""


def stall(seconds: float) -> Script:
    """A script that reads the request, and says nothing for so long."""

    def script(_connection: socket.socket, _request: bytes) -> None:
        time.sleep(seconds)

    return script
