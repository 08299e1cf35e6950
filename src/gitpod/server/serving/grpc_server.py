"""The service over gRPC, on a port of its own: grpcio in front of the WSGI application that other callers have too.

A call becomes a WSGI request and the response a gRPC one, so that authentication, limits, errors and audit are
the application's. Health checks are answered here; reflection is an application beside the service's.
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
"""Seconds that a call may take whatever its deadline, so that one that stalls gives its thread back."""
FIRST_MESSAGE = 3.0
"""Seconds for it: a thread waits with the call, and clients send it with the headers."""
MAX_METADATA_BYTES = 16 * 1024
INTERVAL = 1.0
"""Seconds between two looks at what changes by itself: whether calls are overdue, what watchers were told."""

CHECK, WATCH = HEALTH = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
Behaviour = Callable[[str, Iterator[bytes], Context], Iterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """The PEM of a certificate and its key, and of the authority that clients' certificates must come from."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None


def route(apps: Mapping[str, WSGIApplication]) -> WSGIApplication:
    """The applications as one: each has the methods of the service that it stands under, by its full name."""

    def routed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = apps.get(environ["PATH_INFO"].rpartition("/")[0].removeprefix("/"))
        if app is not None:
            return app(environ, start_response)
        start_response("404 Not Found", [])
        return []

    return routed


def reflection(*services: DescService) -> dict[str, WSGIApplication]:
    """What tells clients the schema of the services: applications for `route`, which need no token."""
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
    """The service and reflection behind one edge, and the full names of what they serve."""
    apps = {SecretService.desc().type_name: service, **reflection(SecretService.desc())}
    return guarded_wsgi(route(apps), logs=True), list(apps)


class GRPCServer:
    """A gRPC server, which accepts calls from the start.

    Args:
        app: the application. It must speak gRPC, whose trailers go by `wsgi.ext.http.send_trailers`.
        services: the full names of the services that it has; others are unimplemented.
        listen: `host:port`; port 0 means a free one, which `port` tells.
        ready: what health checks tell of the services.
        tls: encrypts connections when it is given.
        max_message_bytes: the largest request message, decompressed.
        workers: how many calls are served at a time. Some more wait; beyond, they are RESOURCE_EXHAUSTED.

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
            # Or another process could listen on the same port, and get half of the connections.
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
            raise ServiceError(f"cannot listen on {listen} for gRPC: it is taken or not to be had{pem}") from None
        self._server.start()
        threading.Thread(target=self._calls.end_overdue, name="gitpod-grpc-overdue", daemon=True).start()

    def stop(self, grace: float) -> None:
        """Refuse new calls, give those under way `grace` seconds and then cancel them; return when all ended."""
        self._calls.stopping.set()
        self._server.stop(grace).wait()
        self._pool.shutdown()


class _Calls(grpc.GenericRpcHandler):  # type: ignore[misc] # it has no types
    """Answers each call. All are streams of bytes to grpcio, so that a denial does not wait for a message."""

    def __init__(
        self, app: WSGIApplication, services: Sequence[str], ready: Callable[[], bool], workers: int, scheme: str
    ) -> None:
        self._app = app
        self._services = frozenset(services)
        self._ready = ready
        self._scheme = scheme
        # What needs no token cannot have all the threads.
        free = (*HEALTH, *(name for name in services if name.startswith("grpc.")))
        self._places = {name: threading.Semaphore(max(1, workers // 4)) for name in free}
        self._under_way: dict[int, tuple[float, Context]] = {}
        self.stopping = threading.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """The handler of a method, if there is one (grpc.GenericRpcHandler)."""
        path: str = handler_call_details.method
        name = path.rpartition("/")[0].removeprefix("/")
        handler: grpc.RpcMethodHandler[bytes, bytes] | None = None
        if path in HEALTH:
            handler = grpc.stream_stream_rpc_method_handler(partial(self._answer, path, self._health, path))
        elif name in self._services:
            handler = grpc.stream_stream_rpc_method_handler(partial(self._answer, name, self._application, path))
        return handler

    def end_overdue(self) -> None:
        """Cancel what takes too long, until the server stops: grpcio itself waits for a message without end."""
        while not self.stopping.wait(INTERVAL):
            now = time.monotonic()
            for until, context in list(self._under_way.values()):
                if until < now:
                    context.cancel()

    def _answer(
        self, place: str, behaviour: Behaviour, path: str, requests: Iterator[bytes], context: Context
    ) -> Generator[bytes]:
        """The messages of an answer. Raises nothing, as grpcio would send the exception's text."""
        places = self._places.get(place)
        if places and not places.acquire(blocking=False):
            finish(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls of this kind at a time")
            return
        self._under_way[id(context)] = (time.monotonic() + FIRST_MESSAGE, context)
        try:
            # The client may have left before there was a thread for it.
            if context.is_active():
                yield from behaviour(path, self._timed(requests, context), context)
        except Exception as error:  # noqa: BLE001 # the application's, or grpcio's own when the client left
            if context.is_active():
                frames = "".join(traceback.format_tb(error.__traceback__))
                logger.error("gRPC %s: %s\n%s", path, type(error).__name__, frames)  # noqa: TRY400 # it has the text
                finish(context, grpc.StatusCode.INTERNAL, "internal error")
        finally:
            self._under_way.pop(id(context), None)
            if places:
                places.release()

    def _timed(self, requests: Iterator[bytes], context: Context) -> Generator[bytes]:
        """The messages of a call, which may take its time once the first has come."""
        for message in requests:
            self._under_way[id(context)] = (time.monotonic() + LONGEST, context)
            yield message

    def _health(self, path: str, requests: Iterator[bytes], context: Context) -> Generator[bytes]:
        """What `ready` says. On the wire a request is what a StringValue is, and a response an Int32Value."""
        try:
            name = StringValue.from_binary(next(requests, b"")).value
        except ValueError:
            finish(context, grpc.StatusCode.INVALID_ARGUMENT, "the request is not a valid message")
            return
        is_known = not name or name in self._services
        if path == CHECK and not is_known:
            finish(context, grpc.StatusCode.NOT_FOUND, "there is no such service")
            return
        told = 0
        while context.is_active():
            stopping = self.stopping.is_set()
            state = SERVING if not stopping and self._ready() else NOT_SERVING
            state = state if is_known else SERVICE_UNKNOWN
            if state != told:
                yield Int32Value(value=state).to_binary()
            if path == CHECK or stopping:
                return
            told = state
            # A watcher may stay.
            self._under_way.pop(id(context), None)
            self.stopping.wait(INTERVAL)

    def _application(self, path: str, requests: Iterator[bytes], context: Context) -> Generator[bytes]:
        """What the application answers."""
        return forward(self._app, path, requests, context, scheme=self._scheme, longest=LONGEST)
