"""How the options of a client become those of its stub and of a call, and what becomes of a failure."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from connectrpc.codec import Codec, proto_binary_codec
from connectrpc.compression import Compression
from connectrpc.compression.gzip import GzipCompression
from connectrpc.protocol import ProtocolType
from protobuf import Message, message_from_json_value

from gitpod._options import Options, headers, seconds
from gitpod._rpc.failure import forget_frames
from gitpod._rpc.mask import mask_of
from gitpod._rpc.retry import RetryInterceptor
from gitpod._rpc.translate import translate
from gitpod._transport.body import MAX_RESPONSE_BYTES
from gitpod._version import __version__
from gitpod.errors import GitpodError, InvalidRequestError

M = TypeVar("M", bound=Message)
Headers = Mapping[str, str]

USER_AGENT = f"gitpod-connect-python/{__version__}"
PROTOCOLS = {"connect": ProtocolType.CONNECT, "grpc": ProtocolType.GRPC, "grpc-web": ProtocolType.GRPC_WEB}


class JSONCodec(Codec[Message, Any]):
    """`connectrpc.codec.proto_json_codec`, for answers from anybody.

    The parser behind that one recurses without a bound: 200 KB of brackets end the process.
    """

    def name(self) -> str:
        """The codec's part of the content type."""
        return "json"

    def encode(self, message: Message) -> bytes:
        """The message as JSON."""
        return message.to_json().encode()

    def decode(self, data: bytes | bytearray, message_class: type[M]) -> M:
        """The message; fields that are newer than this package are passed over."""
        value = json.loads(data)
        if b"\\ud" in data.lower():
            # A string of protobuf is UTF-8, which has no lone surrogates.
            json.dumps(value, ensure_ascii=False).encode()
        return message_from_json_value(message_class, value, ignore_unknown_fields=True)


class Call:
    """What a caller wants of a call beside its parameters. Shows none of it, as the headers are credentials."""

    __slots__ = ("credentials", "headers", "timeout")

    def __init__(
        self,
        options: Options,
        timeout: float | None,
        extra_headers: Headers | None,
        *,
        no_store: bool = False,
    ) -> None:
        try:
            self.timeout = options.timeout if timeout is None else seconds(timeout)
            extra = headers(extra_headers, "extra_headers")
        except GitpodError as error:
            raise InvalidRequestError(str(error)) from None
        given = {"authorization": f"Bearer {options.bearer_token}", **options.default_headers, **extra}
        self.credentials = {"": options.bearer_token, **given}
        self.headers = {"user-agent": USER_AGENT, **given, **({"cache-control": "no-store"} if no_store else {})}

    def options(self) -> dict[str, Any]:
        """The options of the stub's method."""
        # Whole milliseconds, as connectrpc sends whatever it is given.
        return {"headers": self.headers, "timeout_ms": max(1, round(self.timeout * 1000))}


class Calls:
    """What the calls of both clients share."""

    def __init__(self, options: Options, address: str) -> None:
        self._options = options
        self._address = address

    def _stub_options(self, *, repeat: bool = False) -> dict[str, Any]:
        """The options of a stub; `repeat` is for `put`, which may send everything twice."""
        return {
            "address": self._address,
            "protocol": PROTOCOLS[self._options.protocol],
            "codec": JSONCodec() if self._options.codec == "json" else proto_binary_codec(),
            # By default none, as gzip makes a request of this size no smaller.
            "send_compression": _compression(self._options.compression),
            # For gRPC, which decompresses by itself; see `_transport.py` for Connect.
            "read_max_bytes": MAX_RESPONSE_BYTES,
            "interceptors": [RetryInterceptor(self._options.max_retries, repeat=repeat)],
        }

    def _translated(self, error: Exception, request: Message, call: Call) -> BaseException:
        failure = translate(error, mask_of(request, call.credentials))
        forget_frames(error)
        return failure


def _compression(name: str | None) -> Compression | None:
    if name == "zstd":
        from connectrpc.compression.zstd import ZstdCompression  # which needs the extra

        return ZstdCompression()
    return GzipCompression() if name == "gzip" else None
