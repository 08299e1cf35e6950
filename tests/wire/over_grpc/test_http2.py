"""HTTP/2 in clear: the preface, reset streams, and an answer without trailers."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import pyqwest
import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from tests.support.grpc_calls import PREFACE, params
from tests.support.peer import Peer, answer
from tests.support.ways import STORED, UUID, Connect

import gitpod
from gitpod._rpc.failure import Answer, Failure
from gitpod._rpc.translate import translate
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretResponse, Secret


def frame(kind_of: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3) + bytes([kind_of, flags]) + stream.to_bytes(4) + payload


def begin(stream: int, content_type: bytes) -> bytes:
    """The head of a successful answer."""
    # HPACK: `:status: 200` is entry 8 of the static table, `content-type` entry 31.
    return frame(1, 4, stream, b"\x88\x0f\x10" + bytes([len(content_type)]) + content_type)


def stored(stream: int) -> bytes:
    """A whole answer of Connect."""
    return begin(stream, b"application/json") + frame(0, 1, stream, STORED)


def without_trailers(stream: int) -> bytes:
    """An answer of gRPC that ends before it says whether the call succeeded."""
    message = CreateSecretResponse(secret=Secret(id=UUID, name="NAME")).to_binary()
    body = bytes(1) + len(message).to_bytes(4) + message
    return begin(stream, b"application/grpc+proto") + frame(0, 1, stream, body)


def reset(code: int) -> Callable[[int], bytes]:
    """An answer that gives the request up (RFC 9113 section 7 lists the codes)."""
    return lambda stream: frame(3, 0, stream, code.to_bytes(4))


def reset_later(code: int) -> Callable[[int], bytes]:
    """An answer of gRPC that is given up after its head."""
    return lambda stream: begin(stream, b"application/grpc+proto") + reset(code)(stream)


@dataclass
class HTTP2:
    """A script that speaks as much HTTP/2 as it takes to answer requests, and keeps which it was asked."""

    answer: Callable[[int], bytes]
    asked: list[int] = field(default_factory=list[int])

    def __call__(self, connection: socket.socket, first: bytes) -> None:
        connection.sendall(frame(4, 0, 0))
        data, reader = first.removeprefix(PREFACE), connection.makefile("rb")
        while len(data := data + reader.read(max(0, 9 - len(data)))) >= 9:
            head, size = data[:9], int.from_bytes(data[:3])
            data += reader.read(max(0, 9 + size - len(data)))
            data = data[9 + size :]
            if head[3] == 0 and head[4] & 1:
                self.asked.append(int.from_bytes(head[5:]))
                connection.sendall(self.answer(self.asked[-1]))


@pytest.mark.parametrize(("http2", "begins"), [(True, PREFACE), (False, b"POST /")])
def test_http2_in_clear_is_spoken_when_asked_for(connect: Connect, project: str, begins: bytes, *, http2: bool) -> None:
    """From the first byte, as there is no handshake to agree on it in."""
    peer = Peer(HTTP2(stored) if http2 else answer(200, STORED))
    client = connect(peer.url, "connect", codec="json", http2=http2)
    assert client.create(**params(project)).secret.id == UUID
    peer.close()
    assert [request[: len(begins)] for request in peer.requests] == [begins]


@pytest.mark.parametrize("protocol", ["connect", "grpc"])
@pytest.mark.parametrize(
    ("code", "outcome", "sent"), [(2, "unknown", 1), (8, "unknown", 1), (11, "unknown", 1), (7, "not_sent", 3)]
)
def test_a_stream_that_was_reset(
    connect: Connect, project: str, protocol: str, code: int, outcome: str, sent: int
) -> None:
    """Leaves doubt, unless REFUSED_STREAM (7) says that nothing was processed."""
    script = HTTP2(reset(code))
    peer = Peer(script)
    with pytest.raises(gitpod.APIError) as caught:
        connect(peer.url, protocol, http2=True).create(**params(project))
    peer.close()
    # The HTTP library repeats each refused request twice by itself, which does no harm.
    repeated = 3 if code == 7 else 1
    assert (caught.value.outcome, caught.value.attempts, len(script.asked)) == (outcome, sent, sent * repeated)


@pytest.mark.parametrize("code", [2, 7, 8, 11])
def test_a_stream_that_was_reset_after_its_head(connect: Connect, project: str, code: int) -> None:
    """Leaves doubt, whatever the code is. It is a broken connection, and not a broken answer."""
    peer = Peer(HTTP2(reset_later(code)))
    with pytest.raises(gitpod.APIConnectionError) as caught:
        connect(peer.url).create(**params(project))
    peer.close()
    assert (caught.value.outcome, caught.value.attempts) == ("unknown", 1)


def test_a_stream_that_was_reset_at_the_deadline() -> None:
    """Many services do that, and their reset may arrive before the client's own clock has ended the call."""
    late = ConnectError(Code.DEADLINE_EXCEEDED, "stream no longer needed")
    late.__cause__ = pyqwest.StreamError("stream no longer needed", pyqwest.StreamErrorCode.CANCEL)
    error = translate(Failure(late, Answer(1), None), str)
    assert isinstance(error, gitpod.APITimeoutError)
    assert error.outcome == "unknown"


def test_an_answer_without_a_status_is_not_success(connect: Connect, project: str) -> None:
    """Though the message arrived whole, the service may have failed after it."""
    script = HTTP2(without_trailers)
    peer = Peer(script)
    with pytest.raises(gitpod.APIResponseValidationError) as caught:
        connect(peer.url).create(**params(project))
    peer.close()
    assert (caught.value.outcome, caught.value.attempts, len(script.asked)) == ("unknown", 1, 1)
