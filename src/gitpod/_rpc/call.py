"""Turns the options of a client into those of its stubs and calls, and a failure into the caller's error."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from connectrpc.codec import Codec, proto_binary_codec
from connectrpc.compression import Compression
from connectrpc.compression.gzip import GzipCompression
from connectrpc.protocol import ProtocolType
from protobuf import Message, Registry, message_from_json_value

from gitpod._options import Options, headers, seconds
from gitpod._rpc.failure import forget_frames
from gitpod._rpc.mask import mask_of
from gitpod._rpc.retry import RetryInterceptor
from gitpod._rpc.translate import translate
from gitpod._rpc.unary import Unary
from gitpod._transport.body import MAX_RESPONSE_BYTES
from gitpod._version import __version__
from gitpod.errors import GitpodError, InvalidRequestError

if TYPE_CHECKING:
    from gitpod._transport.connections import AsyncConnections, SyncConnections

M = TypeVar("M", bound=Message)
S = TypeVar("S")
Headers = Mapping[str, str]

USER_AGENT = f"gitpod-connect-python/{__version__}"
PROTOCOLS = {"grpc": ProtocolType.GRPC, "grpc-web": ProtocolType.GRPC_WEB}


class JSONCodec(Codec[Message, Any]):
    """Replaces `connectrpc.codec.proto_json_codec`, whose parser recurses without a bound.

    There, an answer of 200 KB of brackets ends the process.

    Args:
        registry: the messages that `google.protobuf.Any` may hold. Default: none, as the contract has no such field.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry

    def name(self) -> str:
        """Return the codec's part of the content type."""
        return "json"

    def encode(self, message: Message) -> bytes:
        """Return the message as JSON."""
        return message.to_json(registry=self._registry).encode()

    def decode(self, data: bytes | bytearray, message_class: type[M]) -> M:
        """Return the message. Fields that are newer than this package are ignored."""
        value = json.loads(data)
        if b"\\ud" in data.lower():
            # A string of protobuf is UTF-8, which has no lone surrogates.
            json.dumps(value, ensure_ascii=False).encode()
        return message_from_json_value(message_class, value, ignore_unknown_fields=True, registry=self._registry)


class Call:
    """The options of one call. Its repr shows none of them, as the headers hold credentials."""

    __slots__ = ("headers", "timeout")

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
            extra = {} if extra_headers is None else headers(extra_headers, "extra_headers")
        except GitpodError as error:
            raise InvalidRequestError(str(error)) from None
        own = {"user-agent": USER_AGENT, "authorization": f"Bearer {options.bearer_token}"}
        self.headers = {**own, **options.default_headers, **extra}
        if no_store:
            self.headers["cache-control"] = "no-store"

    @property
    def timeout_ms(self) -> int:
        """The timeout in whole milliseconds: connectrpc sends a fraction as it is."""
        return max(1, round(self.timeout * 1000))


class Calls(Generic[S]):
    """What the calls of both clients share: the options, and the stubs.

    Args:
        options: those of the client.
        transport: the connections of the client.
        stub: the generated stub, for gRPC and gRPC-Web.
        unary: the same stub over `_rpc.unary`, for Connect.
    """

    def __init__(
        self,
        options: Options,
        transport: "SyncConnections | AsyncConnections",
        *,
        stub: Callable[..., S],
        unary: Callable[..., S],
    ) -> None:
        self._options = options
        zstd = _zstd() if options.compression == "zstd" else None
        shared: dict[str, Any] = {
            "address": transport.endpoint.address,
            "codec": JSONCodec() if options.codec == "json" else proto_binary_codec(),
            # None by default: gzip does not make a request of this size smaller.
            "send_compression": zstd or (GzipCompression() if options.compression == "gzip" else None),
            # gRPC services may answer in what the request is sent in. None stands for gzip.
            "accept_compression": [zstd, GzipCompression()] if zstd else None,
        }
        make: Callable[[RetryInterceptor], S]
        if options.protocol == "connect":
            make = partial(unary, Unary(**shared), transport)
        else:
            http = {"http_client": transport, "protocol": PROTOCOLS[options.protocol]}
            # connectrpc decompresses these answers itself. For Connect, `_transport` keeps the bound.
            make = partial(_stub, partial(stub, **shared, **http, read_max_bytes=MAX_RESPONSE_BYTES))
        retries = partial(RetryInterceptor, options.max_retries, has_trailers=options.protocol != "connect")
        self._stub = make(retries())
        # For `put`, which may send every request twice.
        self._repeating = make(retries(repeat=True))

    def _translated(self, error: Exception, request: Message, call: Call) -> BaseException:
        """Return the error that the caller gets for a failure, without the frames that hold the request."""
        # The token is masked even if the caller has replaced the header that holds it.
        failure = translate(error, mask_of(request, {"": self._options.bearer_token, **call.headers}))
        forget_frames(error)
        return failure


def _stub(make: Callable[..., S], retries: RetryInterceptor) -> S:
    return make(interceptors=[retries])


def _zstd() -> Compression:
    from gitpod._rpc.zstd import Zstd  # needs the extra

    return Zstd()
