"""grpcio as a way to send one create: `python -m bench.peers.grpc_client sync|async ADDRESS`."""

import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from bench.peers.messages import message
from bench.peers.request import HEADERS, PARAMS, PATH
from bench.peers.worker import work, work_async

IN_FLIGHT = 64
METADATA = [("authorization", HEADERS["authorization"])]


def create(channel: Any) -> Callable[[], Any]:  # noqa: ANN401 # grpcio has no types
    """One call on a channel."""
    request, answer = message("CreateSecretRequest"), message("CreateSecretResponse")
    call = channel.unary_unary(
        PATH, request_serializer=request.SerializeToString, response_deserializer=answer.FromString
    )
    return lambda: call(request(**PARAMS), metadata=METADATA, timeout=60)


async def create_async(address: str) -> Callable[[], Awaitable[object]]:
    """The same for asyncio."""
    aio: Any = importlib.import_module("grpc.aio")
    return create(aio.insecure_channel(address))


def main() -> None:
    kind, address = sys.argv[1:3]
    if kind == "async":
        work_async(lambda: create_async(address), IN_FLIGHT)
    else:
        grpc: Any = importlib.import_module("grpc")
        work(create(grpc.insecure_channel(address)))


if __name__ == "__main__":
    main()
