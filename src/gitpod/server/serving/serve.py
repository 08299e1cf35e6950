"""The service on sockets: Connect and gRPC-Web under uvicorn, and gRPC beside it."""

import asyncio
import os
import resource
import secrets
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from gitpod._extras import needed
from gitpod.server import log
from gitpod.server.app import Embedded
from gitpod.server.errors import ServiceError
from gitpod.server.serving import cors
from gitpod.server.serving.http_connection import Connection, Server, or_http2
from gitpod.server.serving.settings import Settings, check
from gitpod.server.serving.tls import server_context
from gitpod.server.serving.workers import Announcement, Workers
from gitpod.server.storage.url import shown
from gitpod.server.threads import NO_MORE, start_thread
from gitpod_proto.gitpod.v1.secret_connect import SecretService

if TYPE_CHECKING:
    from gitpod.server.serving.grpc_server import GRPCServer

BACKLOG = 2048
GRACE = 10
"""Seconds that requests under way have to finish after the signal to stop."""
LATEST_END = 14
"""Seconds after the signal to stop when the process ends although a commit is still waiting."""
OTHER_FILES = 100
"""File descriptors that are not of connections."""
FEWEST_GRPC = 64
"""The fewest connections of gRPC that are allowed, whatever the limit of file descriptors."""


