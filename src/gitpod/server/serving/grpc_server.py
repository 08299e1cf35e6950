"""gRPC on a port of its own: grpcio in front of the service's WSGI application.

`grpc_wsgi` turns a call into a WSGI request and back, so authentication, limits, errors and audit are those of the
application. Health checks are answered here. Reflection is a second application beside the service's.
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import connectrpc_grpcreflect as reflect  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs] # neither is marked as typed
import grpc  # type: ignore[import-untyped]
from protobuf import DescService
from protobuf.wkt import Int32Value, StringValue

from gitpod.server.edge.applications import guarded_wsgi
from gitpod.server.edge.guard import Guard
from gitpod.server.errors import ServiceError
from gitpod.server.serving.grpc_wsgi import Context, finish, forward
from gitpod_proto.gitpod.v1.secret_connect import SecretService

logger = logging.getLogger("gitpod.server")

LONGEST = 30.0
"""Seconds that a call may take whatever its deadline, so that a call that stalls frees its thread."""
FIRST_MESSAGE = 3.0
"""Seconds for the first message of a call, which holds a thread meanwhile. Clients send it with the headers."""
MAX_METADATA_BYTES = 16 * 1024
INTERVAL = 1.0
"""Seconds between two checks for overdue calls, and for changes that health watchers must get."""

CHECK, WATCH = HEALTH = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
Behaviour = Callable[[str, Iterator[bytes], Context], Iterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """PEM of a certificate, its key, and the authority of client certificates. None: callers need no certificate."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None


def route(apps: Mapping[str, WSGIApplication]) -> WSGIApplication:
    """Return one application for several services. `apps` maps the full name of each service to its application."""

    def routed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = apps.get(environ["PATH_INFO"].rpartition("/")[0].removeprefix("/"))
        if app is not None:
            return app(environ, start_response)
        start_response("404 Not Found", [])
        return []

    return routed


def reflection(*services: DescService) -> dict[str, WSGIApplication]:
    """Return the applications of gRPC server reflection for `route`. They need no token."""
    options: dict[str, Any] = {"interceptors": [Guard()], "read_max_bytes": 4096, "compressions": []}
    return {
        "grpc.reflection.v1.ServerReflection": reflect.ServerReflectionWSGIApplication(
            reflect.ServerReflectionServiceSync(*services), **options
        ),
        "grpc.reflection.v1alpha.ServerReflection": reflect.ServerReflectionAlphaWSGIApplication(
            reflect.ServerReflectionAlphaServiceSync(*services), **options
        ),
    }


def application(service: WSGIApplication) -> tuple[WSGIApplication, list[str]]:
    """Return the service and reflection as one application, and the full names of their services."""
    apps = {SecretService.desc().type_name: service, **reflection(SecretService.desc())}
    return guarded_wsgi(route(apps), logs=True), list(apps)


class GRPCServer:
    """A gRPC server, which accepts calls once it is constructed.

    Args:
        app: the application. It must speak gRPC, and send trailers by `wsgi.ext.http.send_trailers`.
        services: the full names of its services. Calls of other services are UNIMPLEMENTED.
        listen: `host:port`. Port 0 takes a free one, which the attribute `port` has.
        ready: returns what health checks answer.
        tls: the certificate. None: no TLS.
        max_message_bytes: the largest request message, decompressed.
        workers: the calls that are served at a time. Three times as many wait; further ones are
            RESOURCE_EXHAUSTED.

    Raises:
        ServiceError: the address cannot be listened on, or the certificate and its key are not valid.
    """

    def __init__(
        self,
        app: WSGIApplication,
        services: Sequence[str],
        listen: str,
        *,
        ready: Callable[[], bool],
        tls: TLS | None = None,
        max_message_bytes: int,
        workers: int = 32,
    ) -> None:
        self._calls = _Calls(app, services, ready, workers, "https" if tls else "http")
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="gitpod-grpc")
        options = {
            "grpc.max_receive_message_length": max_message_bytes,
            "grpc.max_metadata_size": MAX_METADATA_BYTES,
            "grpc.absolute_max_metadata_size": MAX_METADATA_BYTES,
            "grpc.max_concurrent_streams": workers * 4,
            "grpc.max_connection_idle_ms": 300_000,
            "grpc.keepalive_time_ms": 60_000,
            "grpc.keepalive_timeout_ms": 20_000,
            "grpc.server_handshake_timeout_ms": 10_000,
            # With SO_REUSEPORT another process could listen on the same port and take half of the connections.
            "grpc.so_reuseport": 0,
        }
        self._server = grpc.server(
            self._pool, [self._calls], options=list(options.items()), maximum_concurrent_rpcs=workers * 4
        )
        try:
            if tls is None:
                self.port = self._server.add_insecure_port(listen)
            else:
                pair, authority = (tls.key, tls.certificate), tls.client_ca
                credentials = grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
                self.port = self._server.add_secure_port(listen, credentials)
        except RuntimeError:
            pem = ", or the certificate and its key are not valid" if tls else ""
            raise ServiceError(
                f"cannot listen on {listen} for gRPC: it is in use or not of this machine{pem}"
            ) from None
        self._server.start()
        threading.Thread(target=self._calls.end_overdue, name="gitpod-grpc-overdue", daemon=True).start()

    def stop(self, grace: float) -> None:
        """Refuse new calls, cancel those under way after `grace` seconds, and return when all have ended."""
        self._calls.stopping.set()
        self._server.stop(grace).wait()
        self._pool.shutdown()


