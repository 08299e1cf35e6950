"""What tests of the store share: rows, work for its transactions, and a way to PostgreSQL that can be cut."""

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from select import select
from socket import create_connection, create_server, socket
from threading import Event, Thread
from typing import Any, Literal
from uuid import uuid4

import psycopg
from postgres import HOST, Cluster, until
from psycopg import sql
from tests.support.service import TOKEN

from gitpod import Gitpod
from gitpod.server.storage.bounded import BoundedConnection
from gitpod.server.storage.commit import GroupCommit
from gitpod.server.storage.database import Database
from gitpod.server.storage.rows import AuditRecord, ListedSecret, StoredSecret, audit_record
from gitpod.server.storage.sql import Session
from gitpod.server.storage.store import Store
from gitpod.server.storage.transaction import Planned, Transaction

ORGANIZATION, PROJECT, OTHER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
VALUE = "canary-value-93d0"
Work = Callable[[Transaction], Any]
Run = Callable[[AuditRecord, Work], Any]
Cut = Literal["before", "after", "pending"]


class Writes(GroupCommit[Transaction]):
    """Group commit of its own on a store, which tells how much work waits, and counts its commits."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        super().__init__(self.database, Transaction)
        self.commits = 0
        self._commit = self.database.commit
        self.database.commit = self._counted  # type: ignore[method-assign]

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def _counted(self, session: Session) -> None:
        self.commits += 1
        # Whoever were answered before would have the time to notice.
        time.sleep(0.02)
        self._commit(session)


@contextmanager
def tables(url: str) -> Generator[Store]:
    """A store with tables and no rows."""
    with closing(Store(url)) as store:
        with store.maintenance() as maintenance:
            maintenance.migrate()
        yield store


def secret(name: str = "NAME", **changed: Any) -> StoredSecret:
    """A secret that was not kept yet."""
    bare = StoredSecret(
        organization_id=ORGANIZATION,
        id=str(uuid4()),
        scope_kind="project_id",
        scope_id=PROJECT,
        name=name,
        record=name.encode(),
        key_id="k1",
        ciphertext=b"sealed",
    )
    return replace(bare, **changed)


def finds(kept: StoredSecret, then: Callable[[Transaction, StoredSecret | None], Any]) -> Work:
    """Work that finds a secret, and says so before."""
    key = kept.organization_id, kept.id
    return Planned(lambda transaction: then(transaction, transaction.find(*key)), finds=key)


def write(run: Run, work: Work) -> Any:
    """What comes of work with an audit record of its own."""
    record = audit_record(ORGANIZATION, None, "Test")

    def recorded(transaction: Transaction) -> Any:
        result = work(transaction)
        transaction.record(record)
        return result

    if isinstance(work, Planned):
        return run(record, Planned(recorded, finds=work.finds, adds=work.adds))
    return run(record, recorded)


def adds(new: StoredSecret) -> Work:
    """Work that keeps a secret, and says so before."""
    return Planned(lambda transaction: transaction.add(new), adds=new)


def add(store: Store, new: StoredSecret) -> StoredSecret | None:
    """Keep a secret."""
    kept: StoredSecret | None = write(store.write, adds(new))
    return kept


def together(writes: Writes, *works: Work) -> list[Any]:
    """What comes of work, results and errors, that all waits until the work before it is done."""
    begun, goes_on = Event(), Event()

    def first(_: Transaction) -> bool:
        begun.set()
        return goes_on.wait(30)

    with ThreadPoolExecutor(len(works) + 1) as pool:
        leading = pool.submit(write, writes.run, first)
        try:
            assert begun.wait(30)
            running = [pool.submit(write, writes.run, work) for work in works]
            until(lambda: writes.waiting == len(works), "all of it waits")
        finally:
            goes_on.set()
        assert leading.result(30)
        return [each.exception(30) or each.result() for each in running]


class Proxy:
    """Passes bytes between clients and PostgreSQL, and cuts a connection at its next COMMIT when a test says so.

    `cut` is where: before the server has it, after the server has answered it, or while it is pending.
    With `goes_down` it refuses every connection from then on. While `flows` is not set it takes bytes and passes none.
    """

    def __init__(self, url: str) -> None:
        before, _, rest = url.partition(f"{HOST}:")
        port, _, name = rest.partition("/")
        self._upstream = HOST, int(port)
        self._listener = create_server((HOST, 0))
        self._open: list[socket] = []
        self.cut: Cut | None = None
        self.cuts = 0
        self.goes_down = False
        self.flows = Event()
        self.flows.set()
        # In plain text, so that it can see what passes.
        plain = "sslmode=disable&gssencmode=disable"
        self.url = f"{before}{HOST}:{self._listener.getsockname()[1]}/{name}?{plain}"
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and cut those that there are."""
        # One that is being accepted on would stay open.
        with suppress(OSError):
            self._listener.shutdown(2)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(2)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self._open.append(client)
                Thread(target=self._pass, args=[client], daemon=True).start()

    def _pass(self, client: socket) -> None:
        with client, suppress(OSError), create_connection(self._upstream) as server:
            while True:
                for source in select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    self.flows.wait()
                    if not data or (source is client and b"COMMIT\0" in data and self._cuts(server, data)):
                        return
                    (server if source is client else client).sendall(data)

    def _cuts(self, server: socket, data: bytes) -> bool:
        cut, self.cut = self.cut, None
        if cut is None:
            return False
        self.cuts += 1
        if self.goes_down:
            self.close()
        if cut != "before":
            server.sendall(data)
        # The end of its answer.
        while cut == "after" and b"COMMIT\0" not in server.recv(65536):
            pass
        return True


