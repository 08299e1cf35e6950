"""A store on SQLite or PostgreSQL: what is read from it, and where its writes go.

`queries.py` has the SQL of reads, `transaction.py` that of writes, and `maintenance.py` that of operators' commands.

Every change and its audit record are written in one transaction (`commit.py`), which is durable when the call
returns.
"""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4
from weakref import finalize

from gitpod.server.errors import ServiceError, StoreUnavailableError
from gitpod.server.storage import limits
from gitpod.server.storage.audit import NEWEST_OF_SECRET, NEWEST_RECORDS
from gitpod.server.storage.commit import GroupCommit
from gitpod.server.storage.database import Database
from gitpod.server.storage.failures import (
    BUSY,
    as_unavailable,
    is_missing_table,
    is_of_database,
    is_transient,
    reason,
)
from gitpod.server.storage.jobs import Pool
from gitpod.server.storage.migrations import REVISION
from gitpod.server.storage.queries import (
    COUNT_OTHER_KEYS,
    DATA_KEYS,
    FIND_TOKEN,
    ORGANIZATIONS,
    OTHER_KEYS,
    OWN,
    SCHEMA_REVISION,
    TOKENS,
    page_query,
)
from gitpod.server.storage.refusals import Refusals
from gitpod.server.storage.rows import (
    AuditRecord,
    ListedSecret,
    Organization,
    Position,
    StoredSecret,
    StoredToken,
    WrappedKey,
    from_row,
)
from gitpod.server.storage.sql import SQL
from gitpod.server.storage.transaction import Transaction

if TYPE_CHECKING:
    from gitpod.server.storage.maintenance import Maintenance

T = TypeVar("T")


