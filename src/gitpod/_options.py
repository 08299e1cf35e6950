"""The options of a client and of a call: where they come from, and what is refused.

Errors name the option and the rule, never what was given.
"""

import os

from gitpod._endpoint import is_installed
from gitpod.errors import GitpodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from typing import Any, Literal, TypeAlias, TypedDict

    Codec: TypeAlias = Literal["binary", "json"]
    Protocol: TypeAlias = Literal["connect", "grpc", "grpc-web"]
    Compression: TypeAlias = Literal["gzip", "zstd"]
    Path: TypeAlias = str | PathLike[str]

    class ClientOptions(TypedDict, total=False):
        """The options that `with_options` may change."""

        bearer_token: str
        timeout: float
        max_retries: int
        codec: Codec
        default_headers: Mapping[str, str] | None


VARIABLE = "GITPOD_API_KEY"
QUOTES = "\"'"
CHANGEABLE = ("bearer_token", "timeout", "max_retries", "codec", "default_headers")
"""The names in `ClientOptions`."""
LONGEST_TIMEOUT = 9_999_999
"""Seconds; `connect-timeout-ms` has room for ten digits."""
NAME_PUNCTUATION = "!#$%&'*+-.^_`|~"
"""What a header's name may hold beside letters and digits (RFC 9110 section 5.6.2)."""


RESERVED = {
    "accept-encoding",
    "connect-accept-encoding",
    "connect-content-encoding",
    "connect-protocol-version",
    "connect-timeout-ms",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Headers of the protocol and the connection. A wrong `content-length`, for one, cuts a request in two."""


class Options:
    """The checked options of a client's calls. Its repr shows no token."""

    __slots__ = ("bearer_token", "codec", "compression", "default_headers", "max_retries", "protocol", "timeout")

    def __init__(
        self,
        *,
        bearer_token: str | None,
        needs_token: bool = True,
        timeout: float,
        max_retries: int,
        protocol: "Protocol",
        codec: "Codec",
        compression: "Compression | None",
        default_headers: "Mapping[str, str] | None",
    ) -> None:
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
            raise GitpodError("max_retries: must be a whole number, 0 or more")
        if protocol not in ("connect", "grpc", "grpc-web"):
            raise GitpodError('protocol: must be "connect", "grpc" or "grpc-web"')
        if codec not in ("binary", "json"):
            raise GitpodError('codec: must be "binary" or "json"')
        if compression not in (None, "gzip", "zstd"):
            raise GitpodError('compression: must be None, "gzip" or "zstd"')
        if compression == "zstd" and not is_installed("zstandard"):
            from gitpod._extras import needed  # for this message alone

            raise GitpodError(f'compression: "zstd" {needed("zstd")}')
        given = os.environ.get(VARIABLE) if bearer_token is None else bearer_token
        setting = VARIABLE if bearer_token is None and given else "bearer_token"
        self.bearer_token = checked_token(given if needs_token else given or "embedded", setting)
        self.timeout = seconds(timeout)
        self.max_retries = max_retries
        self.protocol: Protocol = protocol
        self.codec: Codec = codec
        self.compression: Compression | None = compression
        self.default_headers = headers(default_headers, "default_headers")

    def changed(self, changes: "ClientOptions") -> "Options":
        """Return these options with some changed. New headers are added to the present ones."""
        for name in changes:
            if name not in CHANGEABLE:
                raise GitpodError(f"with_options: {name}: is not an option that a copy can change")
        added = headers(changes.get("default_headers"), "default_headers")
        own: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        own.update(changes, default_headers={**self.default_headers, **added})
        return Options(**own)

    def __reduce__(self) -> str:
        raise TypeError("the options of a client hold its token, and are not pickled")


def seconds(timeout: float) -> float:
    """Check a timeout."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_TIMEOUT:
        raise GitpodError(f"timeout: must be a number of seconds, more than 0 and at most {LONGEST_TIMEOUT}")
    return float(timeout)


def headers(given: "Mapping[str, str] | None", name: str) -> dict[str, str]:
    """Check headers, and return them by lower-case name. `name` is that of their option."""
    if given is None:
        return {}
    from collections.abc import Mapping  # not needed by most clients

    checked: dict[str, str] = {}
    if not isinstance(given, Mapping):
        raise GitpodError(f"{name}: must be a mapping of strings to strings")
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise GitpodError(f"{name}: must be a mapping of strings to strings")
        if not key or not all(c.isascii() and (c.isalnum() or c in NAME_PUNCTUATION) for c in key):
            raise GitpodError(f"{name}: a header's name must be an HTTP token, without spaces or colons")
        if key.lower() in RESERVED:
            raise GitpodError(f"{name}: {key!r} is for the protocol to say")
        if not all(" " <= c <= "~" or c == "\t" for c in value) or value != value.strip():
            raise GitpodError(f"{name}: the value of {key!r} must be printable ASCII without surrounding spaces")
        checked[key.lower()] = value
    return checked


def checked_token(given: str | None, setting: str) -> str:
    """Check a token. `setting` is what gave it: the option, or the environment variable. Raises `GitpodError`."""
    if not given:
        raise GitpodError(f"bearer_token: missing; pass bearer_token=… or set the environment variable {VARIABLE}")
    if isinstance(given, str) and given[:7].lower() == "bearer ":
        raise GitpodError(f"{setting}: must be the token alone, without the word Bearer")
    if isinstance(given, str) and (given[0] in QUOTES or given[-1] in QUOTES):
        raise GitpodError(f"{setting}: must be the token alone, without quotes")
    if not isinstance(given, str) or not all("!" <= c <= "~" for c in given):
        raise GitpodError(f"{setting}: must be printable ASCII without spaces or line breaks")
    return given
