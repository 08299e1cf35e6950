"""The SDK as a client under test of connectconformance: each case is a call by the stack that users have.

Usage: client.py WAY, which the suite starts. A way is a kind of client and what carries its requests: see `ways.py`.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import groupby
from threading import Lock
from typing import Any

import pyqwest
from connectrpc.codec import Codec
from connectrpc.request import Headers, RequestContext
from protobuf import Oneof, Registry
from protobuf.wkt import Any as AnyMessage

from gitpod import AsyncGitpod, Gitpod
from gitpod._rpc.call import Call, Calls, JSONCodec
from gitpod._rpc.failure import LAST_ANSWER, Failure
from gitpod._rpc.retry import RetryInterceptor
from gitpod._rpc.unary import Unary, UnaryAsync, UnarySync
from stubs import client_compat, config, connect, header, read_message, service, write_message
from ways import MAKERS, Target

PARALLEL = 16
"""Calls at a time: many cases wait for a deadline."""

PROTOCOLS = {"CONNECT": "connect", "GRPC": "grpc", "GRPC_WEB": "grpc-web"}
CODECS = {"PROTO": "binary", "JSON": "json"}
COMPRESSIONS = {"IDENTITY": None, "GZIP": "gzip", "ZSTD": "zstd"}
REGISTRY = Registry(service.desc())
"""What the suite puts into `google.protobuf.Any`, which the contract does not use."""

METHODS = {
    "Unary": ("unary", service.UnaryRequest),
    "IdempotentUnary": ("idempotent_unary", service.IdempotentUnaryRequest),
    "Unimplemented": ("unimplemented", service.UnimplementedRequest),
}


class NoDeadline:
    """Removes the deadline from requests whose case has none, as the suite takes any for a mistake.

    The SDK has a timeout for every call. This one hides it from the server, and it still holds here.
    """

    timeout = 60.0

    def intercept_unary_sync(
        self, call_next: Callable[[Any, RequestContext[Any, Any]], Any], request: object, ctx: RequestContext[Any, Any]
    ) -> Any:  # noqa: ANN401 # a message, or an awaitable of one
        """Call with other headers (connectrpc.interceptor.UnaryInterceptorSync)."""
        for name in ("connect-timeout-ms", "grpc-timeout"):
            if ctx.request_headers.get(name, "").removesuffix("m") == f"{self.timeout * 1000:.0f}":
                del ctx.request_headers[name]
        return call_next(request, ctx)

    async def intercept_unary(
        self, call_next: Callable[[Any, RequestContext[Any, Any]], Any], request: object, ctx: RequestContext[Any, Any]
    ) -> Any:  # noqa: ANN401 # a message
        """`intercept_unary_sync` for asyncio."""
        return await self.intercept_unary_sync(call_next, request, ctx)


class SyncStub(UnarySync, connect.ConformanceServiceClientSync):  # type: ignore[misc] # generated where the suite runs
    """The stub of the suite's service over Connect."""

    def _attempt(self, request: Any, ctx: RequestContext[Any, Any]) -> Any:  # noqa: ANN401 # messages
        return NoDeadline().intercept_unary_sync(super()._attempt, request, ctx)


class AsyncStub(UnaryAsync, connect.ConformanceServiceClient):  # type: ignore[misc] # generated where the suite runs
    """`SyncStub` for asyncio."""

    async def _attempt(self, request: Any, ctx: RequestContext[Any, Any]) -> Any:  # noqa: ANN401 # messages
        return await NoDeadline().intercept_unary(super()._attempt, request, ctx)


