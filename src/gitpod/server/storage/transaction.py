"""A transaction for requests: finds, adds, changes and removes secrets, and writes the audit records of that."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from operator import attrgetter
from typing import Any

from gitpod.server.storage.audit import FIND_RECORD, add_records, count_refusals
from gitpod.server.storage.rows import AuditRecord, Sealed, StoredSecret, from_row, now
from gitpod.server.storage.sql import SQL, Session, sql

_FIELDS = tuple(StoredSecret.__slots__)
_COLUMNS = ", ".join(_FIELDS)
_values_of = attrgetter(*_FIELDS)
NEWEST = sql("SELECT max(created_at) FROM secrets WHERE organization_id = ?")
FIND_SECRET = sql(f"SELECT {_COLUMNS} FROM secrets WHERE organization_id = ? AND id = ?")  # noqa: S608 # the columns above
# PostgreSQL, until it knows the table better, takes `id = ANY(…)` for many rows and reads the organization by another
# index. A subquery with a limit is planned for one id, so it uses the primary key.
_FIND_EACH = "FROM secrets WHERE organization_id = ? AND id = wanted.id LIMIT 1"
_FIND_ALL = "SELECT found.* FROM unnest(?::text[]) AS wanted (id) CROSS JOIN LATERAL (SELECT {} {}) AS found"
FIND_SECRETS, FIND_IDS = (sql(_FIND_ALL.format(names, _FIND_EACH)) for names in (_COLUMNS, "id"))
REMOVE_SECRET = sql("DELETE FROM secrets WHERE organization_id = ? AND id = ?")
# A time of change is later than the one before it, even if the system's clock stepped back.
REPLACE_VALUE = sql(
    "UPDATE secrets SET key_id = ?, ciphertext = ?, "
    "updated_at = CASE WHEN updated_at < ? THEN ? ELSE updated_at + 1 END WHERE organization_id = ? AND id = ?"
)


@cache
def _add(count: int) -> SQL:
    """Return the statement that adds this number of secrets, except for those whose names are taken."""
    rows = ", ".join([f"({', '.join('?' * len(_FIELDS))})"] * count)
    return sql(f"INSERT INTO secrets ({_COLUMNS}) VALUES {rows} ON CONFLICT DO NOTHING")  # noqa: S608 # the same


class Planned:
    """Work whose first step is known before it begins, so that a batch takes the first steps of all in one statement.

    Args:
        work: does all of it, the first step too.
        finds: the organization and the id that it passes to `Transaction.find`.
        adds: the secret that it passes to `Transaction.add`. It does so whatever it finds.
    """

    def __init__(
        self,
        work: "Callable[[Transaction], Any]",
        *,
        finds: tuple[str, str] | None = None,
        adds: StoredSecret | None = None,
    ) -> None:
        self._work = work
        self.finds = finds
        self.adds = adds

    def __call__(self, transaction: "Transaction") -> Any:  # noqa: ANN401 # as the work has it
        """Do the work."""
        return self._work(transaction)


class Transaction:
    """The statements of a transaction for requests."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._records: list[AuditRecord] = []
        self._refused: list[AuditRecord] = []
        self._newest: dict[str, int] = {}
        # By organization and id: the results of first steps.
        self._found: dict[tuple[str, str], StoredSecret | None] = {}
        self._added: dict[tuple[str, str], StoredSecret | None] = {}

    def prepare(self, works: "Iterable[Callable[[Transaction], Any]]") -> None:
        """Take the first steps of a batch together.

        Each statement is a round trip to PostgreSQL. SQLite takes them one by one as fast, and adds rows faster.
        """
        if self._session.is_sqlite:
            return
        planned = [work for work in works if isinstance(work, Planned)]
        finds: dict[str, set[str]] = {}
        for organization_id, secret_id in (work.finds for work in planned if work.finds):
            finds.setdefault(organization_id, set()).add(secret_id)
        for organization_id, ids in finds.items():
            if len(ids) > 1:
                self._found |= {(organization_id, each): None for each in ids}
                for row in self._session.rows(FIND_SECRETS, (list(ids), organization_id)):
                    found = from_row(StoredSecret, row)
                    self._found[organization_id, found.id] = found
        adds = [work.adds for work in planned if work.adds]
        if len(adds) > 1:
            self._added = {(new.organization_id, new.id): kept for new, kept in zip(adds, self._add(adds), strict=True)}

    def find(self, organization_id: str, secret_id: str) -> StoredSecret | None:
        """Return the secret with this id, or None."""
        if (organization_id, secret_id) in self._found:
            return self._found[organization_id, secret_id]
        rows = self._session.rows(FIND_SECRET, (organization_id, secret_id))
        return from_row(StoredSecret, rows[0]) if rows else None

    def add(self, secret: StoredSecret) -> StoredSecret | None:
        """Add a secret and return it with its times, or None when the name is taken in its scope.

        It is created later than each that was committed before this transaction began, whatever the clock says.
        """
        known = secret.organization_id, secret.id
        return self._added.pop(known) if known in self._added else self._add([secret])[0]

    def _add(self, new: Sequence[StoredSecret]) -> list[StoredSecret | None]:
        timed = [self._timed(each) for each in new]
        added = self._session.change(_add(len(new)), [value for each in timed for value in _values_of(each)])
        if added == len(new):
            return list(timed)
        if len(new) == 1:
            return [None]
        there = {
            (organization_id, secret_id)
            for organization_id in {each.organization_id for each in new}
            for (secret_id,) in self._session.rows(FIND_IDS, ([each.id for each in new], organization_id))
        }
        return [each if (each.organization_id, each.id) in there else None for each in timed]

    def _timed(self, secret: StoredSecret) -> StoredSecret:
        """Return a new secret with its times."""
        organization_id = secret.organization_id
        if organization_id not in self._newest:
            [(newest,)] = self._session.rows(NEWEST, (organization_id,))
            self._newest[organization_id] = newest or 0
        created_at = self._newest[organization_id] = max(now(), self._newest[organization_id] + 1)
        return replace(secret, created_at=created_at, updated_at=created_at)

    def replace_value(self, secret: StoredSecret, sealed: Sealed) -> bool:
        """Replace the sealed value of a secret. False when the secret no longer exists."""
        self._found.pop((secret.organization_id, secret.id), None)
        at = now()
        values = sealed.key_id, sealed.ciphertext, at, at, secret.organization_id, secret.id
        return self._session.change(REPLACE_VALUE, values) == 1

    def remove(self, secret: StoredSecret) -> bool:
        """Remove a secret. False when the secret no longer exists."""
        self._found.pop((secret.organization_id, secret.id), None)
        return self._session.change(REMOVE_SECRET, (secret.organization_id, secret.id)) == 1

    def record(self, record: AuditRecord) -> None:
        """Collect an audit record, which `flush` writes."""
        self._records.append(record)

    def refuse(self, record: AuditRecord) -> None:
        """Note a call that did nothing. `Store.count_refusal` counts it once it is clear that the refusal stands."""
        self._refused.append(record)

    def flush(self, *, after_loss: bool) -> None:
        """Write the collected audit records; after a commit that was lost, those of refused calls too.

        Then the id of the record must be taken. Without it a call whose first commit takes place after all would
        be told that it was refused, by what it did itself.
        """
        if self._added:
            raise RuntimeError("planned work did not add its secret")
        add_records(self._session, [*self._records, *self._refused] if after_loss else self._records)

    def count(self, records: Sequence[AuditRecord]) -> None:
        """Count refused calls in their records."""
        count_refusals(self._session, records)

    def is_recorded(self, record: AuditRecord) -> bool:
        """Tell whether a transaction with this record was committed."""
        return bool(self._session.rows(FIND_RECORD, (record.organization_id, record.id)))
