"""Group commit: writers share transactions, and no one of them harms another."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from ctypes import c_ulong, py_object, pythonapi
from dataclasses import replace
from threading import Event, get_ident
from typing import Any

import psycopg
import pytest
from postgres import until
from tests.support.awaited import AwaitedWrites
from tests.support.storage import (
    ORGANIZATION,
    OTHER,
    Work,
    Writes,
    add,
    adds,
    finds,
    listed,
    names,
    secret,
    together,
    write,
)

from gitpod.server.errors import OutcomeUnknownError, StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.commit import LARGEST_BATCH
from gitpod.server.storage.rows import AuditRecord, Position, StoredSecret, audit_record
from gitpod.server.storage.store import Store
from gitpod.server.storage.transaction import Planned, Transaction


class InterruptedLeader(BaseException):
    """What no handler catches."""


@pytest.fixture(params=[Writes, AwaitedWrites], ids=["threads", "tasks"])
def writes(request: pytest.FixtureRequest, url: str, store: Store) -> Iterator[Writes]:
    """Group commit of threads, or of tasks of event loops, beside that of the store itself."""
    assert store.is_current
    kind: type[Writes] = request.param
    made = kind(url)
    yield made
    made.database.close()


def test_writers_share_commits(store: Store, writes: Writes) -> None:
    """Thirty who wait for another share one."""
    made = together(writes, *(adds(secret(f"NUM{number}")) for number in range(30)))
    assert writes.commits == 2
    assert [each.name for each in sorted(made, key=lambda each: each.created_at)] == names(store)
    assert len(names(store)) == len(store.audit(secret_id=None, since=0, limit=100)) - 1 == 30


def test_an_answer_comes_after_its_commit(store: Store, writes: Writes) -> None:
    """Whoever is told of a row has others see it."""

    def seen(number: int) -> bool:
        made: StoredSecret = write(writes.run, adds(secret(f"NUM{number}")))
        return store.page(ORGANIZATION, None, Position(made.created_at - 1, ""), 1) == [listed(made)]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(seen, range(64))) == [True] * 64
    assert writes.commits < 64


def test_bad_work_spares_its_neighbours(store: Store, writes: Writes) -> None:
    """Each is told what came of its own; nothing is left of the work that failed."""
    first = audit_record(ORGANIZATION, None, "First")
    store.write(first, lambda transaction: transaction.record(first))

    def raises(transaction: Transaction) -> None:
        transaction.add(secret("RAISES"))
        raise ZeroDivisionError

    def violates(transaction: Transaction) -> None:
        transaction.add(secret("VIOLATES"))
        transaction.record(first)

    good, *bad, best = together(writes, adds(secret("GOOD")), raises, violates, adds(secret("BEST")))
    taken = sqlite3.IntegrityError if store.path else psycopg.errors.UniqueViolation
    assert [type(each) for each in bad] == [ZeroDivisionError, taken]
    assert [good.name, best.name] == ["GOOD", "BEST"]
    assert sorted(names(store)) == ["BEST", "GOOD"]


def test_one_of_two_gets_a_name(store: Store, writes: Writes) -> None:
    """Also when one transaction holds both."""
    made = together(writes, adds(secret()), adds(secret()))
    assert writes.commits == 2
    assert sorted(each is None for each in made) == [False, True]
    assert names(store) == ["NAME"]


def test_a_batch_adds_what_is_free(store: Store, writes: Writes) -> None:
    """Names that are taken, in the store or by another one of the batch, spare the others, whatever organization."""
    assert add(store, secret("OLD"))
    chosen = ["NEW", "OLD", "NEW", "LAST"]
    works = [*(adds(secret(name)) for name in chosen), adds(secret("OLD", organization_id=OTHER))]
    made = together(writes, *works)
    assert writes.commits == 2
    assert sorted(each.name for each in made if each) == ["LAST", "NEW", "OLD"]
    assert sorted(names(store)) == ["LAST", "NEW", "OLD"]
    times = [each.created_at for each in made if each and each.organization_id == ORGANIZATION]
    assert len({*times}) == 2


def test_a_batch_finds_what_there_is(store: Store, writes: Writes) -> None:
    """Each its own, and nothing of another organization; a secret is removed once, and gone for who finds it later."""
    first, second = add(store, secret("FIRST")), add(store, secret("SECOND"))
    assert first
    assert second
    foreign = replace(second, organization_id=OTHER)

    def remove(transaction: Transaction, found: StoredSecret | None) -> bool:
        return found is not None and transaction.remove(found)

    def look(_: Transaction, found: StoredSecret | None) -> StoredSecret | None:
        return found

    works = [finds(first, remove), finds(first, remove), finds(second, look), finds(secret(), look)]
    one, other, *looked = together(writes, *works, finds(foreign, look))
    assert writes.commits == 2
    assert sorted([one, other]) == [False, True]
    assert looked == [second, None, None]
    assert names(store) == ["SECOND"]


def test_planned_work_that_does_not_add_adds_nothing(store: Store, writes: Writes) -> None:
    """It breaks its promise, and its neighbours are spared."""
    forgets = Planned(lambda _: None, adds=secret("FORGOTTEN"))
    made = together(writes, adds(secret("FIRST")), forgets, adds(secret("LAST")))
    assert [made[0].name, made[1], made[2].name] == ["FIRST", None, "LAST"]
    assert sorted(names(store)) == ["FIRST", "LAST"]


def test_the_lead_is_handed_over(store: Store, writes: Writes) -> None:
    """No transaction holds more than the largest batch, and nothing is left behind."""
    count = 2 * LARGEST_BATCH + 1
    made = together(writes, *(adds(secret(f"NUM{number}")) for number in range(count)))
    assert writes.commits == 1 + 3
    assert sorted(each.name for each in made) == sorted(names(store))
    assert (len(made), writes.waiting) == (count, 0)


def test_an_interrupted_leader_leaves_nobody_behind(store: Store, writes: Writes) -> None:
    """Nobody waits for it or is falsely told of success, and the next one writes again."""

    def interrupted(_: Transaction) -> None:
        raise InterruptedLeader

    made = together(writes, adds(secret("FIRST")), interrupted, adds(secret("LAST")))
    # A task is not the leader itself, so none is interrupted.
    leader = "OutcomeUnknownError" if isinstance(writes, AwaitedWrites) else "InterruptedLeader"
    assert sorted(type(each).__name__ for each in made) == [leader, *["OutcomeUnknownError"] * 2]
    assert names(store) == []
    assert write(writes.run, adds(secret())).name == "NAME"


@pytest.mark.parametrize("writes", [Writes], indirect=True)
def test_an_interrupted_heir_leaves_nobody_behind(
    store: Store, writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends while the lead is handed to them passes it on."""
    monkeypatch.setattr(limits, "QUEUE_TIMEOUT", 1)
    interrupt = pythonapi.PyThreadState_SetAsyncExc
    heir: list[int] = []

    def inherit(record: AuditRecord, work: Work) -> object:
        heir.append(get_ident())
        return writes.run(record, work)

    with ThreadPoolExecutor(2) as pool:

        def first(_: Transaction) -> list[Future[Any]]:
            begun = [pool.submit(write, inherit, adds(secret("HEIR")))]
            until(lambda: writes.waiting == 1, "the heir waits")
            interrupt(c_ulong(heir[0]), py_object(InterruptedLeader))
            begun.append(pool.submit(write, writes.run, adds(secret("LAST"))))
            until(lambda: writes.waiting == 2, "another one waits")
            return begun

        ended, last = write(writes.run, first)
        assert isinstance(ended.exception(30), InterruptedLeader)
        assert last.result(30).name == "LAST"
    assert names(store) == ["LAST"]


