"""The wiring: a store, its key and the service behind one WSGI and one ASGI application.

Connect and gRPC-Web, binary and JSON; the WSGI application serves gRPC too. Every request passes the edge,
`Guard` and `Authenticate` before its body is read.
"""

import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from connectrpc.code import Code
from connectrpc.compression import Compression
from connectrpc.compression.gzip import GzipCompression
from connectrpc.errors import ConnectError
from sqlalchemy.exc import DBAPIError

from gitpod.server.async_service import AsyncSecretService
from gitpod.server.auth import Authenticate, Caller, Ctx, Role
from gitpod.server.edge.codecs import KnownBinaryCodec, StrictJSONCodec
from gitpod.server.edge.headers import guarded_asgi, guarded_wsgi
from gitpod.server.errors import ServiceError, StoreUnavailableError, StoreUncertainError
from gitpod.server.keys.kek import KeyEncryptionKey, key_encryption_key, random_key
from gitpod.server.keys.keyring import Keyring, check_organization, new_data_key, sign_organization
from gitpod.server.log import REQUEST, logger
from gitpod.server.service import SecretService
from gitpod.server.storage.maintenance import Maintenance
from gitpod.server.storage.rows import Organization, WrappedKey
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceASGIApplication, SecretServiceWSGIApplication

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

MAX_REQUEST_BYTES = 128 * 1024
"""The largest body to read, decompressed. A value of 10240 characters takes up to 120 KiB of escaped JSON."""
THREADS = 64
"""For the calls that wait for the store at the same time; they share its commits."""


class Guard:
    """Gives every call a request id, and keeps what the runtime quotes of a request out of errors."""

    def on_start_sync(self, ctx: Ctx, /) -> None:
        """Name the request (connectrpc.interceptor.MetadataInterceptorSync)."""
        request = REQUEST.get()
        request.method = ctx.method.name
        ctx.response_headers["x-request-id"] = request.id
        ctx.response_headers["cache-control"] = "no-store"

    def on_end_sync(self, _token: None, ctx: Ctx, error: Exception | None, /) -> None:
        """Replace an error that is not the service's own."""
        told = _told(error, ctx)
        REQUEST.get().code = "ok" if told is None else told.code.value
        if told is not None and told is not error:
            raise told from None

    async def on_start(self, ctx: Ctx, /) -> None:
        """`on_start_sync` for connectrpc.interceptor.MetadataInterceptor."""
        self.on_start_sync(ctx)

    async def on_end(self, token: None, ctx: Ctx, error: Exception | None, /) -> None:
        """`on_end_sync` for connectrpc.interceptor.MetadataInterceptor."""
        self.on_end_sync(token, ctx, error)


def _told(error: Exception | None, ctx: Ctx) -> ConnectError | None:
    """What the caller is told of an error."""
    if error is None or (isinstance(error, ConnectError) and error.__cause__ is None):
        # The runtime's own quotes the header.
        is_quoting = error is not None and error.message.startswith("unknown compression")
        return ConnectError(Code.UNIMPLEMENTED, "compression: send gzip, or none") if is_quoting else error
    if isinstance(error, StoreUnavailableError):
        logger.info("request %s: %s: %s", REQUEST.get().id, error, error.reason)
        return ConnectError(Code.UNAVAILABLE, str(error))
    if isinstance(error, ConnectError) and error.code is not Code.INTERNAL:
        # The runtime could not decode the body, and its message quotes it.
        is_late = error.code is Code.DEADLINE_EXCEEDED
        return ConnectError(
            error.code, "the deadline passed" if is_late else "the request's body is not a valid message"
        )
    request_id = REQUEST.get().id
    # Where it happened, without the message, which may quote a value.
    frames = "".join(traceback.format_tb(error.__traceback__))
    what = f"{type(error).__name__}: {error}" if isinstance(error, ServiceError) else type(error).__name__
    text = f"request {request_id}: {ctx.method.name}: {what}\n{frames}"
    logger.error(text, extra={"fields": {"request_id": request_id}})
    if isinstance(error, ServiceError):
        # The key cannot be used now; it is needed before anything is written.
        return ConnectError(Code.UNAVAILABLE, "the key cannot be used; nothing was written")
    if isinstance(error, StoreUncertainError):
        return ConnectError(Code.INTERNAL, "the store was lost during the commit; the outcome is not known")
    return ConnectError(Code.INTERNAL, f"internal error; the service's log has request {request_id}")


def _compressions() -> list[Compression]:
    """How requests may be compressed: zstd needs a package of its own."""
    if find_spec("zstandard") is None:
        return [GzipCompression()]
    from connectrpc.compression.zstd import ZstdCompression  # which imports that package

    return [GzipCompression(), ZstdCompression()]


def default_key(store: Store) -> str | None:
    """Which key a store has when nobody says: for a database in a file, the file beside it."""
    return f"file:{store.path.with_name(f'{store.path.name}.key')}" if store.path else None


def open_key(store: Store, spec: str | None, *, create: bool) -> KeyEncryptionKey:
    """The key-encryption key of a store."""
    if store.in_memory:
        return random_key()
    spec = spec or default_key(store)
    if spec is None:
        raise ServiceError("a store on PostgreSQL needs a key: file:PATH, env:NAME or command:COMMAND (--key)")
    return key_encryption_key(spec, create=create)


