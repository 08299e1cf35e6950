"""The options of a client and of a call: where they come from, and what is refused.

Errors name the option and the rule, never what was given.
"""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from gitpod.errors import GitpodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypedDict

    class ClientOptions(TypedDict, total=False):
        """What `with_options` may change."""

        bearer_token: str
        timeout: float
        max_retries: int
        codec: Literal["binary", "json"]
        default_headers: Mapping[str, str] | None


DEFAULT_BASE_URL = "https://app.ona.com/api"
LONGEST_TIMEOUT = 9_999_999
"""Seconds; `connect-timeout-ms` has room for ten digits."""
NAME_PUNCTUATION = "!#$%&'*+-.^_`|~"
"""What a header's name may hold beside letters and digits (RFC 9110 section 5.6.2)."""


class Options:
    """The checked options of a client, all but where the service is. Its repr shows no token."""

    __slots__ = ("bearer_token", "codec", "default_headers", "max_retries", "timeout")

    def __init__(
        self,
        bearer_token: str | None,
        timeout: float,
        max_retries: int,
        codec: "Literal['binary', 'json']",
        default_headers: Mapping[str, str] | None,
    ) -> None:
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
            raise GitpodError("max_retries: must be a whole number, 0 or more")
        if codec not in ("binary", "json"):
            raise GitpodError('codec: must be "binary" or "json"')
        self.bearer_token = _token(os.environ.get("GITPOD_API_KEY") if bearer_token is None else bearer_token)
        self.timeout = seconds(timeout)
        self.max_retries = max_retries
        self.codec: Literal["binary", "json"] = codec
        self.default_headers = headers(default_headers, "default_headers")

    def __reduce__(self) -> str:
        raise TypeError("the options of a client hold its token, and are not pickled")


def seconds(timeout: float) -> float:
    """A timeout."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_TIMEOUT:
        raise GitpodError(f"timeout: must be a number of seconds, more than 0 and at most {LONGEST_TIMEOUT}")
    return float(timeout)


def headers(given: Mapping[str, str] | None, name: str) -> dict[str, str]:
    """Headers that HTTP can carry, by lower-case name. `name` is the option that they came by."""
    checked: dict[str, str] = {}
    if given is not None and not isinstance(given, Mapping):
        raise GitpodError(f"{name}: must be a mapping of strings to strings")
    for key, value in (given or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise GitpodError(f"{name}: must be a mapping of strings to strings")
        if not key or not all(c.isascii() and (c.isalnum() or c in NAME_PUNCTUATION) for c in key):
            raise GitpodError(f"{name}: a header's name must be an HTTP token, without spaces or colons")
        if not all(" " <= c <= "~" or c == "\t" for c in value) or value != value.strip():
            raise GitpodError(f"{name}: the value of {key!r} must be printable ASCII without surrounding spaces")
        checked[key.lower()] = value
    return checked


def service_url(base_url: str | None, *, allow_plaintext: bool | None) -> str:
    """Where the service is, without a trailing slash: a place that a token may be sent to."""
    url = base_url or os.environ.get("GITPOD_BASE_URL") or DEFAULT_BASE_URL
    if not isinstance(url, str):
        raise GitpodError("base_url: must be a string")
    if url.startswith("sqlite:"):
        return url
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise GitpodError("base_url: is not a valid URL") from None
    if parts.scheme not in ("https", "http") or not host:
        raise GitpodError("base_url: must start with https://, http:// or sqlite:")
    if "@" in parts.netloc:
        raise GitpodError("base_url: must not hold a user name or password; the token goes into bearer_token")
    if any(not "!" <= c <= "~" or c in "?#%" for c in url):
        raise GitpodError("base_url: must not hold a query, a fragment, escapes, spaces or non-ASCII characters")
    if not isinstance(allow_plaintext, bool | None):
        raise GitpodError("allow_plaintext: must be True or False")
    if allow_plaintext is None:
        allow_plaintext = os.environ.get("GITPOD_ALLOW_PLAINTEXT") == "1"
    if parts.scheme == "http" and not (allow_plaintext or _is_loopback(host)):
        raise GitpodError(
            f"base_url: http:// would show the token and every value on the way to {host}; use https://, "
            "or allow_plaintext=True (GITPOD_ALLOW_PLAINTEXT=1) on a network that you trust"
        )
    # With the scheme in lower case, which others decide by.
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def _token(given: str | None) -> str:
    if not given:
        raise GitpodError("bearer_token: missing; pass bearer_token=… or set the environment variable GITPOD_API_KEY")
    if not isinstance(given, str) or not all("!" <= c <= "~" for c in given):
        raise GitpodError("bearer_token: must be printable ASCII without spaces or line breaks")
    return given


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address  # only for plain http

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
