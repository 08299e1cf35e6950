"""The wiring: a store, its key and the service behind one WSGI and one ASGI application.

Connect and gRPC-Web, binary and JSON. Every request passes `Guard` and `Authenticate` before its body
is read.
"""

import hmac
import logging
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.util import find_spec
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from connectrpc.code import Code
from connectrpc.codec import proto_binary_codec
from connectrpc.compression import Compression
from connectrpc.compression.gzip import GzipCompression
from connectrpc.errors import ConnectError
from connectrpc.request import RequestContext

from gitpod.server.errors import ServiceError, StoreBusyError
from gitpod.server.keyring import Keyring, key_file, random_key
from gitpod.server.service import CALLER, AsyncSecretService, Caller, SecretService
from gitpod.server.store import Store
from gitpod.server.strict_json import StrictJSONCodec
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceASGIApplication, SecretServiceWSGIApplication

logger = logging.getLogger("gitpod.server")

MAX_REQUEST_BYTES = 128 * 1024
"""The largest body to read, decompressed. A value of 10240 characters takes up to 120 KiB of escaped JSON."""

Ctx = RequestContext[Any, Any]
Scope = MutableMapping[str, Any]
ASGIApplication = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class Guard:
    """Gives every call a request id, and keeps what the runtime quotes of a request out of errors."""

    def on_start_sync(self, ctx: Ctx, /) -> str:
        """Name the request (connectrpc.interceptor.MetadataInterceptorSync)."""
        request_id = str(uuid.uuid4())
        ctx.response_headers["x-request-id"] = request_id
        ctx.response_headers["cache-control"] = "no-store"
        return request_id

    def on_end_sync(self, token: str, ctx: Ctx, error: Exception | None, /) -> None:
        """Replace an error that is not the service's own."""
        if error is None or (isinstance(error, ConnectError) and error.__cause__ is None):
            return
        if isinstance(error, StoreBusyError):
            raise ConnectError(Code.UNAVAILABLE, "the store is busy; nothing was written")
        if isinstance(error, ConnectError) and error.code is Code.DEADLINE_EXCEEDED:
            raise ConnectError(error.code, "the deadline passed")
        if isinstance(error, ConnectError) and error.code is not Code.INTERNAL:
            # The runtime could not decode the body, and its message quotes it.
            raise ConnectError(error.code, "the request's body is not a valid message")
        # Where it happened, without the message, which may quote a value.
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.error("request %s: %s: %s\n%s", token, ctx.method.name, type(error).__name__, frames)
        raise ConnectError(Code.INTERNAL, f"internal error; the service's log has request {token}")

    async def on_start(self, ctx: Ctx, /) -> str:
        """`on_start_sync` for connectrpc.interceptor.MetadataInterceptor."""
        return self.on_start_sync(ctx)

    async def on_end(self, token: str, ctx: Ctx, error: Exception | None, /) -> None:
        """`on_end_sync` for connectrpc.interceptor.MetadataInterceptor."""
        self.on_end_sync(token, ctx, error)


class Authenticate:
    """Finds out who calls. Without a token of its own (in process) it takes whatever it is given."""

    def __init__(self, caller: Caller, token: str | None) -> None:
        if token is not None and (not token or not all("!" <= character <= "~" for character in token)):
            raise ServiceError("the token must be printable ASCII without spaces or line breaks")
        self._caller = caller
        self._digest = sha256(token.encode()).digest() if token else None

    def on_start_sync(self, ctx: Ctx, /) -> None:
        """Refuse a request without the right token (connectrpc.interceptor.MetadataInterceptorSync)."""
        if self._digest is not None:
            scheme, _, given = ctx.request_headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not given:
                raise ConnectError(Code.UNAUTHENTICATED, "authorization: a bearer token is required")
            if not hmac.compare_digest(sha256(given.strip().encode()).digest(), self._digest):
                raise ConnectError(Code.UNAUTHENTICATED, "authorization: the bearer token is not known")
        CALLER.set(self._caller)

    def on_end_sync(self, token: None, ctx: Ctx, error: Exception | None, /) -> None:
        """Nothing to do."""

    async def on_start(self, ctx: Ctx, /) -> None:
        """`on_start_sync` for connectrpc.interceptor.MetadataInterceptor."""
        self.on_start_sync(ctx)

    async def on_end(self, token: None, ctx: Ctx, error: Exception | None, /) -> None:
        """Nothing to do."""


