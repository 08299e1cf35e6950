"""Pages of secrets. Iterating over a page fetches the pages after it as they are needed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Generic

from typing_extensions import TypeVar

from gitpod.errors import APIResponseValidationError
from gitpod.types import Secret

__all__ = ["AsyncPaginator", "AsyncSecretsPage", "SecretsPagePagination", "SyncSecretsPage"]

S = TypeVar("S", default=Secret)
P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsPagePagination:
    """Where the next page starts (`gitpod.v1.PaginationResponse`); `next_token` is None on the last page."""

    next_token: str | None = None


class _Page(Generic[P, S]):
    """One page: its `secrets`, oldest first, and its `pagination`. `P` is what `get_next_page` returns."""

    def __init__(self, secrets: list[S], next_token: str | None, fetch: Callable[[str], P]) -> None:
        self.secrets = secrets
        self.pagination = SecretsPagePagination(next_token=next_token)
        self._fetch = fetch

    def has_next_page(self) -> bool:
        """Whether there are more secrets after this page."""
        return self.pagination.next_token is not None

    def get_next_page(self) -> P:
        """Fetch the next page. Raises `RuntimeError` on the last page, and the errors of `secrets.list`."""
        if self.pagination.next_token is None:
            raise RuntimeError("this is the last page; ask has_next_page() first")
        return self._fetch(self.pagination.next_token)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(secrets={self.secrets!r}, pagination={self.pagination!r})"


def _check_token(page: _Page[Any, Any], seen: set[str | None]) -> None:
    """Raise if the page leads back to an earlier one, because iterating would never end."""
    if page.has_next_page() and page.pagination.next_token in seen:
        raise APIResponseValidationError("the service gave the same page token twice", outcome="rejected")
    seen.add(page.pagination.next_token)


class SyncSecretsPage(_Page["SyncSecretsPage[S]", S], Generic[S]):
    """A page of `Gitpod().secrets.list(...)`."""

    def iter_pages(self) -> Iterator["SyncSecretsPage[S]"]:
        """Yield this page and every page after it."""
        page: SyncSecretsPage[S] = self
        seen: set[str | None] = set()
        _check_token(page, seen)
        yield page
        while page.has_next_page():
            page = page.get_next_page()
            _check_token(page, seen)
            yield page

    def __iter__(self) -> Iterator[S]:
        for page in self.iter_pages():
            yield from page.secrets


class AsyncSecretsPage(_Page["AsyncPaginator[S]", S], Generic[S]):
    """A page of `AsyncGitpod().secrets.list(...)`; `await page.get_next_page()` fetches the next."""

    async def iter_pages(self) -> AsyncIterator["AsyncSecretsPage[S]"]:
        """Yield this page and every page after it."""
        page: AsyncSecretsPage[S] = self
        seen: set[str | None] = set()
        _check_token(page, seen)
        yield page
        while page.has_next_page():
            page = await page.get_next_page()
            _check_token(page, seen)
            yield page

    async def __aiter__(self) -> AsyncIterator[S]:
        async for page in self.iter_pages():
            for secret in page.secrets:
                yield secret


class AsyncPaginator(Generic[S]):
    """A list that is not fetched yet. Await it for its first page, or use `async for` over every secret."""

    def __init__(self, first: Callable[[], Awaitable[AsyncSecretsPage[S]]]) -> None:
        self._first = first

    def __await__(self) -> Generator[Any, Any, AsyncSecretsPage[S]]:
        return self._first().__await__()

    async def __aiter__(self) -> AsyncIterator[S]:
        async for secret in await self._first():
            yield secret
