"""Zstandard for requests, without the gap that a message cut short is read as a shorter one. Loads an extra."""

import zstandard
from connectrpc.compression.zstd import ZstdCompression


class WholeZstd(ZstdCompression):
    """connectrpc's compression that refuses a frame that does not come to its end, as its gzip does."""

    def decompress(self, data: bytes | bytearray | memoryview, read_max_bytes: int | None = None) -> bytes:
        """Return the message (connectrpc.compression.Compression). Raises ValueError when it is cut short."""
        message = super().decompress(data, read_max_bytes)
        # The message has turned out to be small, so this has no bound of its own.
        frame = zstandard.ZstdDecompressor().decompressobj()
        frame.decompress(data)
        if data and not frame.eof:
            raise ValueError("the zstd frame does not come to its end")
        return message