class Store:
    """A store of organizations, tokens and secrets. Safe to use from many threads and processes."""

    def __init__(self, url: str) -> None:
        """Open `sqlite:///path`, `sqlite://` (in memory) or `postgresql://…`. Creates no schema."""
        self._database = Database(url)
        self._is_made = False
        self._writes = writes = GroupCommit(self._database, Transaction)

        def count(records: Sequence[AuditRecord]) -> None:
            # No record has this id. So after a lost commit the records are counted again: their numbers may then be
            # too high, but none is missing.
            marker = replace(records[0], id=uuid4().hex)
            writes.run(marker, lambda transaction: transaction.count(records))

        self._refusals = Refusals(count)
        # Closes the files of a store that was dropped without `close`.
        self._finalizer = finalize(self, _drop, self._refusals, self._database)

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database, else None."""
        return self._database.path

    @property
    def in_memory(self) -> bool:
        """Whether the store is in memory, so that it ends with this object."""
        return self._database.in_memory

    def close(self) -> None:
        """Write what is left to write, and close the connections. Safe to repeat."""
        self._refusals.close()
        self._finalizer()

    def abandon(self) -> None:
        """Leave the connections open, in a forked child: they belong to the parent."""
        self._refusals.abandon()
        self._finalizer.detach()

    def check(self) -> None:
        """Raise an error unless the store is well: intact, and written to now or a moment ago."""
        if self._writes.led_for > self._database.slowest_batch:
            raise StoreUnavailableError(BUSY)
        self._database.check()

    def revision(self) -> str | None:
        """Return the revision of the schema, None when there is no schema yet."""
        try:
            with self._database.reader() as session:
                rows = session.rows(SCHEMA_REVISION)
        except Exception as error:
            if is_missing_table(error):
                return None
            if not is_of_database(error):
                raise
            raise ServiceError(f"cannot open the store: {reason(error)}") from None
        return str(rows[0][0]) if rows else None

    @property
    def is_current(self) -> bool:
        """Whether the schema is the one of this version. A store in memory has no other."""
        return self._is_made if self.in_memory else self.revision() == REVISION

    @contextmanager
    def maintenance(self) -> Generator["Maintenance"]:
        """Yield an exclusive transaction for operators, which is committed at the end of the block."""
        from gitpod.server.storage.maintenance import Maintenance  # loads SQLAlchemy

        with self._database.maintenance() as connection:
            yield Maintenance(connection, in_memory=self.in_memory)
        self._is_made = True

    def write(self, record: AuditRecord, work: Callable[[Transaction], T]) -> T:
        """Do work in a transaction, as `commit.GroupCommit.run` describes."""
        return self._writes.run(record, work)

    async def write_async(
        self,
        record: AuditRecord,
        work: Callable[[Transaction], T],
        pool: Pool,
        release: Callable[[], None] | None,
        unread: Callable[[T], None] | None,
    ) -> T:
        """`write` for an event loop, as `commit.GroupCommit.run_async` describes."""
        return await self._writes.run_async(record, work, pool, release, unread)

    def count_refusal(self, record: AuditRecord, *, is_answered: bool = True) -> bool:
        """Count a refused call, without I/O. Returns whether `write_refusals` must be called before the answer.

        Without an answer, it is written within a second.
        """
        return self._refusals.count(record, is_answered=is_answered)

    def write_refusals(self) -> None:
        """Write the counts of refused calls. If the store cannot do it now, it is tried again every second."""
        self._refusals.flush()

    def own(self) -> list[Organization]:
        """Return the store's own organization: one, unless the store is new or was tampered with."""
        return [_organization(row) for row in self._read(OWN)]

    def data_keys(self, organization_id: str) -> list[WrappedKey]:
        """Return the data keys of an organization, oldest first."""
        return [from_row(WrappedKey, row) for row in self._read(DATA_KEYS, [organization_id])]

    def token(self, organization_id: str, digest: bytes) -> StoredToken | None:
        """Return the token with this SHA-256, revoked or not."""
        rows = self._read(FIND_TOKEN, [organization_id, digest])
        return from_row(StoredToken, rows[0]) if rows else None

    def tokens(self) -> list[StoredToken]:
        """Return every token, oldest first."""
        return [from_row(StoredToken, row) for row in self._read(TOKENS)]

    def page(
        self, organization_id: str, scopes: Iterable[tuple[str, str]] | None, after: Position | None, limit: int
    ) -> list[ListedSecret]:
        """Return at most `limit` secrets of these scopes (None: of all) after a position, oldest first."""
        chosen = None if scopes is None else list(dict.fromkeys(scopes))
        if chosen == []:
            return []
        statement, values = page_query(organization_id, chosen, after, limit)
        return [from_row(ListedSecret, row) for row in self._read(statement, values)]

    def organizations(self) -> list[str]:
        """Return the ids of all organizations, the store's own first."""
        return [found for (found,) in self._read(ORGANIZATIONS)]

    def not_sealed_by(self, newest: WrappedKey, after_id: str, limit: int) -> list[StoredSecret]:
        """Return at most `limit` secrets with ids after `after_id` whose values are not sealed by this data key."""
        values = [newest.organization_id, newest.id, after_id, limit]
        return [from_row(StoredSecret, row) for row in self._read(OTHER_KEYS, values, is_operator=True)]

    def count_not_sealed_by(self, newest: WrappedKey) -> int:
        """Return the number of secrets in the organization whose values are not sealed by this data key."""
        [(count,)] = self._read(COUNT_OTHER_KEYS, [newest.organization_id, newest.id], is_operator=True)
        return int(count)

    def audit(self, *, secret_id: str | None, since: int, limit: int) -> list[AuditRecord]:
        """Return the audit records that were committed last, at most `limit`, in the order of their commits.

        Args:
            secret_id: only records of this secret. None: of all.
            since: only records that have this time or a later one, as the clock of their service was.
            limit: the most records.
        """
        if secret_id is None:
            rows = self._read(NEWEST_RECORDS, [since, limit], is_operator=True)
        else:
            rows = self._read(NEWEST_OF_SECRET, [since, secret_id, limit], is_operator=True)
        return [from_row(AuditRecord, row) for row in reversed(rows)]

    def _read(
        self, statement: SQL, values: Sequence[object] = (), *, is_operator: bool = False
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a query. Asks again when the connection turns out to be dead."""
        deadline = time.monotonic() + limits.READ_TIMEOUT
        for is_last in (False, False, False, True):
            try:
                with self._database.reader(is_operator=is_operator) as session:
                    return session.rows(statement, values)
            except Exception as error:
                if not is_transient(error):
                    raise
                if is_last or time.monotonic() > deadline:
                    raise (as_unavailable(error) or StoreUnavailableError(BUSY)) from None
        raise AssertionError


def _organization(row: Sequence[Any]) -> Organization:
    found = from_row(Organization, row)
    # SQLite has no booleans.
    return replace(found, is_own=bool(found.is_own))


def _drop(refusals: Refusals, database: Database) -> None:
    # Writes no counts: the garbage collector may call this anywhere.
    refusals.is_closed = True
    database.close()
