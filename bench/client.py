"""What a create costs the client: the SDK beside what it is built on, against a server that answers without thinking.

`make bench` prints microseconds a call, wall and CPU of this process: the median of interleaved rounds, with
the quartiles, and each as a ratio within its round.
"""

import argparse
import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyqwest
from protobuf import Oneof

from gitpod import AsyncGitpod, Gitpod
from gitpod._endpoint import Endpoint
from gitpod._transport.connections import SyncConnections
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceClient, SecretServiceClientSync
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretRequest, CreateSecretResponse, Secret

TOKEN = "bench"  # noqa: S105 # no service checks it
IN_FLIGHT = 64
ID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
PARAMS: dict[str, Any] = {"name": "DATABASE_URL", "value": "v" * 64, "project_id": ID, "environment_variable": True}


class Times(NamedTuple):
    """Microseconds a call."""

    wall: float
    cpu: float


def canned() -> None:
    """Answer every request with the same secret; runs as a process of its own, and prints its port."""
    body = CreateSecretResponse(
        secret=Secret(id=ID, name="DATABASE_URL", mount=Oneof("environment_variable", True))
    ).to_binary()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\ncontent-length: {len(body)}\r\n\r\n"
    answer = head.encode() + body

    class Answering(asyncio.Protocol):
        def __init__(self) -> None:
            self.received = b""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def data_received(self, data: bytes) -> None:
            self.received += data
            while (end := self.received.find(b"\r\n\r\n")) >= 0:
                lines = self.received[:end].lower().split(b"\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                if len(self.received) < end + 4 + length:
                    return
                self.received = self.received[end + 4 + length :]
                self.transport.write(answer)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()

    import uvloop

    uvloop.run(serve())


def request() -> CreateSecretRequest:
    """The message of `PARAMS`."""
    message = CreateSecretRequest(name=PARAMS["name"], value=PARAMS["value"], mount=Oneof("environment_variable", True))
    message.project_id = ID  # pyright: ignore[reportDeprecated] # what the public reference documents
    return message


def sync_calls(url: str) -> dict[str, Callable[[], object]]:
    """One create, by each way."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    plain = {**headers, "content-type": "application/proto", "connect-protocol-version": "1"}
    path = "/gitpod.v1.SecretService/CreateSecret"
    pool = SyncConnections(
        Endpoint(base_url=url, allow_plaintext=None, protocol="connect", http2=False, ca_cert=None, client_cert=None)
    )
    sdk = Gitpod(bearer_token=TOKEN, base_url=url)
    over_pool = SecretServiceClientSync(url, http_client=pool, send_compression=None)  # type: ignore[arg-type] # what it calls of one
    over_native = SecretServiceClientSync(url, send_compression=None)
    native = pyqwest.SyncClient(pyqwest.SyncHTTPTransport(enable_otel=False))
    standard = http.client.HTTPConnection(url.removeprefix("http://"))
    sdk_call = sdk.secrets.create

    def by_standard() -> object:
        standard.request("POST", path, request().to_binary(), plain)
        return standard.getresponse().read()

    return {
        "SDK": lambda: sdk_call(**PARAMS),
        "stub over the pool": lambda: over_pool.create_secret(request(), headers=headers, timeout_ms=60000),
        "stub over pyqwest": lambda: over_native.create_secret(request(), headers=headers, timeout_ms=60000),
        "http.client": by_standard,
        "pyqwest": lambda: native.post(url + path, plain, request().to_binary(), timeout=60),
    }


def timed(call: Callable[[], object], calls: int) -> Times:
    """The cost of a call, of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    return Times((time.perf_counter() - wall) / calls * 1e6, (time.process_time() - cpu) / calls * 1e6)


async def timed_async(call: Callable[[], Awaitable[object]], calls: int) -> Times:
    """The cost of a call with 64 in flight."""
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            await call()

    wall, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())
    return Times((time.perf_counter() - wall) / calls * 1e6, (time.process_time() - cpu) / calls * 1e6)


async def async_rounds(url: str, rounds: int, calls: int) -> dict[str, list[Times]]:
    """The SDK and the native stub in turn."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    sdk = AsyncGitpod(bearer_token=TOKEN, base_url=url)
    stub = SecretServiceClient(url, send_compression=None)
    sdk_call = sdk.secrets.create
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "async SDK": lambda: sdk_call(**PARAMS),
        "async stub over pyqwest": lambda: stub.create_secret(request(), headers=headers, timeout_ms=60000),
    }
    found: dict[str, list[Times]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, call in ways.items():
            times = await timed_async(call, calls)
            if number:
                found[name].append(times)
    await sdk.close()
    return found


def sync_rounds(url: str, rounds: int, calls: int) -> dict[str, list[Times]]:
    """Each way in turn; the first round warms up."""
    ways = sync_calls(url)
    found: dict[str, list[Times]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, call in ways.items():
            times = timed(call, calls)
            if number:
                found[name].append(times)
    return found


def table(found: dict[str, list[Times]], base: str) -> list[dict[str, Any]]:
    """The rows of a table; ratios are to `base`, in the same round."""
    rows: list[dict[str, Any]] = []
    for name, times in found.items():
        row: dict[str, Any] = {"way": name}
        for kind in ("wall", "cpu"):
            values = [getattr(each, kind) for each in times]
            ratios = [getattr(a, kind) / getattr(b, kind) for a, b in zip(times, found[base], strict=True)]
            low, middle, high = statistics.quantiles(values, n=4)
            row[kind] = [round(low), round(middle), round(high)]
            row[f"{kind} ratio"] = round(statistics.median(ratios), 2)
        rows.append(row)
    return rows


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument("--canned", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.canned:
        canned()
        return
    server = subprocess.Popen(  # noqa: S603 # this very file
        [sys.executable, Path(__file__), "--canned"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        rows = table(sync_rounds(url, options.rounds, options.calls), "stub over the pool")
        rows += table(asyncio.run(async_rounds(url, options.rounds, options.calls * 4)), "async stub over pyqwest")
    finally:
        server.kill()
        server.wait()
    if options.json:
        print(json.dumps({"load": os.getloadavg()[0], "rows": rows}, indent=1))
        return
    print(f"load of the machine: {os.getloadavg()[0]:.1f}; µs a call: quartiles, and the ratio to the bare stub")
    print(f"{'':26}{'wall':>20}{'':>7}{'CPU':>20}")
    for row in rows:
        wall, cpu = ("{:>5} {:>6} {:>6}".format(*row[kind]) for kind in ("wall", "cpu"))
        print(f"{row['way']:26}{wall:>20}{row['wall ratio']:>7.2f}{cpu:>20}{row['cpu ratio']:>7.2f}")


if __name__ == "__main__":
    main()
