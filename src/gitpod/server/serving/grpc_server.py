"""gRPC on a port of its own: grpcio in front of the service's ASGI application, on the event loop of the HTTP port.

`grpc_asgi` turns a call into a request and back, so authentication, limits, errors and audit are those of the
application. A call that waits for its client holds no thread. Health checks are answered here. Reflection is a second
application beside the service's.
"""

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import connectrpc_grpcreflect as reflect  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs] # neither is marked as typed
import grpc.aio  # type: ignore[import-untyped]
from protobuf import DescService
from protobuf.wkt import Int32Value, StringValue

from gitpod.server.edge.applications import LONGEST_REQUEST, guarded_asgi
from gitpod.server.edge.guard import Guard
from gitpod.server.edge.headers import LONGEST_CALL, ASGIApplication, Receive, Scope, Send
from gitpod.server.errors import ServiceError
from gitpod.server.serving.grpc_asgi import EOF, LONGEST_CONNECTION, Context, finish, forward
from gitpod.server.threads import Threads
from gitpod_proto.gitpod.v1.secret_connect import SecretService

logger = logging.getLogger("gitpod.server")

CONNECTIONS = 900
"""The most open connections, so that file descriptors are left for the HTTP port and the store."""
CONNECTION_STREAMS = 128
"""The most calls of one connection at a time. Clients keep further calls back."""
CONNECTION_GRACE = 40_000
"""Milliseconds that calls have to finish before their connection is closed, which is longer than any call takes."""
OPEN_CALLS = 256
"""The most calls of each kind that need no token: checks, watches, reflection. One more ends the oldest."""
NATIVE_THREADS = 24
"""More threads than grpcio starts by itself: 7 on two processors, up to 12 more on larger machines."""
MAX_METADATA_BYTES = 16 * 1024
INTERVAL = 1.0
"""Seconds between two checks for changes that health watchers must get."""

CHECK, WATCH = HEALTH = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """PEM of a certificate, its key, and the authority of client certificates. None: callers need no certificate."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None


def route(apps: Mapping[str, ASGIApplication]) -> ASGIApplication:
    """Return one application for several services. `apps` maps the full name of each service to its application."""

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        await apps[_service(scope["path"])](scope, receive, send)

    return routed


def reflection(*services: DescService) -> dict[str, ASGIApplication]:
    """Return the applications of gRPC server reflection for `route`. They need no token."""
    options: dict[str, Any] = {"interceptors": [Guard()], "read_max_bytes": 4096, "compressions": []}
    return {
        "grpc.reflection.v1.ServerReflection": reflect.ServerReflectionASGIApplication(
            reflect.ServerReflectionService(*services), **options
        ),
        "grpc.reflection.v1alpha.ServerReflection": reflect.ServerReflectionAlphaASGIApplication(
            reflect.ServerReflectionAlphaService(*services), **options
        ),
    }


def application(service: ASGIApplication, ready: Ready) -> tuple[ASGIApplication, list[str]]:
    """Return the service and reflection as one application, and the full names of their services."""
    apps = {SecretService.desc().type_name: service, **reflection(SecretService.desc())}
    return guarded_asgi(route(apps), ready=ready), list(apps)


class GRPCServer:
    """A gRPC server, which accepts calls between `start` and `stop`.

    Args:
        app: the application. It must speak gRPC, and send trailers by `http.response.trailers`.
        services: the full names of its services. Calls of other services are UNIMPLEMENTED.
        listen: `host:port`. Port 0 takes a free one, which the attribute `port` has after `start`.
        ready: returns what health checks answer.
        tls: the certificate. None: no TLS.
        max_message_bytes: the largest request message, decompressed.
    """

    def __init__(
        self,
        app: ASGIApplication,
        services: Sequence[str],
        listen: str,
        *,
        ready: Ready,
        tls: TLS | None = None,
        max_message_bytes: int,
    ) -> None:
        self.port = 0
        self._calls = _Calls(app, services, ready, "https" if tls else "http")
        self._listen = listen
        self._tls = tls
        self._options = {
            "grpc.max_receive_message_length": max_message_bytes,
            "grpc.max_metadata_size": MAX_METADATA_BYTES,
            "grpc.absolute_max_metadata_size": MAX_METADATA_BYTES,
            "grpc.max_concurrent_streams": CONNECTION_STREAMS,
            "grpc.max_allowed_incoming_connections": CONNECTIONS,
            "grpc.max_connection_idle_ms": 300_000,
            # Clients are told to open another connection, and have time to finish the calls under way.
            "grpc.max_connection_age_ms": LONGEST_CONNECTION * 1000 - CONNECTION_GRACE,
            "grpc.max_connection_age_grace_ms": CONNECTION_GRACE,
            "grpc.keepalive_time_ms": 60_000,
            "grpc.keepalive_timeout_ms": 20_000,
            "grpc.server_handshake_timeout_ms": 10_000,
            # With SO_REUSEPORT another process could listen on the same port and take half of the connections.
            "grpc.so_reuseport": 0,
        }

    async def start(self) -> None:
        """Listen, on the running event loop.

        Raises:
            ServiceError: the address cannot be listened on, the certificate and its key are not valid, or the system
                starts no thread for grpcio.
        """
        tls, listen = self._tls, self._listen
        pem = ", or the certificate and its key are not valid" if tls else ""
        # Where grpcio cannot start its own threads, it hangs, or ends the process by SIGSEGV.
        trial = Threads(NATIVE_THREADS, "gitpod-grpc-trial")
        trial.start_all()
        trial.shutdown()
        self._server = grpc.aio.server(handlers=[self._calls], options=list(self._options.items()))
        try:
            if tls is None:
                self.port = self._server.add_insecure_port(listen)
            else:
                pair, authority = (tls.key, tls.certificate), tls.client_ca
                credentials = grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
                self.port = self._server.add_secure_port(listen, credentials)
        except RuntimeError:
            raise ServiceError(
                f"cannot listen on {listen} for gRPC: it is in use or not of this machine{pem}"
            ) from None
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Refuse new calls, cancel those under way after `grace` seconds, and return when all have ended."""
        self._calls.stopping.set()
        await self._server.stop(grace)


