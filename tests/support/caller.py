"""A client of either kind, called the same way."""

import asyncio
from collections.abc import Awaitable
from itertools import product
from typing import Any, Literal, TypeVar, cast

from gitpod import AsyncGitpod, Gitpod
from gitpod.pagination import AsyncPaginator
from gitpod.types import Secret, SecretCreateResponse, SecretPutResponse, SecretValue

T = TypeVar("T")
Codec = Literal["binary", "json"]
Kind = type[Gitpod] | type[AsyncGitpod]
Flavour = tuple[Literal["sync", "async"], Codec, Literal["in-process", "postgresql", "socket"]]
"""The kind of client, the codec that it speaks, and where its store is."""

KINDS: dict[str, Kind] = {"sync": Gitpod, "async": AsyncGitpod}
EVERY_FLAVOUR = list(product(("sync", "async"), ("binary", "json"), ("in-process", "postgresql", "socket")))
PAIRWISE: list[Flavour] = [
    ("sync", "binary", "in-process"),
    ("async", "json", "in-process"),
    ("sync", "json", "postgresql"),
    ("async", "binary", "postgresql"),
    ("sync", "binary", "socket"),
    ("async", "json", "socket"),
]
"""Half of the flavours. Each two values of different columns stand together in one of them."""


class Caller:
    """A client of either kind, called the same way."""

    def __init__(self, client: Gitpod | AsyncGitpod, runner: asyncio.Runner) -> None:
        self.client = client
        self._runner = runner

    def run(self, result: T | Awaitable[T]) -> T:
        """The result of a call, awaited where it has to be."""
        if not isinstance(result, Awaitable):
            return result
        pending = cast("Awaitable[T]", result)

        async def awaited() -> T:
            return await pending

        return self._runner.run(awaited())

    def create(self, **params: Any) -> SecretCreateResponse:
        return self.run(self.client.secrets.create(**params))

    def get_value(self, **params: Any) -> SecretValue:
        return self.run(self.client.secrets.get_value(**params))

    def put(self, **params: Any) -> SecretPutResponse:
        return self.run(self.client.secrets.put(**params))

    def update_value(self, **params: Any) -> None:
        return self.run(self.client.secrets.update_value(**params))

    def delete(self, **params: Any) -> None:
        return self.run(self.client.secrets.delete(**params))

    def list(self, **params: Any) -> list[Secret]:
        """Every secret of a list, of all its pages."""
        found = self.client.secrets.list(**params)
        if not isinstance(found, AsyncPaginator):
            return list(found)

        async def collect() -> list[Secret]:
            return [secret async for secret in found]

        return self._runner.run(collect())

    def page(self, **params: Any) -> Any:
        """The first page of a list, of either kind."""
        return self.run(cast("Awaitable[Any]", self.client.secrets.list(**params)))

    def close(self) -> None:
        self.run(self.client.close())
