"""The two clients: their options, where those come from, and their lifetime.

Nothing of the RPC stack loads before the first call; `_secrets.py` makes the calls, `_transport.py`
opens the connections.
"""

import os
from urllib.parse import urlsplit

from gitpod._transport import Pool
from gitpod.errors import GitpodError, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Literal, Self, TypedDict, Unpack

    from gitpod._secrets import AsyncSecrets, Secrets

    class ClientOptions(TypedDict, total=False):
        """What `with_options` may change."""

        bearer_token: str
        timeout: float
        max_retries: int
        codec: Literal["binary", "json"]
        default_headers: Mapping[str, str] | None


__all__ = ["AsyncGitpod", "Gitpod"]

DEFAULT_BASE_URL = "https://app.ona.com/api"
LONGEST_TIMEOUT = 9_999_999.0
"""Seconds; `connect-timeout-ms` has room for ten digits."""


class Options:
    """The checked options of a client, all but where the service is. Its repr shows no token."""

    __slots__ = ("bearer_token", "codec", "default_headers", "max_retries", "timeout")

    def __init__(
        self,
        bearer_token: str | None,
        timeout: float,
        max_retries: int,
        codec: "Literal['binary', 'json']",
        default_headers: "Mapping[str, str] | None",
    ) -> None:
        token = bearer_token if bearer_token is not None else os.environ.get("GITPOD_API_KEY")
        if not token:
            raise GitpodError(
                "bearer_token: missing; pass bearer_token=… or set the environment variable GITPOD_API_KEY"
            )
        if not all("!" <= character <= "~" for character in token):
            raise GitpodError("bearer_token: must be printable ASCII without spaces or line breaks")
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
            raise GitpodError("max_retries: must be a whole number, 0 or more")
        if codec not in ("binary", "json"):
            raise GitpodError('codec: must be "binary" or "json"')
        self.bearer_token = token
        self.timeout = seconds(timeout)
        self.max_retries = max_retries
        self.codec: Literal["binary", "json"] = codec
        self.default_headers = headers(default_headers, "default_headers")


def seconds(timeout: float) -> float:
    """The timeout, when it is one."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_TIMEOUT:
        raise GitpodError(f"timeout: must be a number of seconds, more than 0 and at most {LONGEST_TIMEOUT:.0f}")
    return float(timeout)


def headers(given: "Mapping[str, str] | None", name: str) -> dict[str, str]:
    """The headers by lower-case name, when HTTP can carry them. An error names the header, not its value."""
    checked: dict[str, str] = {}
    for key, value in (given or {}).items():
        if not key or not all(c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in key):
            raise GitpodError(f"{name}: a header's name must be an HTTP token, without spaces or colons")
        if not all(" " <= c <= "~" or c == "\t" for c in value) or value != value.strip():
            raise GitpodError(f"{name}: the value of {key!r} must be printable ASCII without surrounding spaces")
        checked[key.lower()] = value
    return checked


class _Client:
    """What both clients are: options, and the pool of connections that `with_options` shares."""

    @clean
    def __init__(
        self,
        *,
        bearer_token: str | None = None,
        base_url: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 2,
        codec: "Literal['binary', 'json']" = "binary",
        default_headers: "Mapping[str, str] | None" = None,
        allow_plaintext: bool | None = None,
    ) -> None:
        self._options = Options(bearer_token, timeout, max_retries, codec, default_headers)
        if allow_plaintext is None:
            allow_plaintext = os.environ.get("GITPOD_ALLOW_PLAINTEXT") == "1"
        url = base_url or os.environ.get("GITPOD_BASE_URL") or DEFAULT_BASE_URL
        self._pool = Pool(checked_url(url, allow_plaintext=allow_plaintext))

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return self._pool.base_url

    @clean
    def with_options(self, **changes: "Unpack[ClientOptions]") -> "Self":
        """A copy with some options changed, which shares this client's connections.

        Closing either closes both. Takes `bearer_token`, `timeout`, `max_retries`, `codec` and
        `default_headers` (which replace those of this client); raises `GitpodError` like the
        constructor.
        """
        unknown = changes.keys() - set(Options.__slots__)
        if unknown:
            raise GitpodError(f"with_options: {', '.join(sorted(unknown))}: is not an option that a copy can change")
        kept = self._options
        copy = object.__new__(type(self))
        copy._options = Options(
            changes.get("bearer_token", kept.bearer_token),
            changes.get("timeout", kept.timeout),
            changes.get("max_retries", kept.max_retries),
            changes.get("codec", kept.codec),
            changes.get("default_headers", kept.default_headers),
        )
        copy._pool = self._pool
        return copy

    def __repr__(self) -> str:
        # A constructor that fails leaves a client without a pool, which a traceback may still show.
        return f"{type(self).__name__}(base_url={self.base_url!r})" if hasattr(self, "_pool") else type(self).__name__


class Gitpod(_Client):
    """A client of `gitpod.v1.SecretService`.

    Safe to share between threads. Close it, or use it as a context manager, to give its connections
    back at once; a client that is merely dropped leaks nothing.

    Args:
        bearer_token: authenticates every call; the environment variable GITPOD_API_KEY by default.
        base_url: where the service is; GITPOD_BASE_URL by default, then the hosted service.
            `https://host/path` for a service on the network, `http://` for one on this machine,
            `sqlite:///file.db` or `sqlite://` (in memory) for the service embedded in this process,
            which needs `gitpod-connect[server]`.
        timeout: seconds that a call may take in all, retries included; 60 by default. A connection is
            given up after 5.
        max_retries: how often a call is sent again after a failure that leaves no doubt; 2 by default.
        codec: `"binary"` protobuf by default, or `"json"`.
        default_headers: sent with every call.
        allow_plaintext: allow `http://` to other machines, which shows the token and every value to
            whoever is on the way; GITPOD_ALLOW_PLAINTEXT=1 by default.

    Raises:
        GitpodError: an option is missing or malformed.
    """

    @property
    def secrets(self) -> "Secrets":
        """The calls of `gitpod.v1.SecretService`."""
        # Loads the RPC stack, hence not at the top.
        from gitpod._secrets import Secrets

        return Secrets(self._options, self._pool)

    def close(self) -> None:
        """Close the connections, also those of copies made by `with_options`. Safe to repeat."""
        self._pool.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        self.close()


class AsyncGitpod(_Client):
    """`Gitpod` for asyncio: the same options, errors and calls, awaited."""

    @property
    def secrets(self) -> "AsyncSecrets":
        """The calls of `gitpod.v1.SecretService`."""
        # Loads the RPC stack, hence not at the top.
        from gitpod._secrets import AsyncSecrets

        return AsyncSecrets(self._options, self._pool)

    async def close(self) -> None:
        """Close the connections, also those of copies made by `with_options`. Safe to repeat."""
        await self._pool.aclose()

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        await self.close()


def checked_url(url: str, *, allow_plaintext: bool) -> str:
    """The base URL without a trailing slash, when it is one that a token may be sent to."""
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
    if parts.query or parts.fragment or any(not "!" <= c <= "~" for c in url):
        raise GitpodError("base_url: must not hold a query, a fragment, spaces or non-ASCII characters")
    if parts.scheme == "http" and not (allow_plaintext or _is_loopback(host)):
        raise GitpodError(
            f"base_url: http:// would show the token and every value on the way to {host}; use https://, "
            "or allow_plaintext=True (GITPOD_ALLOW_PLAINTEXT=1) on a network that you trust"
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    # Only for plain http, hence not at the top.
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
