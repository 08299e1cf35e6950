"""How the options of a client become those of its stub and of a call, and what becomes of a failure."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from connectrpc.codec import Codec, proto_binary_codec
from protobuf import Message, message_from_json_value

from gitpod._options import Options, headers, seconds
from gitpod._retry import RetryInterceptor
from gitpod._version import __version__
from gitpod.errors import GitpodError, InvalidRequestError, translate

M = TypeVar("M", bound=Message)
Headers = Mapping[str, str]

USER_AGENT = f"gitpod-connect-python/{__version__}"


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
        return message_from_json_value(message_class, json.loads(data), ignore_unknown_fields=True)


class HiddenHeaders(dict[str, str]):
    """The headers of a list, kept for its next page. Its repr shows their names alone."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


class Calls:
    """What the calls of both clients share."""

    def __init__(self, options: Options, address: str) -> None:
        self._options = options
        self._stub_options: dict[str, Any] = {
            "address": address,
            "codec": JSONCodec() if options.codec == "json" else proto_binary_codec(),
            # gzip makes a request of this size no smaller.
            "send_compression": None,
            "interceptors": [RetryInterceptor(options.max_retries)],
        }

    def _call_options(self, timeout: float | None, extra_headers: Headers | None) -> dict[str, Any]:
        try:
            given = self._options.timeout if timeout is None else seconds(timeout)
            extra = headers(extra_headers, "extra_headers")
        except GitpodError as error:
            raise InvalidRequestError(str(error)) from None
        token = f"Bearer {self._options.bearer_token}"
        return {
            "headers": {"user-agent": USER_AGENT, "authorization": token, **self._options.default_headers, **extra},
            # Whole milliseconds, as connectrpc sends whatever it is given.
            "timeout_ms": max(1, round(given * 1000)),
        }

    def _translated(self, error: Exception, request: Message, extra_headers: Headers | None) -> BaseException:
        sent = {"authorization": self._options.bearer_token, **self._options.default_headers, **(extra_headers or {})}
        credentials = [header.rpartition(" ")[2] for header in sent.values()]
        return translate(error, self._options.bearer_token, *credentials, getattr(request, "value", ""))
