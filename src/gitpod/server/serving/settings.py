"""The settings of a served store."""

from dataclasses import dataclass, field
from pathlib import Path

from gitpod.server.errors import ServiceError
from gitpod.server.log import Style
from gitpod.server.serving import cors
from gitpod.server.storage.url import is_postgresql


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a served store.

    Args:
        store, key: as `Embedded` takes them.
        host, port: the address of Connect and gRPC-Web. Port 0 takes a free one.
        grpc_port: the port of gRPC on the same host. None: no gRPC.
        token: the owner's bearer token. None: only tokens of the store are accepted.
        tls_cert, tls_key: PEM files of the certificate and its key. None: no TLS.
        tls_client_ca: a PEM file of the authority of client certificates. None: callers need no certificate.
        origins: the web origins that may call.
        allowed_headers: names of request headers that web pages may send, besides those of the protocols.
        keep_alive: seconds that a connection of HTTP is kept between an answer and the next request. Clients and
            proxies should be the first to close: when the service closes, a request may be on its way.
        log: what lines on standard error look like.
        workers: processes that serve the same ports. More than one need a store on PostgreSQL.
    """

    store: str = field(repr=False)
    key: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    token: str | None = field(default=None, repr=False)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    origins: tuple[str, ...] = ()
    allowed_headers: tuple[str, ...] = ()
    keep_alive: int = 75
    log: Style = "json"
    workers: int = 1


def check(settings: Settings) -> None:
    """Raise `ServiceError` for settings that are wrong by themselves. Opens nothing."""
    cors.check(settings.origins, settings.allowed_headers)
    if settings.token and settings.token.startswith("gps_"):
        # As the owner's, the token would exceed its role, and could not be revoked.
        raise ServiceError("GITPOD_API_KEY holds a token of the store, and serve would make it the owner's; unset it")
    if settings.workers > 1 and not is_postgresql(settings.store):
        raise ServiceError(
            "more than one worker needs a store on PostgreSQL: on one SQLite file, which has one writer at a time, "
            "two are slower than one"
        )