def test_nobody_waits_for_a_stuck_leader_for_ever(
    store: Store, writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose work it has begun is told that the outcome is not known; who comes later, that nothing was written."""
    monkeypatch.setattr(limits, "QUEUE_TIMEOUT", 1.0)
    monkeypatch.setattr(limits, "FOLLOW_TIMEOUT", 1.0)
    begun, is_stuck, goes_on = Event(), Event(), Event()

    def first(_: Transaction) -> None:
        begun.set()
        until(lambda: writes.waiting == 2, "two wait")

    def stuck(_: Transaction) -> bool:
        is_stuck.set()
        return goes_on.wait(30)

    with ThreadPoolExecutor(4) as pool:
        try:
            calls = [pool.submit(write, writes.run, first)]
            assert begun.wait(30)
            calls.append(pool.submit(write, writes.run, stuck))
            # Whoever comes first leads, and the other one follows.
            until(lambda: writes.waiting == 1, "one waits")
            calls.append(pool.submit(write, writes.run, adds(secret())))
            assert is_stuck.wait(30)
            assert isinstance(calls[2].exception(30), OutcomeUnknownError)
            late = pool.submit(write, writes.run, adds(secret("LATE")))
            assert isinstance(late.exception(30), StoreUnavailableError)
        finally:
            goes_on.set()
        assert calls[0].exception(30) is None
        # A thread that leads has its own answer at the end; a task is told by the clock, like any follower.
        stuck_one = OutcomeUnknownError if isinstance(writes, AwaitedWrites) else StoreUnavailableError
        assert isinstance(calls[1].exception(30), stuck_one)
    assert names(store) == []


def test_a_batch_that_takes_too_long_is_not_committed(
    store: Store, writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requests are told so, also when each of its statements was answered in time."""
    monkeypatch.setattr(limits, "QUEUE_TIMEOUT", 0.2)

    def slow(transaction: Transaction) -> None:
        transaction.add(secret())
        time.sleep(0.3)

    with pytest.raises(StoreUnavailableError, match="nothing was written"):
        write(writes.run, slow)
    assert names(store) == []
