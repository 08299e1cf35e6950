"""How messages are written over HTTP/2: protobuf or JSON, compressed or not."""

import struct
from gzip import compress
from typing import Any

import pyqwest
import pytest
from tests.support.grpc_front import NAME, UUID
from tests.support.service import TOKEN

from gitpod import Gitpod
from gitpod_proto.gitpod.v1.pagination_pb import PaginationResponse
from gitpod_proto.gitpod.v1.secret_pb import ListSecretsResponse


@pytest.fixture(scope="module")
def http2() -> pyqwest.SyncClient:
    """A client of HTTP/2, which keeps its connection."""
    return pyqwest.SyncClient(pyqwest.SyncHTTPTransport(http_version=pyqwest.HTTPVersion.HTTP2))


def framed(message: bytes) -> bytes:
    """A message of gRPC that is not compressed."""
    return struct.pack(">BI", 0, len(message)) + message


@pytest.fixture
def post(http2: pyqwest.SyncClient, port: int) -> Any:
    """Sends a list request over gRPC."""

    def sent(content_type: str, body: bytes, encoding: str = "") -> pyqwest.FullResponse:
        headers = {"content-type": content_type, "te": "trailers", "authorization": f"Bearer {TOKEN}"}
        headers |= {"grpc-encoding": encoding} if encoding else {}
        return http2.post(f"http://127.0.0.1:{port}/{NAME}/ListSecrets", headers, body)

    return sent


@pytest.mark.parametrize("subtype", ["", "+proto", "+json"])
def test_the_content_type_says_how_messages_are_written(post: Any, subtype: str) -> None:
    """The answer is written as the request, and says so."""
    body = b"{}" if subtype == "+json" else b""
    answer = post(f"application/grpc{subtype}", framed(body))
    assert answer.status == 200
    assert answer.headers["content-type"] == f"application/grpc{subtype or '+proto'}"
    assert answer.trailers["grpc-status"] == "0"
    message = ListSecretsResponse.from_json if subtype == "+json" else ListSecretsResponse.from_binary
    assert message(answer.content[5:]).pagination == PaginationResponse()


@pytest.mark.parametrize("content_type", ["application/grpc+thrift", "application/grpc+PROTO", "application/grpcx"])
def test_another_content_type_is_unimplemented(post: Any, content_type: str) -> None:
    """It is not taken for protobuf, although its bytes would be a valid message."""
    answer = post(content_type, framed(b""))
    assert answer.headers["grpc-status"] == "12"
    assert "application/grpc+json" in answer.headers["grpc-message"]


@pytest.mark.parametrize("encoding", ["br", "snappy", "x"])
def test_an_unknown_encoding_is_unimplemented(post: Any, encoding: str) -> None:
    """Each time, over the same connection, and calls without one go on."""
    for _ in range(3):
        refused = post("application/grpc", b"\1\0\0\0\0", encoding)
        assert refused.trailers["grpc-status"] == "12"
        assert refused.trailers["grpc-message"].startswith("compression%3A%20send%20gzip")
        assert post("application/grpc", b"\1" + framed(compress(b""))[1:], "gzip").trailers["grpc-status"] == "0"


@pytest.mark.parametrize("codec", ["binary", "json"])
@pytest.mark.parametrize("protocol", ["grpc", "grpc-web", "connect"])
def test_each_protocol_and_codec_is_served(port: int, protocol: Any, codec: Any) -> None:
    """Over HTTP/2, on the one port."""
    url = f"http://127.0.0.1:{port}"
    with Gitpod(bearer_token=TOKEN, base_url=url, protocol=protocol, codec=codec, http2=True) as client:
        made = client.secrets.create(name="NAME", value="\U0001f511", project_id=UUID, api_only=True)
        assert client.secrets.get_value(secret_id=made.secret.id).reveal() == "\U0001f511"
