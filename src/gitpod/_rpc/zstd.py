"""The zstd of connectrpc with another decompression. It needs the package zstandard."""

from connectrpc.compression.zstd import ZstdCompression

from gitpod._transport.body import unzstd


class Zstd(ZstdCompression):
    """Compresses requests, and decompresses answers of gRPC and gRPC-Web."""

    def decompress(self, data: bytes | bytearray | memoryview, read_max_bytes: int | None = None) -> bytes:  # noqa: ARG002 # the bound of all answers holds
        """Decompress an answer.

        Raises:
            ValueError: it is broken.
            APIResponseValidationError: it is too large.
        """
        return unzstd(bytes(data))
