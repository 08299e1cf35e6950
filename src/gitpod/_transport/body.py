"""Bodies of answers: read in one go where their length is known, counted where it is not."""

import zlib
from typing import TYPE_CHECKING

from gitpod.errors import UNKNOWN, APIResponseValidationError

if TYPE_CHECKING:
    from pyqwest import Headers
    from typing_extensions import Buffer

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""The largest answer to read, decompressed. A page of 100 secrets is some 50 KiB."""

ZSTD_WINDOW = 8 * 1024 * 1024
"""Bytes of memory that an answer in zstd may ask for (RFC 9659)."""

ZSTD_STEP = 64
"""Bytes to decompress at once. They become at most 2 MiB: a block has 4 bytes or more, and holds at most 128 KiB."""


def known_length(headers: "Headers") -> int | None:
    """The length of a body that is neither chunked nor compressed, None where it is not known.

    Raises:
        APIResponseValidationError: it is larger than an answer may be.
    """
    length = headers.get("content-length", "")
    is_encoded = headers.get("content-encoding", "identity") != "identity"
    if is_encoded or not (length.isascii() and length.isdigit()):
        return None
    if int(length) > MAX_RESPONSE_BYTES:
        raise too_large()
    return int(length)


def too_large() -> APIResponseValidationError:
    """The error of an answer that is larger than it may be."""
    return APIResponseValidationError(f"the answer is larger than {MAX_RESPONSE_BYTES} bytes{UNKNOWN}")


def unzstd(data: bytes) -> bytes:
    """Decompress an answer in zstd, a little at a time: a few bytes may stand for megabytes.

    connectrpc's own `ZstdCompression` takes an answer that broke off for an empty one, and allocates what it asks for.

    Raises:
        ValueError: it is broken, or broke off.
        APIResponseValidationError: it is larger than an answer may be.
    """
    import zstandard  # an extra

    unzip = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
    whole = bytearray()
    try:
        for start in range(0, len(data), ZSTD_STEP):
            whole += unzip.decompress(data[start : start + ZSTD_STEP])
            if len(whole) > MAX_RESPONSE_BYTES:
                raise too_large()
    except zstandard.ZstdError:
        raise ValueError("the compressed answer is broken") from None
    if not unzip.eof or unzip.unused_data:
        raise ValueError("the compressed answer has another length")
    return bytes(whole)


class Body:
    """Collects a body up to the bound.

    Args:
        headers: those of the answer.
        unzip: whether to undo gzip, which the transport below leaves as it is. Some gateways compress though
            they were asked not to.
    """

    def __init__(self, headers: "Headers", *, unzip: bool) -> None:
        self.data = bytearray()
        is_zipped = unzip and headers.get("content-encoding", "") == "gzip"
        self._unzip = zlib.decompressobj(wbits=31) if is_zipped else None

    def add(self, chunk: "Buffer") -> None:
        """Keep a chunk, unless it is too much."""
        self.data += self._unzip.decompress(chunk, MAX_RESPONSE_BYTES + 1) if self._unzip else chunk
        if len(self.data) > MAX_RESPONSE_BYTES:
            raise too_large()

    def end(self) -> bytes:
        """The whole body.

        Raises:
            ValueError: it broke off.
        """
        if self._unzip and not self._unzip.eof:
            raise ValueError("the compressed answer broke off")
        return bytes(self.data)