class _Calls(grpc.GenericRpcHandler):  # type: ignore[misc] # grpcio has no types
    """Answers each call. To grpcio all are streams of bytes, so that a refusal does not wait for a message."""

    def __init__(
        self, app: WSGIApplication, services: Sequence[str], ready: Callable[[], bool], workers: int, scheme: str
    ) -> None:
        self._app = app
        self._services = frozenset(services)
        self._ready = ready
        self._scheme = scheme
        # Calls that need no token may take a quarter of the threads.
        free = (*HEALTH, *(name for name in services if name.startswith("grpc.")))
        self._places = {name: threading.Semaphore(max(1, workers // 4)) for name in free}
        self._under_way: dict[int, tuple[float, Context]] = {}
        self.stopping = threading.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Return the handler of a method, None if there is no such method (grpc.GenericRpcHandler)."""
        path: str = handler_call_details.method
        name = path.rpartition("/")[0].removeprefix("/")
        handler: grpc.RpcMethodHandler[bytes, bytes] | None = None
        if path in HEALTH:
            handler = grpc.stream_stream_rpc_method_handler(partial(self._answer, path, self._health, path))
        elif name in self._services:
            handler = grpc.stream_stream_rpc_method_handler(partial(self._answer, name, self._application, path))
        return handler

    def end_overdue(self) -> None:
        """Cancel overdue calls until the server stops. grpcio itself waits for a message for ever."""
        while not self.stopping.wait(INTERVAL):
            now = time.monotonic()
            for until, context in list(self._under_way.values()):
                if until < now:
                    context.cancel()

    def _answer(
        self, place: str, behaviour: Behaviour, path: str, requests: Iterator[bytes], context: Context
    ) -> Generator[bytes]:
        """Yield the messages of an answer. Raises nothing, because grpcio would send the message of the exception."""
        places = self._places.get(place)
        if places and not places.acquire(blocking=False):
            finish(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls of this kind at a time")
            return
        self._under_way[id(context)] = (time.monotonic() + FIRST_MESSAGE, context)
        try:
            # The client may have left while the call waited for a thread.
            if context.is_active():
                yield from behaviour(path, self._timed(requests, context), context)
        except Exception as error:  # noqa: BLE001 # the application's, or grpcio's when the client left
            if context.is_active():
                frames = "".join(traceback.format_tb(error.__traceback__))
                logger.error("gRPC %s: %s\n%s", path, type(error).__name__, frames)  # noqa: TRY400 # `exception` logs the message, which may quote a value
                finish(context, grpc.StatusCode.INTERNAL, "internal error")
        finally:
            self._under_way.pop(id(context), None)
            if places:
                places.release()

    def _timed(self, requests: Iterator[bytes], context: Context) -> Generator[bytes]:
        """Yield the messages of a call. The first one extends its time from `FIRST_MESSAGE` to `LONGEST`."""
        for message in requests:
            self._under_way[id(context)] = (time.monotonic() + LONGEST, context)
            yield message

    def _health(self, path: str, requests: Iterator[bytes], context: Context) -> Generator[bytes]:
        """Answer a health check. On the wire its request equals a StringValue, and its response an Int32Value."""
        try:
            name = StringValue.from_binary(next(requests, b"")).value
        except ValueError:
            finish(context, grpc.StatusCode.INVALID_ARGUMENT, "the request is not a valid message")
            return
        is_known = not name or name in self._services
        if path == CHECK and not is_known:
            finish(context, grpc.StatusCode.NOT_FOUND, "there is no such service")
            return
        sent = 0
        while context.is_active():
            stopping = self.stopping.is_set()
            state = SERVING if not stopping and self._ready() else NOT_SERVING
            state = state if is_known else SERVICE_UNKNOWN
            if state != sent:
                yield Int32Value(value=state).to_binary()
            if path == CHECK or stopping:
                return
            sent = state
            # A watching call has no time limit.
            self._under_way.pop(id(context), None)
            self.stopping.wait(INTERVAL)

    def _application(self, path: str, requests: Iterator[bytes], context: Context) -> Generator[bytes]:
        """Forward a call to the application."""
        return forward(self._app, path, requests, context, scheme=self._scheme, longest=LONGEST)