def unlock(store: Store, spec: str | None) -> tuple[Organization, KeyEncryptionKey]:
    """The store's own organization, and the key, tried on it; a new store gets both.

    Raises:
        ServiceError: the key is missing or another one, or the schema is newer. Nothing was written.
    """
    if store.is_current and (own := store.own()):
        kek = open_key(store, spec, create=False)
        return _checked(own, store.data_keys(own[0].id), kek), kek
    with store.maintenance() as maintenance:
        maintenance.migrate()
        own = maintenance.own()
        if own:
            kek = open_key(store, spec, create=False)
            return _checked(own, maintenance.data_keys(own[0].id), kek), kek
        if maintenance.holds_secrets() or maintenance.data_keys():
            # Rather than a new key, which would not open what is there.
            open_key(store, spec, create=False)
            raise ServiceError("the store has lost its organization or the data keys that open its secrets")
        kek = open_key(store, spec, create=True)
        made = add_organization(maintenance, kek, str(uuid.uuid4()), is_own=True)
    return made, kek


def _checked(own: list[Organization], keys: list[WrappedKey], kek: KeyEncryptionKey) -> Organization:
    if not keys:
        raise ServiceError("the store has secrets, but has lost the data keys that open them")
    check_organization(kek, keys, own[0])
    if len(own) > 1:
        raise ServiceError("the store has more than one organization of its own")
    return own[0]


def add_organization(
    maintenance: Maintenance, kek: KeyEncryptionKey, organization_id: str, *, is_own: bool
) -> Organization:
    """Make an organization with its first data key."""
    key = new_data_key(kek, organization_id)
    bare = Organization(id=organization_id, owner_id=str(uuid.uuid4()), is_own=is_own, key_id="", tag=b"")
    made = sign_organization(kek, key, bare)
    maintenance.add_organization(made)
    maintenance.add_data_key(key)
    return made


class Embedded:
    """A running service: `wsgi` and `asgi` are its applications.

    Args:
        url: `sqlite:///path/to/file.db`, `sqlite://` for a store in memory, which is gone with this object,
            or `postgresql://…`.
        token: the bearer token of the store's owner.
        key: the key-encryption key: `file:PATH`, `env:NAME` or `command:COMMAND`. Default: the file
            `file.db.key` beside a database in a file; a store on PostgreSQL has none.
        is_served: whether requests must carry a token, the owner's or one of the store; in process, where
            this is False, any will do. Default: whether there is a `token`.
        telemetry: interceptors that measure (connectrpc-otel).

    Raises:
        ServiceError: the store cannot be opened, or its key is missing or not its own.
        StoreUnavailableError: another process keeps the store locked, or it cannot be reached.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        key: str | None = None,
        is_served: bool | None = None,
        telemetry: tuple[Any, ...] = (),
    ) -> None:
        self._store = Store(url)
        try:
            organization, kek = unlock(self._store, key)
        except DBAPIError as error:
            raise ServiceError(f"cannot use the store: {error.orig}") from None
        self._organization_id = organization.id
        self._keyring = Keyring(kek, self._store.data_keys)
        self._keyring.prepare(organization.id)
        for each in self._store.organizations():
            try:
                # Opened now, they stay usable when `keys rewrap` gives the store another key.
                self._keyring.prepare(each)
            except ServiceError as error:
                # The others are served all the same.
                logger.error("organization %s: %s", each, error)
        # Both run handlers here, so that closing can wait for those under way.
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="gitpod-embedded")
        service = SecretService(self._store, self._keyring)
        owner = Caller(
            organization_id=organization.id,
            subject=Subject(id=organization.owner_id, principal=Principal.USER),
            role=Role.OWNER,
        )
        served = token is not None if is_served is None else is_served
        self.authenticate = Authenticate(
            self._store, self._keyring, owner, token, is_served=served, executor=self.executor
        )
        options: dict[str, Any] = {
            "interceptors": [*telemetry, Guard(), self.authenticate],
            "read_max_bytes": MAX_REQUEST_BYTES,
            "codecs": [KnownBinaryCodec(), StrictJSONCodec()],
            "compressions": _compressions(),
        }
        # For whoever puts an edge of their own around it.
        self.bare_wsgi: WSGIApplication = SecretServiceWSGIApplication(service, **options)
        self.wsgi = guarded_wsgi(self.bare_wsgi, logs=False)
        asgi = SecretServiceASGIApplication(AsyncSecretService(service, self.executor), **options)
        self.asgi = guarded_asgi(asgi, ready=self.is_ready, executor=self.executor)

    @property
    def has_tokens(self) -> bool:
        """Whether the store has ever had a token."""
        return bool(self._store.tokens())

    def is_ready(self) -> bool:
        """Whether the store answers, and its newest data key opens."""
        try:
            self._keyring.prepare(self._organization_id)
            is_current = self._store.is_current and self._keyring.opens_all_new(self._organization_id)
        except Exception as error:  # noqa: BLE001 # whatever it is, this is the place to say so
            # Without its text, which may quote a URL.
            logger.error("not ready: %s", type(error).__name__)
            return False
        return is_current

    @property
    def in_memory(self) -> bool:
        """Whether the store is gone with this object."""
        return self._store.in_memory

    def abandon(self) -> None:
        """Leave the store to the process that this one was forked from."""
        self._store.abandon()

    def close(self) -> None:
        """Finish what is under way and close the store. Safe to repeat."""
        self.executor.shutdown()
        self._store.close()