def run(settings: Settings, *, announce: Callable[[Announcement], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        settings: what to serve, and where.
        announce: is called once connections are accepted, by all workers. A token is made up when none was given
            and the store has none.

    Raises:
        ServiceError: the store cannot be opened, an address cannot be listened on, a certificate cannot be
            used, no header can carry the token, or the system does not start the threads or the workers.
        StoreUnavailableError: another process keeps the store locked, or the store cannot be reached.
    """
    _prepare(settings)
    check(settings)
    if settings.workers == 1:
        _serve(settings, announce)
        return
    with ExitStack() as stack:
        ports = [settings.port] if settings.grpc_port is None else [settings.port, settings.grpc_port]
        sockets = [stack.enter_context(_listen(settings.host, port)) for port in ports]
        Workers(settings.workers, partial(_work, settings), sockets, announce, LATEST_END).run()


def _work(
    settings: Settings,
    sockets: Sequence[socket.socket],
    token: str | None,
    parent: int,
    started: Callable[[Announcement], None],
) -> None:
    """Serve in a worker (`workers.Serve`)."""
    _prepare(settings)
    _serve(replace(settings, token=token or settings.token), started, sockets, parent)


def _prepare(settings: Settings) -> None:
    """Set up this process."""
    log.to(sys.stderr, settings.log)
    # A core dump would hold keys and values.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Python and urllib3 would write the keys of TLS connections to that file.
    os.environ.pop("SSLKEYLOGFILE", None)
    # Connections need many file descriptors.
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))


def _serve(
    settings: Settings,
    started: Callable[[Announcement], None],
    sockets: Sequence[socket.socket] = (),
    parent: int | None = None,
) -> None:
    """Serve in this process. A worker has sockets, and a parent whose end ends it."""
    context = server_context(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    service = Embedded(
        settings.store, settings.token, key=settings.key, is_served=True, telemetry=telemetry_interceptors()
    )
    stopping: SimpleQueue[None] = SimpleQueue()
    try:
        _end_when_late(stopping)
        made_up = None
        if settings.token is None and not service.has_tokens:
            made_up = secrets.token_urlsafe(32)
            service.authenticate.accept_owner(made_up)
        listener, *others = sockets or [_listen(settings.host, settings.port)]
        with listener:
            grpc_server = _grpc(service, settings, others)
            url = _url(*listener.getsockname()[:2], is_tls=context is not None)
            grpc_port = grpc_server.port or None if grpc_server else None
            announcement = Announcement(url, grpc_port, made_up, shown(settings.store), service.key_name)
            config = http_config(service.asgi, settings, context, grpc_server)
            server = _Server(config, grpc_server, partial(started, announcement), stopping, parent)
            # uvicorn installs its own handlers only while it runs, and then passes the signal on to these.
            signal.signal(signal.SIGINT, server.handle_exit)
            signal.signal(signal.SIGTERM, server.handle_exit)
            server.run(sockets=[listener])
    finally:
        stopping.put(None)
        service.close()


def _end_when_late(stopping: "SimpleQueue[None]") -> None:
    """End the process `LATEST_END` seconds after `stopping` has an item, if it has not ended by then.

    The thread is started now, because a process may be stopped when no more threads can be started.
    """

    def watch() -> None:
        stopping.get()
        # `close` waits for the commits under way, and one that waits for a standby may never end. Its caller has
        # had no answer, so ending the process breaks no promise.
        time.sleep(LATEST_END)
        os._exit(0)

    start_thread(watch, "gitpod-end")


class _Server(Server):
    """A uvicorn server that starts and stops gRPC together with itself.

    Args:
        config: of uvicorn.
        grpc_server: is started and stopped. None: no gRPC.
        started: is called once connections are accepted.
        stopping: gets an item at the signal to stop. A handler of signals may put into this kind of queue.
        parent: a file descriptor that can be read once the parent has ended, which stops a worker. None: no worker.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        grpc_server: "GRPCServer | None",
        started: Callable[[], None],
        stopping: "SimpleQueue[None]",
        parent: int | None,
    ) -> None:
        super().__init__(config)
        self._grpc = grpc_server
        self._started = started
        self._stopping = stopping
        self._parent = parent

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop (uvicorn.Server)."""
        if self._parent is not None and sig == signal.SIGINT:
            # The parent has it too, and sends SIGTERM.
            return
        self._stopping.put(None)
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections on both ports (uvicorn.Server)."""
        if self._grpc:
            await self._grpc.start()
        await super().startup(sockets)
        if self._parent is not None:
            asyncio.get_running_loop().add_reader(self._parent, self._end_with_parent, self._parent)
        self._started()

    def _end_with_parent(self, parent: int) -> None:
        asyncio.get_running_loop().remove_reader(parent)
        self.handle_exit(signal.SIGTERM, None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests under way on both ports (uvicorn.Server)."""
        stopping = self._grpc.stop(GRACE) if self._grpc else asyncio.sleep(0)
        await asyncio.gather(super().shutdown(sockets), stopping)


def with_cors(app: Any, settings: Settings) -> Any:  # noqa: ANN401 # each library has its own type of an application
    """Return an application that web pages of the allowed origins may call."""
    return cors.with_cors(app, settings.origins, settings.allowed_headers)


def http_config(
    app: Any,  # noqa: ANN401 # each library has its own type of an application
    settings: Settings,
    context: ssl.SSLContext | None,
    http2: "GRPCServer | None" = None,
) -> uvicorn.Config:
    """Return how uvicorn serves an application. `http2` goes on with connections that begin with HTTP/2."""
    if context and http2:
        # Of both, h2 is chosen: a client that offers both may speak gRPC.
        context.set_alpn_protocols(["h2", "http/1.1"])
    config = uvicorn.Config(
        with_cors(app, settings),
        http=or_http2(http2.protocol) if http2 else Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=GRACE,
    )
    # Not by `ssl_context_factory`, which uvicorn has from 0.47 on only.
    config.load()
    config.ssl = context
    return config


def _grpc(service: Embedded, settings: Settings, sockets: Sequence[socket.socket]) -> "GRPCServer | None":
    if find_spec("h2") is None or find_spec("connectrpc_grpcreflect") is None:
        if settings.grpc_port is None:
            return None
        raise ServiceError(f"gRPC {needed('grpc')}")
    from gitpod.server.serving.grpc_server import CONNECTIONS, GRPCServer  # loads h2, an extra

    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    listener = None
    if settings.grpc_port is not None:
        listener = sockets[0] if sockets else _listen(settings.host, settings.grpc_port)
    left = max(most_files - Connection.max_connections - OTHER_FILES, FEWEST_GRPC)
    return GRPCServer(
        service.rpc,
        SecretService.desc(),
        listener,
        ready=service.ready,
        wrap=partial(with_cors, settings=settings),
        tls=server_context(settings.tls_cert, settings.tls_key, settings.tls_client_ca),
        max_connections=CONNECTIONS if most_files == resource.RLIM_INFINITY else min(left, CONNECTIONS),
    )


def telemetry_interceptors() -> tuple[Any, ...]:
    """Return the interceptor that sends spans and metrics, if OTEL_EXPORTER_OTLP_ENDPOINT is set."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return ()
    if find_spec("connectrpc_otel") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        raise ServiceError(f"OTEL_EXPORTER_OTLP_ENDPOINT {needed('otel')}")
    from gitpod.server.serving.telemetry import interceptor

    try:
        return (interceptor(),)
    except RuntimeError:
        # OpenTelemetry starts threads of its own, and raises nothing else here.
        raise ServiceError(NO_MORE) from None


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except UnicodeError:
        raise ServiceError(f"cannot listen on {host}: it is not a host name") from None
    except OSError as error:
        # The message of a failed bind repeats the address, so errno is used. getaddrinfo has negative numbers.
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        raise ServiceError(f"cannot listen on {host} port {port}: {reason}") from None


def _url(host: str, port: int, *, is_tls: bool) -> str:
    """Return the URL of the listener for this machine: loopback, if it listens on every address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 # only compared
    return f"http{'s' if is_tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"
