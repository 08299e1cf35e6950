"""Answers in zstd: each way and protocol reads them, with a bound. Only a client that sends zstd asks for them."""

import struct
import tracemalloc
from typing import Any

import pytest
import zstandard
from tests.support.peer import Script, answer
from tests.support.ways import PARAMS, STORED, UUID, Connect, MakePeer

import gitpod
from gitpod._transport.body import MAX_RESPONSE_BYTES, unzstd

pytestmark = pytest.mark.usefixtures("clean_environment")
WIDE = zstandard.ZstdCompressor(
    compression_params=zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
).compressobj()
OPTIONS: list[dict[str, Any]] = [{}, {"compression": "gzip"}, {"protocol": "grpc-web"}, {"codec": "binary"}]


def zstd(data: bytes) -> Script:
    """A script that answers data in zstd over Connect."""
    return answer(200, data, "content-encoding: zstd")


def framed(data: bytes) -> Script:
    """A script that answers one message in zstd over gRPC-Web, and success."""
    end = b"grpc-status: 0\r\n"
    body = struct.pack(">BI", 1, len(data)) + data + struct.pack(">BI", 128, len(end)) + end
    return answer(200, body, "grpc-encoding: zstd", content_type="application/grpc-web+json")


SCRIPTS = {"connect": zstd, "grpc-web": framed}


@pytest.mark.parametrize("protocol", SCRIPTS)
def test_an_answer_is_read_every_way(way: Connect, peer: MakePeer, protocol: str) -> None:
    """Services answer in the compression of the request, whatever the client accepts."""
    there = peer(SCRIPTS[protocol](zstandard.compress(STORED)))
    assert way(there.url, protocol=protocol, compression="zstd").create(**PARAMS).secret.id == UUID


def test_an_answer_that_nobody_asked_for_is_read(way: Connect, peer: MakePeer) -> None:
    """A gateway may compress it."""
    assert way(peer(zstd(zstandard.compress(STORED))).url).create(**PARAMS).secret.id == UUID


@pytest.mark.parametrize("options", OPTIONS)
def test_nobody_asks_for_it_without_the_option(way: Connect, peer: MakePeer, options: dict[str, Any]) -> None:
    """A request names no zstd, in whatever header."""
    there = peer(answer(404))
    with pytest.raises(gitpod.APIError):
        way(there.url, **options).create(**PARAMS)
    assert b"accept-encoding: " in there.requests[0]
    assert b"zstd" not in there.requests[0]


@pytest.mark.parametrize("protocol", SCRIPTS)
@pytest.mark.parametrize("missing", [1, 5, 12])
def test_one_that_breaks_off_is_no_success(connect: Connect, peer: MakePeer, protocol: str, missing: int) -> None:
    """Nothing at all would be a whole answer to a deletion."""
    there = peer(SCRIPTS[protocol](zstandard.compress(b"{}")[:-missing]))
    with pytest.raises(gitpod.APIError) as caught:
        connect(there.url, protocol=protocol, compression="zstd", max_retries=0).delete(secret_id=UUID)
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("protocol", SCRIPTS)
def test_a_bomb_is_cut_off(way: Connect, peer: MakePeer, protocol: str) -> None:
    """As it is decompressed, not after it."""
    there = peer(SCRIPTS[protocol](zstandard.compress(bytes(64 * 1024 * 1024))))
    with pytest.raises(gitpod.APIResponseValidationError, match="larger than 4194304 bytes") as caught:
        way(there.url, protocol=protocol, compression="zstd").create(**PARAMS)
    assert (caught.value.outcome, caught.value.attempts) == ("unknown", 1)


def test_memory_is_bounded() -> None:
    """By the bound of answers, and not by what two kilobytes may become."""
    bomb = zstandard.compress(bytes(64 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(gitpod.APIResponseValidationError):
            unzstd(bomb)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_RESPONSE_BYTES
    finally:
        tracemalloc.stop()


NO_ANSWERS = {
    "nothing": b"",
    "no zstd": b"{}",
    "more behind it": zstandard.compress(b"{}") + b"more",
    "memory for 128 MiB": WIDE.compress(b"{}") + WIDE.flush(),
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_what_is_no_answer_in_zstd_is_refused(kind: str) -> None:
    """It is empty or garbled, goes on, or asks for more memory than RFC 9659 allows."""
    with pytest.raises(ValueError, match="the compressed answer"):
        unzstd(NO_ANSWERS[kind])