class Conformance(Calls[Any]):
    """The calls of the suite's service, by the options and connections of a client of the SDK."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 # a Gitpod or an AsyncGitpod, below its public parts
        is_async = isinstance(client, AsyncGitpod)
        kind = connect.ConformanceServiceClient if is_async else connect.ConformanceServiceClientSync

        def stub(*, interceptors: list[object], codec: Codec[Any, Any], **options: object) -> object:
            return kind(interceptors=[*interceptors, NoDeadline()], codec=suited(codec), **options)

        def unary(unary: Unary, transport: Any, retries: RetryInterceptor) -> object:  # noqa: ANN401 # of either kind
            unary.codec = suited(unary.codec)
            return (AsyncStub if is_async else SyncStub)(unary, transport, retries)

        super().__init__(client._options, client._transport, stub=stub, unary=unary)  # noqa: SLF001 # what its `.secrets` is made of

    def prepare(self, case: Any) -> Callable[[], Any]:  # noqa: ANN401 # a message
        """Return what makes the call of a case: its answer, or an awaitable of it."""
        timeout = case.timeout_ms / 1000 if case.timeout_ms else NoDeadline.timeout
        call = Call(self._options, timeout, None)
        given = [(each.name, value) for each in case.request_headers for value in each.value]
        name, kind = METHODS[case.method]
        request = case.request_messages[0].unpack(kind)
        headers = Headers([*call.headers.items(), *given])
        return lambda: getattr(self._stub, name)(request, headers=headers, timeout_ms=call.timeout_ms)


def suited(codec: Codec[Any, Any]) -> Codec[Any, Any]:
    """Return the codec of a client, which knows what the suite puts into `google.protobuf.Any`."""
    return JSONCodec(REGISTRY) if isinstance(codec, JSONCodec) else codec


MAKING = Lock()


@cache
def made(way: str, target: Target) -> Conformance:
    """The client for a target."""
    kind, options = MAKERS[way]
    client = kind(
        bearer_token="conformance",  # noqa: S106 # the suite looks at no token
        base_url=target.url,
        max_retries=0,
        protocol=target.protocol,
        codec=target.codec,
        compression=target.compression,
        **options(target),
    )
    return Conformance(client)


def prepared(way: str, case: Any) -> Callable[[], Any]:  # noqa: ANN401 # a message
    """Return what makes the call of a case."""
    scheme = "https" if case.server_tls_cert else "http"
    target = Target(
        url=f"{scheme}://{case.host}:{case.port}",
        protocol=PROTOCOLS[case.protocol.name],
        codec=CODECS[case.codec.name],
        compression=COMPRESSIONS[case.compression.name],
        http2=case.http_version == config.HTTPVersion.HTTP_VERSION_2,
        server_cert=case.server_tls_cert,
        client_cert=case.client_tls_creds.cert if case.client_tls_creds else b"",
        client_key=case.client_tls_creds.key if case.client_tls_creds else b"",
    )
    with MAKING:
        return made(way, target).prepare(case)


def answered(message: Any, error: Failure | None) -> Any:  # noqa: ANN401 # messages
    """Return the result of a call that was made just now by this thread or task."""
    answer = LAST_ANSWER.get()
    result = client_compat.ClientResponseResult(
        response_headers=listed(answer.headers), response_trailers=listed(answer.trailers)
    )
    if error is None:
        result.payloads.append(message.payload or service.ConformancePayload())
    else:
        details = error.error.details
        result.error = service.Error(
            code=config.Code[error.error.code.name],
            message=error.error.message,
            details=[
                AnyMessage(type_url=f"type.googleapis.com/{detail.type_name}", value=detail.message_bytes)
                for detail in details
            ],
        )
    return Oneof("response", result)


def listed(headers: Headers) -> list[Any]:
    """Return headers as the suite has them: each name with all of its values."""
    return [
        header(name, [value for _, value in items])
        for name, items in groupby(headers.allitems(), key=lambda item: item[0])
    ]


def broken(error: Exception) -> Any:  # noqa: ANN401 # a message
    """Return the result of a case that made no call, which is a mistake of this program or of the SDK."""
    return Oneof("error", client_compat.ClientErrorResult(message=repr(error)))


class Output:
    """Where results go, one at a time."""

    def __init__(self) -> None:
        self._lock = Lock()

    def write(self, case: Any, result: Any) -> None:  # noqa: ANN401 # messages
        """Write the result of a case."""
        with self._lock:
            write_message(
                sys.stdout.buffer, client_compat.ClientCompatResponse(test_name=case.test_name, result=result)
            )


def next_case() -> Any:  # noqa: ANN401 # a message
    """Return the next case, or None at the end."""
    return read_message(sys.stdin.buffer, client_compat.ClientCompatRequest)


def run(way: str, output: Output) -> None:
    """Make the calls of all cases, in threads."""

    def take(case: Any) -> None:  # noqa: ANN401 # a message
        try:
            call = prepared(way, case)
            try:
                result = answered(call(), None)
            except Failure as error:
                result = answered(None, error)
        except Exception as error:  # noqa: BLE001 # the suite prints it
            result = broken(error)
        output.write(case, result)

    with ThreadPoolExecutor(PARALLEL) as pool:
        while case := next_case():
            pool.submit(take, case)


async def run_async(way: str, output: Output) -> None:
    """`run`, in tasks. Those of some cases are cancelled."""
    free = asyncio.Semaphore(PARALLEL)

    async def call(case: Any) -> Any:  # noqa: ANN401 # messages
        try:
            return answered(await prepared(way, case)(), None)
        except Failure as error:
            return answered(None, error)
        except Exception as error:  # noqa: BLE001 # the suite prints it
            return broken(error)

    async def take(case: Any) -> None:  # noqa: ANN401 # a message
        async with free:
            task = asyncio.create_task(call(case))
            if case.cancel:
                await asyncio.sleep(case.cancel.cancel_timing.value / 1000)
                task.cancel()
            output.write(case, await task)

    async with asyncio.TaskGroup() as tasks:
        while case := await asyncio.to_thread(next_case):
            tasks.create_task(take(case))


def main(way: str) -> None:
    """Make the calls of the suite's cases, in a forked child if the way says so."""
    if way.endswith("-forked"):
        # What pyqwest has started does not survive the fork.
        Gitpod(bearer_token="conformance", base_url="http://127.0.0.1:9", http2=True)  # noqa: S106 # it is never sent
        pyqwest.HTTPTransport()
        if child := os.fork():
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if MAKERS[way][0] is AsyncGitpod:
        asyncio.run(run_async(way, Output()))
    else:
        run(way, Output())


if __name__ == "__main__":
    main(sys.argv[1])
