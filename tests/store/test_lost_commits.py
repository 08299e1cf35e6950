"""Commits whose connection broke, and transactions that PostgreSQL aborted: what callers are told, and what is so."""

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from postgres import Cluster, until
from tests.support.awaited import AwaitedWrites
from tests.support.storage import (
    ORGANIZATION,
    VALUE,
    Cut,
    Proxy,
    Writes,
    add,
    adds,
    alter,
    audited,
    embedded,
    errors,
    keep,
    listed,
    names,
    release,
    secret,
    slow_commits,
    tables,
    together,
    write,
)

import gitpod
from gitpod import Gitpod
from gitpod.server.storage import limits
from gitpod.server.storage.rows import Sealed
from gitpod.server.storage.store import Store
from gitpod.server.storage.transaction import Transaction

SEALED = Sealed(key_id="k2", ciphertext=b"resealed")
WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of embedded stores."""
    monkeypatch.setenv("GITPOD_SECRETS_KEY", f"file:{tmp_path / 'key'}")


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A way to the database that can be cut."""
    made = Proxy(database_url)
    yield made
    made.close()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Gitpod]:
    """A client by way of the proxy, with one connection in use."""
    with embedded(proxy.url) as made:
        made.secrets.list()
        yield made


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store with tables and no rows."""
    with tables(database_url) as made:
        yield made


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("action", ["CreateSecret", "UpdateSecretValue", "DeleteSecret", "GetSecretValue"])
def test_a_lost_commit_is_settled(client: Gitpod, proxy: Proxy, project: str, action: str, cut: Cut) -> None:
    """Whether it took place or not, it is answered with success once, done once, and recorded once."""
    secrets = client.secrets
    kept = "" if action == "CreateSecret" else keep(client, project)
    calls: dict[str, Callable[[], object]] = {
        "CreateSecret": lambda: keep(client, project),
        "UpdateSecretValue": lambda: secrets.update_value(secret_id=kept, value="new"),
        "DeleteSecret": lambda: secrets.delete(secret_id=kept),
        "GetSecretValue": lambda: secrets.get_value(secret_id=kept),
    }
    proxy.cut = cut
    answer = calls[action]()
    assert proxy.cuts == 1
    assert audited(proxy.url, action) == ["ok"]
    left = list(secrets.list())
    assert len(left) == (action != "DeleteSecret")
    if action == "CreateSecret":
        assert [each.id for each in left] == [answer]
    if left:
        assert secrets.get_value(secret_id=left[0].id).value == ("new" if action == "UpdateSecretValue" else VALUE)


@pytest.mark.parametrize("kind", [Writes, AwaitedWrites], ids=["threads", "tasks"])
@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_lost_batch_is_settled(proxy: Proxy, store: Store, cut: Cut, kind: type[Writes]) -> None:
    """Everyone whose work it held gets the answer that they would have had, and has one record."""
    writes = kind(proxy.url)

    def cuts(_: Transaction) -> None:
        proxy.cut = None if proxy.cuts else cut

    made = together(writes, cuts, *(adds(secret(f"NUM{number // 2}")) for number in range(8)))
    writes.database.close()
    assert proxy.cuts == 1
    assert sorted(each.name for each in made if each) == [f"NUM{number}" for number in range(4)]
    assert sorted(names(store)) == [f"NUM{n}" for n in range(4)]
    assert len(store.audit(secret_id=None, since=0, limit=100)) == 10


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_commit_of_unknown_outcome_is_said(
    client: Gitpod, proxy: Proxy, project: str, cut: Cut, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    """When the server stays away, nobody can tell."""
    monkeypatch.setattr(limits, "SETTLE_TIMEOUT", 0.2)
    proxy.cut, proxy.goes_down = cut, True
    with pytest.raises(gitpod.InternalServerError, match="the outcome is not known") as caught:
        keep(client, project)
    assert (caught.value.code, caught.value.outcome, proxy.cuts) == ("internal", "unknown", 1)
    assert audited(database_url, "CreateSecret") == (["ok"] if cut == "after" else [])


def test_a_store_that_is_away_is_unavailable(client: Gitpod, proxy: Proxy, project: str, database_url: str) -> None:
    """Nothing was processed, and the error says so."""
    kept = keep(client, project)
    proxy.close()
    for call in (
        lambda: keep(client, project, "LOST"),
        lambda: client.secrets.delete(secret_id=kept),
        client.secrets.list,
    ):
        with pytest.raises(gitpod.InternalServerError, match="cannot be reached; nothing was written") as caught:
            call()
        assert (caught.value.code, caught.value.outcome) == ("unavailable", "rejected")
    with embedded(database_url) as other:
        assert [each.id for each in other.secrets.list()] == [kept]


@pytest.mark.parametrize("lock_timeout", [0.05, 5.0])
def test_a_lost_commit_that_is_pending_is_waited_for(
    proxy: Proxy, project: str, lock_timeout: float, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    """Nobody is told that nothing was written while it may yet be: neither by a lock that it holds, nor by a row."""
    monkeypatch.setattr(limits, "BUSY_TIMEOUT", lock_timeout)
    with embedded(proxy.url) as client, ThreadPoolExecutor(1) as pool, errors() as seen:
        client.secrets.list()
        with slow_commits(database_url) as other:
            proxy.cut = "pending"
            creating = pool.submit(keep, client, project)
            until(lambda: other.execute(WAITING).fetchall() != [], "the second attempt waits for the first")
            until(lambda: lock_timeout > 1 or "55P03" in seen, "it has given up")
            release(other)
        made = creating.result(30)
        assert [each.id for each in client.secrets.list()] == [made]
    assert audited(database_url, "CreateSecret") == ["ok"]


@pytest.mark.parametrize(
    ("setting", "value", "sqlstate"),
    [("lock_timeout", "50ms", "55P03"), ("default_transaction_read_only", "on", "25006")],
)
def test_a_lost_commit_that_stays_pending_is_not_denied(
    proxy: Proxy,
    project: str,
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    cluster: Cluster,
    setting: str,
    value: str,
    sqlstate: str,
) -> None:
    """Whatever keeps the store from finding out, a busy row or a server that became a standby."""
    monkeypatch.setattr(limits, "BUSY_TIMEOUT", 0.05)
    monkeypatch.setattr(limits, "SETTLE_TIMEOUT", 0.3)
    with embedded(proxy.url) as client, errors() as seen:
        # The connection that is cut is one from before the setting.
        keep(client, project, "BEFORE")
        with slow_commits(database_url) as pending:
            alter(cluster, database_url, setting, value)
            proxy.cut = "pending"
            with pytest.raises(gitpod.InternalServerError) as caught:
                keep(client, project)
            release(pending)
    assert sqlstate in seen
    assert (caught.value.code, caught.value.outcome) == ("internal", "unknown")
    until(lambda: audited(database_url, "CreateSecret") == ["ok", "ok"], "it has taken place after all")


def test_a_serialization_failure_is_tried_again(cluster: Cluster, database_url: str, store: Store) -> None:
    """Two that read the same row and change it come one after the other."""
    alter(cluster, database_url, "default_transaction_isolation", "serializable")
    runs: list[bool] = []
    with closing(Store(database_url)) as serializable, psycopg.connect(database_url) as other, errors() as seen:
        kept = add(serializable, secret())
        assert kept

        def replace(transaction: Transaction) -> bool:
            found = transaction.find(kept.organization_id, kept.id)
            assert found
            if not runs:
                other.execute("UPDATE secrets SET updated_at = 1")
                other.commit()
            runs.append(found.updated_at == 1)
            return transaction.replace_value(found, SEALED)

        assert write(serializable.write, replace) is True
    assert (runs, seen) == ([False, True], ["40001"])
    assert store.audit(secret_id=None, since=0, limit=100)[-1].action == "Test"


def test_a_read_is_tried_again(cluster: Cluster, database_url: str, store: Store) -> None:
    """One that saw some of what a transaction wrote, and some of what that one had not seen, is not told to anybody."""
    alter(cluster, database_url, "default_transaction_isolation", "serializable")
    kept = add(store, secret())
    with (
        closing(Store(database_url)) as serializable,
        psycopg.connect(database_url) as writer,
        psycopg.connect(database_url) as other,
        ThreadPoolExecutor(1) as pool,
        errors() as seen,
    ):
        assert serializable.is_current
        writer.execute("SELECT * FROM tokens")
        other.execute("INSERT INTO tokens VALUES ('', '', '', '', 0, '', '', 0, '', '')")
        other.commit()
        writer.execute("LOCK TABLE secrets IN ACCESS EXCLUSIVE MODE")
        writer.execute("UPDATE secrets SET updated_at = 1")
        reading = pool.submit(serializable.page, ORGANIZATION, None, None, 9)
        until(lambda: cluster.execute("SELECT 1 FROM pg_locks WHERE NOT granted") != [], "the reader waits")
        writer.commit()
        assert kept
        assert reading.result(30) == [listed(dataclasses.replace(kept, updated_at=1))]
    assert seen == ["40001"]


def test_a_deadlock_is_tried_again(cluster: Cluster, database_url: str, store: Store) -> None:
    """And again: two that lock rows in opposite orders both end. Here PostgreSQL chooses the store, twice."""
    alter(cluster, database_url, "deadlock_timeout", "10ms")
    first, second = add(store, secret("FIRST")), add(store, secret("SECOND"))
    assert first
    assert second
    update = "UPDATE secrets SET updated_at = 1 WHERE id = %s"
    blocked: list[Future[None]] = []
    with (
        closing(Store(database_url)) as other,
        psycopg.connect(database_url) as blocking,
        ThreadPoolExecutor(1) as pool,
        errors() as seen,
    ):
        blocking.execute("SET deadlock_timeout = '1min'")
        blocking.commit()

        def blocks_first() -> None:
            blocking.execute(update, [first.id])
            blocking.commit()

        def replace(transaction: Transaction) -> bool:
            assert [each.result(30) for each in blocked] == [None] * len(blocked)
            transaction.replace_value(first, SEALED)
            if len(blocked) < 2:
                blocking.execute(update, [second.id])
                blocked.append(pool.submit(blocks_first))
                until(lambda: cluster.execute(WAITING) != [], "the other one waits")
            return transaction.replace_value(second, SEALED)

        assert write(other.write, replace) is True
    assert seen == ["40P01", "40P01"]


def test_a_serializable_database_starts_and_races(cluster: Cluster, database_url: str, project: str) -> None:
    """Whatever isolation is the default, nobody is told of it: neither who starts, nor who writes, nor who reads."""
    alter(cluster, database_url, "default_transaction_isolation", "serializable")
    with ExitStack() as stack, ThreadPoolExecutor(12) as pool, errors() as seen:
        clients = [stack.enter_context(embedded(database_url)) for _ in range(3)]
        starting = [pool.submit(each.secrets.list) for each in clients]
        assert [each.result().secrets for each in starting] == [[]] * 3
        kept = keep(clients[0], project)

        def call(number: int) -> None:
            secrets = clients[number % 3].secrets
            secrets.update_value(secret_id=kept, value=f"v{number}")
            keep(clients[number % 3], project, f"NUM{number}")
            secrets.list()
            secrets.delete(secret_id=keep(clients[number % 3], project, f"GONE{number}"))

        assert list(pool.map(call, range(36))) == [None] * 36
        assert len(list(clients[0].secrets.list())) == 37
    assert "40001" in seen
    assert set(audited(database_url, "UpdateSecretValue")) == {"ok"}
