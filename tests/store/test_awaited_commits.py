"""Group commit of tasks: they can be cancelled, share a queue with threads, and are told when no thread starts."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from postgres import until
from tests.support.awaited import AwaitedWrites
from tests.support.storage import Work, adds, names, secret, write

from gitpod.server.errors import OutcomeUnknownError, StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.rows import AuditRecord
from gitpod.server.storage.store import Store
from gitpod.server.storage.transaction import Transaction


@pytest.fixture
def writes(url: str, store: Store) -> Iterator[AwaitedWrites]:
    """Group commit of tasks on a store."""
    assert store.is_current
    made = AwaitedWrites(url)
    yield made
    made.pool.shutdown()
    made.database.close()


class Leader:
    """Work under way until `goes_on` is set."""

    def __init__(self) -> None:
        self.begun, self.goes_on = Event(), Event()

    def __call__(self, _: Transaction) -> bool:
        self.begun.set()
        return self.goes_on.wait(30)


def run(writes: AwaitedWrites, work: Work, unread: Callable[[Any], None] | None = None) -> Coroutine[Any, Any, Any]:
    """Work to await."""
    awaited: list[Coroutine[Any, Any, Any]] = []

    def start(record: AuditRecord, recorded: Work) -> None:
        awaited.append(writes.run_async(record, recorded, writes.pool, writes.release, unread))

    write(start, work)
    return awaited[0]


async def happens(condition: Callable[[], bool]) -> None:
    """Wait in a loop until something is so."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 # no event tells of it
            await asyncio.sleep(0.01)


def test_tasks_of_one_loop_share_commits(store: Store, writes: AwaitedWrites) -> None:
    """And each gives its place back once."""

    async def main() -> None:
        leader = Leader()
        tasks = [asyncio.create_task(run(writes, leader))]
        await happens(leader.begun.is_set)
        tasks += [asyncio.create_task(run(writes, adds(secret(f"NUM{number}")))) for number in range(30)]
        await happens(lambda: writes.waiting == 30)
        leader.goes_on.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert writes.commits == 2
    assert len(names(store)) == 30
    assert writes.released == 31


@pytest.mark.parametrize("moment", ["waiting", "begun"])
def test_a_cancelled_task_is_not_done_or_is_done_to_its_end(store: Store, writes: AwaitedWrites, moment: str) -> None:
    """Its place is given back when nothing of it is in the store any more; its neighbours do not notice."""

    async def main() -> int:
        leader = Leader()

        def first(transaction: Transaction) -> None:
            transaction.add(secret("FIRST"))
            leader(transaction)

        leading = asyncio.create_task(run(writes, first))
        await happens(leader.begun.is_set)
        second, third = (asyncio.create_task(run(writes, adds(secret(name)))) for name in ("SECOND", "THIRD"))
        await happens(lambda: writes.waiting == 2)
        cancelled = leading if moment == "begun" else second
        cancelled.cancel()
        await asyncio.wait([cancelled])
        released = writes.released
        leader.goes_on.set()
        done = await asyncio.gather(leading, second, third, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in done] == [
            task is cancelled for task in (leading, second, third)
        ]
        return released

    assert asyncio.run(main()) == (0 if moment == "begun" else 1)
    assert sorted(names(store)) == (["FIRST", "SECOND", "THIRD"] if moment == "begun" else ["FIRST", "THIRD"])
    assert writes.released == 3


@pytest.mark.parametrize(("moment", "unread"), [("waiting", []), ("begun", [True]), ("answered", [True]), ("read", [])])
def test_a_result_that_a_cancelled_task_does_not_read_is_handed_over(
    writes: AwaitedWrites, moment: str, unread: list[bool]
) -> None:
    """Once, and only if the work was committed."""
    given = list[bool]()

    async def main() -> None:
        before, leader = Leader(), Leader()
        first = asyncio.create_task(run(writes, before))
        await happens(before.begun.is_set)
        second = asyncio.create_task(run(writes, leader, given.append))
        await happens(lambda: writes.waiting == 1)
        if moment != "waiting":
            before.goes_on.set()
            await happens(leader.begun.is_set)
        if moment in {"waiting", "begun"}:
            second.cancel()
        before.goes_on.set()
        leader.goes_on.set()
        while writes.released < 2 and moment == "answered":  # noqa: ASYNC110 # no event tells of it
            # The result is there one turn of the loop before the task has its own.
            await asyncio.sleep(0)
        if moment == "answered":
            second.cancel()
        await asyncio.wait([first, second])
        assert second.cancelled() == (moment != "read")
        await happens(lambda: writes.released == 2)

    asyncio.run(main())
    assert given == unread


def test_threads_and_tasks_hand_the_lead_to_each_other(
    store: Store, writes: AwaitedWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever leads, and whichever is next."""
    monkeypatch.setattr("gitpod.server.storage.commit.LARGEST_BATCH", 2)
    threads = super(AwaitedWrites, writes).run
    leader = Leader()
    with ThreadPoolExecutor(9) as pool:
        calls = [pool.submit(write, threads, leader)]
        assert leader.begun.wait(30)
        for number in range(8):
            kind = writes.run if number % 4 < 2 else threads
            calls.append(pool.submit(write, kind, adds(secret(f"NUM{number}"))))
            until(lambda: writes.waiting == len(calls) - 1, "it waits")
        leader.goes_on.set()
        for call in calls:
            call.result(30)
    assert names(store) == [f"NUM{number}" for number in range(8)]
    assert writes.waiting == 0


def test_a_task_for_which_no_thread_starts_has_written_nothing(store: Store, writes: AwaitedWrites) -> None:
    """And leaves the lead to others."""
    writes.pool.shutdown()
    with pytest.raises(StoreUnavailableError, match="nothing was written"):
        write(writes.run, adds(secret("NONE")))
    assert writes.released == 1
    write(super(AwaitedWrites, writes).run, adds(secret("NAME")))
    assert names(store) == ["NAME"]


def test_whoever_cannot_take_the_lead_is_told(store: Store, writes: AwaitedWrites) -> None:
    """When the thread before it ends."""
    threads, leader = super(AwaitedWrites, writes).run, Leader()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(write, threads, leader)
        assert leader.begun.wait(30)
        second = pool.submit(write, writes.run, adds(secret("SECOND")))
        until(lambda: writes.waiting == 1, "it waits")
        writes.pool.shutdown()
        leader.goes_on.set()
        assert first.result(30)
        assert isinstance(second.exception(30), StoreUnavailableError)
    assert names(store) == []
    assert writes.released == 1


def test_a_task_gives_up_but_its_place_is_held_to_the_end(
    writes: AwaitedWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work of a stuck leader is still in the store when its caller is told that the outcome is not known."""
    monkeypatch.setattr(limits, "QUEUE_TIMEOUT", 0.1)
    monkeypatch.setattr(limits, "FOLLOW_TIMEOUT", 0.1)

    async def main() -> None:
        leader = Leader()
        with pytest.raises(OutcomeUnknownError):
            await run(writes, leader)
        assert writes.released == 0
        leader.goes_on.set()
        await happens(lambda: writes.released == 1)

    asyncio.run(main())
