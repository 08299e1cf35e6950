"""All of the SQL: organizations, their keys, tokens, secrets and audit records, in SQLite or PostgreSQL.

Whatever the service writes goes with its audit record into one transaction (`commit.py`), and is durable
when the call returns.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from weakref import finalize

from sqlalchemy import (
    Connection,
    Executable,
    RowMapping,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_unless
from sqlalchemy.exc import DBAPIError

from gitpod.server.errors import ServiceError, StoreUnavailableError
from gitpod.server.storage.commit import GroupCommit
from gitpod.server.storage.database import BUSY, SERIALIZATION_FAILURES, Database, as_unavailable, sqlstate
from gitpod.server.storage.maintenance import DATA_KEYS, ORGANIZATIONS, OWN, Maintenance, keys_of
from gitpod.server.storage.rows import (
    AuditRecord,
    Organization,
    Position,
    Sealed,
    StoredSecret,
    StoredToken,
    WrappedKey,
    columns,
    now,
)
from gitpod.server.storage.schema import REVISION, audit, secrets, tokens

T = TypeVar("T")


# Built once: half of a short statement's time is its building.
# SQLite understands the same clause. A count of rows is not to be had of every driver's INSERT.
ADD_SECRET = insert_unless(secrets).on_conflict_do_nothing().returning(secrets.c.id)
ADD_AUDIT = insert(audit)
NEWEST = select(func.max(secrets.c.created_at)).where(secrets.c.organization_id == bindparam("organization_id"))
FIND_SECRET = select(secrets).where(
    secrets.c.organization_id == bindparam("organization_id"), secrets.c.id == bindparam("id")
)
FIND_AUDIT = select(audit.c.id).where(
    audit.c.organization_id == bindparam("organization_id"), audit.c.id == bindparam("id")
)
FIND_TOKEN = select(tokens).where(
    tokens.c.organization_id == bindparam("organization_id"), tokens.c.digest == bindparam("digest")
)
# Named apart from the columns, as an UPDATE would set them.
_THIS = secrets.c.organization_id == bindparam("of"), secrets.c.id == bindparam("this")
REMOVE_SECRET = delete(secrets).where(*_THIS)
REPLACE_VALUE = update(secrets).where(*_THIS)


class Clock:
    """Times of creation: each later than any before it, though clocks step back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self, newest: int) -> int:
        """A time that is later than `newest`."""
        with self._lock:
            self._last = max(now(), self._last + 1)
            # Not remembered: a row whose time was altered is a matter of its organization alone.
            return max(self._last, newest + 1)


class Transaction:
    """The statements of a transaction for requests."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._records: list[AuditRecord] = []

    def find(self, organization_id: str, secret_id: str) -> StoredSecret | None:
        """The secret with this id, or None."""
        values = {"organization_id": organization_id, "id": secret_id}
        row = self._connection.execute(FIND_SECRET, values).mappings().first()
        return StoredSecret(**row) if row else None

    def add(self, secret: StoredSecret) -> StoredSecret | None:
        """Keep a new secret and return it with its times, or None when its name is taken in its scope."""
        newest = 0
        if self._connection.dialect.name == "sqlite":
            # Where writers take turns anyway, other processes' clocks are heeded too.
            newest = self._connection.scalar(NEWEST, {"organization_id": secret.organization_id}) or 0
        created_at = self._clock.next(newest)
        kept = replace(secret, created_at=created_at, updated_at=created_at)
        return kept if self._connection.execute(ADD_SECRET, columns(kept)).first() else None

    def replace_value(self, secret: StoredSecret, sealed: Sealed) -> bool:
        """Put another sealed value in a secret's place. False when there is no such secret any more."""
        values = {**columns(sealed), "updated_at": now(), "of": secret.organization_id, "this": secret.id}
        return self._connection.execute(REPLACE_VALUE, values).rowcount == 1

    def remove(self, secret: StoredSecret) -> bool:
        """Remove a secret. False when there is no such secret any more."""
        values = {"of": secret.organization_id, "this": secret.id}
        return self._connection.execute(REMOVE_SECRET, values).rowcount == 1

    def record(self, record: AuditRecord) -> None:
        """Keep an audit record."""
        self._records.append(record)

    def flush(self) -> None:
        """Write the audit records."""
        self._connection.execute(ADD_AUDIT, [columns(record) for record in self._records])

    def is_recorded(self, record: AuditRecord) -> bool:
        """Whether a transaction with this record was committed."""
        values = {"organization_id": record.organization_id, "id": record.id}
        return self._connection.execute(FIND_AUDIT, values).first() is not None


