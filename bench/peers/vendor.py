"""gitpod-sdk as a way to send one create: `python -m bench.peers.vendor VERSION[-async] URL`.

Each version has an environment of its own, which has nothing of this repository.
"""

import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from bench.peers.request import PARAMS, TOKEN
from bench.peers.worker import work, work_async

IN_FLIGHT = 64


def old(url: str) -> Callable[[], object]:
    """0.11, over httpx and JSON."""
    gitpod: Any = importlib.import_module("gitpod")
    client = gitpod.Gitpod(bearer_token=TOKEN, base_url=url)
    return lambda: client.secrets.create(**PARAMS)


def new(url: str) -> Callable[[], object]:
    """1.2, over urllib and google protobuf."""
    ona: Any = importlib.import_module("ona_sdk")
    messages: Any = importlib.import_module("gitpod.v1.secret_pb2")
    client = ona.create_client(api_key=TOKEN, base_url=url)
    return lambda: client.services.secret.create_secret(messages.CreateSecretRequest(**PARAMS))


async def old_async(url: str) -> Callable[[], Awaitable[object]]:
    """0.11 for asyncio."""
    gitpod: Any = importlib.import_module("gitpod")
    client = gitpod.AsyncGitpod(bearer_token=TOKEN, base_url=url)
    return lambda: client.secrets.create(**PARAMS)


def main() -> None:
    version, url = sys.argv[1:3]
    if version == "0.11-async":
        work_async(lambda: old_async(url), IN_FLIGHT)
    else:
        work({"0.11": old, "1.2": new}[version](url))


if __name__ == "__main__":
    main()
