"""uvicorn with one answer: `python -m bench.peers.constant httptools|h11`; prints its port."""

import importlib
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from bench.peers.request import ANSWER

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


async def application(_: dict[str, Any], receive: Receive, send: Send) -> None:
    """Read the request, and give the answer."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/proto"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def main() -> None:
    uvicorn: Any = importlib.import_module("uvicorn")
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(
            application, http=sys.argv[1], loop="uvloop", lifespan="off", access_log=False, log_level="warning"
        )
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
