"""Refused calls are counted: one record for each token, RPC, code and minute, whatever their number."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from postgres import SUPERUSER, Cluster, until
from tests.support.service import ROOT
from tests.support.storage import ORGANIZATION, Cut, Proxy, heard, tables

from gitpod.server.app import Embedded
from gitpod.server.storage import refusals
from gitpod.server.storage.database import Database
from gitpod.server.storage.rows import AuditRecord, audit_record
from gitpod.server.storage.sqlite import SQLite
from gitpod.server.storage.store import Store
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

WHO = Subject(id="44444444-0000-4000-8000-000000000000", principal=Principal.USER)
DELETE = "/gitpod.v1.SecretService/DeleteSecret"
START = 60_000_000 * 30_000_000
"""A full minute, in microseconds since 1970."""
CHILD = """
import sys
from contextlib import closing
from gitpod.server.storage.store import Store
from tests.store.test_refusals import START, refused
with closing(Store(sys.argv[1])) as store:
    for number in range(300):
        if store.count_refusal(refused(at=START + number)):
            store.write_refusals()
"""


def refused(
    action: str = "CreateSecret", *, at: int = START, code: str = "permission_denied", by: str = "t1"
) -> AuditRecord:
    """The record of a refused call."""
    record = audit_record(ORGANIZATION, WHO, action, outcome=code, token_id=by, request_id=str(at))
    return replace(record, at=at)


def refuse(store: Store, *records: AuditRecord) -> None:
    """Count refused calls as the service does."""
    for record in records:
        if store.count_refusal(record):
            store.write_refusals()


def counts(url: str) -> list[tuple[str, int]]:
    """Action and count of each record."""
    with closing(Store(url)) as store:
        return [(each.action, each.count) for each in store.audit(secret_id=None, since=0, limit=1000)]


def test_many_refusals_are_one_record(store: Store, url: str) -> None:
    """With their number, and the other columns of the first."""
    with ThreadPoolExecutor(8) as pool:
        each = [pool.submit(refuse, store, refused(at=START + number)) for number in range(500)]
    assert [one.result() for one in each] == [None] * 500
    store.close()
    with closing(Store(url)) as again:
        [record] = again.audit(secret_id=None, since=0, limit=10)
    assert (record.count, record.token_id, record.subject_id) == (500, "t1", WHO.id)
    assert (record.outcome, record.principal) == ("permission_denied", Principal.USER)
    assert record.request_id == str(record.at)


def test_each_token_rpc_code_and_minute_has_its_record(store: Store, url: str) -> None:
    """And each organization."""
    kinds = [
        refused(),
        refused("DeleteSecret"),
        refused(code="not_found"),
        refused(by="t2"),
        refused(at=START + 60_000_000),
        refused(at=START - 1),
        replace(refused(), organization_id="55555555-0000-4000-8000-000000000000"),
        replace(refused(), subject_id="66666666-0000-4000-8000-000000000000"),
    ]
    refuse(store, *kinds, *kinds, *kinds)
    store.close()
    assert Counter(count for _, count in counts(url)) == {3: len(kinds)}


def test_the_first_of_a_minute_is_stored_at_once(store: Store, url: str) -> None:
    """The others a second later at most, without a further call."""
    refuse(store, refused())
    assert counts(url) == [("CreateSecret", 1)]
    refuse(store, *(refused(at=START + number) for number in range(99)))
    until(lambda: counts(url) == [("CreateSecret", 100)], "all are counted")


def test_a_refusal_whose_caller_leaves_is_counted(tmp_path: Path) -> None:
    """Also when it is the first of its minute, and no other call comes."""
    path, begun = tmp_path / "secrets.db", threading.Event()
    url = f"sqlite:///{path}"

    async def leave(service: Embedded) -> None:
        transport = httpx.ASGITransport(app=service.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            call = asyncio.create_task(client.post(DELETE, json={"secretId": WHO.id}))
            assert await asyncio.to_thread(begun.wait, 30)
            call.cancel()
            await asyncio.wait([call])
            locking.execute("ROLLBACK")
            await asyncio.to_thread(until, lambda: counts(url) == [("DeleteSecret", 1)], "it is counted")

    with (
        closing(Embedded(url)) as service,
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as locking,
        heard(SQLite, "begin", lambda *_: begun.set()),
    ):
        locking.execute("BEGIN IMMEDIATE")
        asyncio.run(leave(service))


def test_two_processes_count_together(store: Store, url: str) -> None:
    """Nothing is lost when they write at the same time."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tools'}"}
    running = [subprocess.Popen([sys.executable, "-c", CHILD, url], env=environment) for _ in range(2)]
    refuse(store, *(refused(at=START + number) for number in range(300)))
    assert [process.wait(120) for process in running] == [0, 0]
    store.close()
    assert counts(url) == [("CreateSecret", 900)]


