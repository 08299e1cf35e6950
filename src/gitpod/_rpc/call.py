"""How the options of a client become those of its stub and of a call, and what becomes of a failure."""

import json
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any, TypeVar

from connectrpc.code import Code
from connectrpc.codec import Codec, proto_binary_codec
from connectrpc.compression import Compression
from connectrpc.compression.gzip import GzipCompression
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from protobuf import Message, message_from_json_value

from gitpod._options import Options, headers, seconds
from gitpod._rpc.failure import LAST_ANSWER, Answer, Failure, forget_frames
from gitpod._rpc.mask import mask_of
from gitpod._rpc.retry import RetryInterceptor
from gitpod._rpc.translate import translate
from gitpod._transport.connections import MAX_RESPONSE_BYTES
from gitpod._transport.interrupts import wait
from gitpod._version import __version__
from gitpod.errors import GitpodError, InvalidRequestError

M = TypeVar("M", bound=Message)
RES = TypeVar("RES")
Headers = Mapping[str, str]

USER_AGENT = f"gitpod-connect-python/{__version__}"
GRACE = 0.1
"""Seconds after a deadline that transports have to notice it themselves, and to say more about it."""

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


def patiently(rpc: Callable[..., RES], request: Message, call: Call) -> RES:
    """Make a call by a helper thread: interruptible, and bound by its deadline whatever the transport does."""
    context = copy_context()
    try:
        return wait(call.timeout + GRACE, context, rpc, request, **call.options())
    except TimeoutError as error:
        late = ConnectError(Code.DEADLINE_EXCEEDED, "Request timed out")
        late.__cause__ = error
        raise Failure(late, context.get(LAST_ANSWER) or Answer(1), None) from None
    finally:
        if (answer := context.get(LAST_ANSWER)) is not None:
            LAST_ANSWER.set(answer)


def _compression(name: str | None) -> Compression | None:
    if name == "zstd":
        from connectrpc.compression.zstd import ZstdCompression  # which needs the extra

        return ZstdCompression()
    return GzipCompression() if name == "gzip" else None
