"""A POST by a library for HTTP, with nothing made of the answer: `python -m bench.peers.raw_http WAY URL [CA_FILE]`."""

import importlib
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from bench.peers.request import BODY, HEADERS, PATH
from bench.peers.worker import work, work_async

IN_FLIGHT = 64


def by_httpx(library: str, url: str, ca: str | None) -> Callable[[], object]:
    """By httpx, or by httpx2, which has the same interface."""
    client: Any = importlib.import_module(library).Client(verify=ssl.create_default_context(cafile=ca))
    return lambda: client.post(url + PATH, content=BODY, headers=HEADERS).content


async def by_httpx_async(library: str, url: str) -> Callable[[], Awaitable[object]]:
    """The same for asyncio."""
    client: Any = importlib.import_module(library).AsyncClient()
    return lambda: client.post(url + PATH, content=BODY, headers=HEADERS)


async def by_aiohttp(url: str) -> Callable[[], Awaitable[object]]:
    """By aiohttp."""
    session: Any = importlib.import_module("aiohttp").ClientSession()

    async def post() -> object:
        async with session.post(url + PATH, data=BODY, headers=HEADERS) as answer:
            return await answer.read()

    return post


def main() -> None:
    way, url, *ca = sys.argv[1:]
    library, _, kind = way.partition("-")
    if library == "aiohttp":
        work_async(lambda: by_aiohttp(url), IN_FLIGHT)
    elif kind:
        work_async(lambda: by_httpx_async(library, url), IN_FLIGHT)
    else:
        work(by_httpx(library, url, ca[0] if ca else None))


if __name__ == "__main__":
    main()
