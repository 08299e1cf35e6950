"""The shares of a served process: how many calls each token and each organization may have under way.

A call under way holds memory only. A call in the store also holds a place in a queue, or a thread, so fewer of these
are allowed, and the others wait for their turn. Everything here belongs to one event loop, which serves both ports.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import NoReturn, TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf.wkt import Duration

from gitpod.server.threads import Pools, Threads, in_thread
from gitpod_proto.google.rpc.error_details_pb import RetryInfo

T = TypeVar("T")

TOKEN_CALLS, ORGANIZATION_CALLS = 128, 256
"""The most calls under way of one token, and of all tokens of one organization."""
TOKEN_PLACES, ORGANIZATION_PLACES = 32, 48
"""The most places in the store that the calls of one token, and of one organization, hold at a time."""
STRANGERS = 512
"""The most calls that wait for the look-up of a token that this process does not know yet."""
RETRY_SECONDS = 1
"""Seconds after which a refused call may be sent again."""


class _Holder:
    """A token or an organization, and what its calls hold."""

    __slots__ = ("_turns", "calls", "key", "most_calls", "most_places", "places")

    def __init__(self, key: str | bytes, most_calls: int, most_places: int) -> None:
        self.key = key
        self.calls = 0
        self.most_calls = most_calls
        self.places = 0
        self.most_places = most_places
        self._turns: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Wait for a place, first come, first served."""
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._turns.remove(turn)
            else:
                self.give_back()
            raise

    def give_back(self) -> None:
        """Give a place to the next one that waits, if there is one."""
        for turn in self._turns:
            if not turn.done():
                self._turns.remove(turn)
                turn.set_result(None)
                return
        self.places -= 1


class Shares:
    """Counts the calls under way.

    Args:
        pools: have the threads of look-ups. Callers without a token that is known hold no thread of the others.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._waiting = 0
        self._holders: dict[str | bytes, _Holder] = {}

    async def look_up(self, work: Callable[[], T]) -> T:
        """Return the result of a look-up. Raises RESOURCE_EXHAUSTED when too many wait already."""
        if self._waiting >= STRANGERS:
            _refuse(f"{STRANGERS} calls wait for the look-up of their token")
        self._waiting += 1
        try:
            return await in_thread(self._pools.strangers, work)
        finally:
            self._waiting -= 1

    def enter(self, token: bytes, organization_id: str) -> "Share":
        """Begin a call of a token, named by its digest. Raises RESOURCE_EXHAUSTED when its share is used up."""
        by_token = self._holders.get(token) or _Holder(token, TOKEN_CALLS, TOKEN_PLACES)
        by_organization = self._holders.get(organization_id) or _Holder(
            organization_id, ORGANIZATION_CALLS, ORGANIZATION_PLACES
        )
        for holder, kind in ((by_token, "token"), (by_organization, "organization")):
            if holder.calls >= holder.most_calls:
                _refuse(f"{holder.most_calls} calls of this {kind} are under way, which is its limit")
        for holder in (by_token, by_organization):
            holder.calls += 1
            self._holders[holder.key] = holder
        return Share(self, self._pools.readers, (by_token, by_organization))

    def forget(self, holder: _Holder) -> None:
        """Drop what is known of a token or an organization that holds nothing any more."""
        if not holder.calls and not holder.places:
            self._holders.pop(holder.key, None)


class Share:
    """The place of one call."""

    __slots__ = ("_holders", "_readers", "_shares")

    def __init__(self, shares: Shares, readers: Threads, holders: tuple[_Holder, _Holder]) -> None:
        self._shares = shares
        self._readers = readers
        self._holders = holders

    async def enter(self) -> None:
        """Take a place in the store, once it is the turn of this token and of its organization."""
        for number, holder in enumerate(self._holders):
            if holder.places < holder.most_places:
                holder.places += 1
                continue
            try:
                await holder.wait()
            except BaseException:
                for held in self._holders[:number]:
                    held.give_back()
                raise

    def give_back(self) -> None:
        """Give back the place in the store. A call that was cancelled holds it until its work has ended."""
        for holder in self._holders:
            holder.give_back()
            self._shares.forget(holder)

    async def read(self, work: Callable[[], T]) -> T:
        """Return the result of work that reads from the store, in a thread and in a place of this call."""
        await self.enter()
        return await in_thread(self._readers, work, self.give_back)

    def leave(self) -> None:
        """End the call."""
        for holder in self._holders:
            holder.calls -= 1
            self._shares.forget(holder)


SHARE: ContextVar[Share | None] = ContextVar("gitpod_share", default=None)
"""The place of the request under way. None in process, where there are no limits, and before the caller is known."""


def _refuse(reason: str) -> NoReturn:
    retry = RetryInfo(retry_delay=Duration(seconds=RETRY_SECONDS))
    raise ConnectError(Code.RESOURCE_EXHAUSTED, f"{reason}; nothing was done, try again later", [retry])
