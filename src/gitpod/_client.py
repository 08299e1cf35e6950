"""The two clients: their options and their lifetime.

Nothing of the RPC stack loads before the first call; `_secrets.py` makes the calls, `_transport.py`
opens the connections.
"""

from functools import cached_property

from gitpod._options import Options, service_url
from gitpod._transport import AsyncTransport, SyncTransport
from gitpod.errors import GitpodError, without_frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any, Literal, Self, Unpack

    from gitpod._options import ClientOptions
    from gitpod._secrets import AsyncSecrets, Secrets

__all__ = ["AsyncGitpod", "Gitpod"]


class _Client:
    """What both clients are: options, connections that `with_options` shares, and the calls."""

    _options: Options
    _transport: "Any"

    @without_frames
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
        self._transport = self._connections(service_url(base_url, allow_plaintext=allow_plaintext))

    def _connections(self, base_url: str) -> "SyncTransport | AsyncTransport":
        raise NotImplementedError

    @property
    def base_url(self) -> str:
        """Where the service is."""
        url: str = self._transport.base_url
        return url

    @without_frames
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
        copy._transport = self._transport
        return copy

    def __repr__(self) -> str:
        # A constructor that fails leaves a client without connections, which a traceback may still show.
        where = f"base_url={self.base_url!r}" if hasattr(self, "_transport") else ""
        return f"{type(self).__name__}({where})"


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
            whoever is on the way; by default only if GITPOD_ALLOW_PLAINTEXT is 1.

    Raises:
        GitpodError: an option is missing or malformed.
    """

    @cached_property
    def secrets(self) -> "Secrets":
        """The calls of `gitpod.v1.SecretService`."""
        from gitpod._secrets import Secrets

        return Secrets(self._options, self._transport)

    def close(self) -> None:
        """Close the connections, also those of copies made by `with_options`. Safe to repeat."""
        self._transport.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        self.close()

    def _connections(self, base_url: str) -> SyncTransport:
        return SyncTransport(base_url)


class AsyncGitpod(_Client):
    """`Gitpod` for asyncio: the same options, errors and calls, awaited."""

    @cached_property
    def secrets(self) -> "AsyncSecrets":
        """The calls of `gitpod.v1.SecretService`."""
        from gitpod._secrets import AsyncSecrets

        return AsyncSecrets(self._options, self._transport)

    async def close(self) -> None:
        """Close the connections, also those of copies made by `with_options`. Safe to repeat."""
        await self._transport.aclose()

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        await self.close()

    def _connections(self, base_url: str) -> AsyncTransport:
        return AsyncTransport(base_url)