ACCEPTED_ENCODINGS = ("accept-encoding", "connect-accept-encoding", "grpc-accept-encoding")
"""The headers by which a client asks for compressed answers. They are dropped: how well an answer that
holds a secret compresses says something about it (CRIME, BREACH). Compressed requests are welcome."""


def _compressions() -> list[Compression]:
    """How requests may be compressed: zstd needs a package of its own."""
    if find_spec("zstandard") is None:
        return [GzipCompression()]
    from connectrpc.compression.zstd import ZstdCompression  # which imports that package

    return [GzipCompression(), ZstdCompression()]


def _guarded_wsgi(app: WSGIApplication) -> WSGIApplication:
    dropped = {f"HTTP_{name.upper().replace('-', '_')}" for name in ACCEPTED_ENCODINGS}

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return app({key: value for key, value in environ.items() if key not in dropped}, start_response)

    return guarded


def _guarded_asgi(app: ASGIApplication) -> ASGIApplication:
    dropped = {name.encode() for name in ACCEPTED_ENCODINGS}

    async def guarded(
        scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if (status := _unservable(scope)) is not None:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body"})
            return
        kept = [header for header in scope["headers"] if header[0].lower() not in dropped]
        await app({**scope, "headers": kept}, receive, send)

    return guarded


def _unservable(scope: Scope) -> int | None:
    """The status for headers that the runtime would fail on, with a traceback in the log for each request."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for name, value in headers:
        if not (name.isascii() and value.isascii()):
            return 400
        is_grpc = name == b"content-type" and value.startswith(b"application/grpc") and b"grpc-web" not in value
        # gRPC needs trailers, which uvicorn does not send; gRPC-Web does without.
        if is_grpc and "http.response.trailers" not in (scope.get("extensions") or {}):
            return 415
    return None


class Embedded:
    """A running service: `wsgi` and `asgi` are its applications.

    Args:
        url: `sqlite:///path/to/file.db`, whose key is kept beside it in `file.db.key`; or `sqlite://`
            for a store in memory, which is gone with this object.
        token: the bearer token that requests must carry; any will do when it is None.

    Raises:
        ServiceError: the store cannot be opened, or its key is missing or not its own.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._store = Store(url)
        organization = self._store.organization()
        path = self._store.path
        if path is None:
            kek = random_key()
        else:
            kek = key_file(path.with_name(f"{path.name}.key"), create=self._store.is_empty())
        keys = self._store.data_keys(organization.id, lambda: Keyring.new_key(kek, organization.id))
        service = SecretService(self._store, Keyring(kek, keys))
        owner = Subject(id=organization.owner_id, principal=Principal.USER)
        interceptors = [Guard(), Authenticate(Caller(organization_id=organization.id, subject=owner), token)]
        options: dict[str, Any] = {
            "interceptors": interceptors,
            "read_max_bytes": MAX_REQUEST_BYTES,
            "codecs": [proto_binary_codec(), StrictJSONCodec()],
            "compressions": _compressions(),
        }
        # Both run handlers here, so that closing can wait for those under way.
        self.executor = ThreadPoolExecutor(thread_name_prefix="gitpod-embedded")
        self.wsgi = _guarded_wsgi(SecretServiceWSGIApplication(service, **options))
        self.asgi = _guarded_asgi(SecretServiceASGIApplication(AsyncSecretService(service, self.executor), **options))

    @property
    def in_memory(self) -> bool:
        """Whether the store is gone with this object."""
        return self._store.path is None

    def abandon(self) -> None:
        """Leave the store to the process that this one was forked from."""
        self._store.abandon()

    def close(self) -> None:
        """Finish what is under way and close the store. Safe to repeat."""
        self.executor.shutdown()
        self._store.close()
