"""The service's stack as a server under test of connectconformance: the suite's calls in place of the service's.

Usage: server.py WAY, which the suite starts and tells by standard input what it needs. A way is what `serve` answers
by: `http` for HTTP/1.1, `grpc` for HTTP/2.
"""

import asyncio
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf import Registry
from protobuf.wkt import Any as AnyMessage

from gitpod.server.edge.applications import guarded_asgi, prompt
from gitpod.server.edge.headers import LONGEST_CALL, Receive, Scope, Send
from gitpod.server.edge.options import application_options
from gitpod.server.serving.grpc_server import GRPCServer
from gitpod.server.serving.http_connection import Server
from gitpod.server.serving.serve import http_config
from gitpod.server.serving.settings import Settings
from gitpod.server.serving.tls import server_context
from stubs import connect, header, read_message, server_compat, service, write_message

QUERY: ContextVar[bytes] = ContextVar("query")
"""The query of a GET."""


class Conformance(connect.ConformanceService):  # type: ignore[misc] # the stubs are Any
    """Answers each call as its request says, and with what came of the request."""

    async def unary(self, request: Any, ctx: Any, /) -> Any:  # noqa: ANN401 # messages of the suite
        """Answer a call."""
        return service.UnaryResponse(payload=await _payload(request, ctx))

    async def idempotent_unary(self, request: Any, ctx: Any, /) -> Any:  # noqa: ANN401 # messages of the suite
        """Answer a call that may be a GET."""
        return service.IdempotentUnaryResponse(payload=await _payload(request, ctx))


async def _payload(request: Any, ctx: Any) -> Any:  # noqa: ANN401 # messages of the suite
    definition = request.response_definition
    about = service.ConformancePayload.RequestInfo(
        request_headers=_grouped(ctx.request_headers.allitems()), requests=[AnyMessage.pack(request)]
    )
    # The service gives a call of no deadline one of 30 s, which protects it. The suite takes that for a mistake.
    if ctx.timeout_ms is not None and ctx.timeout_ms < LONGEST_CALL - 1000:
        about.timeout_ms = int(ctx.timeout_ms)
    if ctx.http_method == "GET":
        params = _grouped(parse_qsl(QUERY.get().decode(), keep_blank_values=True))
        about.connect_get_info = service.ConformancePayload.ConnectGetInfo(query_params=params)
    if definition is None:
        return service.ConformancePayload(request_info=about)
    for headers, target in (
        (definition.response_headers, ctx.response_headers),
        (definition.response_trailers, ctx.response_trailers),
    ):
        for each in headers:
            for value in each.value:
                target.add(each.name, value)
    await asyncio.sleep(definition.response_delay_ms / 1000)
    response = definition.response
    if response is not None and response.field == "error":
        error = response.value
        code = Code[error.code.name.removeprefix("CODE_")]
        raise ConnectError(code, error.message or "", [*error.details, about])
    data = response.value if response is not None else b""
    return service.ConformancePayload(data=data, request_info=about)


def _grouped(items: Any) -> list[Any]:  # noqa: ANN401 # pairs of names and values
    found: dict[str, list[str]] = {}
    for name, value in items:
        found.setdefault(name, []).append(value)
    return [header(name, values) for name, values in found.items()]


def _with_query(app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def queried(scope: Scope, receive: Receive, send: Send) -> None:
        QUERY.set(scope["query_string"])
        await app(scope, receive, send)

    return queried


async def _ready() -> bool:
    return True


async def serve(way: str, wanted: Any) -> None:  # noqa: ANN401 # a message of the suite
    """Serve on a free port until the suite ends this process."""
    options = application_options(registry=Registry(service.desc()))
    app = prompt(_with_query(connect.ConformanceServiceASGIApplication(Conformance(), **options)))
    context, certificate = None, b""
    if wanted.use_tls:
        certificate = wanted.server_creds.cert
        with tempfile.TemporaryDirectory() as folder:
            files = {"cert": certificate, "key": wanted.server_creds.key, "ca": wanted.client_tls_cert}
            paths = {name: Path(folder, name) for name, content in files.items() if content}
            for name, path in paths.items():
                path.write_bytes(files[name])
            context = server_context(paths["cert"], paths["key"], paths.get("ca"))
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    port = listener.getsockname()[1]
    ready = server_compat.ServerCompatResponse(host="127.0.0.1", port=port, pem_cert=certificate)
    if way == "grpc":
        server = GRPCServer(app, connect.ConformanceService.desc(), listener, ready=_ready, tls=context)
        await server.start()
        write_message(sys.stdout.buffer, ready)
        await asyncio.Event().wait()
    else:
        config = http_config(guarded_asgi(app, ready=_ready), Settings(store=""), context)
        # The kernel accepts connections already.
        write_message(sys.stdout.buffer, ready)
        await Server(config).serve([listener])


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], read_message(sys.stdin.buffer, server_compat.ServerCompatRequest)))
