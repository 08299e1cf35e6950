"""The shares of a served process: how many calls each token and each organization may have under way.

A call under way holds memory only. A call in the store also holds a thread, so fewer of these are allowed, and the
others wait for their turn. Everything here belongs to one event loop, which serves both ports.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import NoReturn, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf.wkt import Duration

from gitpod.server.threads import Threads, in_thread
from gitpod_proto.google.rpc.error_details_pb import RetryInfo

T = TypeVar("T")

TOKEN_CALLS, ORGANIZATION_CALLS = 128, 256
"""The most calls under way of one token, and of all tokens of one organization."""
TOKEN_THREADS, ORGANIZATION_THREADS = 32, 48
"""The most threads that the calls of one token, and of one organization, hold at a time."""
STRANGERS = 512
"""The most calls that wait for the look-up of a token that this process does not know yet."""
RETRY_SECONDS = 1
"""Seconds after which a refused call may be sent again."""


class _Holder:
    """A token or an organization, and what its calls hold."""

    def __init__(self, key: str | bytes, most_calls: int, most_threads: int) -> None:
        self.key = key
        self.calls = 0
        self.most_calls = most_calls
        self.threads = 0
        self.turns = asyncio.Semaphore(most_threads)


class Shares:
    """Counts the calls under way.

    Args:
        threads: run the calls.
        strangers: run the look-ups of tokens that this process does not know yet, so that callers without a token
            hold no thread of the calls.
    """

    def __init__(self, threads: Threads, strangers: Threads) -> None:
        self._threads = threads
        self._strangers = strangers
        self._waiting = 0
        self._holders: dict[str | bytes, _Holder] = {}

    async def look_up(self, work: Callable[[], T]) -> T:
        """Return the result of a look-up. Raises RESOURCE_EXHAUSTED when too many wait already."""
        if self._waiting >= STRANGERS:
            _refuse(f"{STRANGERS} calls wait for the look-up of their token")
        self._waiting += 1
        try:
            return await in_thread(self._strangers, work)
        finally:
            self._waiting -= 1

    def enter(self, token: bytes, organization_id: str) -> "Share":
        """Begin a call of a token, named by its digest. Raises RESOURCE_EXHAUSTED when its share is used up."""
        by_token = self._holders.get(token) or _Holder(token, TOKEN_CALLS, TOKEN_THREADS)
        by_organization = self._holders.get(organization_id) or _Holder(
            organization_id, ORGANIZATION_CALLS, ORGANIZATION_THREADS
        )
        for holder, kind in ((by_token, "token"), (by_organization, "organization")):
            if holder.calls >= holder.most_calls:
                _refuse(f"{holder.most_calls} calls of this {kind} are under way, which is its limit")
        for holder in (by_token, by_organization):
            holder.calls += 1
            self._holders[holder.key] = holder
        return Share(self, self._threads, (by_token, by_organization))

    def forget(self, holder: _Holder) -> None:
        """Drop what is known of a token or an organization that holds nothing any more."""
        if not holder.calls and not holder.threads:
            self._holders.pop(holder.key, None)


class Share:
    """The place of one call."""

    def __init__(self, shares: Shares, threads: Threads, holders: tuple[_Holder, _Holder]) -> None:
        self._shares = shares
        self._threads = threads
        self._holders = holders

    async def run(self, work: Callable[[], T]) -> T:
        """Run work in a thread, once it is the turn of this token and of its organization."""
        token, organization = self._holders
        await token.turns.acquire()
        try:
            await organization.turns.acquire()
        except BaseException:
            token.turns.release()
            raise
        for holder in self._holders:
            holder.threads += 1
        loop = asyncio.get_running_loop()

        def done() -> None:
            # After the loop was closed nothing waits for a turn.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._give_back)

        # A call that was cancelled holds its thread until the work ends.
        return await in_thread(self._threads, work, done)

    def leave(self) -> None:
        """End the call."""
        for holder in self._holders:
            holder.calls -= 1
            self._shares.forget(holder)

    def _give_back(self) -> None:
        for holder in self._holders:
            holder.threads -= 1
            holder.turns.release()
            self._shares.forget(holder)


SHARE: ContextVar[Share | None] = ContextVar("gitpod_share", default=None)
"""The place of the request under way. None in process, where there are no limits, and before the caller is known."""


def _refuse(reason: str) -> NoReturn:
    retry = RetryInfo(retry_delay=Duration(seconds=RETRY_SECONDS))
    raise ConnectError(Code.RESOURCE_EXHAUSTED, f"{reason}; nothing was done, try again later", [retry])