class Store:
    """The rows. Safe to use from many threads and processes."""

    def __init__(self, url: str) -> None:
        """Open `sqlite:///path`, `sqlite://` (in memory) or `postgresql://…`; the schema may still be missing."""
        self._database = Database(url)
        # A dropped store closes its files all the same.
        self._finalizer = finalize(self, self._database.engine.dispose)
        self._is_made = False
        clock = Clock()
        self._writes = GroupCommit(self._database, lambda connection: Transaction(connection, clock))

    @property
    def path(self) -> Path | None:
        """The file, if it is one."""
        return self._database.path

    @property
    def in_memory(self) -> bool:
        """Whether the store is gone with this object."""
        return self._database.in_memory

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._finalizer()

    def abandon(self) -> None:
        """Never close the connections: they belong to the process that this one was forked from."""
        self._finalizer.detach()

    def revision(self) -> str | None:
        """The revision of the schema, None when there is none yet."""
        try:
            with self._database.reader() as connection:
                if not inspect(connection).has_table("alembic_version"):
                    return None
                revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
                return revision
        except DBAPIError as error:
            raise ServiceError(f"cannot open the store: {error.orig}") from None

    @property
    def is_current(self) -> bool:
        """Whether the schema is the one that this version works with. In memory there is no other."""
        return self._is_made if self.in_memory else self.revision() == REVISION

    @contextmanager
    def maintenance(self) -> Generator[Maintenance]:
        """A transaction that no other process has at the same time, committed when the block is left."""
        with self._database.writer(exclusive=True) as connection:
            yield Maintenance(connection, in_memory=self.in_memory)
            connection.commit()
            self._is_made = True

    def write(self, record: AuditRecord, work: Callable[[Transaction], T]) -> T:
        """Do work in a transaction; see `commit.GroupCommit.run`."""
        return self._writes.run(record, work)

    def own(self) -> list[Organization]:
        """The organization of this store: one, unless the store is new or somebody meddled with it."""
        return [Organization(**row) for row in self._read(OWN)]

    def data_keys(self, organization_id: str) -> list[WrappedKey]:
        """The data keys of an organization, oldest first."""
        return keys_of(self._read(DATA_KEYS, {"organization_id": organization_id}))

    def token(self, organization_id: str, digest: bytes) -> StoredToken | None:
        """The token with this SHA-256, revoked or not."""
        rows = self._read(FIND_TOKEN, {"organization_id": organization_id, "digest": digest})
        return StoredToken(**rows[0]) if rows else None

    def tokens(self) -> list[StoredToken]:
        """Every token, oldest first."""
        return [StoredToken(**row) for row in self._read(select(tokens).order_by(tokens.c.created_at, tokens.c.id))]

    def page(
        self, organization_id: str, scopes: Iterable[tuple[str, str]] | None, after: Position | None, limit: int
    ) -> list[StoredSecret]:
        """At most `limit` secrets in the order of their creation, of these scopes (None: of all) and after a place."""
        statement = select(secrets).where(secrets.c.organization_id == organization_id)
        if scopes is not None:
            statement = statement.where(tuple_(secrets.c.scope_kind, secrets.c.scope_id).in_(list(scopes)))
        if after is not None:
            statement = statement.where(tuple_(secrets.c.created_at, secrets.c.id) > (after.created_at, after.id))
        return _secrets(self._read(statement.order_by(secrets.c.created_at, secrets.c.id).limit(limit)))

    def organizations(self) -> list[str]:
        """The ids of all organizations, the store's own first."""
        return [row["id"] for row in self._read(ORGANIZATIONS)]

    def sealed_otherwise(self, newest: WrappedKey, after_id: str, limit: int) -> list[StoredSecret]:
        """At most `limit` secrets of an organization whose values another data key seals, by id and after one."""
        chosen = secrets.c.organization_id == newest.organization_id, secrets.c.key_id != newest.id
        statement = select(secrets).where(*chosen, secrets.c.id > after_id)
        return _secrets(self._read(statement.order_by(secrets.c.id).limit(limit)))

    def count_sealed_otherwise(self, newest: WrappedKey) -> int:
        """How many there are of them."""
        chosen = secrets.c.organization_id == newest.organization_id, secrets.c.key_id != newest.id
        return int(self._read(select(func.count().label("all")).select_from(secrets).where(*chosen))[0]["all"])

    def audit(self, *, secret_id: str | None, since: int, limit: int) -> list[AuditRecord]:
        """The newest records, oldest of them first."""
        statement = select(audit).where(audit.c.at >= since)
        if secret_id is not None:
            statement = statement.where(audit.c.secret_id == secret_id)
        rows = self._read(statement.order_by(audit.c.id.desc()).limit(limit))
        return [AuditRecord(**row) for row in reversed(rows)]

    def _read(self, statement: Executable, values: dict[str, object] | None = None) -> Sequence[RowMapping]:
        """The rows of a query, asked again if the connection turns out to be dead."""
        for is_last in (False, False, False, True):
            try:
                with self._database.reader() as connection:
                    return connection.execute(statement, values or {}).mappings().all()
            except DBAPIError as error:
                if not error.connection_invalidated and sqlstate(error) not in SERIALIZATION_FAILURES:
                    raise
                if is_last:
                    raise (as_unavailable(error) or StoreUnavailableError(BUSY)) from None
        raise AssertionError


def _secrets(rows: Iterable[RowMapping]) -> list[StoredSecret]:
    return [StoredSecret(**row) for row in rows]
