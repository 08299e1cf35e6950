"""The two clients: their options and their lifetime.

`_secrets/` makes the calls and loads the RPC stack, at the first `.secrets`. `_transport/` opens the connections, at
the first call.
"""

from gitpod._endpoint import Endpoint
from gitpod._options import Options
from gitpod._rpc.tracebacks import without_frames
from gitpod._transport.loading import loading
from gitpod.errors import APIConnectionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self, Unpack

    from gitpod._options import ClientOptions, Codec, Compression, Path, Protocol
    from gitpod._secrets.aio import AsyncSecrets
    from gitpod._secrets.sync import Secrets


class _Client:
    """What both clients share: options, and connections that copies have in common."""

    _is_async: bool
    _endpoint: Endpoint
    _options: Options
    _shared: "dict[str, Any]"

    @without_frames
    def __init__(  # noqa: PLR0913 # options by name
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
        given = None
        if http_client is not None:
            from gitpod._transport.given import adapt  # rarely needed

            given = adapt(http_client, is_async=self._is_async)
        self._endpoint = Endpoint(
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
            needs_token=not self._endpoint.is_embedded,
            timeout=timeout,
            max_retries=max_retries,
            protocol=protocol,
            codec=codec,
            compression=compression,
            default_headers=default_headers,
        )
        self._shared = {"given": given}
        if given is not None or self._endpoint.is_embedded:
            # They check the store, and remember the process that the caller's http_client belongs to.
            _ = self._transport

    @property
    def _transport(self) -> "Any":  # noqa: ANN401 # of either kind
        """The connections. They load at the first use, as their modules are slow to load."""
        made = self._shared.get("connections")
        if made is None:
            with loading():
                from gitpod._transport.connections import AsyncConnections, SyncConnections

            kind = AsyncConnections if self._is_async else SyncConnections
            # Of two threads that come here at once, both get the connections of the first.
            made = self._shared.setdefault("connections", kind(self._endpoint, self._shared["given"]))
        return made

    def _to_close(self) -> "Any":  # noqa: ANN401 # of either kind
        """The connections; None if there was no call, and the interpreter, at its end, cannot load them any more."""
        try:
            return self._transport
        except APIConnectionError:
            return None

    @property
    def base_url(self) -> str:
        """The URL of the service, without a trailing slash and without a database's password."""
        return self._endpoint.base_url

    @without_frames
    def with_options(self, **changes: "Unpack[ClientOptions]") -> "Self":
        """Return a copy with some options changed. It shares this client's connections: closing one closes both.

        Args:
            **changes: `bearer_token`, `timeout`, `max_retries`, `codec`, as for the constructor. `default_headers`
                are added to those of this client. What is left out stays as it is.

        Raises:
            GitpodError: an option is malformed, or is not one of these.
        """
        copy = object.__new__(type(self))
        copy._options = self._options.changed(changes)
        copy._endpoint, copy._shared = self._endpoint, self._shared
        return copy

    copy = with_options

    def __repr__(self) -> str:
        # A traceback may show a client whose constructor failed before it had connections.
        where = f"base_url={self.base_url!r}" if hasattr(self, "_endpoint") else ""
        return f"{type(self).__name__}({where})"


class Gitpod(_Client):
    """A client of `gitpod.v1.SecretService`.

    Threads may share it. It is a context manager. `close()` gives the connections back at once; a client that is
    dropped without it leaks nothing. `docs/design/` explains connections, forks, signals and their limits.

    Args:
        bearer_token: authenticates every call. Default: the environment variable GITPOD_API_KEY. An embedded
            service accepts any token, and also none.
        base_url: where the service is. Default: GITPOD_BASE_URL, then the hosted service.
            `https://host/path` for a service on the network, `http://` for one on this machine. `sqlite:///file.db`,
            `sqlite://` (in memory) or `postgresql://…` embeds the service in this process, and needs
            `gitpod-connect[server]`. GITPOD_SECRETS_KEY names the key of an embedded store; default: the file
            `file.db.key` beside the database.
        timeout: seconds for a whole call, retries included; default 60. Establishing a connection takes at most 5 of
            them.
        max_retries: how often a request may be sent again, where that is safe; default 2.
        protocol: `"connect"` (default), `"grpc"` or `"grpc-web"`.
        codec: `"binary"` protobuf (default) or `"json"`.
        compression: of requests: None (default), `"gzip"`, or `"zstd"` with `gitpod-connect[zstd]`. Many services
            answer in the compression of the request.
        default_headers: headers to send with every call. Default: none.
        http2: whether to speak HTTP/2 and nothing else; default False. Over `https://` it is then negotiated by ALPN,
            over `http://` it begins with the first byte. gRPC always uses HTTP/2.
        ca_cert: path of a PEM file: the certificate authorities to trust. Default: those of the system.
        client_cert: path of a PEM file with a certificate and its key, or the paths of both. Default: none.
        http_client: sends the requests in place of connections of this client, and is the caller's to close. A client
            of httpx or httpx2 (`gitpod-connect[httpx]`, `gitpod-connect[httpx2]`), a sync transport of pyqwest (make
            it with `follow_redirects=False`), or a WSGI application. Default: None.
        allow_plaintext: whether `http://` to other machines is allowed. It shows the token and every value to everyone
            on the way. Default: only if GITPOD_ALLOW_PLAINTEXT is 1.

    Raises:
        GitpodError: an option is missing or malformed.
    """

    _is_async = False
    _secrets: "Secrets | None" = None

    @property
    def secrets(self) -> "Secrets":
        """The calls of `gitpod.v1.SecretService`: `create`, `put`, `list`, `get_value`, `update_value`, `delete`."""
        if self._secrets is None:
            with loading():
                from gitpod._secrets.sync import Secrets

            self._secrets = Secrets(self._options, self._transport)
        return self._secrets

    def close(self) -> None:
        """Close the connections, which copies made by `with_options` share. It is safe to repeat."""
        if (connections := self._to_close()) is not None:
            connections.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class AsyncGitpod(_Client):
    """`Gitpod` for asyncio: the same options, errors and calls, awaited.

    Two options differ. `http_client` is an async client of httpx or httpx2, an async transport of pyqwest, or an ASGI
    application. Without `http2`, HTTP/2 or HTTP/1.1 is negotiated with an `https://` service.
    """

    _is_async = True
    _secrets: "AsyncSecrets | None" = None

    @property
    def secrets(self) -> "AsyncSecrets":
        """The calls of `gitpod.v1.SecretService`: `create`, `put`, `list`, `get_value`, `update_value`, `delete`."""
        if self._secrets is None:
            with loading():
                from gitpod._secrets.aio import AsyncSecrets

            self._secrets = AsyncSecrets(self._options, self._transport)
        return self._secrets

    async def close(self) -> None:
        """Close the connections, which copies made by `with_options` share. It is safe to repeat."""
        if (connections := self._to_close()) is not None:
            await connections.aclose()

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()


Client, AsyncClient = Gitpod, AsyncGitpod