def embedded(url: str) -> Gitpod:
    """A client of the store in this process, which tries everything once."""
    return Gitpod(bearer_token=TOKEN, base_url=url, max_retries=0)


def keep(client: Gitpod, project: str, name: str = "KEPT") -> str:
    """Store the marked value, and return its id."""
    return client.secrets.create(name=name, value=VALUE, project_id=project, api_only=True).secret.id


def audited(url: str, action: str) -> list[str]:
    """The outcomes of an action, as the store has them."""
    with closing(Store(url)) as store:
        return [each.outcome for each in store.audit(secret_id=None, since=0, limit=10_000) if each.action == action]


def alter(cluster: Cluster, url: str, setting: str, value: str) -> None:
    """Give a database a default for new connections."""
    name = sql.Identifier(url.rpartition("/")[2])
    statement = sql.SQL("ALTER DATABASE {} SET {} = {}")
    cluster.execute(statement.format(name, sql.Identifier(setting), sql.Literal(value)))


@contextmanager
def heard(owner: type, name: str, listener: Callable[..., None]) -> Generator[None]:
    """A block in which a method of every object of a class first tells a listener its arguments."""
    method = getattr(owner, name)

    def told(*arguments: Any, **options: Any) -> Any:
        listener(*arguments, **options)
        return method(*arguments, **options)

    setattr(owner, name, told)
    try:
        yield
    finally:
        setattr(owner, name, method)


@contextmanager
def errors() -> Generator[list[str]]:
    """The SQLSTATE of each exchange with PostgreSQL that fails in this process; empty when the connection was lost."""
    seen: list[str] = []
    wait = BoundedConnection.wait

    def noted(self: BoundedConnection, *arguments: Any, **options: Any) -> Any:
        try:
            return wait(self, *arguments, **options)
        except psycopg.Error as error:
            seen.append(error.sqlstate or "")
            raise

    BoundedConnection.wait = noted  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        BoundedConnection.wait = wait  # type: ignore[method-assign]


COMMITS_SLOWLY = """
CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0
AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON audit DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION wait_at_commit();
"""


@contextmanager
def slow_commits(url: str) -> Generator[psycopg.Connection[Any]]:
    """A block in which no commit ends before the connection releases the lock, or the block ends."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(COMMITS_SLOWLY)
        connection.execute("SELECT pg_advisory_lock(1)")
        yield connection


def release(connection: psycopg.Connection[Any]) -> None:
    """Let commits end."""
    connection.execute("SELECT pg_advisory_unlock(1)")


def names(store: Store) -> list[str]:
    """The names of all secrets, in the order of a page."""
    return [named(each) for each in store.page(ORGANIZATION, None, None, 10_000)]


def named(listed: ListedSecret) -> str:
    """The name of a secret that `secret` made."""
    return listed.record.decode()


def listed(kept: StoredSecret) -> ListedSecret:
    """A secret as a page has it."""
    return ListedSecret(id=kept.id, created_at=kept.created_at, updated_at=kept.updated_at, record=kept.record)
