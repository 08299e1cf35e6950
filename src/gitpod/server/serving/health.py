"""The service `grpc.health.v1.Health`, which says what `/readyz` says. Its calls need no token."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.server import ConnectASGIApplication, Endpoint
from protobuf.wkt import Int32Value, StringValue

from gitpod.server.edge.codecs import KnownBinaryCodec

NAME = "grpc.health.v1.Health"
CHECK, WATCH = f"/{NAME}/Check", f"/{NAME}/Watch"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
INTERVAL = 1.0
"""Seconds between two checks for changes that watchers must get."""
Ready = Callable[[], Awaitable[bool]]


class Health:
    """Answers health checks.

    Args:
        services: the full names of the services that there are.
        ready: tells whether they are well.
    """

    def __init__(self, services: Collection[str], ready: Ready) -> None:
        self._services = services
        self._ready = ready
        self.stopping = asyncio.Event()

    async def check(self, request: StringValue, _ctx: object, /) -> Int32Value:
        """Return the state of a service, of all of them if the name is empty."""
        if not self._is_known(request.value):
            raise ConnectError(Code.NOT_FOUND, "there is no such service")
        return Int32Value(value=await self._state(request.value))

    async def watch(self, request: StringValue, _ctx: object, /) -> AsyncIterator[Int32Value]:
        """Return the state of a service now, and each time it changes, until the server stops."""
        sent = 0
        while True:
            is_last = self.stopping.is_set()
            if (state := await self._state(request.value)) != sent:
                yield Int32Value(value=state)
            if is_last:
                return
            sent = state
            # Not by asyncio.wait_for, which loses a cancellation that comes together with its own end.
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self.stopping.wait()

    def _is_known(self, name: str) -> bool:
        return not name or name in self._services

    async def _state(self, name: str) -> int:
        is_serving = not self.stopping.is_set() and await self._ready()
        return (SERVING if is_serving else NOT_SERVING) if self._is_known(name) else SERVICE_UNKNOWN


class HealthApplication(ConnectASGIApplication[Health]):
    """The application of health checks. On the wire their request equals a StringValue, their response an Int32Value.

    So it reads no JSON.
    """

    def __init__(self, health: Health) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] # endpoints of any messages
            service=health,
            endpoints=lambda service: {
                CHECK: Endpoint.unary(_method("Check", StreamType.UNARY), service.check),
                WATCH: Endpoint.server_stream(_method("Watch", StreamType.SERVER_STREAM), service.watch),
            },
            read_max_bytes=4096,
            compressions=(),
            codecs=[KnownBinaryCodec()],
        )

    @property
    def path(self) -> str:
        """The path of the service (connectrpc.server.ConnectASGIApplication)."""
        return f"/{NAME}"


def _method(name: str, kind: StreamType) -> "MethodInfo[StringValue, Int32Value]":
    options: Any = {"idempotency_level": IdempotencyLevel.UNKNOWN, "stream_type": kind}
    return MethodInfo(name=name, service_name=NAME, input=StringValue, output=Int32Value, **options)