def test_refusals_take_no_commits(store: Store, url: str) -> None:
    """A thousand of them share a few."""
    commits: list[object] = []
    with heard(Database, "commit", lambda *_: commits.append(None)):
        refuse(store, *(refused(at=START + number) for number in range(1000)))
        store.close()
    assert 1 <= len(commits) < 20
    assert counts(url) == [("CreateSecret", 1000)]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_store_that_cannot_write_keeps_the_counts(
    store: Store, url: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are written once it can, and until then the calls are refused as ever."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END")
    refuse(store, refused(), refused())
    assert "refused calls cannot be written to the audit yet: IntegrityError" in caplog.text
    assert counts(url) == []
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER full")
    until(lambda: counts(url) == [("CreateSecret", 2)], "all are counted, without a further call")
    assert caplog.text.count("cannot be written") == 1


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_lost_commit_of_counts_loses_no_record(database_url: str, cut: Cut) -> None:
    """Though a record of an earlier commit has the id of one of them. Their numbers may be too high then."""
    proxy = Proxy(database_url)
    with tables(database_url), closing(Store(proxy.url)) as store:
        refuse(store, refused())
        store.count_refusal(refused(at=START + 1))
        store.count_refusal(refused("DeleteSecret"))
        proxy.cut = cut
        store.write_refusals()
    proxy.close()
    assert proxy.cuts == 1
    found = dict(counts(database_url))
    assert found["CreateSecret"] >= 2
    assert found["DeleteSecret"] >= 1


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_no_thread_is_needed(store: Store, url: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be started, what was counted is written when the store is closed."""

    def fails(_: threading.Thread) -> None:
        raise error

    monkeypatch.setattr(threading.Thread, "start", fails)
    refuse(store, *(refused(at=START + number) for number in range(50)))
    monkeypatch.undo()
    assert counts(url) == [("CreateSecret", 1)]
    store.close()
    assert counts(url) == [("CreateSecret", 50)]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_store_that_is_dropped_is_not_written_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections are closed, and its thread ends."""
    monkeypatch.setattr(refusals, "INTERVAL", 0.2)
    with tables(url) as store:
        refuse(store, refused())
    dropped: Store | None = Store(url)
    assert dropped
    refuse(dropped, *(refused(at=START + number) for number in range(10)))
    timers = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
    dropped = None
    for timer in timers:
        timer.join(30)
        assert not timer.is_alive()
    time.sleep(0.1)
    assert counts(url) == [("CreateSecret", 2)]


def test_postgresql_needs_the_right_to_count(cluster: Cluster, database_url: str) -> None:
    """Without it the service says so, and counts on in memory; with it nothing is lost."""
    with tables(database_url):
        pass
    name = database_url.rpartition("/")[2]
    cluster.execute("CREATE ROLE counting LOGIN", name)
    try:
        cluster.execute("GRANT SELECT, INSERT ON audit TO counting", name)
        url = database_url.replace(f"//{SUPERUSER}@", "//counting@")
        with closing(Store(url)) as store:
            refuse(store, refused(), refused())
            assert counts(url) == []
            cluster.execute("GRANT UPDATE (count) ON audit TO counting", name)
            refuse(store, refused())
        assert counts(url) == [("CreateSecret", 3)]
    finally:
        cluster.execute("DROP OWNED BY counting", name)
        cluster.execute("DROP ROLE counting", name)
