"""How many durable creates and reads a second the service does: `make bench`.

The client is a bare socket, so that what is measured is the service; both share the machine.
"""

import argparse
import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import cast

from postgres import MISSING, Cluster, binaries
from served import TOKEN, Service

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
SECONDS = 4.0


def request(rpc: str, message: dict[str, object], host: str) -> bytes:
    """A Connect request in JSON."""
    body = json.dumps(message).encode()
    return (
        f"POST /gitpod.v1.SecretService/{rpc} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {TOKEN}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> dict[str, object]:
    """Send a request and read its answer."""
    writer.write(sent)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200"), head
    length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
    if length:
        return cast("dict[str, object]", json.loads(await reader.readexactly(length)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return cast("dict[str, object]", json.loads(body))


def create(host: str) -> bytes:
    """A create of a name that nobody has."""
    name = f"N{uuid.uuid4().hex}"
    return request("CreateSecret", {"name": name, "value": "v" * 100, "projectId": PROJECT, "apiOnly": True}, host)


async def load(address: str, clients: int, make: Callable[[str], bytes]) -> tuple[float, float]:
    """Calls a second, and the median of their milliseconds, with so many clients at a time."""
    host, _, port = address.rpartition(":")
    took: list[float] = []
    until = time.perf_counter() + SECONDS

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while (began := time.perf_counter()) < until:
            await ask(reader, writer, make(address))
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return len(took) / SECONDS, sorted(took)[len(took) // 2] * 1000


async def made(address: str) -> str:
    """The id of a new secret."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = await ask(reader, writer, create(address))
    writer.close()
    secret = answer["secret"]
    assert isinstance(secret, dict)
    return str(secret["id"])  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] # JSON


def measure(engine: str, service: Service, counts: list[int]) -> None:
    """Print a line for each number of clients."""
    address = service.url.removeprefix("http://")
    read = request("GetSecretValue", {"secretId": asyncio.run(made(address))}, address)
    for clients in counts:
        creates = asyncio.run(load(address, clients, create))
        reads = asyncio.run(load(address, clients, lambda _: read))
        print(f"{engine:10} {clients:7} {creates[0]:11.0f} {creates[1]:6.1f} {reads[0]:10.0f} {reads[1]:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    counts: list[int] = parser.parse_args().clients
    print("engine     clients   creates/s     ms    reads/s     ms")
    with tempfile.TemporaryDirectory() as folder:
        with Service(f"sqlite:///{folder}/secrets.db", Path(folder)) as service:
            measure("sqlite", service, counts)
        if binaries() is None:
            print(MISSING)
            return
        with (
            Cluster(durable=True) as cluster,
            Service(cluster.create_database("bench"), Path(folder)) as service,
        ):
            measure("postgresql", service, counts)


if __name__ == "__main__":
    main()
