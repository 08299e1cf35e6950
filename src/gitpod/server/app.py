"""Puts a store, its key and the service together as one WSGI and one ASGI application.

Both speak Connect, gRPC-Web and gRPC, binary and JSON. Every request passes `edge.applications`, `Guard` and
`Authenticate` before its body is read.
"""

from typing import Any

from gitpod.server.async_service import AsyncSecretService
from gitpod.server.auth import Authenticate
from gitpod.server.caller import Caller, Role
from gitpod.server.edge.applications import guarded_asgi, guarded_wsgi, prompt
from gitpod.server.edge.directions import directed
from gitpod.server.edge.options import application_options
from gitpod.server.edge.pagination import QueryPagination
from gitpod.server.edge.readiness import Readiness
from gitpod.server.errors import ServiceError
from gitpod.server.handlers import Handlers
from gitpod.server.keys.keyring import Keyring
from gitpod.server.keys.unlock import unlock
from gitpod.server.log import logger
from gitpod.server.service import SecretService
from gitpod.server.storage.failures import is_of_database, reason
from gitpod.server.storage.store import Store
from gitpod.server.threads import Pools, Threads
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject
from gitpod_proto.gitpod.v1.secret_connect import SecretService as Contract
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceASGIApplication, SecretServiceWSGIApplication

EMBEDDED_THREADS = 64
"""Calls of sync clients in this process at the same time. They share the commits of the store."""


class Embedded:
    """A running service.

    `wsgi` and `asgi` are its applications for clients in process and for the HTTP socket, `rpc` is what the gRPC socket
    wraps. `executor` runs the calls of sync clients. `key_name` says where the key-encryption key is.

    Args:
        url: `sqlite:///path/to/file.db`, `postgresql://…`, or `sqlite://` for a store in memory, which ends
            with this object.
        token: the bearer token of the store's owner.
        key: the key-encryption key: `file:PATH`, `env:NAME` or `command:COMMAND`. Default: the file
            `file.db.key` beside a SQLite database `file.db`; a store on PostgreSQL has no default.
        is_served: whether requests must carry a token, the owner's or one of the store. False accepts any
            request as the owner's, for a client in the same process. Default: whether there is a `token`.
        telemetry: interceptors that measure (connectrpc-otel).

    Raises:
        ServiceError: the store cannot be opened, its key is missing or is another one, or the system does not start
            the threads of a served store.
        StoreUnavailableError: another process keeps the store locked, or the store cannot be reached.
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
        except Exception as error:
            if not is_of_database(error):
                raise
            raise ServiceError(f"cannot use the store: {reason(error)}") from None
        self.key_name = str(kek)
        self._organization_id = organization.id
        self._keyring = Keyring(kek, self._store.data_keys)
        self._keyring.prepare(organization.id)
        for each in self._store.organizations():
            try:
                # A data key that is loaded now stays usable after `keys rewrap`, which this process may not follow.
                self._keyring.prepare(each)
            except ServiceError as error:
                # The other organizations can still be served.
                logger.error("organization %s: %s", each, error)
        self._pools = Pools()
        # Its threads start with the first call of a sync client.
        self.executor = Threads(EMBEDDED_THREADS, "gitpod-embedded")
        handlers = Handlers(self._store, self._keyring)
        owner = Caller(
            organization_id=organization.id,
            subject=Subject(id=organization.owner_id, principal=Principal.USER),
            role=Role.OWNER,
        )
        served = token is not None if is_served is None else is_served
        self.authenticate = Authenticate(self._store, self._keyring, owner, token, is_served=served, pools=self._pools)
        options = application_options(self.authenticate, QueryPagination(), telemetry=telemetry)
        service = SecretService(handlers, self._store, self._keyring)
        self.wsgi = guarded_wsgi(SecretServiceWSGIApplication(service, **options))
        async_service = AsyncSecretService(handlers, self._store, self._keyring, self._pools)
        self.rpc = prompt(directed(SecretServiceASGIApplication(async_service, **options), Contract.desc()))
        self.ready = Readiness(self.is_ready, self._pools.checks)
        self.asgi = guarded_asgi(self.rpc, ready=self.ready)
        if served:
            self._start_threads()

    @property
    def has_tokens(self) -> bool:
        """Whether the store has ever had a token."""
        return bool(self._store.tokens())

    def is_ready(self) -> bool:
        """Tell whether the store is well and can be written to, its schema is current, its newest data key opens."""
        try:
            self._store.check()
            self._keyring.prepare(self._organization_id)
            is_current = self._store.is_current and self._keyring.opens_all_new(self._organization_id)
        except Exception as error:  # noqa: BLE001 # any failure means that the service is not ready
            # The error's message is left out, as it may quote a URL.
            logger.error("not ready: %s", type(error).__name__)
            return False
        return is_current

    @property
    def in_memory(self) -> bool:
        """Whether the store is in memory, so that it ends with this object."""
        return self._store.in_memory

    def abandon(self) -> None:
        """Leave the store's connections open, in a forked child: they belong to the parent."""
        self._store.abandon()

    def close(self) -> None:
        """Wait for the handlers under way, and close the store. Safe to repeat."""
        self.executor.shutdown()
        self._pools.shutdown()
        self._store.close()

    def _start_threads(self) -> None:
        """Start all threads before the first request, which could no longer be refused if one did not start."""
        try:
            self._pools.start_all()
        except ServiceError:
            self.close()
            raise
