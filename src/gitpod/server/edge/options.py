"""How the applications that `protoc-gen-connectrpc` generates are set up, for any service."""

from importlib.util import find_spec
from typing import Any

from connectrpc.compression import Compression
from connectrpc.compression.gzip import GzipCompression
from protobuf import Registry

from gitpod.server.edge.codecs import KnownBinaryCodec, StrictJSONCodec
from gitpod.server.edge.guard import Guard

MAX_REQUEST_BYTES = 128 * 1024
"""The largest body to read, decompressed. A value of 10240 characters takes up to 120 KiB of escaped JSON."""


def application_options(
    *interceptors: object, telemetry: tuple[Any, ...] = (), registry: Registry | None = None
) -> Any:  # noqa: ANN401 # generated classes of both kinds take it
    """Return the keyword arguments of a generated WSGI or ASGI application.

    Args:
        interceptors: run after the guard, in this order.
        telemetry: run before it (connectrpc-otel).
        registry: the messages that a `google.protobuf.Any` may hold. None: the service has no such field.
    """
    return {
        "interceptors": [*telemetry, Guard(), *interceptors],
        "read_max_bytes": MAX_REQUEST_BYTES,
        "codecs": [KnownBinaryCodec(), StrictJSONCodec(registry)],
        "compressions": _compressions(),
    }


def _compressions() -> list[Compression]:
    """Return the compressions of requests: gzip, and zstd if its package is installed."""
    if find_spec("zstandard") is None:
        return [GzipCompression()]
    from gitpod.server.edge.whole_zstd import WholeZstd  # which imports that package

    return [GzipCompression(), WholeZstd()]