class _Places:
    """Places of calls that need no token. When all are taken, a new call takes the place of the oldest one.

    So whoever keeps calls open ends their own, while calls that are answered at once get through.
    """

    def __init__(self) -> None:
        self._taken: dict[asyncio.Timeout, None] = {}

    @asynccontextmanager
    async def place(self, seconds: float | None) -> AsyncGenerator[None]:
        """Hold a place. Raises TimeoutError after `seconds`, or when the place is needed."""
        async with asyncio.timeout(seconds) as timeout:
            if len(self._taken) >= OPEN_CALLS:
                oldest = next(iter(self._taken))
                del self._taken[oldest]
                if not oldest.expired():
                    oldest.reschedule(0)
            self._taken[timeout] = None
            try:
                yield
            finally:
                self._taken.pop(timeout, None)


class _Calls(grpc.GenericRpcHandler):  # type: ignore[misc] # grpcio has no types
    """Answers each call. To grpcio all are streams of bytes, so that a refusal does not wait for a message."""

    def __init__(self, app: ASGIApplication, services: Sequence[str], ready: Ready, scheme: str) -> None:
        self._app = app
        self._services = frozenset(services)
        self._ready = ready
        self._scheme = scheme
        self._places = {path: _Places() for path in HEALTH}
        self._reflection = _Places()
        self.stopping = asyncio.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Return the handler of a method, None if there is no such method (grpc.GenericRpcHandler)."""
        path: str = handler_call_details.method
        if path not in HEALTH and _service(path) not in self._services:
            return None
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
            partial(self._answer, path)
        )
        return handler

    async def _answer(self, path: str, _requests: object, context: Context) -> None:
        """Answer a call. Raises nothing, because grpcio would send the message of the exception."""
        try:
            if path in HEALTH:
                # A watch has no time limit.
                async with self._places[path].place(LONGEST_CALL / 1000 if path == CHECK else None):
                    await self._health(path, context)
            elif path.startswith("/grpc."):
                async with self._reflection.place(LONGEST_CALL / 1000):
                    await forward(self._app, path, context, scheme=self._scheme)
            else:
                await forward(self._app, path, context, scheme=self._scheme)
        except grpc.aio.BaseError:
            # The client has left, so there is nobody to answer. grpcio logs every other exception.
            raise asyncio.CancelledError from None
        except Exception as error:  # noqa: BLE001 # the application's
            # Of another call it would be no proof that nothing was done.
            if isinstance(error, TimeoutError) and path.startswith("/grpc."):
                text = "the call took too long, or too many others came"
                finish(context, grpc.StatusCode.RESOURCE_EXHAUSTED, text)
                return
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("gRPC %s: %s\n%s", path, type(error).__name__, frames)  # noqa: TRY400 # `exception` logs the message, which may quote a value
            finish(context, grpc.StatusCode.INTERNAL, "internal error")

    async def _health(self, path: str, context: Context) -> None:
        """Answer a health check. On the wire its request equals a StringValue, and its response an Int32Value."""
        async with asyncio.timeout(LONGEST_REQUEST):
            message = await context.read()
        try:
            name = StringValue.from_binary(b"" if message is EOF else message).value
        except ValueError:
            finish(context, grpc.StatusCode.INVALID_ARGUMENT, "the request is not a valid message")
            return
        is_known = not name or name in self._services
        if path == CHECK and not is_known:
            finish(context, grpc.StatusCode.NOT_FOUND, "there is no such service")
            return
        sent = 0
        while True:
            stopping = self.stopping.is_set()
            state = SERVING if not stopping and await self._ready() else NOT_SERVING
            state = state if is_known else SERVICE_UNKNOWN
            if state != sent:
                await context.write(Int32Value(value=state).to_binary())
            if path == CHECK or stopping:
                return
            sent = state
            # Not by asyncio.wait_for, which loses a cancellation that comes together with its own end.
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self.stopping.wait()


def _service(path: str) -> str:
    """Return the full name of the service in the path of a method."""
    return path.rpartition("/")[0].removeprefix("/")
