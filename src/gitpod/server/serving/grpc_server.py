"""gRPC: HTTP/2 in front of the service's ASGI application, on the HTTP port and on a port of its own.

Connect and gRPC-Web are spoken in HTTP/2 too. Health checks and reflection are applications beside the service's.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import connectrpc_grpcreflect as reflect  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs] # neither is marked as typed
from protobuf import DescService

from gitpod.server.edge.applications import checked, guarded_asgi, prompt
from gitpod.server.edge.guard import Guard
from gitpod.server.edge.headers import LONGEST_CALL, ASGIApplication, Receive, Scope, Send
from gitpod.server.serving import health
from gitpod.server.serving.grpc_asgi import NoPlaceError, answering_grpc
from gitpod.server.serving.health import CHECK, WATCH, Health, HealthApplication, Ready
from gitpod.server.serving.http2 import HTTP2, LINGER
from gitpod.server.serving.http2_connections import Connections
from gitpod.server.serving.http2_stream import STALL

CONNECTIONS = 900
"""The most open connections, so that file descriptors are left for the HTTP port and the store."""
OPEN_CALLS = 256
"""The most calls of each kind that need no token: checks, watches, reflection. One more ends the oldest."""
BACKLOG = 2048


def route(apps: Mapping[str, ASGIApplication], unknown: ASGIApplication) -> ASGIApplication:
    """Return one application for several services.

    Args:
        apps: the application of each service, by the full name of the service.
        unknown: answers calls of any other service.
    """

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        await apps.get(_service(scope["path"]), unknown)(scope, receive, send)

    return routed


def reflection(*services: DescService) -> dict[str, ASGIApplication]:
    """Return the applications of gRPC server reflection for `route`. They need no token."""
    options: dict[str, Any] = {"interceptors": [Guard()], "read_max_bytes": 4096, "compressions": []}
    places = _Places()
    return {
        "grpc.reflection.v1.ServerReflection": places.placed(
            reflect.ServerReflectionASGIApplication(reflect.ServerReflectionService(*services), **options),
            LONGEST_CALL / 1000,
        ),
        "grpc.reflection.v1alpha.ServerReflection": places.placed(
            reflect.ServerReflectionAlphaASGIApplication(reflect.ServerReflectionAlphaService(*services), **options),
            LONGEST_CALL / 1000,
        ),
    }


class GRPCServer:
    """A server of HTTP/2, which accepts calls between `start` and `stop`.

    Args:
        app: the application of the service.
        service: describes the service, for reflection. Calls of other services are UNIMPLEMENTED.
        listener: accepts the connections. It is closed by `stop`. None: they come by `protocol` alone.
        ready: returns what health checks answer.
        wrap: wraps the application of all services.
        tls: the certificate. None: no TLS.
        max_connections: the most open connections. One more ends the one that has been without a call for longest.
    """

    def __init__(
        self,
        app: ASGIApplication,
        service: DescService,
        listener: socket.socket | None,
        *,
        ready: Ready,
        wrap: Callable[[ASGIApplication], ASGIApplication] | None = None,
        tls: ssl.SSLContext | None = None,
        max_connections: int = CONNECTIONS,
    ) -> None:
        self.port: int = listener.getsockname()[1] if listener else 0
        apps = {service.type_name: app, **reflection(service)}
        self._health = Health([*apps, health.NAME], ready)
        checks = checked(HealthApplication(self._health))
        check, watch = _Places(), _Places()
        # What is unknown is answered by the service, as over HTTP/1.1.
        calls = guarded_asgi(route(apps, app), ready=ready)
        by_path = {CHECK: check.placed(prompt(checks), LONGEST_CALL / 1000), WATCH: watch.placed(checks, None)}

        async def called(scope: Scope, receive: Receive, send: Send) -> None:
            await by_path.get(scope["path"], calls)(scope, receive, send)

        over_grpc = answering_grpc(called)
        self._app = wrap(over_grpc) if wrap else over_grpc
        self._listener = listener
        self._tls = tls
        self._connections = Connections[HTTP2](max_connections)
        self._server: asyncio.Server | None = None
        if tls:
            tls.set_alpn_protocols(["h2"])

    async def start(self) -> None:
        """Accept connections, on the running event loop."""
        if self._listener is None:
            return
        self._server = await asyncio.get_running_loop().create_server(
            self.protocol,
            sock=self._listener,
            backlog=BACKLOG,
            ssl=self._tls,
            # A number is refused without TLS.
            ssl_handshake_timeout=STALL if self._tls else None,
        )

    def protocol(self) -> HTTP2:
        """Return what goes on with a new connection."""
        return HTTP2(self._app, self._connections)

    async def stop(self, grace: float) -> None:
        """Refuse new calls, cancel those under way after `grace` seconds, and return when all have ended."""
        self._health.stopping.set()
        if self._server:
            self._server.close()
        tasks = [task for connection in self._connections for task in connection.tasks()]
        for connection in self._connections:
            connection.leave(refuse=True)
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        # Clients close their connections once they have read which of their last calls were not processed.
        until = asyncio.get_running_loop().time() + min(grace, LINGER)
        while [*self._connections] and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 # each ends by itself
            await asyncio.sleep(0.05)
        for connection in self._connections:
            connection.abort()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Places:
    """Places of calls that need no token. When all are taken, a new call takes the place of the oldest one.

    So whoever keeps calls open ends their own, while calls that are answered at once get through.
    """

    def __init__(self) -> None:
        self._taken: dict[asyncio.Timeout, None] = {}

    def placed(self, app: ASGIApplication, seconds: float | None) -> ASGIApplication:
        """Wrap an application whose requests each hold a place, for at most `seconds`. Raises NoPlaceError."""

        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                async with self._place(seconds) as timeout:

                    async def sent(message: Any) -> None:  # noqa: ANN401 # any message of ASGI
                        # What the application says of its cancellation is not the reason.
                        if not timeout.expired():
                            await send(message)

                    await app(scope, receive, sent)
            except TimeoutError:
                raise NoPlaceError from None

        return held

    @asynccontextmanager
    async def _place(self, seconds: float | None) -> AsyncGenerator[asyncio.Timeout]:
        async with asyncio.timeout(seconds) as timeout:
            if len(self._taken) >= OPEN_CALLS:
                oldest = next(iter(self._taken))
                del self._taken[oldest]
                if not oldest.expired():
                    oldest.reschedule(0)
            self._taken[timeout] = None
            try:
                yield timeout
            finally:
                self._taken.pop(timeout, None)


def _service(path: str) -> str:
    """Return the full name of the service in the path of a method."""
    return path.rpartition("/")[0].removeprefix("/")
