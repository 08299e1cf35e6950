"""The SQL of requests, for SQLite and PostgreSQL. The SQL of operators' commands is in `maintenance.py`.

Every change and its audit record are written in one transaction (`commit.py`), which is durable when the call
returns.
"""

import threading
import time
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
from gitpod.server.storage import limits
from gitpod.server.storage.commit import GroupCommit
from gitpod.server.storage.database import Database
from gitpod.server.storage.failures import BUSY, as_unavailable, is_transient
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

# Statements are built once, because building takes half of the time of a short one.
# `insert_unless` is PostgreSQL's, but SQLite has the same clause. RETURNING tells whether the row was inserted,
# as not every driver counts the rows of an INSERT.
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
# Parameters need names that no column has: an UPDATE sets every column that has a parameter of its name.
_THIS = secrets.c.organization_id == bindparam("of"), secrets.c.id == bindparam("this")
REMOVE_SECRET = delete(secrets).where(*_THIS)
REPLACE_VALUE = update(secrets).where(*_THIS)


class Clock:
    """Gives times of creation. Each is later than the one before, even if the system's clock steps back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self, newest: int) -> int:
        """Return a time that is later than `newest` and than every time returned before."""
        with self._lock:
            self._last = max(now(), self._last + 1)
            # `newest` is not kept in _last, so that an altered row affects its own organization only.
            return max(self._last, newest + 1)


class Transaction:
    """The statements of a transaction for requests."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._records: list[AuditRecord] = []

    def find(self, organization_id: str, secret_id: str) -> StoredSecret | None:
        """Return the secret with this id, or None."""
        values = {"organization_id": organization_id, "id": secret_id}
        row = self._connection.execute(FIND_SECRET, values).mappings().first()
        return StoredSecret(**row) if row else None

    def add(self, secret: StoredSecret) -> StoredSecret | None:
        """Add a secret and return it with its times, or None when the name is taken in its scope."""
        newest = 0
        if self._connection.dialect.name == "sqlite":
            # Writers of SQLite take turns, so the times of other processes can be taken into account.
            newest = self._connection.scalar(NEWEST, {"organization_id": secret.organization_id}) or 0
        created_at = self._clock.next(newest)
        kept = replace(secret, created_at=created_at, updated_at=created_at)
        return kept if self._connection.execute(ADD_SECRET, columns(kept)).first() else None

    def replace_value(self, secret: StoredSecret, sealed: Sealed) -> bool:
        """Replace the sealed value of a secret. False when the secret no longer exists."""
        values = {**columns(sealed), "updated_at": now(), "of": secret.organization_id, "this": secret.id}
        return self._connection.execute(REPLACE_VALUE, values).rowcount == 1

    def remove(self, secret: StoredSecret) -> bool:
        """Remove a secret. False when the secret no longer exists."""
        values = {"of": secret.organization_id, "this": secret.id}
        return self._connection.execute(REMOVE_SECRET, values).rowcount == 1

    def record(self, record: AuditRecord) -> None:
        """Collect an audit record, which `flush` writes."""
        self._records.append(record)

    def flush(self) -> None:
        """Write the collected audit records."""
        self._connection.execute(ADD_AUDIT, [columns(record) for record in self._records])

    def is_recorded(self, record: AuditRecord) -> bool:
        """Tell whether a transaction with this record was committed."""
        values = {"organization_id": record.organization_id, "id": record.id}
        return self._connection.execute(FIND_AUDIT, values).first() is not None


