"""A server that answers without thinking: `python -m bench.canned [CERTIFICATE_FILE]`; prints its port.

What a client costs is measured against it, so its own cost is the same for all of them.
"""

import asyncio
import json
import ssl
import sys
from typing import cast

import uvloop
from bench.peers.request import ANSWER, ANSWER_JSON


def answer(kind: str, body: bytes) -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


BINARY = answer("application/proto", ANSWER)
JSON = answer("application/json", json.dumps(ANSWER_JSON).encode())


class Answering(asyncio.Protocol):
    """Gives each request the same answer, in the codec that it came in."""

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to write."""
        self.transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r")[0] or 0)
            if len(self.received) < end + 4 + length:
                return
            self.received = self.received[end + 4 + length :]
            self.transport.write(JSON if b"content-type: application/json" in head else BINARY)


async def serve(context: ssl.SSLContext | None) -> None:
    """Listen on a free port, and print it."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    context = None
    if len(sys.argv) > 1:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[1])
    uvloop.run(serve(context))


if __name__ == "__main__":
    main()
