"""A transaction for requests: finds, adds, changes and removes secrets, and writes the audit records of that."""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from gitpod.server.storage.audit import FIND_RECORD, add_records, count_refusals
from gitpod.server.storage.rows import AuditRecord, Sealed, StoredSecret, from_row, now
from gitpod.server.storage.sql import Session, sql

_COLUMNS = ", ".join(StoredSecret.__slots__)
_VALUES = attrgetter(*StoredSecret.__slots__)
NEWEST = sql("SELECT max(created_at) FROM secrets WHERE organization_id = ?")
FIND_SECRET = sql(f"SELECT {_COLUMNS} FROM secrets WHERE organization_id = ? AND id = ?")  # noqa: S608 # the columns above
ADD_SECRET = sql(
    f"INSERT INTO secrets ({_COLUMNS}) VALUES ({', '.join('?' * len(StoredSecret.__slots__))}) "  # noqa: S608 # the same
    "ON CONFLICT DO NOTHING"
)
REMOVE_SECRET = sql("DELETE FROM secrets WHERE organization_id = ? AND id = ?")
# A time of change is later than the one before it, even if the system's clock stepped back.
REPLACE_VALUE = sql(
    "UPDATE secrets SET key_id = ?, ciphertext = ?, "
    "updated_at = CASE WHEN updated_at < ? THEN ? ELSE updated_at + 1 END WHERE organization_id = ? AND id = ?"
)


class Transaction:
    """The statements of a transaction for requests."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._records: list[AuditRecord] = []
        self._refused: list[AuditRecord] = []
        self._newest: dict[str, int] = {}

    def find(self, organization_id: str, secret_id: str) -> StoredSecret | None:
        """Return the secret with this id, or None."""
        rows = self._session.rows(FIND_SECRET, (organization_id, secret_id))
        return from_row(StoredSecret, rows[0]) if rows else None

    def add(self, secret: StoredSecret) -> StoredSecret | None:
        """Add a secret and return it with its times, or None when the name is taken in its scope.

        It is created later than each that was committed before this transaction began, whatever the clock says.
        """
        organization_id = secret.organization_id
        if organization_id not in self._newest:
            [(newest,)] = self._session.rows(NEWEST, (organization_id,))
            self._newest[organization_id] = newest or 0
        created_at = max(now(), self._newest[organization_id] + 1)
        kept = replace(secret, created_at=created_at, updated_at=created_at)
        if not self._session.change(ADD_SECRET, _VALUES(kept)):
            return None
        self._newest[organization_id] = created_at
        return kept

    def replace_value(self, secret: StoredSecret, sealed: Sealed) -> bool:
        """Replace the sealed value of a secret. False when the secret no longer exists."""
        at = now()
        values = sealed.key_id, sealed.ciphertext, at, at, secret.organization_id, secret.id
        return self._session.change(REPLACE_VALUE, values) == 1

    def remove(self, secret: StoredSecret) -> bool:
        """Remove a secret. False when the secret no longer exists."""
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
        add_records(self._session, [*self._records, *self._refused] if after_loss else self._records)

    def count(self, records: Sequence[AuditRecord]) -> None:
        """Count refused calls in their records."""
        count_refusals(self._session, records)

    def is_recorded(self, record: AuditRecord) -> bool:
        """Tell whether a transaction with this record was committed."""
        return bool(self._session.rows(FIND_RECORD, (record.organization_id, record.id)))