class Store:
    """A store of organizations, tokens and secrets. Safe to use from many threads and processes."""

    def __init__(self, url: str) -> None:
        """Open `sqlite:///path`, `sqlite://` (in memory) or `postgresql://…`. Creates no schema."""
        self._database = Database(url)
        # Closes the files of a store that was dropped without `close`.
        self._finalizer = finalize(self, self._database.close)
        self._is_made = False
        clock = Clock()
        self._writes = GroupCommit(self._database, lambda connection: Transaction(connection, clock))

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database, else None."""
        return self._database.path

    @property
    def in_memory(self) -> bool:
        """Whether the store is in memory, so that it ends with this object."""
        return self._database.in_memory

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._finalizer()

    def abandon(self) -> None:
        """Leave the connections open, in a forked child: they belong to the parent."""
        self._finalizer.detach()

    def check(self) -> None:
        """Raise an error unless the store is well: intact, and written to now or a moment ago."""
        if self._writes.led_for > self._database.slowest_batch:
            raise StoreUnavailableError(BUSY)
        self._database.check()

    def revision(self) -> str | None:
        """Return the revision of the schema, None when there is no schema yet."""
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
        """Whether the schema is the one of this version. A store in memory has no other."""
        return self._is_made if self.in_memory else self.revision() == REVISION

    @contextmanager
    def maintenance(self) -> Generator[Maintenance]:
        """Yield an exclusive transaction for operators, which is committed at the end of the block."""
        with self._database.writer(exclusive=True) as connection:
            yield Maintenance(connection, in_memory=self.in_memory)
            connection.commit()
            self._is_made = True

    def write(self, record: AuditRecord, work: Callable[[Transaction], T]) -> T:
        """Do work in a transaction, as `commit.GroupCommit.run` describes."""
        return self._writes.run(record, work)

    def own(self) -> list[Organization]:
        """Return the store's own organization: one, unless the store is new or was tampered with."""
        return [Organization(**row) for row in self._read(OWN)]

    def data_keys(self, organization_id: str) -> list[WrappedKey]:
        """Return the data keys of an organization, oldest first."""
        return keys_of(self._read(DATA_KEYS, {"organization_id": organization_id}))

    def token(self, organization_id: str, digest: bytes) -> StoredToken | None:
        """Return the token with this SHA-256, revoked or not."""
        rows = self._read(FIND_TOKEN, {"organization_id": organization_id, "digest": digest})
        return StoredToken(**rows[0]) if rows else None

    def tokens(self) -> list[StoredToken]:
        """Return every token, oldest first."""
        return [StoredToken(**row) for row in self._read(select(tokens).order_by(tokens.c.created_at, tokens.c.id))]

    def page(
        self, organization_id: str, scopes: Iterable[tuple[str, str]] | None, after: Position | None, limit: int
    ) -> list[StoredSecret]:
        """Return at most `limit` secrets of these scopes (None: of all) after a position, oldest first."""
        statement = select(secrets).where(secrets.c.organization_id == organization_id)
        if scopes is not None:
            statement = statement.where(tuple_(secrets.c.scope_kind, secrets.c.scope_id).in_(list(scopes)))
        if after is not None:
            statement = statement.where(tuple_(secrets.c.created_at, secrets.c.id) > (after.created_at, after.id))
        return _secrets(self._read(statement.order_by(secrets.c.created_at, secrets.c.id).limit(limit)))

    def organizations(self) -> list[str]:
        """Return the ids of all organizations, the store's own first."""
        return [row["id"] for row in self._read(ORGANIZATIONS)]

    def not_sealed_by(self, newest: WrappedKey, after_id: str, limit: int) -> list[StoredSecret]:
        """Return at most `limit` secrets with ids after `after_id` whose values are not sealed by this data key."""
        chosen = secrets.c.organization_id == newest.organization_id, secrets.c.key_id != newest.id
        statement = select(secrets).where(*chosen, secrets.c.id > after_id)
        return _secrets(self._read(statement.order_by(secrets.c.id).limit(limit)))

    def count_not_sealed_by(self, newest: WrappedKey) -> int:
        """Return the number of secrets in the organization whose values are not sealed by this data key."""
        chosen = secrets.c.organization_id == newest.organization_id, secrets.c.key_id != newest.id
        return int(self._read(select(func.count().label("all")).select_from(secrets).where(*chosen))[0]["all"])

    def audit(self, *, secret_id: str | None, since: int, limit: int) -> list[AuditRecord]:
        """Return the newest audit records since a time, at most `limit`, oldest first."""
        statement = select(audit).where(audit.c.at >= since)
        if secret_id is not None:
            statement = statement.where(audit.c.secret_id == secret_id)
        rows = self._read(statement.order_by(audit.c.id.desc()).limit(limit))
        return [AuditRecord(**row) for row in reversed(rows)]

    def _read(self, statement: Executable, values: dict[str, object] | None = None) -> Sequence[RowMapping]:
        """Return the rows of a query. Asks again when the connection turns out to be dead."""
        deadline = time.monotonic() + limits.READ_TIMEOUT
        for is_last in (False, False, False, True):
            try:
                with self._database.reader() as connection:
                    return connection.execute(statement, values or {}).mappings().all()
            except DBAPIError as error:
                if not is_transient(error):
                    raise
                if is_last or time.monotonic() > deadline:
                    raise (as_unavailable(error) or StoreUnavailableError(BUSY)) from None
        raise AssertionError


def _secrets(rows: Iterable[RowMapping]) -> list[StoredSecret]:
    return [StoredSecret(**row) for row in rows]
