"""The two clients: their options and their lifetime.

Nothing of the RPC stack loads before the first call; `_secrets.py` makes the calls, `_transport.py`
opens the connections.
"""

from typing import TYPE_CHECKING

from gitpod._endpoint import Endpoint
from gitpod._options import Options
from gitpod._rpc.tracebacks import without_frames
from gitpod._transport.connections import AsyncConnections, SyncConnections

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any, Self, Unpack

    from gitpod._options import ClientOptions, Codec, Compression, Path, Protocol
    from gitpod._secrets.aio import AsyncSecrets
    from gitpod._secrets.sync import Secrets

__all__ = ["AsyncGitpod", "Gitpod"]


class _Client:
    """What both clients are: options, connections that `with_options` shares, and the calls."""

    _options: Options
    _transport: "Any"

    @without_frames
    def __init__(  # noqa: PLR0913 # options, by name
        self,
        *,
        bearer_token: str | None = None,
        base_url: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 2,
        protocol: "Protocol" = "connect",
        codec: "Codec" = "binary",
        compression: "Compression | None" = None,
        default_headers: "Mapping[str, str] | None" = None,
        http2: bool = False,
        ca_cert: "Path | None" = None,
        client_cert: "Path | tuple[Path, Path] | None" = None,
        http_client: "object | None" = None,
        allow_plaintext: bool | None = None,
    ) -> None:
        given = None if http_client is None else self._adapted(http_client)
        endpoint = Endpoint(
            base_url=base_url,
            allow_plaintext=allow_plaintext,
            protocol=protocol,
            http2=http2,
            ca_cert=ca_cert,
            client_cert=client_cert,
            given=given,
        )
        self._options = Options(
            bearer_token=bearer_token,
            needs_token=not endpoint.is_embedded,
            timeout=timeout,
            max_retries=max_retries,
            protocol=protocol,
            codec=codec,
            compression=compression,
            default_headers=default_headers,
        )
        self._transport = self._connections(endpoint, given)

    def _adapted(self, http_client: object) -> "Any":  # noqa: ANN401 # of several classes
        from gitpod._transport.given import adapt  # rarely needed

        return adapt(http_client, is_async=isinstance(self, AsyncGitpod))

    def _connections(self, endpoint: Endpoint, given: "Any") -> "SyncConnections | AsyncConnections":  # noqa: ANN401 # of several classes
        raise NotImplementedError

    @property
    def base_url(self) -> str:
        """Where the service is."""
        url: str = self._transport.endpoint.base_url
        return url

    @without_frames
    def with_options(self, **changes: "Unpack[ClientOptions]") -> "Self":
        """A copy with some options changed, which shares this client's connections.

        Closing either closes both. Takes `bearer_token`, `timeout`, `max_retries`, `codec` and
        `default_headers`, which are added to those of this client; raises `GitpodError` like the
        constructor.
        """
        copy = object.__new__(type(self))
        copy._options = self._options.changed(changes)
        copy._transport = self._transport
        return copy

    copy = with_options

    def __repr__(self) -> str:
        # A constructor that fails leaves a client without connections, which a traceback may still show.
        where = f"base_url={self.base_url!r}" if hasattr(self, "_transport") else ""
        return f"{type(self).__name__}({where})"


class Gitpod(_Client):
    """A client of `gitpod.v1.SecretService`.

    Safe to share between threads. Close it, or use it as a context manager, to give its connections
    back at once; a client that is merely dropped leaks nothing.

    Args:
        bearer_token: authenticates every call; the environment variable GITPOD_API_KEY by default. An
            embedded service takes any, and needs none.
        base_url: where the service is; GITPOD_BASE_URL by default, then the hosted service.
            `https://host/path` for a service on the network, `http://` for one on this machine,
            `sqlite:///file.db`, `sqlite://` (in memory) or `postgresql://…` for the service embedded in this
            process, which needs `gitpod-connect[server]`. It finds its key by GITPOD_SECRETS_KEY; the
            default is the file `file.db.key` beside the database.
        timeout: seconds that a call may take in all, retries included; 60 by default. A connection is
            given up after 5.
        max_retries: how often a request is sent again where that is safe; 2 by default.
        protocol: `"connect"` by default, `"grpc"` or `"grpc-web"`.
        codec: `"binary"` protobuf by default, or `"json"`.
        compression: of requests: None by default, `"gzip"`, or `"zstd"` with `gitpod-connect[zstd]`.
            Answers may be gzipped whatever this says.
        default_headers: sent with every call.
        http2: speak HTTP/2 to an `http://` service from the first byte. An `https://` one gets it by
            negotiation (ALPN), and gRPC always has it.
        ca_cert: path of the PEM certificates to trust instead of the system's.
        client_cert: path of a PEM file that holds a certificate and its key, or a pair of paths.
        http_client: sends the requests: an `httpx.Client` (`pip install 'gitpod-connect[httpx]'`), a
            `pyqwest.SyncClient` or transport (make it with `follow_redirects=False`), or a WSGI
            application. It is called from a thread of the client's own, and stays the caller's to close.
        allow_plaintext: allow `http://` to other machines, which shows the token and every value to
            whoever is on the way; by default only if GITPOD_ALLOW_PLAINTEXT is 1.

    Raises:
        GitpodError: an option is missing or malformed.
    """

    _secrets: "Secrets | None" = None

    @property
    def secrets(self) -> "Secrets":
        """The calls of `gitpod.v1.SecretService`."""
        if self._secrets is None:
            from gitpod._secrets.sync import Secrets

            self._secrets = Secrets(self._options, self._transport)
        return self._secrets

    def close(self) -> None:
        """Close the connections, also those of copies made by `with_options`. Safe to repeat."""
        self._transport.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        self.close()

    def _connections(self, endpoint: Endpoint, given: "Any") -> SyncConnections:  # noqa: ANN401 # of several classes
        return SyncConnections(endpoint, given)


class AsyncGitpod(_Client):
    """`Gitpod` for asyncio: the same options, errors and calls, awaited.

    `http_client` is an `httpx.AsyncClient`, a `pyqwest.Client` or transport, or an ASGI application.
    """

    _secrets: "AsyncSecrets | None" = None

    @property
    def secrets(self) -> "AsyncSecrets":
        """The calls of `gitpod.v1.SecretService`."""
        if self._secrets is None:
            from gitpod._secrets.aio import AsyncSecrets

            self._secrets = AsyncSecrets(self._options, self._transport)
        return self._secrets

    async def close(self) -> None:
        """Close the connections, also those of copies made by `with_options`. Safe to repeat."""
        await self._transport.aclose()

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        await self.close()

    def _connections(self, endpoint: Endpoint, given: "Any") -> AsyncConnections:  # noqa: ANN401 # of several classes
        return AsyncConnections(endpoint, given)
