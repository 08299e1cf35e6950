"""Work in threads that an event loop awaits, and the places in the store that calls hold meanwhile."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from threading import Event

import pytest
from connectrpc.errors import ConnectError

from gitpod.server.shares import ORGANIZATION_PLACES, TOKEN_PLACES, Shares
from gitpod.server.threads import Pools, Threads, in_thread


@pytest.fixture
def single() -> Iterator[Threads]:
    """A started pool of one thread."""
    pool = Threads(1, "single")
    pool.start_all()
    yield pool
    pool.shutdown()


async def happens(condition: Callable[[], bool]) -> None:
    """Wait in a loop until something is so."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 # no event tells of it
            await asyncio.sleep(0.01)


def test_a_thread_goes_on_after_an_error(single: Threads) -> None:
    """Whoever awaits the work gets the error, and the next one gets the thread."""

    async def main() -> int:
        with pytest.raises(ZeroDivisionError):
            await in_thread(single, lambda: 1 // 0)
        return await in_thread(single, lambda: 7)

    assert asyncio.run(main()) == 7


def test_a_thread_that_waits_keeps_nothing_of_its_last_work(single: Threads) -> None:
    """It may have been a value."""

    class Value: ...

    async def main() -> weakref.ref[Value]:
        value = Value()
        return weakref.ref(await in_thread(single, lambda: value))

    kept = asyncio.run(main())
    single.submit(int).result(30)
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_cancelled_call_holds_its_thread_until_the_work_ends(single: Threads, *, is_begun: bool) -> None:
    """And none if the work has not begun, which then never begins."""
    begun, goes_on, done, released = Event(), Event(), Event(), list[str]()

    def work() -> None:
        begun.set()
        goes_on.wait(30)
        done.set()

    async def main() -> None:
        if not is_begun:
            single.run(lambda: goes_on.wait(30))
        call = asyncio.create_task(in_thread(single, work, lambda: released.append("once")))
        await (happens(begun.is_set) if is_begun else asyncio.sleep(0))
        call.cancel()
        await asyncio.wait([call])
        assert len(released) == (0 if is_begun else 1)
        goes_on.set()
        await in_thread(single, int)
        await happens(lambda: released == ["once"])

    asyncio.run(main())
    assert done.is_set() == is_begun


def test_a_closed_pool_says_that_nothing_is_done(single: Threads) -> None:
    """And the place is free again."""
    single.shutdown()
    released: list[str] = []
    with pytest.raises(ConnectError, match="is closed"):
        asyncio.run(in_thread(single, int, lambda: released.append("once")))
    assert released == ["once"]


def test_a_token_waits_for_its_turn_and_leaves_room_to_others() -> None:
    """In the order of the calls; who leaves while waiting is passed over, and at the end nothing is kept."""

    async def main() -> None:
        shares = Shares(Pools())
        first = [shares.enter(b"first", "organization") for _ in range(TOKEN_PLACES + 3)]
        for share in first[:TOKEN_PLACES]:
            await share.enter()
        waiting = [asyncio.create_task(share.enter()) for share in first[TOKEN_PLACES:]]
        await asyncio.sleep(0)
        others = [shares.enter(b"second", "organization") for _ in range(ORGANIZATION_PLACES - TOKEN_PLACES)]
        for share in others:
            await share.enter()
        waiting[0].cancel()
        first[0].give_back()
        await happens(waiting[1].done)
        assert not waiting[2].done()
        first[1].give_back()
        await waiting[2]
        for share in [*first[2:TOKEN_PLACES], *first[TOKEN_PLACES + 1 :], *others]:
            share.give_back()
        for share in [*first, *others]:
            share.leave()
        assert not vars(shares)["_holders"]

    asyncio.run(main())
